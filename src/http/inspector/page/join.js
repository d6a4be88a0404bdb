// The form that joins a channel, the code that does the same, and what an
// address may fill in.

import { $, copy, when } from "./dom.js";
import { join } from "./channels.js";
import { checkConditions, filterText, showFilter, wireConditions } from "./conditions.js";
import { snippet } from "./snippet.js";
import { MY_KEY, notice, on, state } from "./state.js";

const value = (id) => $(id).value.trim();

/** What the form asks for. */
export function wanted() {
  const changes = { event: $("event").value, schema: value("schema") || "public" };
  if (value("table") && value("table") !== "*") changes.table = value("table");
  if (filterText()) changes.filter = filterText();
  const columns = value("select").split(",").map((name) => name.trim()).filter(Boolean);
  if (columns.length > 0) changes.select = columns;
  const replays = $("private").checked && $("replay").checked;
  const minutes = Number(value("replay-minutes")) || 60;
  return {
    topic: value("topic").replace(/^realtime:/, ""),
    private: $("private").checked,
    self: $("self").checked,
    ack: $("ack").checked,
    presence: $("presence").checked,
    presenceKey: value("presence-key"),
    // To the minute, so that the code shown is still while nobody types.
    replay: replays ? { since: (Math.floor(Date.now() / 60_000) - minutes) * 60_000, limit: Number(value("replay-limit")) || 25 } : null,
    changes: $("changes").checked ? changes : null,
  };
}

export async function joinFromForm() {
  if (!checkConditions()) return;
  await join(wanted());
}

function refresh() {
  for (const node of document.querySelectorAll("#changes-fields input, #changes-fields select, #changes-fields button")) node.disabled = !$("changes").checked;
  $("changes-fields").hidden = !$("changes").checked;
  $("replay").disabled = !$("private").checked;
  $("replay-fields").hidden = !($("private").checked && $("replay").checked);
  $("presence-key").disabled = !$("presence").checked;
  $("snippet").textContent = snippet(value("url") || location.origin, wanted(), state.userToken !== "");
  $("filter-text").textContent = filterText();
}

// The names other inspectors use in their addresses are understood too.
const QUERY = {
  url: ["url", "host"], key: ["key", "apikey", "token"], vsn: ["vsn"], topic: ["topic", "channel"], schema: ["schema"], table: ["table"],
  event: ["event"], token: ["access_token", "bearer"], "presence-key": ["presence_key"],
};
const SWITCHES = { private: ["private", "private_channel"], changes: ["enable_db_changes"], self: ["self"], ack: ["ack"], presence: ["enable_presence"] };

export function fillFromQuery() {
  const query = new URLSearchParams(location.search);
  const find = (names) => names.map((name) => query.get(name)).find((found) => found !== null);
  for (const [id, names] of Object.entries(QUERY)) {
    const found = find(names);
    if (found) $(id).value = found;
  }
  for (const [id, names] of Object.entries(SWITCHES)) {
    const found = find(names);
    if (found !== undefined) $(id).checked = found === "true" || found === "1";
  }
  if (query.get("filter") && !showFilter(query.get("filter"))) notice(`This filter does not follow the grammar: ${query.get("filter")}`, "hint");
  state.userToken = value("token");
  // Keys do not stay in the address, where they would be copied along.
  const secret = [...QUERY.key, ...QUERY.token].filter((name) => query.has(name));
  if (secret.length > 0) {
    for (const name of secret) query.delete(name);
    history.replaceState(null, "", query.size > 0 ? `?${query}` : location.pathname);
  }
  refresh();
}

export function wireJoin() {
  $("topic").value = "inspector";
  $("presence-key").placeholder = MY_KEY;
  wireConditions(refresh);
  when("join", "input", refresh);
  when("url", "input", refresh);
  on("token", refresh);
  when("join", "submit", joinFromForm);
  when("snippet-copy", "click", () => {
    refresh();
    return copy($("snippet").textContent, $("snippet-copy"));
  });
  refresh();
}
