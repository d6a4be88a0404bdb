// The grammar of filters: `column=op.value`, several with commas between them,
// all of which have to hold. No part of this touches the page.

/** Operators in the order of the list: name, what it says. */
export const OPERATORS = [
  ["eq", "="],
  ["neq", "≠"],
  ["gt", ">"],
  ["gte", "≥"],
  ["lt", "<"],
  ["lte", "≤"],
  ["in", "in list"],
  ["is", "is"],
  ["isdistinct", "is distinct from"],
  ["like", "like"],
  ["ilike", "like, any case"],
  ["match", "matches"],
  ["imatch", "matches, any case"],
];

const NAMES = new Set(OPERATORS.map(([name]) => name));
const IS = ["null", "true", "false", "unknown"];
const MOST_IN = 100;

/** What is wrong with {column, not, op, value}, or nothing. */
export function problem({ column, op, value }) {
  if (!column.trim()) return "Name a column.";
  if (/[=,]/.test(column)) return "A filter cannot name a column with = or a comma.";
  if (op === "is" && !IS.includes(value.trim())) return `Here the value is ${IS.slice(0, -1).join(", ")} or ${IS.at(-1)}.`;
  if (op === "in") {
    const items = elements(inner(value));
    if (items.length === 0) return "List at least one value: 1, 2, 3.";
    if (items.length > MOST_IN) return `A list has at most ${MOST_IN} values.`;
  }
  return "";
}

/** The filter of several conditions. */
export function format(conditions) {
  return conditions.map(({ column, not, op, value }) => `${column.trim()}=${not ? "not." : ""}${op}.${operand(op, value)}`).join(",");
}

function operand(op, value) {
  if (op === "in") return `(${elements(inner(value)).map((item) => (item.startsWith('"') ? item : quoted(item, /[,(){}"\\\s]/))).join(",")})`;
  if (op === "is") return value.trim();
  return quoted(value, /[,()]|^"|^\s|\s$/);
}

/** In quotes where the grammar would take a part of it for its own. */
const quoted = (value, special) => (special.test(value) ? `"${value.replace(/["\\]/g, "\\$&")}"` : value);

/** What stands between the parentheses of a list, if there are any. */
const inner = (value) => value.trim().replace(/^\((.*)\)$/s, "$1");

/** The values of a list; quoted ones keep their quotes. */
function elements(text) {
  return split(text).map((item) => item.trim()).filter((item) => item !== "");
}

/** Parts between commas that are neither in quotes nor in parentheses. */
function split(text) {
  const parts = [""];
  let depth = 0;
  let inQuotes = false;
  let previous = ",";
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (inQuotes && char === "\\") {
      parts[parts.length - 1] += char + (text[at + 1] ?? "");
      at += 1;
      continue;
    }
    if (char === '"' && (inQuotes || ".(,".includes(previous))) inQuotes = !inQuotes;
    else if (!inQuotes && char === "(") depth += 1;
    else if (!inQuotes && char === ")") depth = Math.max(0, depth - 1);
    if (char === "," && depth === 0 && !inQuotes) parts.push("");
    else parts[parts.length - 1] += char;
    if (char.trim()) previous = char;
  }
  return parts;
}

/** The conditions of a filter, or null where it does not follow the grammar. */
export function parse(filter) {
  if (!filter.trim()) return [];
  const conditions = split(filter).map((part) => {
    const found = /^([^=]*)=(not\.)?([a-z]+)\.(.*)$/s.exec(part.trim());
    if (!found || !NAMES.has(found[3])) return null;
    const [, column, not, op, raw] = found;
    const value = op !== "in" && raw.length > 1 && raw.startsWith('"') && raw.endsWith('"') ? raw.slice(1, -1).replace(/\\(.)/gs, "$1") : op === "in" ? inner(raw) : raw;
    return { column: column.trim(), not: Boolean(not), op, value };
  });
  return conditions.includes(null) ? null : conditions;
}
