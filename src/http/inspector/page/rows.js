// Rows as they commit: what came, what went, and what became of each column.
// The list is bounded; the oldest go first.

import { $, copy, el, when } from "./dom.js";
import { brief, clock } from "./format.js";
import { on, state } from "./state.js";

const MOST_ROWS = 500;
const LATENCIES = 50;

/** The changes listed, newest first, beside their nodes. */
const listed = [];
const latencies = [];
let total = 0;

function add(change) {
  // Finer than Date.now(), which drops the part of a millisecond.
  const now = performance.timeOrigin + performance.now();
  const late = Math.round(now - Date.parse(change.commit_timestamp));
  measure(late);
  const node = draw(change, now, late);
  listed.unshift(change);
  $("row-list").prepend(node);
  if (listed.length > MOST_ROWS) {
    listed.pop();
    $("row-list").lastElementChild.remove();
  }
  total += 1;
  $("row-count").textContent = total;
  $("rows-empty").hidden = true;
}

function measure(late) {
  if (Number.isFinite(late) && late >= 0) latencies.push(late);
  if (latencies.length > LATENCIES) latencies.shift();
  const middle = [...latencies].sort((a, b) => a - b)[Math.floor(latencies.length / 2)];
  $("row-latency").textContent = latencies.length > 0 ? `commit → here ${middle} ms` : "";
}

function draw(change, now, late) {
  const speed = el("span", "speed", late >= 0 ? `${late} ms` : "clocks differ");
  speed.title = `Committed at ${change.commit_timestamp}`;
  const node = el(
    "li",
    "row new",
    el("div", "row-head", el("span", "badge", change.eventType), el("span", "row-table mono", `${change.schema}.${change.table}`), el("span", "spring"), speed, el("time", "mono dim", clock(now))),
    ...(change.eventType === "UPDATE" ? updated(change) : whole(change)),
  );
  node.dataset.event = change.eventType;
  node.addEventListener("animationend", () => node.classList.remove("new"), { once: true });
  if (change.errors?.length) node.append(el("p", "bad", change.errors.join(", ")));
  return node;
}

/** An inserted or deleted row: its text, if it has one, then its columns. */
function whole(change) {
  const row = (change.eventType === "DELETE" ? change.old : change.new) ?? {};
  const lead = ["content", "body", "title", "name"].find((name) => typeof row[name] === "string" && row[name] !== "");
  const cells = Object.entries(row).filter(([name]) => name !== lead).map(([name, value]) => cell(name, value));
  return [lead ? el("p", "lead", row[lead]) : null, cells.length > 0 ? el("div", "cells", ...cells) : null];
}

/** What an update made of the columns; the old values are as far as the log has them. */
function updated({ new: row, old }) {
  const known = Object.keys(old ?? {});
  const differs = known.filter((name) => name in row && JSON.stringify(old[name]) !== JSON.stringify(row[name]));
  const same = Object.keys(row).filter((name) => !differs.includes(name));
  const lines = differs.map((name) => el("div", "diff-line", el("span", "diff-name", name), value("del", old[name]), el("span", "dim", "→"), value("ins", row[name])));
  // By default the log has the old key alone.
  const partial = known.length < Object.keys(row).length;
  return [
    lines.length > 0 ? el("div", "diff", ...lines) : null,
    el("div", partial ? "cells" : "cells same", ...same.map((name) => cell(name, row[name]))),
    partial ? el("p", "hint", "Of the old row only the key is known. With ", el("code", "", "alter table … replica identity full"), " all of it is.") : null,
  ];
}

function value(tag, inner) {
  const node = el(tag, "mono", brief(inner, 200));
  node.title = typeof inner === "string" ? inner : JSON.stringify(inner);
  return node;
}

/** A name and a value, as rows and people's states show them. */
export function cell(name, inner) {
  const text = el("span", inner === null ? "dim" : "", brief(inner, 120));
  text.title = typeof inner === "string" ? inner : JSON.stringify(inner);
  return el("span", "cell", el("i", "", name), text);
}

/** Before the first row: how to make one. */
function drawHint() {
  const listening = [...state.channels.values()].filter((entry) => entry.wanted.changes && entry.status === "SUBSCRIBED");
  const { schema, table } = listening[0]?.wanted.changes ?? {};
  const foreign = listening.length > 0 && !(schema === "public" && (table ?? "messages") === "messages");
  const sql = foreign
    ? `insert into ${schema}.${table ?? "…"} default values;`
    : "insert into messages (room_id, sender_id, content) values ('00000000-0000-4000-8000-000000000001', gen_random_uuid(), 'hello');";
  const line = foreign ? null : state.dev?.insert_line;
  $("insert").textContent = line ?? sql;
  const first = state.client ? "Join a channel with database changes switched on, then insert a row:" : "Connect and join a channel with database changes, then insert a row:";
  $("rows-hint").textContent = listening.length === 0 ? first : line ? "Run this in a terminal:" : "Insert one, for example in psql:";
}

function clear() {
  listed.length = 0;
  latencies.length = 0;
  total = 0;
  $("row-list").replaceChildren();
  $("row-count").textContent = "";
  $("row-latency").textContent = "";
  $("rows-empty").hidden = false;
}

export function wireRows() {
  on("change", add);
  on("channels", drawHint);
  on("connection", drawHint);
  when("rows-clear", "click", clear);
  when("rows-copy", "click", () => copy(JSON.stringify(listed, null, 2), $("rows-copy"), `Copied ${listed.length}`));
  when("insert-copy", "click", () => copy($("insert").textContent, $("insert-copy")));
  drawHint();
}
