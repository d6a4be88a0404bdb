// Connecting, and with which token.

import { PATIENCE, check, close, expect, frame, join, joined, key, open, token, url } from "../harness.mjs";

export async function tokens() {
  let page = await open();

  await check("a key is read as it is typed", async () => {
    await page.fill("#key", token({ role: "authenticated", sub: "ada-1" }, 90));
    await page.locator("#identity-role", { hasText: "authenticated" }).waitFor();
    await page.locator("#identity-expiry", { hasText: /^expires in 1:\d\d$/ }).waitFor();
    const first = await page.textContent("#identity-expiry");
    await page.waitForFunction((before) => document.getElementById("identity-expiry").textContent !== before, first);
    await page.click("#claims summary");
    await page.locator("#claims-tree", { hasText: "ada-1" }).waitFor();
  });

  await check("what is wrong with a token is said before it is used", async () => {
    await page.fill("#key", token({ role: "anon" }, -60));
    await page.locator('#identity-expiry[data-state="past"]', { hasText: "expired" }).waitFor();
    await page.fill("#key", token({ role: undefined }));
    await page.locator("#identity-error", { hasText: "role and exp" }).waitFor();
    await page.fill("#key", "not a token");
    await page.locator("#identity-error", { hasText: "not a JWT" }).waitFor();
    await page.fill("#key", "sb_publishable_abc");
    await page.locator("#identity-role", { hasText: "opaque" }).waitFor();
  });

  await check("it connects, joins and tells the latency of a heartbeat", async () => {
    await page.fill("#key", key);
    await join(page, "tokens");
    await joined(page, "tokens");
    await page.waitForSelector('#light[data-state="open"]');
    await page.locator("#latency", { hasText: /heartbeat \d+ ms/ }).waitFor();
    await page.locator("#beat-now", { hasText: /\d+ ms/ }).waitFor();
  });

  await check("a user's token is taken on by the open channels, and given back", async () => {
    const user = token({ role: "authenticated", sub: "grace" });
    await page.click("summary:has-text('Act as a user')");
    await page.fill("#token", "abc");
    await page.click("#act button[type=submit]");
    await page.locator("#token-result", { hasText: "not a JWT" }).waitFor();
    await page.fill("#token", user);
    await page.click("#act button[type=submit]");
    await frame(page, "out", "access_token").waitFor();
    await page.locator("#identity-of", { hasText: "user's token" }).waitFor();
    await page.click("#act-clear");
    await page.locator("#identity-of", { hasText: "API key" }).waitFor();
    await page.waitForFunction(() => document.querySelectorAll('.frame[data-event="access_token"]').length === 2);
  });

  await check("keys are not shown in the log, nor kept in the address or the browser", async () => {
    await frame(page, "socket", "socket", "opening").locator("summary").first().click();
    await frame(page, "out", "phx_join").locator("summary").first().click();
    await frame(page, "out", "phx_join").locator(".json").first().waitFor();
    expect(!(await page.textContent("#frame-list")).includes(key), "the key is in the log");
    expect(!page.url().includes("eyJ"), "a token is in the address");
    const stored = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
    expect(!stored.includes("eyJ"), "a token is stored");
  });

  await check("version 1 of the protocol works as well", async () => {
    await page.click("#connect");
    await page.waitForSelector('#light[data-state="idle"]');
    await page.selectOption("#vsn", "1.0.0");
    await join(page, "first");
    await joined(page, "first");
    const heard = frame(page, "in", "phx_reply", "to phx_join").first();
    await heard.locator("summary").first().click();
    await heard.locator(".frame-facts", { hasText: "text, version 1" }).waitFor();
  });
  await close(page);

  await check("a server in development hands its keys out and signs people in", async () => {
    const asked = [];
    page = await open("/", {
      before: async (fresh) => {
        await fresh.route("**/inspector/config.json", (route) => route.fulfill({ json: { anon_key: key, service_role_key: token({ role: "service_role" }), insert_line: "psql -c 'insert'" } }));
        await fresh.route("**/dev/token*", (route) => {
          asked.push(new URL(route.request().url()).searchParams.get("name"));
          return route.fulfill({ json: { token: token({ role: "authenticated", user_metadata: { name: "Lin" } }) } });
        });
      },
    });
    await joined(page, "inspector");
    await page.locator("#insert", { hasText: "psql -c" }).waitFor();
    await page.click("summary:has-text('Act as a user')");
    await page.fill("#dev-name", "Lin");
    await page.click("#dev-sign-in button");
    await page.locator("#token-result", { hasText: "You are Lin" }).waitFor();
    await page.locator("#identity-role", { hasText: "authenticated" }).waitFor();
    expect(asked.join() === "Lin", `asked for ${asked}`);
    await close(page);
  });

  await check("a refused key is told in plain words", async () => {
    page = await open("/inspector/new?key=abc.def.ghi&topic=room:1", { watched: false });
    await page.waitForURL((address) => !address.href.includes("abc.def") && address.searchParams.get("topic") === "room:1");
    await page.click("#connect");
    await page.waitForSelector('#light[data-state="refused"]', { timeout: PATIENCE });
    await page.locator("#notice-text", { hasText: "The server refused the connection" }).waitFor();
    await close(page);
  });

  await check("the page sends no keys to where it comes from, other than to connect", async () => {
    const asked = [];
    page = await open("/", { before: (fresh) => fresh.on("request", (request) => asked.push(request.url() + JSON.stringify(request.headers()))) });
    await page.fill("#key", key);
    await page.waitForTimeout(300);
    expect(asked.every((text) => !text.includes(key)), "the key was sent");
    expect(asked.every((text) => text.startsWith(url)), "another host was asked");
    await close(page);
  });
}
