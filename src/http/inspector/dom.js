// Building blocks of the page. Whatever comes off the wire goes in as text,
// never as markup; the page's policy would refuse it anyway.

export const $ = (id) => document.getElementById(id);

/** An element with a class, text or children. */
export function el(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

export function button(text, className, onClick) {
  const node = el("button", className, text);
  node.type = "button";
  node.addEventListener("click", onClick);
  return node;
}

const pad = (number, width) => String(number).padStart(width, "0");

/** Local time with milliseconds. */
export function clock(at) {
  const time = new Date(at);
  return `${pad(time.getHours(), 2)}:${pad(time.getMinutes(), 2)}:${pad(time.getSeconds(), 2)}.${pad(time.getMilliseconds(), 3)}`;
}

export function bytes(size) {
  return size < 1024 ? `${size} B` : `${(size / 1024).toFixed(1)} KB`;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** A value on one line: identifiers shortened, the rest cut at `limit`. */
export function brief(value, limit = 80) {
  if (typeof value === "string" && UUID.test(value)) return `${value.slice(0, 8)}…`;
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > limit ? `${text.slice(0, limit)}…` : text;
}

function scalar(value) {
  const kind = value === null ? "null" : typeof value;
  return el("span", `json-${kind}`, JSON.stringify(value) ?? "undefined");
}

// A collection may hold anything a server sends: more than this is not drawn.
const MOST_ITEMS = 200;

/** A tree of a JSON value; what is inside it folds. */
export function json(value) {
  if (value === null || typeof value !== "object" || Object.keys(value).length === 0) return branch(value, null, 0);
  return el("div", "json", ...items(value, 0));
}

function items(value, depth) {
  const entries = Object.entries(value);
  const drawn = entries.slice(0, MOST_ITEMS).map(([key, inner]) => branch(inner, key, depth));
  const more = entries.length - MOST_ITEMS;
  if (more > 0) drawn.push(el("div", "json-leaf json-mark", `${more} more`));
  return drawn;
}

function branch(value, label, depth) {
  const name = label === null ? null : el("span", "json-key", `${label}: `);
  if (value === null || typeof value !== "object") {
    return el("div", "json-leaf", name, scalar(value));
  }
  const list = Array.isArray(value);
  const size = Object.keys(value).length;
  if (size === 0) return el("div", "json-leaf", name, el("span", "json-mark", list ? "[]" : "{}"));
  const count = list ? `[ ${size} ]` : `{ ${size} }`;
  const node = el("details", "json-branch", el("summary", "", name, el("span", "json-mark", count)));
  const fill = () => {
    if (node.childElementCount === 1) node.append(...items(value, depth + 1));
  };
  // Deep trees are drawn when they are opened.
  if (depth < 4) {
    fill();
    node.open = true;
  } else {
    node.addEventListener("toggle", fill);
  }
  return node;
}

/** Copies text and says so on the button. */
export async function copy(text, node) {
  const before = node.textContent;
  try {
    await navigator.clipboard.writeText(text);
    node.textContent = "Copied";
  } catch {
    // Browsers allow it on trustworthy origins only.
    node.textContent = "Select and copy";
  }
  setTimeout(() => { node.textContent = before; }, 1500);
}
