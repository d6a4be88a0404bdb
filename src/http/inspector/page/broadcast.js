// Sending on the chosen channel: broadcasts, and one's own presence.

import { $, checkJson, parsed, say, when } from "./dom.js";
import { advice } from "./words.js";
import { chosen, on, state } from "./state.js";

const OUTCOMES = { "timed out": "No answer from the server.", error: "The server refused it; see the frames.", "rate limited": "Too fast." };

/** What the server said last when it refused. */
let refused = "";

async function send() {
  const entry = chosen();
  const payload = parsed("broadcast-payload", "broadcast-result");
  if (!entry || payload === null) return;
  const start = performance.now();
  const outcome = await entry.channel.send({ type: "broadcast", event: $("broadcast-event").value.trim(), payload });
  const took = Math.round(performance.now() - start);
  tellOutcome("broadcast-result", outcome, entry.wanted.ack ? `Acknowledged in ${took} ms` : "Sent");
}

async function track() {
  const entry = chosen();
  const payload = parsed("track-payload", "track-result");
  if (!entry || payload === null) return;
  tellOutcome("track-result", await entry.channel.track(payload), "Tracked");
}

async function untrack() {
  const entry = chosen();
  if (entry) tellOutcome("track-result", await entry.channel.untrack(), "Untracked");
}

function tellOutcome(id, outcome, good) {
  const words = refused || OUTCOMES[outcome] || outcome;
  say(id, outcome === "ok" ? good : `${words} ${advice(refused)}`.trim(), outcome === "ok");
}

function heardFrame({ direction, event, payload, answers }) {
  if (direction === "out" && (event === "broadcast" || event === "presence")) refused = "";
  if (answers && payload?.status === "error") refused = payload.response?.reason ?? "";
}

/** Control and Enter send from within a payload. */
function sendsWithEnter(id, form) {
  when(id, "keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $(form).requestSubmit();
  });
}

export function wireBroadcast() {
  when("broadcast", "submit", send);
  when("track", "submit", track);
  when("untrack", "click", untrack);
  checkJson("broadcast-payload", "broadcast-result");
  checkJson("track-payload", "track-result");
  sendsWithEnter("broadcast-payload", "broadcast");
  sendsWithEnter("track-payload", "track");
  on("frame", heardFrame);
  let about = "";
  on("channels", () => {
    if (about === state.chosen) return;
    about = state.chosen;
    say("broadcast-result", "");
    say("track-result", "");
  });
}
