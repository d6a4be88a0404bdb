// Drives the inspector page in a real browser.
//
//   node inspector.mjs --url http://127.0.0.1:4000 --key <anon key> --secret <JWT secret> --db <connection string>
//
// --chromium and --psql name the programs; --screenshots a folder for pictures. Nothing comes from
// the environment: tables are made and rows written in the database, which must be one for tests.

import { browser, check, expect, faults, foreign, results } from "./harness.mjs";
import { changes } from "./inspector/changes.mjs";
import { channels } from "./inspector/channels.mjs";
import { frames } from "./inspector/frames.mjs";
import { look } from "./inspector/look.mjs";
import { people } from "./inspector/people.mjs";
import { tokens } from "./inspector/tokens.mjs";

for (const scenario of [tokens, channels, changes, people, frames, look]) {
  console.log(`--- ${scenario.name}`);
  await scenario().catch((error) => check(scenario.name, () => { throw error; }));
}

await check("nothing failed in the pages and nothing left the server's origin", () => {
  expect(faults.length === 0, `faults: ${faults.join("; ")}`);
  expect(foreign.length === 0, `requests: ${foreign.join("; ")}`);
});

await browser.close();
console.log(`${results.passed} passed, ${results.failed} failed`);
process.exit(results.failed === 0 ? 0 : 1);
