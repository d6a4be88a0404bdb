// The list of frames: timed, filtered, paused, copied, bounded.

import { randomUUID } from "node:crypto";

import { check, close, expect, frame, join, joined, key, open, openJoined } from "../harness.mjs";

export async function frames() {
  let page = await openJoined("frames", (fresh) => fresh.uncheck("#changes"), { permissions: ["clipboard-read", "clipboard-write"] });
  await join(page, "others");
  await joined(page, "others");
  const send = async (payload) => {
    await page.fill("#broadcast-payload", JSON.stringify(payload));
    await page.click("#broadcast button[type=submit]");
  };
  const shown = () => page.locator(".frame:not([hidden])");

  await check("frames tell when, how long after the one before, and how long an answer took", async () => {
    const reply = frame(page, "in", "phx_reply", "to phx_join").first();
    expect(/^\d\d:\d\d:\d\d\.\d{3}$/.test(await reply.locator("time").textContent()), "no time");
    expect(/^\+\d/.test(await reply.locator(".frame-gap").textContent()), "no gap");
    expect(/to phx_join, \d+ ms/.test(await reply.locator(".answers").textContent()), "no time of the answer");
  });

  await check("binary frames are read too", async () => {
    const text = randomUUID();
    await send({ text });
    const heard = frame(page, "in", "broadcast", text);
    await heard.locator("summary").first().click();
    await heard.locator(".frame-facts", { hasText: "binary, kind 4" }).waitFor();
  });

  await check("frames can be filtered by words, channel, event and direction", async () => {
    await page.fill("#frame-filter", "phx_join frames");
    expect((await shown().count()) === 1, "words do not filter");
    await page.fill("#frame-filter", "");
    await page.selectOption("#frame-channel", "realtime:others");
    const topics = await shown().locator(".frame-topic").allTextContents();
    expect(topics.length > 0 && topics.every((topic) => topic === "others"), `channels ${topics}`);
    await page.selectOption("#frame-event", "phx_join");
    expect((await shown().count()) === 1, "the event does not filter");
    await page.selectOption("#frame-direction", "in");
    expect((await shown().count()) === 0, "the direction does not filter");
    await page.locator("#frames-empty", { hasText: "No frame passes the filter" }).waitFor();
    for (const id of ["#frame-channel", "#frame-event", "#frame-direction"]) await page.selectOption(id, "");
  });

  await check("the frames shown are copied as JSON, without keys", async () => {
    await page.selectOption("#frame-channel", "realtime:frames");
    await page.click("#frames-copy");
    await page.locator("#frames-copy", { hasText: /Copied \d+/ }).waitFor();
    const text = await page.evaluate(() => navigator.clipboard.readText());
    const copied = JSON.parse(text);
    expect(copied.length === (await shown().count()), "not those shown");
    expect(copied[0].event === "phx_join" && copied[0].direction === "out" && copied[0].payload.config, "not what was sent first");
    expect(copied.some((one) => one.answers === "phx_join" && one.after_ms >= 0), "no answers");
    expect(!text.includes(key), "the key was copied");
    await page.selectOption("#frame-channel", "");
  });

  await check("the arrow keys go from frame to frame, Enter unfolds", async () => {
    await page.focus("#frame-list");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    const at = () => page.evaluate(() => [...document.querySelectorAll(".frame:not([hidden])")].indexOf(document.activeElement.closest(".frame")));
    const second = await at();
    const unfolded = () => page.evaluate(() => document.activeElement.parentElement.open);
    const before = await unfolded();
    await page.keyboard.press("Enter");
    expect((await unfolded()) !== before, "Enter does nothing");
    await page.keyboard.press("End");
    expect((await at()) > second, "End does not go down");
    await page.keyboard.press("Home");
    expect((await at()) < second, "Home does not go up");
  });

  await check("frames can be paused and cleared", async () => {
    await page.click("#frames-pause");
    const before = await page.locator(".frame").count();
    await send({});
    await page.locator("#frame-count", { hasText: "waiting" }).waitFor();
    expect((await page.locator(".frame").count()) === before, "the log moved while paused");
    await page.click("#frames-pause");
    await page.waitForFunction((count) => document.querySelectorAll(".frame").length > count, before);
    await page.click("#frames-clear");
    await page.waitForFunction(() => document.querySelectorAll(".frame").length === 0);
  });
  await close(page);

  await check("a flood of frames leaves the log bounded, and the chart shows it", async () => {
    let socket;
    // The frames are made up here: a server would rightly limit so many.
    page = await open(`/?key=${key}&topic=flood`, {
      before: (fresh) => fresh.routeWebSocket(/websocket/, (route) => {
        socket = route;
        route.connectToServer();
      }),
    });
    await page.click("#join button[type=submit]");
    await joined(page, "flood");
    for (let n = 0; n < 5000; n += 1) socket.send(JSON.stringify([null, null, "realtime:flood", "broadcast", { type: "broadcast", event: "n", payload: { n } }]));
    await page.locator(".frame", { hasText: '{"n":4999}' }).waitFor();
    expect((await page.locator(".frame").count()) === 2000, "not 2000 frames are kept");
    await page.waitForFunction(() => Number.parseInt(document.getElementById("rate-scale").textContent, 10) >= 500);
    await page.waitForFunction(() => /In the last minute 50\d\d came in/.test(document.getElementById("rate-chart").getAttribute("aria-label")));
    await close(page);
  });
}
