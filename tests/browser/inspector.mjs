// Drives the inspector page in a real browser.
//
//   node inspector.mjs --url http://127.0.0.1:4000 --key <anon key> --db <connection string>
//
// --chromium and --psql name the programs. Nothing comes from the environment: rows are
// written into the database, which must be one for tests.

import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { parseArgs, promisify } from "node:util";

import { chromium } from "playwright-core";

const { values: given } = parseArgs({
  options: {
    url: { type: "string" },
    key: { type: "string" },
    db: { type: "string" },
    psql: { type: "string", default: "psql" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
    screenshot: { type: "string" },
  },
});
for (const name of ["url", "key", "db"]) {
  if (!given[name]) throw new Error(`--${name} is missing`);
}
const PATIENCE = 15_000;
const run = promisify(execFile);

let passed = 0;
let failed = 0;

async function check(name, body) {
  try {
    await body();
    passed += 1;
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n      ${String(error.message ?? error).split("\n").join("\n      ")}`);
  }
}

function expect(condition, text) {
  if (!condition) throw new Error(text);
}

async function insert(content) {
  const sql = `insert into public.messages (room_id, sender_id, content) values ('00000000-0000-4000-8000-000000000001', gen_random_uuid(), '${content}')`;
  await run(given.psql, [given.db, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]);
}

const browser = await chromium.launch({
  executablePath: given.chromium,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
page.setDefaultTimeout(PATIENCE);

const faults = [];
const foreign = [];
const watch = (watched) => {
  watched.on("pageerror", (error) => faults.push(error.message));
  watched.on("console", (said) => {
    // A server that is not in development has no config.json.
    if (said.type() === "error" && !said.location().url.endsWith("/inspector/config.json")) faults.push(said.text());
  });
  watched.on("request", (request) => {
    if (!request.url().startsWith(given.url)) foreign.push(request.url());
  });
};
watch(page);

/** A frame of the log, by direction, event and text. */
const frame = (direction, event, text = "") =>
  page.locator(`.frame[data-direction="${direction}"][data-event="${event}"]`, { hasText: text });

await page.goto(given.url);

await check("it joins a channel by itself, or with a key", async () => {
  const config = await page.request.get(`${given.url}/inspector/config.json`);
  if (!config.ok()) {
    await page.fill("#key", given.key);
    await page.click("#join button[type=submit]");
  }
  await page.waitForSelector('.channel[data-topic="inspector"][data-status="SUBSCRIBED"]');
  await page.waitForSelector('#light[data-state="open"]');
});

await check("the log shows the join, its reply and the system message", async () => {
  await frame("out", "phx_join", "public.messages").first().waitFor();
  await frame("in", "phx_reply", "to phx_join").first().waitFor();
  await frame("in", "system", "Subscribed to PostgreSQL").first().waitFor();
});

await check("it tells the latency of a heartbeat", async () => {
  await page.locator("#latency", { hasText: /heartbeat \d+ ms/ }).waitFor();
});

await check("keys are not shown in the log", async () => {
  const key = await page.inputValue("#key");
  await frame("socket", "socket", "opening").locator("summary").first().click();
  await frame("out", "phx_join").locator("summary").first().click();
  await frame("out", "phx_join").locator(".json").first().waitFor();
  expect(!(await page.textContent("#frame-list")).includes(key), "the key is in the log");
});

await check("a row appears as it commits", async () => {
  const content = `from psql ${randomUUID()}`;
  await insert(content);
  const row = page.locator('.row[data-event="INSERT"]', { hasText: content });
  await row.waitFor();
  await row.locator(".speed", { hasText: /\d+ ms/ }).waitFor();
  await frame("in", "postgres_changes", content).waitFor();
});

await check("what comes off the wire stays text", async () => {
  const content = `<img src=x onerror=alert(1)> ${randomUUID()}`;
  await page.fill("#broadcast-payload", JSON.stringify({ text: content, [content]: content }));
  await page.fill("#broadcast-event", "<b>bold</b>");
  await page.click("#broadcast button[type=submit]");
  const heard = frame("in", "broadcast", content);
  await heard.locator("summary").first().click();
  await heard.locator(".json", { hasText: content }).waitFor();
  expect((await page.locator("main img, main b:text('bold')").count()) === 0, "markup was parsed");
});

await check("a broadcast is heard by its sender and acknowledged", async () => {
  const text = randomUUID();
  await page.fill("#broadcast-event", "message");
  await page.fill("#broadcast-payload", JSON.stringify({ text }));
  await page.click("#broadcast button[type=submit]");
  await frame("out", "broadcast", text).waitFor();
  await frame("in", "broadcast", text).waitFor();
  await page.locator("#broadcast-result", { hasText: /Acknowledged in \d+ ms/ }).waitFor();
});

await check("a payload that is no JSON is not sent", async () => {
  await page.fill("#broadcast-payload", "{ nope");
  await page.click("#broadcast button[type=submit]");
  await page.locator("#broadcast-result", { hasText: "Not sent" }).waitFor();
});

await check("who tracks is present, until they do not", async () => {
  await page.fill("#track-payload", JSON.stringify({ name: "tester" }));
  await page.click("#track button[type=submit]");
  const me = page.locator(".person", { has: page.locator(".you") });
  await me.filter({ hasText: "tester" }).waitFor();
  await page.click("#untrack");
  await me.waitFor({ state: "detached" });
});

await check("frames can be filtered, paused and cleared", async () => {
  await page.fill("#frame-filter", "phx_join public");
  await page.waitForFunction(() => {
    const shown = [...document.querySelectorAll(".frame:not([hidden])")];
    return shown.length > 0 && shown.every((node) => node.dataset.event.startsWith("phx_"));
  });
  await page.fill("#frame-filter", "");
  await page.click("#frames-pause");
  const before = await page.locator(".frame").count();
  await page.fill("#broadcast-payload", "{}");
  await page.click("#broadcast button[type=submit]");
  await page.locator("#frame-count", { hasText: "waiting" }).waitFor();
  expect((await page.locator(".frame").count()) === before, "the log moved while paused");
  await page.click("#frames-pause");
  await page.waitForFunction((count) => document.querySelectorAll(".frame").length > count, before);
  await page.click("#frames-clear");
  await page.waitForFunction(() => document.querySelectorAll(".frame").length === 0);
});

await check("a channel can be left", async () => {
  await page.click('.channel[data-topic="inspector"] button:has-text("Leave")');
  await page.waitForSelector('.channel[data-topic="inspector"]', { state: "detached" });
  await frame("out", "phx_leave").first().waitFor();
});

await check("version 1 of the protocol works as well", async () => {
  await page.click("#connect");
  await page.waitForSelector('#light[data-state="idle"]');
  await page.selectOption("#vsn", "1.0.0");
  await page.fill("#topic", "first");
  await page.click("#join button[type=submit]");
  await page.waitForSelector('.channel[data-topic="first"][data-status="SUBSCRIBED"]');
  const text = randomUUID();
  await page.fill("#broadcast-payload", JSON.stringify({ text }));
  await page.click("#broadcast button[type=submit]");
  const heard = frame("in", "broadcast", text);
  await heard.locator("summary").first().click();
  await heard.locator(".frame-facts", { hasText: "text, version 1" }).waitFor();
});

if (given.screenshot) await page.screenshot({ path: given.screenshot });

await check("nothing failed in the page and nothing left the server's origin", async () => {
  expect(faults.length === 0, `faults: ${faults.join("; ")}`);
  expect(foreign.length === 0, `requests: ${foreign.join("; ")}`);
});

await check("a refused key is told in plain words", async () => {
  const other = await browser.newPage();
  await other.goto(`${given.url}/inspector/new?key=abc.def.ghi&topic=room:1`);
  await other.waitForURL((address) => !address.href.includes("abc.def") && address.searchParams.get("topic") === "room:1");
  if ((await other.textContent("#connect")) === "Connect" && (await other.getAttribute("#light", "data-state")) === "idle") await other.click("#connect");
  await other.waitForSelector('#light[data-state="refused"]', { timeout: PATIENCE });
  await other.locator("#notice-text", { hasText: "The server refused the connection" }).waitFor();
  await other.close();
});

await check("a flood of frames leaves the log bounded", async () => {
  const other = await browser.newPage();
  let socket;
  // The frames are made up here: a server would rightly limit so many.
  await other.routeWebSocket(/websocket/, (route) => {
    socket = route;
    route.connectToServer();
  });
  await other.goto(`${given.url}/?key=${given.key}&topic=flood`);
  if ((await other.getAttribute("#light", "data-state")) === "idle") await other.click("#join button[type=submit]");
  await other.waitForSelector('.channel[data-topic="flood"][data-status="SUBSCRIBED"]');
  for (let n = 0; n < 5000; n += 1) socket.send(JSON.stringify([null, null, "realtime:flood", "broadcast", { type: "broadcast", event: "n", payload: { n } }]));
  await other.locator(".frame", { hasText: '{"n":4999}' }).waitFor();
  expect((await other.locator(".frame").count()) === 2000, "not 2000 frames are kept");
  await other.close();
});

await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
