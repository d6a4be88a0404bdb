// Single keys, the sheet that lists them, light and dark, and which part a
// narrow screen shows.

import { $, el, when } from "./dom.js";
import { chooseNext, leave } from "./channels.js";
import { toggleConnection } from "./connection.js";
import { clearFrames, togglePause } from "./frames.js";
import { chosen } from "./state.js";

const STORED = "rowcast-single-keys";

/** Key, what it does, and the doing. */
const KEYS = [
  ["?", "This sheet", () => $("help").showModal()],
  ["c", "Connect or disconnect", toggleConnection],
  ["j", "Join a channel: go to its topic", () => go("topic")],
  ["f", "Add a filter condition", () => { show("channels"); if (!$("condition-add").disabled) $("condition-add").click(); }],
  ["]", "Choose the next channel", () => chooseNext(1)],
  ["[", "Choose the channel before", () => chooseNext(-1)],
  ["l", "Leave the chosen channel", () => chosen() && leave(chosen())],
  ["b", "Write a broadcast", () => go("broadcast-payload")],
  ["t", "Write my state for presence", () => go("track-payload")],
  ["/", "Filter frames", () => go("frame-filter")],
  ["g", "Go to the list of frames", () => go("frame-list")],
  ["p", "Pause or resume frames", togglePause],
  ["x", "Clear frames", clearFrames],
  ["d", "Light, dark, or as the system has it", nextTheme],
];
/** Those that are not single. */
const OTHERS = [["↑ ↓", "From frame to frame"], ["Enter", "Unfold a frame"], ["Ctrl + Enter", "Send what is being written"], ["Esc", "Leave a field or this sheet"]];

function go(id) {
  show($(id).closest("[data-part]").dataset.part);
  $(id).focus();
}

const writes = (node) => node.matches?.("input:not([type=checkbox]), textarea, select") ?? false;

function pressed(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if (event.key === "Escape" && writes(event.target)) event.target.blur();
  if (writes(event.target) || !$("single-keys").checked) return;
  const found = KEYS.find(([key]) => key === event.key);
  if (!found) return;
  event.preventDefault();
  void found[2]();
}

// --------------------------------------------------------------------- theme

const THEMES = { auto: ["◐", "as the system has it"], light: ["☀", "light"], dark: ["☾", "dark"] };

function nextTheme() {
  const names = Object.keys(THEMES);
  window.rowcastTheme.set(names[(names.indexOf(window.rowcastTheme.current()) + 1) % names.length]);
  drawTheme();
}

function drawTheme() {
  const [sign, words] = THEMES[window.rowcastTheme.current()];
  $("theme").textContent = sign;
  $("theme").setAttribute("aria-label", `Colours: ${words}`);
  $("theme").title = `Colours: ${words}`;
}

// --------------------------------------------------------------- narrow pages

/** Shows one part of the page, where there is room for one only. */
export function show(part) {
  document.body.dataset.part = part;
  for (const node of document.querySelectorAll("#parts button")) {
    if (node.dataset.shows === part) node.setAttribute("aria-current", "true");
    else node.removeAttribute("aria-current");
  }
}

function storedChoice() {
  try {
    return localStorage.getItem(STORED) !== "off";
  } catch {
    // Storage may be switched off.
    return true;
  }
}

export function wireKeys() {
  document.addEventListener("keydown", pressed);
  const line = ([key, words]) => el("li", "", el("span", "keys", ...key.split(" ").map((part) => (part === "+" ? part : el("kbd", "", part)))), el("span", "", words));
  $("key-list").replaceChildren(...[...KEYS, ...OTHERS].map(line));
  $("single-keys").checked = storedChoice();
  when("single-keys", "change", () => {
    try {
      localStorage.setItem(STORED, $("single-keys").checked ? "on" : "off");
    } catch {
      // It holds until the page is closed.
    }
  });
  when("help-open", "click", () => $("help").showModal());
  when("help-close", "click", () => $("help").close());
  // A click beside the sheet closes it.
  when("help", "click", (event) => { if (event.target === $("help")) $("help").close(); });
  when("theme", "click", nextTheme);
  for (const node of document.querySelectorAll("#parts button")) node.addEventListener("click", () => show(node.dataset.shows));
  drawTheme();
  show("channels");
}
