// Broadcasts and presence, between two pages.

import { randomUUID } from "node:crypto";

import { check, close, expect, frame, openJoined } from "../harness.mjs";

const quiet = (page) => page.uncheck("#changes");

async function send(page, event, payload) {
  await page.fill("#broadcast-event", event);
  await page.fill("#broadcast-payload", typeof payload === "string" ? payload : JSON.stringify(payload));
  await page.click("#broadcast button[type=submit]");
}

export async function people() {
  const one = await openJoined("people", quiet);
  const two = await openJoined("people", async (page) => {
    await quiet(page);
    await page.fill("#presence-key", "grace-7");
  });

  await check("a broadcast is heard by its sender and others, and acknowledged", async () => {
    const text = randomUUID();
    await send(one, "message", { text });
    await frame(one, "out", "broadcast", text).waitFor();
    await frame(one, "in", "broadcast", text).waitFor();
    await frame(two, "in", "broadcast", text).waitFor();
    await one.locator("#broadcast-result", { hasText: /Acknowledged in \d+ ms/ }).waitFor();
  });

  await check("control and Enter send from within the payload", async () => {
    const text = randomUUID();
    await one.fill("#broadcast-payload", JSON.stringify({ text }));
    await one.press("#broadcast-payload", "Control+Enter");
    await frame(two, "in", "broadcast", text).waitFor();
  });

  await check("a payload that is no JSON object is told at once and not sent", async () => {
    await one.fill("#broadcast-payload", "{ nope");
    expect((await one.getAttribute("#broadcast-payload", "aria-invalid")) === "true", "not told while typing");
    await one.click("#broadcast button[type=submit]");
    await one.locator("#broadcast-result", { hasText: "Not sent" }).waitFor();
    await one.fill("#broadcast-payload", "[1]");
    await one.locator("#broadcast-result", { hasText: "has to be an object" }).waitFor();
    await one.fill("#broadcast-payload", "{}");
    expect((await one.getAttribute("#broadcast-payload", "aria-invalid")) === null, "still told");
  });

  await check("what comes off the wire stays text", async () => {
    const content = `<img src=x onerror=alert(1)> ${randomUUID()}`;
    await send(one, "<b>bold</b>", { text: content, [content]: content });
    const heard = frame(two, "in", "broadcast", content);
    await heard.locator("summary").first().click();
    await heard.locator(".json", { hasText: content }).waitFor();
    await one.fill("#track-payload", JSON.stringify({ name: content }));
    await one.click("#track button[type=submit]");
    await two.locator(".person", { hasText: content }).waitFor();
    expect((await two.locator("main img, main b:text('bold')").count()) === 0, "markup was parsed");
  });

  await check("who tracks is shown as a person: initials, states, since when", async () => {
    await two.fill("#track-payload", JSON.stringify({ name: "Grace Hopper", status: "typing", online_at: new Date(Date.now() - 3 * 60_000).toISOString() }));
    await two.click("#track button[type=submit]");
    const grace = one.locator('.person[data-key="grace-7"]');
    await grace.locator(".avatar", { hasText: "GH" }).waitFor();
    await grace.locator(".cell", { hasText: "typing" }).waitFor();
    await grace.locator("time", { hasText: "for 3 min" }).waitFor();
    await two.locator('.person[data-key="grace-7"] .you').waitFor();
    await one.locator("#presence-count", { hasText: "2" }).waitFor();
  });

  await check("who untracks or leaves is gone", async () => {
    await two.click("#untrack");
    await one.locator('.person[data-key="grace-7"]').waitFor({ state: "detached" });
    await one.click("#untrack");
    await one.locator("#present-empty", { hasText: "Nobody is present" }).waitFor();
  });
  await close(one, two);
}
