// Who the connection speaks for: the API key, or the token of a user. Both are
// read here in the page; they go to the server that is connected to and nowhere
// else, neither into the address nor into the browser's storage.

import { $, say, when } from "./dom.js";
import { clock, countdown } from "./format.js";
import { json } from "./json.js";
import { on, state, tell } from "./state.js";

const SOON_MS = 5 * 60_000;

/** The claims of a JWT, {opaque: true} for another key, or {error}. Nothing is verified. */
export function claimsOf(token) {
  if (token.startsWith("sb_")) return { opaque: true };
  const parts = token.split(".");
  if (parts.length !== 3) return { error: "This is not a JWT: three parts with dots between them." };
  try {
    const raw = atob(parts[1].replaceAll("-", "+").replaceAll("_", "/"));
    const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(raw, (char) => char.charCodeAt(0))));
    if (claims === null || typeof claims !== "object" || Array.isArray(claims)) throw new Error();
    return { claims };
  } catch {
    return { error: "The middle part of this token holds no claims." };
  }
}

/** What the token in force says of itself; `exp` is in milliseconds. */
let exp = null;

function draw() {
  const token = state.userToken || $("key").value.trim();
  $("identity").hidden = token === "";
  $("identity-empty").hidden = token !== "";
  exp = null;
  if (!token) return;
  const { claims, opaque, error } = claimsOf(token);
  const whose = state.userToken ? "user's token" : "API key";
  $("identity-role").textContent = claims?.role ? String(claims.role) : opaque ? "opaque key" : "no role";
  $("identity-of").textContent = whose;
  $("identity-error").textContent = error ?? (claims && !("role" in claims && "exp" in claims) ? "A token needs the claims role and exp." : "");
  $("claims").hidden = !claims;
  if (claims) {
    $("claims-tree").replaceChildren(json(readable(claims)));
    if (typeof claims.exp === "number") exp = claims.exp * 1000;
  }
  $("act-clear").hidden = !state.userToken;
  tick();
}

/** Times of the claims, as times. */
function readable(claims) {
  const times = Object.entries(claims).map(([name, value]) => [name, ["exp", "iat", "nbf", "auth_time"].includes(name) && typeof value === "number" ? `${value} (${new Date(value * 1000).toLocaleString()})` : value]);
  return Object.fromEntries(times);
}

function tick() {
  const node = $("identity-expiry");
  if (exp === null) {
    node.textContent = "";
    return;
  }
  const left = exp - Date.now();
  node.textContent = left > 0 ? `expires in ${countdown(left)}` : `expired at ${clock(exp).slice(0, 8)}`;
  node.dataset.state = left <= 0 ? "past" : left < SOON_MS ? "soon" : "";
  node.title = new Date(exp).toLocaleString();
}

/** Speaks for this token from now on, also on the channels joined already. */
export async function actAs(token) {
  state.userToken = token;
  draw();
  tell("token");
  if (state.client) await state.client.realtime.setAuth();
}

async function use() {
  const token = $("token").value.trim();
  const { error } = token ? claimsOf(token) : {};
  if (error) {
    $("token").setAttribute("aria-invalid", "true");
    say("token-result", error, false);
    return;
  }
  $("token").removeAttribute("aria-invalid");
  await actAs(token);
  say("token-result", token ? "In use." : "The API key is in use.");
}

/** Has a server in development sign somebody in by name. */
async function signIn() {
  const name = $("dev-name").value.trim();
  const response = await fetch(`/dev/token?${new URLSearchParams({ name })}`, { cache: "no-store" }).catch(() => null);
  if (!response?.ok) {
    say("token-result", "The server did not sign that name in.", false);
    return;
  }
  const { token } = await response.json();
  $("token").value = token;
  await actAs(token);
  say("token-result", `You are ${name}.`);
}

/** Offers the keys of a server in development. */
export function offerKeys() {
  const choice = $("key-choice");
  choice.hidden = false;
  $("dev-sign-in").hidden = false;
  const given = $("key").value;
  if (!given) $("key").value = state.dev.anon_key;
  else choice.value = ["anon_key", "service_role_key"].find((name) => state.dev[name] === given) ?? "";
  when("key-choice", "change", () => {
    $("key").value = state.dev[choice.value] ?? "";
    if (!$("key").value) $("key").focus();
    draw();
  });
  when("key", "input", () => { choice.value = ""; });
  draw();
}

export function wireToken() {
  when("key", "input", draw);
  when("act", "submit", use);
  when("act-clear", "click", async () => {
    $("token").value = "";
    await actAs("");
    say("token-result", "The API key is in use.");
  });
  when("dev-sign-in", "submit", signIn);
  when("key-show", "click", () => {
    const shown = $("key").type === "text";
    $("key").type = shown ? "password" : "text";
    $("key-show").setAttribute("aria-pressed", String(!shown));
  });
  on("tick", tick);
  draw();
}
