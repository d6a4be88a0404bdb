// What goes over the socket: a WebSocket that tells of every frame, and the
// reading of both versions of the protocol.

const text = new TextDecoder();
const utf8 = new TextEncoder();

/**
 * A WebSocket class for the client to use; `tell` hears
 * {at, kind: "open" | "close" | "in" | "out", socket, …}.
 */
export function capturing(tell) {
  return class CapturedSocket extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols ?? []);
      const hear = (kind, more = {}) => tell({ at: Date.now(), kind, socket: this, ...more });
      this.binaryType = "arraybuffer";
      this.wasOpen = false;
      hear("connecting", { url });
      this.addEventListener("open", () => {
        this.wasOpen = true;
        hear("open");
      });
      this.addEventListener("close", (event) => hear("close", { code: event.code, reason: event.reason }));
      this.addEventListener("message", (event) => hear("in", { data: event.data }));
    }

    send(data) {
      tell({ at: Date.now(), kind: "out", socket: this, data });
      super.send(data);
    }
  };
}

/** {form, topic, event, payload, ref, joinRef, size, error} of one frame. */
export function decode(data, direction) {
  try {
    return typeof data === "string" ? decodeText(data) : decodeBinary(asBytes(data), direction);
  } catch (error) {
    const size = typeof data === "string" ? utf8.encode(data).length : (data.byteLength ?? 0);
    const payload = typeof data === "string" ? data : hex(asBytes(data));
    return { form: "unreadable", topic: "", event: "?", payload, ref: null, joinRef: null, size, error: error.message };
  }
}

function decodeText(data) {
  const value = JSON.parse(data);
  const size = utf8.encode(data).length;
  if (Array.isArray(value)) {
    const [joinRef, ref, topic, event, payload] = value;
    return { form: "text, version 2", topic, event, payload, ref, joinRef, size };
  }
  const { topic, event, payload, ref = null, join_ref: joinRef = null } = value;
  return { form: "text, version 1", topic, event, payload, ref, joinRef, size };
}

// The names whose lengths follow the kind byte. A push from the server has no ref.
const LAYOUTS = {
  0: { in: ["joinRef", "topic", "event"], out: ["joinRef", "ref", "topic", "event"] },
  1: { in: ["joinRef", "ref", "topic", "event"], out: ["joinRef", "ref", "topic", "event"] },
  2: { in: ["topic", "event"], out: ["topic", "event"] },
  3: { in: ["joinRef", "ref", "topic", "event", "meta"], out: ["joinRef", "ref", "topic", "event", "meta"] },
  4: { in: ["topic", "event", "meta"], out: ["topic", "event", "meta"] },
};
const NAMES = ["push", "reply", "broadcast", "broadcast push", "broadcast"];

function decodeBinary(frame, direction) {
  const kind = frame[0];
  const layout = LAYOUTS[kind]?.[direction];
  if (!layout) throw new Error(`no binary frame has kind ${kind}`);
  const user = kind >= 3;
  const lengths = frame.subarray(1, 1 + layout.length);
  let at = 1 + layout.length + (user ? 1 : 0);
  const found = { joinRef: null, ref: null, topic: "", event: "", meta: "" };
  layout.forEach((name, index) => {
    const end = at + lengths[index];
    if (end > frame.length) throw new Error("the frame is shorter than its lengths say");
    found[name] = text.decode(frame.subarray(at, end)) || found[name];
    at = end;
  });
  const rest = frame.subarray(at);
  const isJson = user && frame[1 + layout.length] === 1;
  let payload = isJson ? JSON.parse(text.decode(rest)) : { bytes: rest.length, hex: hex(rest) };
  let event = found.event;
  if (user) {
    // As version 1 shows the same broadcast.
    payload = { type: "broadcast", event: found.event, payload };
    if (found.meta) payload.meta = JSON.parse(found.meta);
    event = "broadcast";
  }
  return { form: `binary, kind ${kind} (${NAMES[kind]})`, topic: found.topic, event, payload, ref: found.ref, joinRef: found.joinRef, size: frame.length };
}

const asBytes = (data) => (data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength));

function hex(data) {
  const shown = Array.from(data.subarray(0, 256), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return data.length > 256 ? `${shown} …` : shown;
}
