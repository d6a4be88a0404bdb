// What the scenarios of the inspector share: the browser, pages, rows, tokens.

import { execFile } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { parseArgs, promisify } from "node:util";

import { chromium } from "playwright-core";

export const PATIENCE = 15_000;
const run = promisify(execFile);

const { values: given } = parseArgs({
  options: {
    url: { type: "string" },
    key: { type: "string" },
    secret: { type: "string" },
    db: { type: "string" },
    psql: { type: "string", default: "psql" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
    screenshots: { type: "string" },
  },
});
for (const name of ["url", "key", "secret", "db"]) {
  if (!given[name]) throw new Error(`--${name} is missing`);
}
export const { url, key } = given;

export const browser = await chromium.launch({
  executablePath: given.chromium,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});

/** What went wrong in pages, and what they asked of other hosts. */
export const faults = [];
export const foreign = [];

export const results = { passed: 0, failed: 0 };

export async function check(name, body) {
  try {
    await body();
    results.passed += 1;
    console.log(`ok    ${name}`);
  } catch (error) {
    results.failed += 1;
    console.log(`FAIL  ${name}\n      ${String(error.message ?? error).split("\n").join("\n      ")}`);
  }
}

export function expect(condition, text) {
  if (!condition) throw new Error(text);
}

export async function sql(text) {
  await run(given.psql, [given.db, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", text]);
}

/** A token of the server, with these claims and an end in `seconds`. */
export function token(claims, seconds = 3600) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ exp: Math.floor(Date.now() / 1000) + seconds, ...claims })}`;
  return `${signed}.${createHmac("sha256", given.secret).update(signed).digest("base64url")}`;
}

/** A page of the inspector; faults that a scenario wants are not `watched`. */
export async function open(path = "/", { watched = true, before, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  if (watched) watch(page);
  await before?.(page);
  await page.goto(url + path);
  return page;
}

function watch(page) {
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (said) => {
    // A server that is not in development has no config.json.
    if (said.type() === "error" && !said.location().url.endsWith("/inspector/config.json")) faults.push(said.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:")) foreign.push(request.url());
  });
}

/** Joins a channel through the form; `fill` sets more of it first. */
export async function join(page, topic, fill) {
  if (await page.isEnabled("#key") && !(await page.inputValue("#key"))) await page.fill("#key", key);
  await page.fill("#topic", topic);
  await fill?.();
  await page.click("#join button[type=submit]");
}

export const joined = (page, topic) => page.waitForSelector(`.channel[data-topic="${topic}"][data-status="SUBSCRIBED"]`);

/** A page that has joined a channel. */
export async function openJoined(topic, fill, options) {
  const page = await open("/", options);
  await join(page, topic, () => fill?.(page));
  await joined(page, topic);
  return page;
}

/** A frame of the log, by direction, event and text. */
export const frame = (page, direction, event, text = "") => page.locator(`.frame[data-direction="${direction}"][data-event="${event}"]`, { hasText: text });

/** The page as a picture, where a folder for them was named. */
export async function picture(page, name) {
  if (!given.screenshots) return;
  await mkdir(given.screenshots, { recursive: true });
  await page.screenshot({ path: `${given.screenshots}/${name}.png` });
}

export async function close(...pages) {
  for (const page of pages) await page.context().close();
}
