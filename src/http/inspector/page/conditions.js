// The builder of filters: a line for each condition, all of which have to hold.

import { $, button, el, when } from "./dom.js";
import { OPERATORS, format, parse, problem } from "./filter.js";
import { on } from "./state.js";

const MOST_COLUMNS = 200;
const HINTS = { in: "1, 2, 3", is: "null", like: "a%", ilike: "a%", match: "^a", imatch: "^a" };

let changed = () => {};

const lines = () => [...document.querySelectorAll("#conditions > li")];

/** A line for a condition; its fields tell of every change. */
function line({ column = "", not = false, op = "eq", value = "" } = {}) {
  const columnField = labelled(el("input", "mono condition-column"), "Column");
  columnField.value = column;
  columnField.placeholder = "column";
  columnField.setAttribute("list", "columns");
  const notField = el("button", "condition-not", "not");
  notField.type = "button";
  notField.setAttribute("aria-pressed", String(not));
  notField.title = "Turn the condition round";
  const opField = labelled(el("select", "condition-op", ...OPERATORS.map(([name, words]) => {
    const option = el("option", "", words);
    option.value = name;
    return option;
  })), "Operator");
  opField.value = op;
  const valueField = labelled(el("input", "mono condition-value"), "Value");
  valueField.value = value;
  for (const field of [columnField, valueField]) {
    field.spellcheck = false;
    field.autocomplete = "off";
  }
  const node = el("li", "condition");
  const remove = labelled(button("✕", "quiet condition-remove", () => {
    const neighbour = node.nextElementSibling ?? node.previousElementSibling;
    node.remove();
    (neighbour?.querySelector("input") ?? $("condition-add")).focus();
    refresh();
  }), "Remove this condition");
  node.append(columnField, notField, opField, valueField, remove, el("small", "bad condition-problem"));
  notField.addEventListener("click", () => {
    notField.setAttribute("aria-pressed", String(notField.getAttribute("aria-pressed") !== "true"));
    refresh();
  });
  node.addEventListener("input", refresh);
  return node;
}

function labelled(node, label) {
  node.setAttribute("aria-label", label);
  return node;
}

const read = (node) => ({
  column: node.querySelector(".condition-column").value,
  not: node.querySelector(".condition-not").getAttribute("aria-pressed") === "true",
  op: node.querySelector(".condition-op").value,
  value: node.querySelector(".condition-value").value,
});

const untouched = ({ column, value }) => column === "" && value === "";

/** The filter as the wire has it; lines nobody filled in do not count. */
export const filterText = () => format(lines().map(read).filter((condition) => !untouched(condition)));

/** Shows what is wrong with the lines; whether nothing is. */
export function checkConditions() {
  let good = true;
  for (const node of lines()) {
    const condition = read(node);
    const words = untouched(condition) ? "" : problem(condition);
    node.querySelector(".condition-problem").textContent = words;
    good &&= words === "";
  }
  return good;
}

function refresh() {
  for (const node of lines()) {
    const { op } = read(node);
    node.querySelector(".condition-value").placeholder = HINTS[op] ?? "value";
    // What was wrong may be mended by now; new faults are told on joining.
    const words = node.querySelector(".condition-problem");
    if (words.textContent) words.textContent = problem(read(node));
  }
  changed();
}

/** Fills in a filter from an address; whether the builder could show it. */
export function showFilter(text) {
  const conditions = parse(text);
  if (!conditions) return false;
  $("conditions").replaceChildren(...conditions.map(line));
  refresh();
  return true;
}

/** Columns that were seen in rows are offered. */
function seen(change) {
  const known = new Set([...$("columns").options].map((option) => option.value));
  for (const name of Object.keys({ ...change.new, ...change.old })) {
    if (known.has(name) || known.size >= MOST_COLUMNS) continue;
    known.add(name);
    const option = el("option");
    option.value = name;
    $("columns").append(option);
  }
}

export function wireConditions(onChange) {
  changed = onChange;
  when("condition-add", "click", () => {
    const node = line();
    $("conditions").append(node);
    refresh();
    node.querySelector("input").focus();
  });
  on("change", seen);
}
