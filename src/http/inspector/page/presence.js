// Who is present on the chosen channel, as people: a sign for each, what they
// say of themselves, and since when they are here.

import { $, el } from "./dom.js";
import { clock, span } from "./format.js";
import { cell } from "./rows.js";
import { MY_KEY, chosen, on } from "./state.js";

const MOST_DRAWN = 200;
/** Names of claims that tell who somebody is, and since when. */
const NAMES = ["name", "display_name", "full_name", "username", "user", "email"];
const TIMES = ["online_at", "joined_at", "since"];

/** When a key was first seen here, by topic and key. */
const firstSeen = new Map();

function draw() {
  const entry = chosen();
  const present = entry?.status === "SUBSCRIBED" ? entry.channel.presenceState() : {};
  const people = Object.entries(present);
  remember(entry?.topic, present);
  const mine = entry ? entry.wanted.presenceKey || MY_KEY : null;
  const nodes = people.slice(0, MOST_DRAWN).map(([key, metas]) => person(key, metas, key === mine, firstSeen.get(`${entry.topic} ${key}`)));
  if (people.length > MOST_DRAWN) nodes.push(el("li", "hint", `and ${people.length - MOST_DRAWN} more`));
  $("present").replaceChildren(...nodes);
  $("present-empty").hidden = people.length > 0;
  $("present-empty").textContent = emptyWords(entry);
  $("presence-count").textContent = people.length || "";
  tick();
}

function emptyWords(entry) {
  if (!entry) return "Join a channel to see who is present.";
  if (!entry.wanted.presence) return "This channel was joined without presence.";
  return "Nobody is present here. Track yourself below, or open this page a second time.";
}

/** Keeps when each came; those who left are forgotten. */
function remember(topic, present) {
  const prefix = `${topic} `;
  for (const known of firstSeen.keys()) {
    if (!known.startsWith(prefix) || !(known.slice(prefix.length) in present)) firstSeen.delete(known);
  }
  for (const key of Object.keys(present)) {
    if (!firstSeen.has(prefix + key)) firstSeen.set(prefix + key, Date.now());
  }
}

function person(key, metas, mine, seen) {
  const name = String(find(metas, NAMES) ?? key);
  const told = Date.parse(find(metas, TIMES));
  const since = el("time");
  since.dataset.since = Number.isFinite(told) ? told : seen;
  since.title = Number.isFinite(told) ? `Here since ${new Date(told).toLocaleString()}, as they say` : `First seen by this page at ${clock(seen).slice(0, 8)}`;
  const head = el("div", "person-head", el("b", "", name), mine ? el("span", "badge you", "you") : null);
  const states = metas.map(({ presence_ref: _ref, ...meta }) => el("div", "cells", ...Object.entries(meta).filter(([field, value]) => !(value === name && NAMES.includes(field))).map(([field, value]) => cell(field, value))));
  const facts = el("div", "person-facts", key !== name ? el("span", "mono", key) : null, metas.length > 1 ? el("span", "", `${metas.length} connections`) : null, since);
  const node = el("li", "person", avatar(key, name), el("div", "person-text", head, facts, ...states));
  node.dataset.key = key;
  return node;
}

const find = (metas, fields) => fields.flatMap((field) => metas.map((meta) => meta[field])).find((value) => typeof value === "string" && value !== "");

/** Initials on a colour that is always the same for a key. */
function avatar(key, name) {
  const words = name.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const initials = (words.length > 1 ? [...words[0]][0] + [...words.at(-1)][0] : [...(words[0] ?? "?")].slice(0, 2).join("")).toUpperCase();
  const node = el("span", "avatar", initials);
  const hue = [...key].reduce((sum, char) => (sum * 31 + char.codePointAt(0)) % 360, 7);
  node.style.setProperty("--hue", hue);
  node.setAttribute("aria-hidden", "true");
  return node;
}

function tick() {
  for (const node of $("present").querySelectorAll("[data-since]")) node.textContent = `for ${span(Date.now() - Number(node.dataset.since))}`;
}

export function wirePresence() {
  on("presence", draw);
  on("channels", draw);
  on("tick", tick);
  draw();
}
