// Joining and leaving: switches, several at once, refusals in words.

import { check, close, expect, frame, join, joined, openJoined, sql, token } from "../harness.mjs";

/** The configuration of the last join that went out. */
async function lastConfig(page, topic) {
  const sent = await page.evaluate((wanted) => new Promise((resolve) => {
    const list = [...document.querySelectorAll('.frame[data-direction="out"][data-event="phx_join"]')];
    const node = list.find((candidate) => candidate.querySelector(".frame-topic").title === `realtime:${wanted}`);
    node.querySelector("details").open = true;
    requestAnimationFrame(() => setTimeout(() => resolve(node.querySelector(".json").textContent), 50));
  }), topic);
  return sent.replace(/\s/g, "");
}

export async function channels() {
  await sql(`
    create policy inspector_reads on realtime.messages for select to authenticated using (true);
    create policy inspector_writes on realtime.messages for insert to authenticated with check (true)`);
  const page = await openJoined("one");

  await check("the log shows the join, its reply and the system message", async () => {
    await frame(page, "out", "phx_join", "public.messages").first().waitFor();
    await frame(page, "in", "phx_reply", "to phx_join").first().waitFor();
    await frame(page, "in", "system", "Subscribed to PostgreSQL").first().waitFor();
    await page.locator('.channel[data-topic="one"]', { hasText: /joined in \d+ ms/ }).waitFor();
  });

  await check("switches go into the join", async () => {
    await join(page, "two", async () => {
      await page.uncheck("#self");
      await page.uncheck("#changes");
      await page.fill("#presence-key", "me");
    });
    await joined(page, "two");
    const config = await lastConfig(page, "two");
    for (const part of ["self:false", "ack:true", 'key:"me"', "private:false"]) expect(config.includes(part), `no ${part} in ${config}`);
    expect(!config.includes("public"), `changes in ${config}`);
    await page.check("#self");
  });

  await check("a second join of a topic is not tried", async () => {
    await join(page, "realtime:two");
    await page.locator("#notice-text", { hasText: "joined already" }).waitFor();
    await page.click("#notice-close");
  });

  await check("a refusal is told, and what may be done about it", async () => {
    await join(page, "secret", () => page.check("#private"));
    const refused = page.locator('.channel[data-topic="secret"][data-status="CHANNEL_ERROR"]');
    await refused.locator(".bad", { hasText: "permissions to read" }).waitFor();
    await refused.locator(".advice", { hasText: "No policy on realtime.messages" }).waitFor();
    await refused.getByText("Leave").click();
  });

  await check("a user whose policies allow it joins a private channel, with its history", async () => {
    await page.click("summary:has-text('Act as a user')");
    await page.fill("#token", token({ role: "authenticated", sub: "ada" }));
    await page.click("#act button[type=submit]");
    await sql("select realtime.send('{\"n\": 41}', 'stored', 'history', true)");
    await join(page, "history", async () => {
      await page.check("#replay");
      await page.fill("#replay-minutes", "5");
      await page.fill("#replay-limit", "3");
    });
    await joined(page, "history");
    await frame(page, "in", "broadcast", '"replayed":true').or(frame(page, "in", "broadcast", "stored")).first().waitFor();
    const config = await lastConfig(page, "history");
    expect(config.includes("limit:3") && config.includes("private:true"), config);
    await page.uncheck("#private");
  });

  await check("a broken subscription is told with the column that broke it", async () => {
    await join(page, "broken", async () => {
      await page.check("#changes");
      await page.click("#condition-add");
      await page.fill(".condition-column", "nowhere");
      await page.fill(".condition-value", "1");
    });
    const broken = page.locator('.channel[data-topic="broken"]');
    await broken.locator(".bad", { hasText: "invalid column for filter nowhere" }).waitFor();
    await broken.locator(".advice").waitFor();
  });

  await check("the chosen channel is the one that is sent to", async () => {
    await page.click('.channel[data-topic="one"] .topic');
    expect((await page.inputValue("#broadcast-channel")) === "one", "not chosen for broadcasts");
    expect((await page.getAttribute('.channel[data-topic="one"] .topic', "aria-pressed")) === "true", "not told");
    await page.selectOption("#presence-channel", "two");
    await page.waitForSelector('.channel.chosen[data-topic="two"]');
  });

  await check("channels can be left", async () => {
    for (const topic of ["one", "two", "history", "broken"]) {
      await page.click(`.channel[data-topic="${topic}"] button:has-text("Leave")`);
      await page.waitForSelector(`.channel[data-topic="${topic}"]`, { state: "detached" });
    }
    await page.waitForFunction(() => document.querySelectorAll('.frame[data-event="phx_leave"]').length >= 4);
    expect(await page.isDisabled("#broadcast button[type=submit]"), "one can send to nowhere");
  });
  await close(page);
}
