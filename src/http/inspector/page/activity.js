// How much goes over the socket: frames per second of the last minute, those
// from the server above the line and those to it below, and what heartbeats took.

import { $ } from "./dom.js";
import { on } from "./state.js";

const SECONDS = 60;
const BEATS = 30;

/** Frames of each second; the last is the one that runs. */
const counts = { in: new Array(SECONDS).fill(0), out: new Array(SECONDS).fill(0) };
let second = Math.floor(Date.now() / 1000);
/** Milliseconds of the last heartbeats. */
const beats = [];

/** Moves on to the present second; a page in the background may have slept. */
function moveOn() {
  const now = Math.floor(Date.now() / 1000);
  const passed = Math.min(SECONDS, Math.max(0, now - second));
  second = now;
  for (const side of Object.values(counts)) {
    for (let n = 0; n < passed; n += 1) {
      side.shift();
      side.push(0);
    }
  }
}

/** 1, 2 or 5 times a power of ten: a scale that people read at once. */
function roundUp(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, most)));
  return [1, 2, 5, 10].map((step) => step * power).find((size) => size >= most);
}

const bars = (values, most, direction) => values.map((value, at) => (value > 0 ? `M${at + 0.15} 0v${(direction * Math.max(0.03, value / most)).toFixed(3)}h.7V0z` : "")).join("");

function drawRates() {
  moveOn();
  // The running second is not full yet: numbers are of the one before.
  const last = (side) => counts[side].at(-2);
  const top = roundUp(Math.max(...counts.in, ...counts.out, 5));
  $("rate-in").setAttribute("d", bars(counts.in, top, -1));
  $("rate-out").setAttribute("d", bars(counts.out, top, 1));
  $("rate-scale").textContent = `${top}/s`;
  $("rate-in-now").textContent = last("in");
  $("rate-out-now").textContent = last("out");
  const sum = (side) => counts[side].reduce((total, value) => total + value, 0);
  $("rate-chart").setAttribute("aria-label", `Frames per second. In the last minute ${sum("in")} came in and ${sum("out")} went out.`);
}

function drawBeats() {
  $("beat-none").hidden = beats.length > 0;
  if (beats.length === 0) return;
  const top = Math.max(...beats, 5);
  const points = beats.map((ms, at) => `${BEATS - beats.length + at} ${(-ms / top).toFixed(3)}`);
  // A single one is a short line.
  if (points.length === 1) points.unshift(`${BEATS - 1.6} ${(-beats[0] / top).toFixed(3)}`);
  $("beat-line").setAttribute("d", `M${points.join("L")}`);
  const middle = [...beats].sort((a, b) => a - b)[Math.floor(beats.length / 2)];
  $("beat-now").textContent = `${beats.at(-1)} ms`;
  $("beat-chart").setAttribute("aria-label", `Heartbeats: the last took ${beats.at(-1)} ms, the median of ${beats.length} is ${middle} ms, the slowest took ${Math.max(...beats)} ms.`);
}

export function wireActivity() {
  on("frame", ({ direction }) => {
    moveOn();
    counts[direction][SECONDS - 1] += 1;
  });
  on("heartbeat", (ms) => {
    beats.push(ms);
    if (beats.length > BEATS) beats.shift();
    drawBeats();
  });
  on("tick", drawRates);
  drawRates();
  drawBeats();
}
