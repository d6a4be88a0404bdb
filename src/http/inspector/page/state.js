// What the parts of the page share, and how they hear of each other.
//
// Parts never call each other's drawing: they tell what happened, and whoever
// shows it listens.

export const state = {
  /** The official client, while there is a connection or an attempt at one. */
  client: null,
  /** idle, connecting, open, lost or refused. */
  connection: "idle",
  /** Keys of a server in development. */
  dev: null,
  /** The token of a user; it holds for the whole connection. Empty: the API key. */
  userToken: "",
  /** Channels by topic, in the order in which they were joined. */
  channels: new Map(),
  /** The topic that broadcast and presence are about. */
  chosen: "",
};

/** Who this page is on a channel, unless told otherwise. */
export const MY_KEY = `inspector-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36).slice(0, 4)}`;

/** The entry of the chosen channel. */
export const chosen = () => state.channels.get(state.chosen);

const listeners = new Map();

/**
 * Calls `action` whenever `event` is told:
 *   connection  the state of the connection changed
 *   socket      {at, kind, socket, …}: something on the socket, as wire.js tells it
 *   token       another token is in force
 *   frame       a frame was read
 *   heartbeat   milliseconds one took
 *   channels    a channel came, went or changed
 *   change      a row, as the client gives it
 *   presence    who is present changed
 *   tick        a second went by
 */
export function on(event, action) {
  listeners.set(event, [...(listeners.get(event) ?? []), action]);
}

export function tell(event, detail) {
  for (const action of listeners.get(event) ?? []) action(detail);
}

/** Says something above the page: what went wrong, or a hint. Nothing hides it. */
export function notice(text, kind = "error") {
  const node = document.getElementById("notice");
  document.getElementById("notice-text").textContent = text;
  node.dataset.kind = kind;
  node.hidden = text === "";
}
