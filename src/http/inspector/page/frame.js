// One line of the list of frames, and what unfolds from it.

import { button, copy, el } from "./dom.js";
import { bytes, clock, gap } from "./format.js";
import { json } from "./json.js";
import { isError, masked, summary } from "./words.js";

const ARROWS = { in: ["↓", "from the server"], out: ["↑", "to the server"], socket: ["·", "socket"] };

/** {frame, node, hay, heartbeat} for the list; tokens in it are cut. */
export function frameItem(frame) {
  const payload = masked(frame.payload);
  const shown = { ...frame, payload };
  const node = el("li", "frame", el("details", "", line(shown)));
  node.dataset.direction = frame.direction;
  node.dataset.event = frame.event;
  if (isError(frame)) node.classList.add("failed");
  node.firstChild.addEventListener("toggle", () => {
    if (node.firstChild.childElementCount === 1) node.firstChild.append(body(shown));
  });
  return {
    frame: shown,
    node,
    heartbeat: frame.topic === "phoenix" || frame.answers?.event === "heartbeat",
    hay: `${frame.event} ${frame.topic} ${JSON.stringify(payload)}`.slice(0, 4000).toLowerCase(),
  };
}

/** A topic without what all topics of channels begin with. */
export const shortTopic = (topic) => topic.replace(/^realtime:/, "");

function line(frame) {
  const [sign, meaning] = ARROWS[frame.direction];
  const arrow = el("span", "arrow", sign);
  arrow.title = meaning;
  arrow.setAttribute("role", "img");
  arrow.setAttribute("aria-label", meaning);
  const since = el("span", "frame-gap dim", gap(frame.since));
  since.title = "Since the frame before";
  const answers = frame.answers ? el("span", "answers", `to ${frame.answers.event}, ${frame.answers.ms} ms`) : null;
  if (answers) answers.title = "From the request to this reply";
  const topic = el("span", "frame-topic", shortTopic(frame.topic));
  topic.title = frame.topic;
  const said = frame.direction === "socket" ? frame.payload : summary(frame);
  const summaryNode = el(
    "summary",
    "",
    el("time", "dim", clock(frame.at)),
    since,
    arrow,
    el("span", "frame-event", frame.event),
    topic,
    // The list keeps thousands of lines: none needs more than fits on a screen.
    el("span", "frame-said", answers, said.slice(0, 300)),
    el("span", "frame-size dim", frame.size ? bytes(frame.size) : ""),
  );
  // The arrow keys go through the list; the tab key goes past it.
  summaryNode.tabIndex = -1;
  return summaryNode;
}

function body(frame) {
  const raw = JSON.stringify(frame.payload, null, 2);
  const copying = button("Copy payload", "quiet", () => void copy(raw, copying));
  const facts = [frame.form, frame.joinRef !== null && `join_ref ${frame.joinRef}`, frame.ref !== null && `ref ${frame.ref}`, frame.size && `${frame.size} bytes`];
  return el("div", "frame-body", el("div", "frame-facts", el("small", "dim", facts.filter(Boolean).join(" · ")), copying), json(frame.payload));
}

/** A frame as it is copied out. */
export function exported(frame) {
  return {
    at: new Date(frame.at).toISOString(),
    direction: frame.direction,
    topic: frame.topic,
    event: frame.event,
    ref: frame.ref,
    join_ref: frame.joinRef,
    ...(frame.answers && { answers: frame.answers.event, after_ms: frame.answers.ms }),
    form: frame.form,
    bytes: frame.size,
    payload: frame.payload,
  };
}
