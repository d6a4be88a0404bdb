// Times, sizes and values as people read them.

const pad = (number, width) => String(number).padStart(width, "0");

/** Local time with milliseconds. */
export function clock(at) {
  const time = new Date(at);
  return `${pad(time.getHours(), 2)}:${pad(time.getMinutes(), 2)}:${pad(time.getSeconds(), 2)}.${pad(time.getMilliseconds(), 3)}`;
}

export function bytes(size) {
  return size < 1024 ? `${size} B` : `${(size / 1024).toFixed(1)} KB`;
}

/** A length of time, coarser the longer it is: "42 s", "3 min", "5 h". */
export function span(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  if (days < 2) return `${hours} h`;
  return days < 730 ? `${days} days` : `${Math.floor(days / 365)} years`;
}

/** A length of time to the second: "0:42", "59:03", "1:02:00"; days are rounded. */
export function countdown(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds >= 48 * 3600) return span(ms);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const end = pad(seconds % 60, 2);
  return hours > 0 ? `${hours}:${pad(minutes, 2)}:${end}` : `${minutes}:${end}`;
}

/** The gap between two frames: "+3", "+1.2 s", "+4 min". */
export function gap(ms) {
  if (ms === null) return "";
  if (ms < 1000) return `+${Math.round(ms)} ms`;
  return ms < 10_000 ? `+${(ms / 1000).toFixed(1)} s` : `+${span(ms)}`;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** A value on one line: identifiers shortened, the rest cut at `limit`. */
export function brief(value, limit = 80) {
  if (typeof value === "string" && UUID.test(value)) return `${value.slice(0, 8)}…`;
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "undefined");
  return text.length > limit ? `${text.slice(0, limit)}…` : text;
}
