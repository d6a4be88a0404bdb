// The channels: joining, leaving, and what became of each.

import { $, button, el } from "./dom.js";
import { connect } from "./connection.js";
import { advice } from "./words.js";
import { MY_KEY, notice, on, state, tell } from "./state.js";

const STATUSES = {
  joining: "joining",
  SUBSCRIBED: "joined",
  CHANNEL_ERROR: "not joined, trying again",
  TIMED_OUT: "no answer, trying again",
  CLOSED: "closed by the server",
};
const LIGHTS = { SUBSCRIBED: "open", joining: "connecting", CHANNEL_ERROR: "refused", TIMED_OUT: "lost", CLOSED: "refused" };

/** Joins a channel as the form wants it; connects first where needed. */
export async function join(wanted) {
  if (!state.client) connect();
  if (!state.client) return;
  const { topic } = wanted;
  if (state.channels.has(topic)) {
    notice(`The channel ${topic} is joined already. Leave it to join it in another way.`, "hint");
    return;
  }
  const asked = state.client;
  await asked.realtime.setAuth();
  if (state.client !== asked || state.channels.has(topic)) return;
  const entry = { topic, wanted, channel: null, status: "joining", said: "", failed: false, took: null };
  try {
    open(entry);
  } catch (error) {
    notice(`Cannot join ${topic}: ${error.message}`);
    return;
  }
  state.channels.set(topic, entry);
  state.chosen = topic;
  tell("channels");
}

function open(entry) {
  const { wanted } = entry;
  const channel = state.client.channel(entry.topic, {
    config: {
      private: wanted.private,
      broadcast: { self: wanted.self, ack: wanted.ack, ...(wanted.replay && { replay: wanted.replay }) },
      presence: { key: wanted.presenceKey || MY_KEY, enabled: wanted.presence },
    },
  });
  entry.channel = channel;
  if (wanted.changes) channel.on("postgres_changes", wanted.changes, (change) => tell("change", change));
  if (wanted.presence) channel.on("presence", { event: "sync" }, () => tell("presence"));
  channel.on("system", {}, ({ status, message }) => {
    entry.said = message;
    entry.failed = status === "error";
    announce(entry);
    tell("channels");
  });
  channel.subscribe((status, error) => {
    // A channel left or replaced has nothing more to say here.
    if (state.channels.get(entry.topic)?.channel !== channel) return;
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
    announce(entry);
    tell("channels");
  });
}

export async function leave(entry) {
  state.channels.delete(entry.topic);
  if (state.chosen === entry.topic) state.chosen = [...state.channels.keys()].at(-1) ?? "";
  tell("channels");
  await state.client?.removeChannel(entry.channel);
}

async function rejoin(entry) {
  await state.client.removeChannel(entry.channel);
  entry.status = "joining";
  entry.said = "";
  entry.failed = false;
  open(entry);
  tell("channels");
}

/** Makes a channel the one that broadcast and presence are about. */
export function choose(topic) {
  state.chosen = topic;
  tell("channels");
}

/** The next channel of the list, or the one before. */
export function chooseNext(step) {
  const topics = [...state.channels.keys()];
  if (topics.length === 0) return;
  choose(topics[(topics.indexOf(state.chosen) + step + topics.length) % topics.length]);
}

/** Notes how long the server took to answer a join. */
function heardFrame(frame) {
  if (frame.answers?.event !== "phx_join") return;
  const entry = state.channels.get(frame.topic.replace(/^realtime:/, ""));
  if (entry) entry.took = frame.answers.ms;
}

// ------------------------------------------------------------------- drawing

/** For those who hear the page: the list itself is drawn anew too often. */
function announce({ topic, status, said }) {
  $("channel-news").textContent = `${topic}: ${STATUSES[status]}. ${said}`;
}

function draw() {
  const { channels } = state;
  const focused = document.activeElement?.dataset?.focus;
  $("channels").replaceChildren(...[...channels.values()].map(drawChannel));
  // Drawn anew, a button would lose the keyboard.
  if (focused) [...document.querySelectorAll("#channels [data-focus]")].find((node) => node.dataset.focus === focused)?.focus();
  $("channels-empty").hidden = channels.size > 0;
  $("channel-count").textContent = channels.size || "";
  for (const choice of document.querySelectorAll(".channel-choice")) {
    const topics = channels.size > 0 ? [...channels.keys()] : ["join a channel first"];
    choice.replaceChildren(...topics.map((topic) => el("option", "", topic)));
    choice.disabled = channels.size === 0;
    if (state.chosen) choice.value = state.chosen;
  }
  const joined = channels.get(state.chosen)?.status === "SUBSCRIBED";
  for (const node of document.querySelectorAll("#broadcast button, #track button")) node.disabled = !joined;
}

function drawChannel(entry) {
  const { topic, status, said, failed } = entry;
  const light = el("span", "light");
  light.dataset.state = LIGHTS[status];
  const pick = named(button(topic, "topic mono", () => choose(topic)), topic, "choose", `Send to ${topic}`);
  pick.setAttribute("aria-pressed", String(topic === state.chosen));
  const end = named(button("Leave", "quiet", () => void leave(entry)), topic, "leave", `Leave ${topic}`);
  const again = status === "CLOSED" && state.client ? named(button("Join again", "quiet", () => void rejoin(entry)), topic, "again", `Join ${topic} again`) : null;
  const hint = failed ? advice(said) : "";
  const node = el(
    "li",
    "channel",
    light,
    el("div", "channel-text", pick, el("small", "", tags(entry).join(" · ")), said ? el("small", failed ? "bad" : "good", said) : null, hint ? el("small", "advice", hint) : null),
    el("span", "channel-actions", again, end),
  );
  node.dataset.topic = topic;
  node.dataset.status = status;
  node.classList.toggle("chosen", topic === state.chosen);
  return node;
}

function named(node, topic, action, label) {
  node.dataset.focus = `${action} ${topic}`;
  node.setAttribute("aria-label", label);
  return node;
}

function tags({ wanted, status, took }) {
  const { event, schema, table, filter } = wanted.changes ?? {};
  return [
    status === "SUBSCRIBED" && took !== null ? `joined in ${took} ms` : STATUSES[status],
    wanted.private && "private",
    wanted.replay && "replay",
    wanted.changes && `${event === "*" ? "all changes" : event} of ${schema}.${table ?? "*"}${filter ? ` where ${filter}` : ""}`,
  ].filter(Boolean);
}

export function wireChannels() {
  on("channels", draw);
  on("frame", heardFrame);
  for (const node of document.querySelectorAll(".channel-choice")) node.addEventListener("change", () => choose(node.value));
  draw();
}
