// Rows, what became of them, and the filters that choose among them.

import { check, close, expect, frame, join, joined, open, openJoined, sql, url } from "../harness.mjs";

const row = (page, event, text) => page.locator(`.row[data-event="${event}"]`, { hasText: text });

async function condition(page, at, column, op, value, not = false) {
  await page.click("#condition-add");
  const line = page.locator(".condition").nth(at);
  await line.locator(".condition-column").fill(column);
  await line.locator(".condition-op").selectOption(op);
  await line.locator(".condition-value").fill(value);
  if (not) await line.locator(".condition-not").click();
}

export async function changes() {
  await sql(`
    create table public.inspected (id int primary key, name text, score numeric, note text);
    alter table public.inspected replica identity full;
    grant select on public.inspected to anon, authenticated;
    alter publication supabase_realtime add table public.inspected`);
  const table = (page) => page.fill("#table", "inspected");
  let page = await openJoined("all", table);
  await frame(page, "in", "system", "Subscribed to PostgreSQL").first().waitFor();

  await check("a row appears as it commits, with how long it took", async () => {
    await sql("insert into inspected values (1, 'Ada', 10, null)");
    await row(page, "INSERT", "Ada").locator(".speed", { hasText: /\d+ ms/ }).waitFor();
    await frame(page, "in", "postgres_changes", "Ada").waitFor();
  });

  await check("an update shows what was and what is", async () => {
    await sql("update inspected set name = 'Ada L.', score = 11 where id = 1");
    const updated = row(page, "UPDATE", "Ada L.");
    await updated.locator(".diff-line", { hasText: "name" }).locator("del", { hasText: /^Ada$/ }).waitFor();
    await updated.locator(".diff-line", { hasText: "score" }).locator("ins", { hasText: "11" }).waitFor();
    expect((await updated.locator(".diff-line").count()) === 2, "columns that stayed are shown as changed");
    await updated.locator(".cells.same", { hasText: "note" }).waitFor();
  });

  await check("a deleted row shows what is gone", async () => {
    await sql("delete from inspected where id = 1");
    await row(page, "DELETE", "Ada L.").waitFor();
  });

  await check("where only the key of the old row is known, that is said", async () => {
    await sql("alter table public.inspected replica identity default");
    await sql("insert into inspected values (2, 'Bo', 1, '')");
    await sql("update inspected set name = 'Bob' where id = 2");
    await row(page, "UPDATE", "Bob").locator(".hint", { hasText: "replica identity full" }).waitFor();
    await sql("alter table public.inspected replica identity full");
  });

  await check("rows can be cleared", async () => {
    await page.click("#rows-clear");
    expect((await page.locator(".row").count()) === 0, "rows are left");
    await page.locator("#rows-empty").waitFor();
  });

  await check("several conditions make one filter, and the code that does the same", async () => {
    await condition(page, 0, "id", "gte", "5");
    await condition(page, 1, "name", "in", "Ada, Grace H, x", true);
    await condition(page, 2, "note", "is", "null", true);
    const filter = 'id=gte.5,name=not.in.(Ada,"Grace H",x),note=not.is.null';
    expect((await page.textContent("#filter-text")) === filter, await page.textContent("#filter-text"));
    await page.fill("#select", "id, name");
    await page.click("summary:has-text('supabase-js')");
    const code = await page.textContent("#snippet");
    for (const part of [`createClient("${url}", "<api key>")`, `filter: ${JSON.stringify(filter)}`, 'table: "inspected"', 'select: ["id", "name"]', '.channel("all"', ".subscribe("]) {
      expect(code.includes(part), `no ${part} in ${code}`);
    }
    await page.fill("#select", "");
  });

  await check("only rows that pass every condition arrive", async () => {
    await join(page, "some");
    await joined(page, "some");
    await page.locator('.channel[data-topic="some"] .good', { hasText: "Subscribed" }).waitFor();
    await page.click('.channel[data-topic="all"] button:has-text("Leave")');
    await sql("insert into inspected values (4, 'low', 0, 'n'), (6, 'Grace H', 0, 'n'), (7, 'no note', 0, null), (8, 'passes', 0, 'n')");
    await row(page, "INSERT", "passes").waitFor();
    expect((await page.locator(".row").count()) === 1, "a row passed that should not");
  });

  await check("a condition that cannot work is not sent", async () => {
    await page.locator(".condition").nth(2).locator(".condition-value").fill("maybe");
    await join(page, "never");
    await page.locator(".condition-problem", { hasText: "null, true, false or unknown" }).waitFor();
    expect((await page.locator('.channel[data-topic="never"]').count()) === 0, "it was joined");
    await page.locator(".condition").nth(2).locator(".condition-remove").click();
    await page.locator(".condition").nth(1).locator(".condition-remove").click();
    expect((await page.textContent("#filter-text")) === "id=gte.5", await page.textContent("#filter-text"));
  });
  await close(page);

  await check("filters are written and read by the same grammar", async () => {
    page = await open(`/?filter=${encodeURIComponent('id=not.in.(1,2),name=eq."a,b"')}`);
    expect((await page.textContent("#filter-text")) === 'id=not.in.(1,2),name=eq."a,b"', await page.textContent("#filter-text"));
    const wrong = await page.evaluate(async () => {
      const { format, parse, problem } = await import("/inspector/assets/filter.js");
      const one = (op, value, not = false) => [{ column: "a", not, op, value }];
      const cases = [
        [one("eq", "x"), "a=eq.x"], [one("eq", ""), "a=eq."], [one("neq", "a.b=c"), "a=neq.a.b=c"], [one("like", "a%", true), "a=not.like.a%"],
        [one("eq", 'say "hi", Bo'), 'a=eq."say \\"hi\\", Bo"'], [one("eq", '"q"'), 'a=eq."\\"q\\""'], [one("match", "^(a|b)$"), 'a=match."^(a|b)$"'], [one("eq", " x "), 'a=eq." x "'],
        [one("eq", "c:\\d,"), 'a=eq."c:\\\\d,"'], [[...one("gt", "1"), ...one("lt", "9")], "a=gt.1,a=lt.9"],
      ];
      const failed = cases.filter(([conditions, text]) => format(conditions) !== text || JSON.stringify(parse(text)) !== JSON.stringify(conditions)).map(([conditions, text]) => `${text}: ${format(conditions)} ${JSON.stringify(parse(text))}`);
      if (format(one("in", "(1, 2)")) !== "a=in.(1,2)") failed.push("in");
      if (format(one("in", '"x,y", z')) !== 'a=in.("x,y",z)') failed.push("quoted in");
      if (!problem(one("in", "")[0]) || !problem(one("is", "5")[0]) || problem(one("is", "null")[0]) || !problem({ column: "", op: "eq", value: "" })) failed.push("problems");
      if (!problem(one("in", Array(101).fill(1).join())[0])) failed.push("long list");
      for (const bad of ["a", "a=b", "a=nope.1", "a=eq.1,,b=eq.2"]) if (parse(bad) !== null) failed.push(bad);
      return failed;
    });
    expect(wrong.length === 0, wrong.join("; "));
    await close(page);
  });
}
