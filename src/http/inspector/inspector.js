// The inspector: one client, its channels, and lists of what came of them.
//
// The client is the official one, unchanged. Frames are seen by the WebSocket
// class it is given; rows, presence and states come from its channels.

import { $, brief, button, bytes, clock, copy, el, json } from "./dom.js";
import { capturing, decode, isError, masked, summary, whyRefused } from "./wire.js";

const MOST_FRAMES = 2000;
const MOST_ROWS = 500;
const MOST_DRAWN_AT_ONCE = 400;
const HEARTBEAT_MS = 10_000;
// Never: the largest delay a timer can have.
const NEVER_MS = 2 ** 31 - 1;
const MY_KEY = `inspector-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36).slice(0, 4)}`;

let client = null;
let dev = null;
let accessToken = "";
/** Channels by topic, in the order they were joined. */
const channels = new Map();
/** The topic that broadcast and presence are about. */
let chosen = "";

// ---------------------------------------------------------------- connection

const STATES = {
  idle: "Not connected",
  connecting: "Connecting",
  open: "Connected",
  lost: "Trying again",
  refused: "Refused",
};

function setState(state) {
  $("light").dataset.state = state;
  $("state").textContent = STATES[state];
  if (state !== "open") $("latency").textContent = "";
  for (const id of ["url", "key", "key-choice", "vsn"]) $(id).disabled = client !== null;
  $("connect").textContent = client ? "Disconnect" : "Connect";
  $("connect").classList.toggle("primary", client === null);
  drawEmptyHints();
}

function notice(text, kind = "error") {
  $("notice-text").textContent = text;
  $("notice").dataset.kind = kind;
  $("notice").hidden = text === "";
}

const CLOSE_CODES = {
  1000: "The connection was closed.",
  1001: "The server is going away.",
  1006: "The connection was lost.",
  1007: "The server could not read a frame as text.",
  1008: "The server closed the connection: it broke a rule.",
  1009: "The server closed the connection: a message was too large.",
  1011: "The server had an internal error.",
  1013: "The server is overloaded or this page read too slowly.",
};

function heard(event) {
  record(event);
  if (!client || event.socket !== client.inspected.socket && event.kind !== "connecting") return;
  if (event.kind === "connecting") {
    client.inspected.socket = event.socket;
    if ($("light").dataset.state !== "lost") setState("connecting");
  } else if (event.kind === "open") {
    notice("");
    setState("open");
    // The first would be due after a whole interval; the latency is wanted now.
    setTimeout(() => void client?.realtime.sendHeartbeat());
  } else if (event.kind === "close") {
    void closed(event);
  }
}

async function closed({ socket, code, reason }) {
  if (socket.wasOpen) {
    setState("lost");
    notice(`${CLOSE_CODES[code] ?? `The connection was closed with code ${code}.`}${reason ? ` (${reason})` : ""} Trying again.`);
    return;
  }
  const asked = client;
  setState("lost");
  const why = await whyRefused(socket.url);
  // Meanwhile it may have come up, or been given up.
  if (client !== asked || $("light").dataset.state === "open") return;
  if (why.final) {
    await disconnect();
    setState("refused");
    notice(why.text);
  } else {
    notice(`${why.text} Trying again.`);
  }
}

function connect() {
  notice("");
  const key = $("key").value.trim();
  const url = $("url").value.trim().replace(/\/+$/, "");
  try {
    client = window.supabase.createClient(url, key, {
      // Given at once, so that the first join carries it.
      accessToken: async () => accessToken || key,
      realtime: {
        vsn: $("vsn").value,
        transport: capturing(heard),
        heartbeatIntervalMs: HEARTBEAT_MS,
        heartbeatCallback: heartbeat,
        disconnectOnEmptyChannelsAfterMs: NEVER_MS,
      },
    });
  } catch (error) {
    notice(`Cannot connect: ${error.message}`);
    return;
  }
  client.inspected = { socket: null };
  sent.clear();
  setState("connecting");
  client.realtime.connect();
}

async function disconnect() {
  const leaving = client;
  client = null;
  channels.clear();
  drawChannels();
  drawPresence();
  setState("idle");
  if (!leaving) return;
  await leaving.removeAllChannels();
  await leaving.realtime.disconnect();
}

function heartbeat(status, latency) {
  if (status === "ok" && latency !== undefined) $("latency").textContent = `heartbeat ${latency} ms`;
  if (status === "timeout") {
    setState("lost");
    notice("The server did not answer a heartbeat. Trying again.");
  }
}

// ------------------------------------------------------------------ channels

const STATUSES = {
  joining: "joining",
  SUBSCRIBED: "joined",
  CHANNEL_ERROR: "not joined, trying again",
  TIMED_OUT: "no answer, trying again",
  CLOSED: "closed by the server",
};

async function join(wanted) {
  if (!client) connect();
  if (!client) return;
  const topic = wanted.topic.replace(/^realtime:/, "");
  if (channels.has(topic)) {
    notice(`The channel ${topic} is joined already. Leave it to join it in another way.`, "hint");
    return;
  }
  const asked = client;
  accessToken = wanted.token;
  await client.realtime.setAuth();
  if (client !== asked) return;
  const entry = { topic, status: "joining", said: "", failed: false, wanted, tracked: false, channel: null };
  channels.set(topic, entry);
  chosen = topic;
  open(entry);
  drawChannels();
  drawPresence();
}

function open(entry) {
  const { wanted } = entry;
  const channel = client.channel(entry.topic, {
    config: {
      private: wanted.private,
      broadcast: { self: wanted.self, ack: wanted.ack },
      presence: { key: wanted.presenceKey || MY_KEY, enabled: true },
    },
  });
  entry.channel = channel;
  if (wanted.changes) channel.on("postgres_changes", wanted.changes, (change) => addRow(change));
  channel.on("presence", { event: "sync" }, drawPresence);
  channel.on("system", {}, ({ status, message }) => {
    entry.said = message;
    entry.failed = status === "error";
    drawChannels();
  });
  channel.subscribe((status, error) => {
    // A channel left or replaced has nothing more to say here.
    if (channels.get(entry.topic)?.channel !== channel) return;
    entry.status = status;
    if (status === "SUBSCRIBED") {
      entry.failed = false;
      entry.said = "";
    } else if (status === "CHANNEL_ERROR") {
      entry.failed = true;
      const said = error?.message ?? "";
      const lost = said === "" || said.startsWith("socket closed");
      entry.said = lost ? "The connection was lost; it joins again by itself." : said;
    }
    drawChannels();
    drawPresence();
  });
}

async function leave(entry) {
  channels.delete(entry.topic);
  if (chosen === entry.topic) chosen = [...channels.keys()].at(-1) ?? "";
  drawChannels();
  drawPresence();
  await client?.removeChannel(entry.channel);
}

async function rejoin(entry) {
  await client.removeChannel(entry.channel);
  entry.status = "joining";
  entry.said = "";
  entry.failed = false;
  open(entry);
  drawChannels();
}

function drawChannels() {
  $("channels").replaceChildren(...[...channels.values()].map(drawChannel));
  $("channels-empty").hidden = channels.size > 0;
  $("channel-count").textContent = channels.size || "";
  for (const choice of document.querySelectorAll(".channel-choice")) {
    const topics = channels.size > 0 ? [...channels.keys()] : ["join a channel first"];
    choice.replaceChildren(...topics.map((topic) => el("option", "", topic)));
    choice.disabled = channels.size === 0;
    if (chosen) choice.value = chosen;
  }
  const joined = channels.get(chosen)?.status === "SUBSCRIBED";
  for (const node of document.querySelectorAll("#broadcast button, #track button")) node.disabled = !joined;
  drawEmptyHints();
}

function drawChannel(entry) {
  const { wanted } = entry;
  const light = el("span", "light");
  light.dataset.state = { SUBSCRIBED: "open", joining: "connecting", CHANNEL_ERROR: "refused", TIMED_OUT: "lost", CLOSED: "refused" }[entry.status];
  const tags = [STATUSES[entry.status]];
  if (wanted.private) tags.push("private");
  if (wanted.changes) {
    const { event, schema, table, filter } = wanted.changes;
    tags.push(`${event === "*" ? "all changes" : event} of ${schema}.${table ?? "*"}${filter ? ` where ${filter}` : ""}`);
  }
  const end = button("Leave", "quiet", () => void leave(entry));
  end.setAttribute("aria-label", `Leave ${entry.topic}`);
  const again = entry.status === "CLOSED" && client ? button("Join again", "quiet", () => void rejoin(entry)) : null;
  const node = el(
    "li",
    "channel",
    light,
    el("div", "channel-text", el("b", "mono", entry.topic), el("small", "", tags.join(" · ")), entry.said ? el("small", entry.failed ? "bad" : "good", entry.said) : null),
    el("span", "channel-actions", again, end),
  );
  node.dataset.topic = entry.topic;
  node.dataset.status = entry.status;
  return node;
}

// ---------------------------------------------------------------------- rows

const latencies = [];
let rowCount = 0;

function addRow(change) {
  // Finer than Date.now(), which drops the part of a millisecond.
  const now = performance.timeOrigin + performance.now();
  const committed = Date.parse(change.commit_timestamp);
  const late = Math.round(now - committed);
  if (Number.isFinite(late) && late >= 0) latencies.push(late);
  if (latencies.length > 50) latencies.shift();
  const middle = [...latencies].sort((a, b) => a - b)[Math.floor(latencies.length / 2)];
  $("row-latency").textContent = latencies.length > 0 ? `commit → here: median ${middle} ms` : "";

  const deleted = change.eventType === "DELETE";
  const row = (deleted ? change.old : change.new) ?? {};
  const old = change.old ?? {};
  const lead = ["content", "body", "title", "name"].find((name) => typeof row[name] === "string" && row[name] !== "");
  const cells = Object.entries(row).filter(([name]) => name !== lead).map(([name, value]) => drawCell(name, value, !deleted && name in old, old[name]));

  const node = el("li", "row");
  node.dataset.event = change.eventType;
  const speed = el("span", "speed", late >= 0 ? `${late} ms` : "clocks differ");
  speed.title = `Committed at ${change.commit_timestamp}`;
  node.append(
    el("div", "row-head", el("span", "badge", change.eventType), el("span", "mono", `${change.schema}.${change.table}`), el("span", "spring"), speed, el("time", "mono dim", clock(now))),
    lead ? el("p", "lead", !deleted && lead in old && old[lead] !== row[lead] ? el("s", "dim", `${old[lead]} `) : null, row[lead]) : "",
    el("div", "cells", ...cells),
  );
  if (change.errors?.length) node.append(el("p", "bad", change.errors.join(", ")));
  $("row-list").prepend(node);
  if ($("row-list").childElementCount > MOST_ROWS) $("row-list").lastElementChild.remove();
  rowCount += 1;
  $("row-count").textContent = rowCount;
  $("rows-empty").hidden = true;
}

function drawCell(name, value, knowsOld = false, old = null) {
  const node = el("span", "cell", el("i", "", name));
  if (knowsOld && JSON.stringify(old) !== JSON.stringify(value)) node.append(el("s", "", brief(old, 60)));
  const text = el("span", value === null ? "dim" : "", brief(value, 120));
  text.title = typeof value === "string" ? value : JSON.stringify(value);
  node.append(text);
  return node;
}

function drawEmptyHints() {
  const listening = [...channels.values()].filter((entry) => entry.wanted.changes && entry.status === "SUBSCRIBED");
  const { schema, table } = listening[0]?.wanted.changes ?? {};
  const foreign = listening.length > 0 && !(schema === "public" && (table ?? "messages") === "messages");
  const sql = foreign
    ? `insert into ${schema}.${table ?? "…"} default values;`
    : "insert into messages (room_id, sender_id, content) values ('00000000-0000-4000-8000-000000000001', gen_random_uuid(), 'hello');";
  $("insert").textContent = (!foreign && dev?.insert_line) || sql;
  const first = client ? "Join a channel with database changes switched on, then insert a row:" : "Connect and join a channel with database changes, then insert a row:";
  $("rows-hint").textContent = listening.length === 0 ? first : dev?.insert_line && !foreign ? "Run this in a terminal:" : "Insert one, for example in psql:";
  $("frames-empty").hidden = frames.length > 0;
}

// -------------------------------------------------------------------- frames

/** Those listed, oldest first: {node, hay, heartbeat}. */
const frames = [];
/** Those not drawn yet. */
let waiting = [];
let paused = false;
let scheduled = false;
/** When and as what a frame with a ref went out. */
const sent = new Map();

function record(event) {
  const at = event.at;
  let frame;
  if (event.kind === "in" || event.kind === "out") {
    frame = { at, direction: event.kind, ...decode(event.data, event.kind) };
    pairUp(frame);
  } else {
    const payload = { connecting: () => `opening ${hideKey(event.url)}`, open: () => "open", close: () => `closed, code ${event.code}${event.reason ? `: ${event.reason}` : ""}` }[event.kind]();
    frame = { at, direction: "socket", form: "no frame: the socket itself", topic: "", event: "socket", payload, ref: null, joinRef: null, size: 0, error: null };
  }
  waiting.push(frame);
  if (waiting.length > MOST_FRAMES) waiting = waiting.slice(-MOST_FRAMES);
  schedule();
}

/** Notes how long a reply took. */
function pairUp(frame) {
  if (frame.ref === null) return;
  if (frame.direction === "out") {
    sent.set(frame.ref, { at: performance.now(), event: frame.event });
    if (sent.size > 500) sent.delete(sent.keys().next().value);
  } else if (frame.event === "phx_reply" && sent.has(frame.ref)) {
    const { at, event } = sent.get(frame.ref);
    sent.delete(frame.ref);
    frame.answers = `to ${event}, ${Math.round(performance.now() - at)} ms`;
  }
}

function hideKey(address) {
  const url = new URL(address);
  const key = url.searchParams.get("apikey") ?? "";
  if (key.length > 16) url.searchParams.set("apikey", `${key.slice(0, 6)}…${key.slice(-4)}`);
  return decodeURIComponent(url.href);
}

// Frames may come faster than a screen can show them: they are drawn once per
// picture, and those that would have scrolled away at once are left out.
function schedule() {
  if (paused) countFrames();
  if (paused || scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    if (!paused) drawFrames();
  });
}

function drawFrames() {
  const batch = waiting.splice(0, MOST_DRAWN_AT_ONCE);
  if (batch.length === 0) return;
  const added = document.createDocumentFragment();
  for (const frame of batch) {
    const item = drawFrame(frame);
    frames.push(item);
    added.prepend(item.node);
  }
  $("frame-list").prepend(added);
  for (const gone of frames.splice(0, Math.max(0, frames.length - MOST_FRAMES))) gone.node.remove();
  countFrames();
  if (waiting.length > 0) schedule();
}

const ARROWS = { in: ["↓", "from the server"], out: ["↑", "to the server"], socket: ["·", "socket"] };

function drawFrame(frame) {
  const payload = masked(frame.payload);
  const shown = { ...frame, payload };
  const [sign, meaning] = ARROWS[frame.direction];
  const arrow = el("span", "arrow", sign);
  arrow.title = meaning;
  arrow.setAttribute("role", "img");
  arrow.setAttribute("aria-label", meaning);
  const said = frame.direction === "socket" ? payload : summary(shown);
  const line = el(
    "summary",
    "",
    el("time", "dim", clock(frame.at)),
    arrow,
    el("span", "frame-event", frame.event),
    el("span", "frame-topic", frame.topic),
    // The list keeps thousands of lines: none needs more than fits on a screen.
    el("span", "frame-said", frame.answers ? el("span", "answers", frame.answers) : null, said.slice(0, 300)),
    el("span", "frame-size dim", frame.size ? bytes(frame.size) : ""),
  );
  const node = el("li", "frame", el("details", "", line));
  node.dataset.direction = frame.direction;
  node.dataset.event = frame.event;
  if (isError(frame)) node.classList.add("failed");
  node.firstChild.addEventListener("toggle", () => {
    if (node.firstChild.childElementCount > 1) return;
    const raw = JSON.stringify(payload, null, 2);
    const copying = button("Copy payload", "quiet", () => void copy(raw, copying));
    const facts = [frame.form, frame.joinRef !== null && `join_ref ${frame.joinRef}`, frame.ref !== null && `ref ${frame.ref}`, frame.size && `${frame.size} bytes`];
    node.firstChild.append(el("div", "frame-body", el("div", "frame-facts", el("small", "dim", facts.filter(Boolean).join(" · ")), copying), json(payload)));
  });
  const item = { node, heartbeat: frame.topic === "phoenix" || frame.answers?.startsWith("to heartbeat"), hay: `${frame.event} ${frame.topic} ${JSON.stringify(payload)}`.slice(0, 4000).toLowerCase() };
  node.hidden = !passes(item);
  return item;
}

function passes({ hay, heartbeat }) {
  if (heartbeat && !$("heartbeats").checked) return false;
  const words = $("frame-filter").value.trim().toLowerCase().split(/\s+/);
  return words.every((word) => hay.includes(word));
}

function refilter() {
  for (const item of frames) item.node.hidden = !passes(item);
  countFrames();
}

function countFrames() {
  const shown = frames.reduce((sum, item) => sum + (item.node.hidden ? 0 : 1), 0);
  const held = paused && waiting.length > 0 ? `, ${waiting.length} waiting` : "";
  $("frame-count").textContent = frames.length || held ? `${shown === frames.length ? shown : `${shown} of ${frames.length}`}${held}` : "";
  const empty = $("frames-empty");
  empty.hidden = shown > 0;
  if (shown === 0 && frames.length > 0) empty.replaceChildren("No frame passes the filter.");
}

// --------------------------------------------------------- broadcast, presence

function parsed(id, output) {
  try {
    const value = JSON.parse($(id).value || "{}");
    if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error("it has to be an object, like { \"a\": 1 }");
    $(id).removeAttribute("aria-invalid");
    return value;
  } catch (error) {
    $(id).setAttribute("aria-invalid", "true");
    say(output, `Not sent: ${error.message}`, false);
    return null;
  }
}

function say(id, text, good) {
  $(id).textContent = text;
  $(id).className = good ? "hint good" : "hint bad";
}

const OUTCOMES = { "timed out": "No answer from the server.", error: "The server refused it; see the frames.", "rate limited": "Too fast." };

async function sendBroadcast() {
  const entry = channels.get(chosen);
  const payload = parsed("broadcast-payload", "broadcast-result");
  if (!entry || payload === null) return;
  const start = performance.now();
  const outcome = await entry.channel.send({ type: "broadcast", event: $("broadcast-event").value, payload });
  const took = Math.round(performance.now() - start);
  if (outcome === "ok") say("broadcast-result", entry.wanted.ack ? `Acknowledged in ${took} ms` : "Sent", true);
  else say("broadcast-result", OUTCOMES[outcome] ?? outcome, false);
}

async function track() {
  const entry = channels.get(chosen);
  const payload = parsed("track-payload", "track-result");
  if (!entry || payload === null) return;
  const outcome = await entry.channel.track(payload);
  say("track-result", outcome === "ok" ? "Tracked" : (OUTCOMES[outcome] ?? outcome), outcome === "ok");
}

async function untrack() {
  const entry = channels.get(chosen);
  if (!entry) return;
  const outcome = await entry.channel.untrack();
  say("track-result", outcome === "ok" ? "Untracked" : (OUTCOMES[outcome] ?? outcome), outcome === "ok");
}

function drawPresence() {
  const entry = channels.get(chosen);
  const state = entry?.status === "SUBSCRIBED" ? entry.channel.presenceState() : {};
  const mine = entry ? entry.wanted.presenceKey || MY_KEY : null;
  const people = Object.entries(state);
  $("present").replaceChildren(...people.map(([key, metas]) => {
    const states = metas.map(({ presence_ref: _ref, ...meta }) => el("div", "cells", ...Object.entries(meta).map(([name, value]) => drawCell(name, value))));
    const node = el("li", "person", el("div", "person-key", el("span", "mono", key), key === mine ? el("span", "badge you", "you") : null), ...states);
    node.dataset.key = key;
    return node;
  }));
  $("present-empty").hidden = people.length > 0;
  $("present-empty").textContent = entry ? "Nobody is present here. Track yourself below, or open this page a second time." : "Join a channel to see who is present.";
  $("presence-count").textContent = people.length || "";
}

// --------------------------------------------------------------------- wiring

function wantedFromForm() {
  const value = (id) => $(id).value.trim();
  const changes = { event: $("event").value, schema: value("schema") || "public" };
  if (value("table") && value("table") !== "*") changes.table = value("table");
  if (value("filter")) changes.filter = value("filter");
  return {
    topic: value("topic"),
    private: $("private").checked,
    self: $("self").checked,
    ack: $("ack").checked,
    token: value("token"),
    presenceKey: value("presence-key"),
    changes: $("changes").checked ? changes : null,
  };
}

// The names other inspectors use in their addresses are understood too.
const QUERY = {
  url: ["url", "host"], key: ["key", "apikey", "token"], vsn: ["vsn"], topic: ["topic", "channel"], schema: ["schema"], table: ["table"],
  event: ["event"], filter: ["filter"], token: ["access_token", "bearer"], "presence-key": ["presence_key"],
};
const SWITCHES = { private: ["private", "private_channel"], changes: ["enable_db_changes"], self: ["self"], ack: ["ack"] };

function fillFromQuery() {
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
  // Keys do not stay in the address, where they would be copied along.
  const secret = [...QUERY.key, ...QUERY.token].filter((name) => query.has(name));
  if (secret.length > 0) {
    for (const name of secret) query.delete(name);
    history.replaceState(null, "", query.size > 0 ? `?${query}` : location.pathname);
  }
}

async function devConfig() {
  try {
    const response = await fetch("/inspector/config.json");
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

function fillDev() {
  $("key-choice").hidden = false;
  const given = $("key").value;
  if (!given) $("key").value = dev.anon_key;
  else $("key-choice").value = ["anon_key", "service_role_key"].find((name) => dev[name] === given) ?? "";
  $("key-choice").addEventListener("change", () => {
    $("key").value = dev[$("key-choice").value] ?? "";
    if (!$("key").value) $("key").focus();
  });
  $("key").addEventListener("input", () => { $("key-choice").value = ""; });
}

function wire() {
  const on = (id, event, action) => $(id).addEventListener(event, (happened) => {
    if (event === "submit") happened.preventDefault();
    void action(happened);
  });
  on("connection", "submit", () => (client ? disconnect() : connect()));
  on("join", "submit", () => {
    if (!$("key").value.trim()) {
      notice("Enter an API key of this server first.");
      $("key").focus();
      return undefined;
    }
    return join(wantedFromForm());
  });
  on("changes", "change", () => {
    for (const id of ["schema", "table", "event", "filter"]) $(id).disabled = !$("changes").checked;
  });
  on("notice-close", "click", () => notice(""));
  on("broadcast", "submit", sendBroadcast);
  on("track", "submit", track);
  on("untrack", "click", untrack);
  for (const choice of document.querySelectorAll(".channel-choice")) {
    choice.addEventListener("change", () => {
      chosen = choice.value;
      say("broadcast-result", "", true);
      say("track-result", "", true);
      drawChannels();
      drawPresence();
    });
  }
  on("rows-clear", "click", () => {
    $("row-list").replaceChildren();
    rowCount = 0;
    latencies.length = 0;
    $("row-count").textContent = "";
    $("row-latency").textContent = "";
    $("rows-empty").hidden = false;
  });
  on("insert-copy", "click", () => copy($("insert").textContent, $("insert-copy")));
  on("frames-clear", "click", () => {
    frames.length = 0;
    waiting = [];
    $("frame-list").replaceChildren();
    countFrames();
    $("frames-empty").replaceChildren("Cleared. The next frame shows up here.");
  });
  on("frames-pause", "click", () => {
    paused = !paused;
    $("frames-pause").textContent = paused ? "Resume" : "Pause";
    $("frames-pause").setAttribute("aria-pressed", String(paused));
    if (!paused) schedule();
    countFrames();
  });
  on("frame-filter", "input", refilter);
  on("heartbeats", "change", refilter);
}

async function start() {
  $("url").value = location.origin;
  $("topic").value = "inspector";
  $("presence-key").placeholder = MY_KEY;
  fillFromQuery();
  wire();
  $("changes").dispatchEvent(new Event("change"));
  drawChannels();
  drawPresence();
  setState("idle");
  dev = await devConfig();
  if (!dev) {
    if (!$("key").value) $("key").focus();
    return;
  }
  fillDev();
  drawEmptyHints();
  // Someone who just started the server wants to see rows, not forms.
  await join(wantedFromForm());
}

void start();
