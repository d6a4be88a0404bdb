// The list of frames: every one in either direction, read, timed and filtered.
// It is bounded; the oldest go first.

import { $, copy, el, when } from "./dom.js";
import { exported, frameItem, shortTopic } from "./frame.js";
import { on, tell } from "./state.js";
import { decode } from "./wire.js";
import { hideKey } from "./words.js";

const MOST_FRAMES = 2000;
const MOST_BYTES = 32 * 1024 * 1024;
const MOST_DRAWN_AT_ONCE = 400;
const MOST_CHOICES = 100;
const MOST_UNANSWERED = 500;

/** Those listed, oldest first. */
const items = [];
/** Those not drawn yet, oldest first. */
const waiting = [];
/** Bytes of both, as they were on the wire. */
let kept = 0;
let shown = 0;
let paused = false;
let scheduled = false;
let cleared = false;

// ----------------------------------------------------------------- recording

/** When and as what a frame with a ref went out. */
const sent = new Map();
let before = null;

function record(event) {
  const framed = event.kind === "in" || event.kind === "out";
  if (event.kind === "connecting") sent.clear();
  const frame = framed ? { direction: event.kind, ...decode(event.data, event.kind) } : ofSocket(event);
  frame.at = event.at;
  frame.since = before === null ? null : event.at - before;
  before = event.at;
  if (framed) {
    pairUp(frame);
    tell("frame", frame);
  }
  waiting.push(frame);
  kept += frame.size;
  bound();
  schedule();
}

/** Lets the oldest go where there are too many, or where they are too large. */
function bound() {
  while (waiting.length > MOST_FRAMES) kept -= waiting.shift().size;
  while (items.length > MOST_FRAMES || (kept > MOST_BYTES && items.length > 0)) {
    const gone = items.shift();
    kept -= gone.frame.size;
    if (!gone.node.hidden) shown -= 1;
    gone.node.remove();
  }
  while (kept > MOST_BYTES && waiting.length > 1) kept -= waiting.shift().size;
}

function ofSocket({ kind, url, code, reason }) {
  const payload = { connecting: () => `opening ${hideKey(url)}`, open: () => "open", close: () => `closed, code ${code}${reason ? `: ${reason}` : ""}` }[kind]();
  return { direction: "socket", form: "no frame: the socket itself", topic: "", event: "socket", payload, ref: null, joinRef: null, size: 0, error: null };
}

/** Notes how long a reply took. */
function pairUp(frame) {
  if (frame.ref === null) return;
  if (frame.direction === "out") {
    sent.set(frame.ref, { at: performance.now(), event: frame.event });
    if (sent.size > MOST_UNANSWERED) sent.delete(sent.keys().next().value);
  } else if (frame.event === "phx_reply" && sent.has(frame.ref)) {
    const { at, event } = sent.get(frame.ref);
    sent.delete(frame.ref);
    frame.answers = { event, ms: Math.round(performance.now() - at) };
  }
}

// ------------------------------------------------------------------- drawing

// Frames may come faster than a screen can show them: they are drawn once per
// picture, and those that would have scrolled away at once are left out.
function schedule() {
  if (paused) count();
  if (paused || scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    if (!paused) draw();
  });
}

function draw() {
  const batch = waiting.splice(0, MOST_DRAWN_AT_ONCE);
  if (batch.length === 0) return;
  const added = document.createDocumentFragment();
  const filter = currentFilter();
  for (const frame of batch) {
    const item = frameItem(frame);
    item.node.hidden = !passes(item, filter);
    if (!item.node.hidden) shown += 1;
    items.push(item);
    added.prepend(item.node);
    offer("frame-channel", frame.topic);
    offer("frame-event", frame.event);
  }
  $("frame-list").prepend(added);
  bound();
  count();
  if (waiting.length > 0) schedule();
}

function count() {
  const held = paused && waiting.length > 0 ? `, ${waiting.length} waiting` : "";
  const of = shown === items.length ? `${shown}` : `${shown} of ${items.length}`;
  $("frame-count").textContent = items.length > 0 || held ? `${of}${held}` : "";
  $("frames-empty").hidden = shown > 0;
  if (shown > 0) return;
  const first = "Every frame in either direction is listed here. Connect to see the first.";
  $("frames-empty").textContent = items.length > 0 ? "No frame passes the filter." : cleared ? "Cleared. The next frame shows up here." : first;
}

// ----------------------------------------------------------------- filtering

const offered = { "frame-channel": new Set(), "frame-event": new Set() };

/** Adds what was seen to what can be chosen. */
function offer(id, value) {
  const known = offered[id];
  if (!value || known.has(value) || known.size >= MOST_CHOICES) return;
  known.add(value);
  const option = el("option", "", shortTopic(value));
  option.value = value;
  $(id).append(option);
}

function currentFilter() {
  return {
    heartbeats: $("heartbeats").checked,
    topic: $("frame-channel").value,
    event: $("frame-event").value,
    direction: $("frame-direction").value,
    words: $("frame-filter").value.trim().toLowerCase().split(/\s+/),
  };
}

function passes({ frame, heartbeat, hay }, filter) {
  return (filter.heartbeats || !heartbeat)
    && (!filter.topic || frame.topic === filter.topic)
    && (!filter.event || frame.event === filter.event)
    && (!filter.direction || frame.direction === filter.direction)
    && filter.words.every((word) => hay.includes(word));
}

function refilter() {
  const filter = currentFilter();
  shown = 0;
  for (const item of items) {
    item.node.hidden = !passes(item, filter);
    if (!item.node.hidden) shown += 1;
  }
  count();
}

// ------------------------------------------------------------------- control

export function togglePause() {
  paused = !paused;
  $("frames-pause").textContent = paused ? "Resume" : "Pause";
  $("frames-pause").setAttribute("aria-pressed", String(paused));
  if (!paused) schedule();
  count();
}

export function clearFrames() {
  items.length = 0;
  waiting.length = 0;
  kept = 0;
  shown = 0;
  cleared = true;
  $("frame-list").replaceChildren();
  count();
}

function copyShown() {
  const frames = items.filter((item) => !item.node.hidden).map((item) => exported(item.frame));
  void copy(JSON.stringify(frames, null, 2), $("frames-copy"), `Copied ${frames.length}`);
}

/** Arrow keys, Home and End go from line to line. */
function walk(event) {
  const lines = () => items.filter((item) => !item.node.hidden).map((item) => item.node.querySelector("summary")).reverse();
  const steps = { ArrowDown: 1, ArrowUp: -1 };
  if (!(event.key in steps) && event.key !== "Home" && event.key !== "End") return;
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const all = lines();
  if (all.length === 0) return;
  event.preventDefault();
  const at = all.indexOf(event.target.closest(".frame")?.querySelector("summary"));
  const next = event.key === "Home" ? 0 : event.key === "End" ? all.length - 1 : Math.min(all.length - 1, Math.max(0, at + steps[event.key]));
  all[next].focus();
}

export function wireFrames() {
  on("socket", record);
  when("frames-pause", "click", togglePause);
  when("frames-clear", "click", clearFrames);
  when("frames-copy", "click", copyShown);
  when("frame-filter", "input", refilter);
  when("frame-list", "keydown", walk);
  for (const id of ["heartbeats", "frame-channel", "frame-event", "frame-direction"]) when(id, "change", refilter);
  count();
}
