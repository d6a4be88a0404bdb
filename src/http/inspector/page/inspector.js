// The inspector: one client, its channels, and lists of what came of them.
//
// The client is the official one, unchanged. Frames are seen by the WebSocket
// class it is given; rows, presence and states come from its channels. Each
// part is a module of its own; state.js says how they hear of each other.

import { wireActivity } from "./activity.js";
import { wireBroadcast } from "./broadcast.js";
import { wireChannels } from "./channels.js";
import { wireConnection } from "./connection.js";
import { $ } from "./dom.js";
import { wireFrames } from "./frames.js";
import { fillFromQuery, joinFromForm, wireJoin } from "./join.js";
import { show, wireKeys } from "./keys.js";
import { wirePresence } from "./presence.js";
import { wireRows } from "./rows.js";
import { state, tell } from "./state.js";
import { offerKeys, wireToken } from "./token.js";

async function devConfig() {
  try {
    const response = await fetch("/inspector/config.json");
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

async function start() {
  wireConnection();
  wireJoin();
  wireFrames();
  wireRows();
  wireChannels();
  wirePresence();
  wireBroadcast();
  wireActivity();
  wireKeys();
  fillFromQuery();
  wireToken();
  setInterval(() => tell("tick"), 1000);

  state.dev = await devConfig();
  if (!state.dev) {
    if (!$("key").value) $("key").focus();
    return;
  }
  offerKeys();
  // Someone who just started the server wants to see rows, not forms.
  show("rows");
  await joinFromForm();
}

void start();
