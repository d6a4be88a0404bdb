// The connection: one official client, unchanged, and how it fares.

import { $, when } from "./dom.js";
import { capturing } from "./wire.js";
import { whyClosed, whyRefused } from "./words.js";
import { notice, on, state, tell } from "./state.js";

const HEARTBEAT_MS = 10_000;
// Never: the largest delay a timer can have.
const NEVER_MS = 2 ** 31 - 1;

const STATES = {
  idle: "Not connected",
  connecting: "Connecting",
  open: "Connected",
  lost: "Trying again",
  refused: "Refused",
};

/** The socket that counts; an earlier one may still be closing. */
let socket = null;

function become(connection) {
  state.connection = connection;
  tell("connection");
}

function draw() {
  const { client, connection } = state;
  $("light").dataset.state = connection;
  $("state").textContent = STATES[connection];
  if (connection !== "open") $("latency").textContent = "";
  for (const id of ["url", "key", "key-choice", "vsn"]) $(id).disabled = client !== null;
  $("connect").textContent = client ? "Disconnect" : "Connect";
  $("connect").classList.toggle("primary", client === null);
}

function heard(event) {
  tell("socket", event);
  if (!state.client || (event.socket !== socket && event.kind !== "connecting")) return;
  if (event.kind === "connecting") {
    socket = event.socket;
    if (state.connection !== "lost") become("connecting");
  } else if (event.kind === "open") {
    notice("");
    become("open");
    // The first would be due after a whole interval; the latency is wanted now.
    setTimeout(() => void state.client?.realtime.sendHeartbeat());
  } else if (event.kind === "close") {
    void closed(event);
  }
}

async function closed(event) {
  become("lost");
  if (event.socket.wasOpen) {
    notice(`${whyClosed(event.code, event.reason)} Trying again.`);
    return;
  }
  const asked = state.client;
  const why = await whyRefused(event.socket.url);
  // Meanwhile it may have come up, or been given up.
  if (state.client !== asked || state.connection === "open") return;
  if (why.final) {
    await disconnect();
    become("refused");
    notice(why.text);
  } else {
    notice(`${why.text} Trying again.`);
  }
}

function heartbeat(status, latency) {
  if (status === "ok" && latency !== undefined) {
    $("latency").textContent = `heartbeat ${latency} ms`;
    tell("heartbeat", latency);
  }
  if (status === "timeout") {
    notice("The server did not answer a heartbeat. Trying again.");
    become("lost");
  }
}

export function connect() {
  notice("");
  const key = $("key").value.trim();
  const url = $("url").value.trim().replace(/\/+$/, "");
  if (!key) {
    notice("Enter an API key of this server first.");
    $("key").focus();
    return;
  }
  try {
    state.client = window.supabase.createClient(url, key, {
      // Given at once, so that the first join carries it.
      accessToken: async () => state.userToken || key,
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
  become("connecting");
  state.client.realtime.connect();
}

export async function disconnect() {
  const leaving = state.client;
  state.client = null;
  state.channels.clear();
  state.chosen = "";
  become("idle");
  tell("channels");
  if (!leaving) return;
  await leaving.removeAllChannels();
  await leaving.realtime.disconnect();
}

export function toggleConnection() {
  return state.client ? disconnect() : connect();
}

export function wireConnection() {
  $("url").value = location.origin;
  on("connection", draw);
  when("connection", "submit", toggleConnection);
  when("notice-close", "click", () => notice(""));
  draw();
}
