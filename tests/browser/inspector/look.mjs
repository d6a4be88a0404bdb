// How the page behaves under the hand: keys, colours, narrow screens.

import { check, close, expect, joined, openJoined, picture, sql } from "../harness.mjs";

const paper = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const focused = (page) => page.evaluate(() => document.activeElement.id);

async function fill(page) {
  await page.fill("#track-payload", '{ "name": "Ada Lovelace", "status": "watching" }');
  await page.click("#track button[type=submit]");
  await sql("insert into inspected values (20, 'first', 1, null); update inspected set name = 'second', score = 2 where id = 20");
  await page.locator('.row[data-event="UPDATE"]').waitFor();
  await page.click("#broadcast button[type=submit]");
  await page.locator(".person").waitFor();
}

export async function look() {
  const page = await openJoined("look", (fresh) => fresh.fill("#table", "inspected"), { colorScheme: "light" });
  await page.locator(".channel .good", { hasText: "Subscribed" }).waitFor();

  await check("it is light or dark as the system is, or as it is told", async () => {
    const light = await paper(page);
    await page.emulateMedia({ colorScheme: "dark" });
    const dark = await paper(page);
    expect(light !== dark, "dark is like light");
    await page.click("#theme");
    expect((await paper(page)) === light, "not light on a dark system");
    await page.reload();
    expect((await paper(page)) === light, "it forgot");
    await page.click("#theme");
    expect((await paper(page)) === dark, "not dark");
    await page.click("#theme");
    await page.emulateMedia({ colorScheme: "light" });
    expect((await paper(page)) === light, "does not follow the system again");
  });
  await close(page);

  const again = await openJoined("look", (fresh) => fresh.fill("#table", "inspected"), { colorScheme: "light", reducedMotion: "reduce" });
  await again.locator(".channel .good", { hasText: "Subscribed" }).waitFor();
  await fill(again);
  await again.waitForTimeout(1500);
  await picture(again, "light");
  await again.emulateMedia({ colorScheme: "dark" });
  await picture(again, "dark");
  await again.emulateMedia({ colorScheme: "light" });

  await check("nothing moves where less motion is wanted", async () => {
    const moving = await again.evaluate(() => document.getAnimations().length);
    expect(moving === 0, `${moving} animations`);
  });

  await check("single keys act, and a sheet lists them", async () => {
    await again.evaluate(() => document.activeElement.blur());
    await again.keyboard.press("?");
    await again.locator("#help[open]").waitFor();
    expect((await again.locator("#key-list li").count()) > 10, "keys are missing");
    await picture(again, "keys");
    await again.keyboard.press("Escape");
    await again.locator("#help[open]").waitFor({ state: "detached" });
    for (const [pressed, id] of [["j", "topic"], ["b", "broadcast-payload"], ["t", "track-payload"], ["/", "frame-filter"]]) {
      await again.keyboard.press(pressed);
      expect((await focused(again)) === id, `${pressed} went to ${await focused(again)}`);
      await again.keyboard.type("p");
      expect((await again.getAttribute("#frames-pause", "aria-pressed")) === "false", "a key acted within a field");
      await again.keyboard.press("Backspace");
      await again.keyboard.press("Escape");
    }
    await again.keyboard.press("p");
    expect((await again.getAttribute("#frames-pause", "aria-pressed")) === "true", "p does not pause");
    await again.keyboard.press("p");
    await again.click("#help-open");
    await again.uncheck("#single-keys");
    await again.click("#help-close");
    await again.keyboard.press("p");
    expect((await again.getAttribute("#frames-pause", "aria-pressed")) === "false", "keys act though they are off");
    await again.click("#help-open");
    await again.check("#single-keys");
    await again.click("#help-close");
  });

  await check("every control has a name and shows that it has the keyboard", async () => {
    const unnamed = await again.evaluate(() => [...document.querySelectorAll("button, input, select, textarea")]
      .filter((node) => !(node.getAttribute("aria-label") || node.textContent.trim() || node.labels?.length > 0 || node.title))
      .map((node) => node.id || node.className));
    expect(unnamed.length === 0, unnamed.join(", "));
    await again.evaluate(() => document.activeElement.blur());
    for (let n = 0; n < 30; n += 1) {
      await again.keyboard.press("Tab");
      const plain = await again.evaluate(() => (getComputedStyle(document.activeElement).outlineStyle === "none" && document.activeElement !== document.body ? document.activeElement.outerHTML.slice(0, 120) : ""));
      expect(plain === "", `no focus is seen on ${plain}`);
    }
  });

  await check("on a phone one part is shown at a time, and nothing sticks out", async () => {
    await again.setViewportSize({ width: 375, height: 800 });
    for (const [part, id] of [["channels", "#join"], ["rows", "#row-list"], ["frames", "#frame-list"], ["send", "#broadcast"]]) {
      await again.click(`#parts [data-shows="${part}"]`);
      expect(await again.isVisible(id), `${id} is hidden`);
      expect((await again.locator("main .panel:visible").count()) <= 3, "more than one part is shown");
      const over = await again.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect(over <= 0, `${part} is ${over} px too wide`);
      await picture(again, `phone-${part}`);
    }
    await again.evaluate(() => document.activeElement.blur());
    await again.keyboard.press("/");
    expect(await again.isVisible("#frame-list"), "a key does not bring its part");
  });

  await check("disconnected, the page keeps what it heard", async () => {
    await again.setViewportSize({ width: 1440, height: 900 });
    await joined(again, "look");
    await again.click("#connect");
    await again.waitForSelector('#light[data-state="idle"]');
    expect((await again.locator(".channel").count()) === 0, "channels are left");
    expect((await again.locator(".frame").count()) > 0, "the frames are gone");
  });
  await close(again);
}
