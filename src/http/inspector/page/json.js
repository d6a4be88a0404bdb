// A tree of a JSON value, to look through.

import { el } from "./dom.js";

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
