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

/** Listens on an element; forms are not sent anywhere. */
export function when(id, event, action) {
  $(id).addEventListener(event, (happened) => {
    if (event === "submit") happened.preventDefault();
    void action(happened);
  });
}

/** The words beside a form's button. */
export function say(id, text, good = true) {
  $(id).textContent = text;
  $(id).className = good ? "hint good" : "hint bad";
}

/** The JSON object in a field, or null once it is said what is wrong with it. */
export function parsed(id, output) {
  const problem = jsonProblem($(id).value);
  if (problem) {
    $(id).setAttribute("aria-invalid", "true");
    say(output, `Not sent: ${problem}`, false);
    return null;
  }
  $(id).removeAttribute("aria-invalid");
  return JSON.parse($(id).value || "{}");
}

/** What keeps a text from being a JSON object, or nothing. */
export function jsonProblem(text) {
  try {
    const value = JSON.parse(text || "{}");
    if (value === null || typeof value !== "object" || Array.isArray(value)) return "it has to be an object, like { \"a\": 1 }";
    return "";
  } catch (error) {
    return error.message;
  }
}

/** Checks a field while somebody types. */
export function checkJson(id, output) {
  when(id, "input", () => {
    const problem = jsonProblem($(id).value);
    if (problem) $(id).setAttribute("aria-invalid", "true");
    else $(id).removeAttribute("aria-invalid");
    say(output, problem, problem === "");
  });
}

/** Copies text and says so on the button. */
export async function copy(text, node, done = "Copied") {
  node.dataset.label ??= node.textContent;
  try {
    await navigator.clipboard.writeText(text);
    node.textContent = done;
  } catch {
    // Browsers allow it on trustworthy origins only.
    node.textContent = "Select and copy";
  }
  clearTimeout(Number(node.dataset.timer));
  node.dataset.timer = String(setTimeout(() => { node.textContent = node.dataset.label; }, 1500));
}
