// What the server and its frames say, in words a person reads.

/** One line of what a payload says. */
export function summary(frame) {
  const { event, payload } = frame;
  if (frame.error) return frame.error;
  if (payload === null || typeof payload !== "object") return JSON.stringify(payload) ?? "";
  if (event === "broadcast" && "event" in payload) return `${payload.event} ${JSON.stringify(payload.payload ?? {})}`;
  if (event === "postgres_changes" && payload.data) {
    const { type, schema, table, record, old_record: old } = payload.data;
    return `${type} ${schema}.${table} ${JSON.stringify(record ?? old ?? {})}`;
  }
  if (event === "phx_join" && payload.config) return joinSummary(payload.config);
  if (event === "presence") return `${payload.event} ${JSON.stringify(payload.payload ?? {})}`;
  if (event === "presence_state") return `present: ${names(payload) || "nobody"}`;
  if (event === "presence_diff") {
    const parts = ["joins", "leaves"].map((side) => [side, names(payload[side])]);
    return parts.filter(([, who]) => who).map(([side, who]) => `${side}: ${who}`).join("; ");
  }
  if (event === "phx_reply" && payload.status === "error") return `error: ${Object.values(payload.response ?? {}).join(", ")}`;
  if (event === "phx_reply") return `${payload.status} ${JSON.stringify(payload.response)}`;
  if (event === "system") return `${payload.status}: ${payload.message}`;
  return JSON.stringify(payload);
}

const names = (people) => Object.keys(people ?? {}).join(", ");

function joinSummary(config) {
  const changes = (config.postgres_changes ?? []).map(({ event, schema, table, filter }) => `${event} of ${schema}.${table ?? "*"}${filter ? ` where ${filter}` : ""}`);
  const parts = [config.private && "private", config.broadcast?.self && "self", config.broadcast?.ack && "ack", config.presence?.enabled && "presence", ...changes];
  return parts.filter(Boolean).join(", ");
}

/** Whether a frame tells of something that went wrong. */
export function isError(frame) {
  const { event, payload } = frame;
  return Boolean(frame.error) || event === "phx_error"
    || ((event === "phx_reply" || event === "system") && payload?.status === "error");
}

const SECRETS = new Set(["access_token", "apikey", "user_token"]);

/** The payload with tokens cut to their ends: screens are shared. */
export function masked(value) {
  if (Array.isArray(value)) return value.map(masked);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [
    key,
    SECRETS.has(key) && typeof inner === "string" && inner.length > 16 ? `${inner.slice(0, 6)}…${inner.slice(-4)}` : masked(inner),
  ]));
}

/** The address of a socket, its key cut likewise. */
export function hideKey(address) {
  const url = new URL(address);
  const key = url.searchParams.get("apikey") ?? "";
  if (key.length > 16) url.searchParams.set("apikey", `${key.slice(0, 6)}…${key.slice(-4)}`);
  return decodeURIComponent(url.href);
}

const CLOSE_CODES = {
  1000: "The connection was closed.",
  1001: "The server is going away.",
  1006: "The connection was lost.",
  1007: "The server could not read a frame as text.",
  1008: "The server closed the connection: it broke a rule.",
  1009: "The server closed the connection: a message was too large.",
  1011: "The server had an internal error.",
  1012: "The server restarts.",
  1013: "The server is overloaded or this page read too slowly.",
};

export function whyClosed(code, reason) {
  return `${CLOSE_CODES[code] ?? `The connection was closed with code ${code}.`}${reason ? ` (${reason})` : ""}`;
}

// What the server says, and what may be done about it.
const ADVICE = [
  [/^Unauthorized|permissions? to read/, "No policy on realtime.messages lets this token's role read the topic."],
  [/permissions? to write/, "No policy on realtime.messages lets this token's role write to the topic."],
  [/^PrivateOnly/, "Switch Private on."],
  [/Token has expired/, "Take a new token."],
  [/^MalformedJWT|not a valid JWT/, "The access token is not a JWT: three parts with dots between them."],
  [/^JwtSignatureError|JWT signature/, "Another secret or key signed this token."],
  [/^JwtSignerError|JWT signer/, "The server has no key that could check this token."],
  [/required in JWT/, "The token needs the claims role and exp."],
  [/^(ClientJoin|Connection|Channel)RateLimit/, "The tenant is at its limit; wait a moment or leave channels."],
  [/^(RealtimeRestarting|InitializingProject)/, "It joins again by itself."],
  [/^(UnableToConnect|DatabaseLack|DatabaseConnection|IncreaseConnection)/, "The server has trouble with its database."],
  [/^TenantNotFound/, "The first part of the server's host names the tenant."],
  [/^RealtimeDisabled/, "The tenant is suspended."],
  [/^MissingPartition/, "Today's partition of realtime.messages is missing."],
  [/Replay is not allowed/, "Switch Private on; only private channels have a history."],
  [/invalid column for/, "The table has no such column, or the token's role may not read it."],
  [/invalid input syntax|requires a/, "The filter's value or operator does not fit the column's type."],
  [/[Uu]nable to subscribe to changes/, "Is the table in the publication supabase_realtime, and the name right?"],
];

/** What to do about an error, or nothing. */
export const advice = (text) => ADVICE.find(([pattern]) => pattern.test(text))?.[1] ?? "";

/** Why a server refused a socket, in its own words if it can be asked. */
export async function whyRefused(url) {
  const asked = new URL(url);
  asked.protocol = asked.protocol === "wss:" ? "https:" : "http:";
  // Another origin's answer is not for this page to read.
  if (asked.origin !== location.origin) return { text: "The server refused the connection or cannot be reached. Check the address and the key.", final: false };
  let response;
  try {
    response = await fetch(asked, { cache: "no-store" });
  } catch {
    return { text: "The server cannot be reached. It may have stopped.", final: false };
  }
  // The handshake was fine up to the upgrade itself.
  if (response.status === 426) return { text: "The connection was cut while it was opening.", final: false };
  let said = "";
  try {
    said = (await response.json()).error ?? "";
  } catch {
    // No JSON: the status has to do.
  }
  if (response.status >= 502) return { text: `The server cannot be reached: what stands before it answers with HTTP status ${response.status}.`, final: false };
  const hint = { 401: " Check the API key.", 403: " Check the API key and the protocol version.", 404: " Check the server's address: its host names the tenant.", 429: " It is at its limit; wait a moment." }[response.status] ?? "";
  return { text: `The server refused the connection: ${said || `HTTP status ${response.status}`}.${hint}`, final: response.status < 500 && response.status !== 429 };
}
