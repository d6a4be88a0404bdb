// The code that does with supabase-js what the form does. No part of this
// touches the page. Keys are left out: code gets shared.

/** A value as JavaScript writes it by hand. */
function literal(value) {
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const fields = Object.entries(value).map(([name, inner]) => `${/^[a-z_]\w*$/i.test(name) ? name : JSON.stringify(name)}: ${literal(inner)}`);
  return `{ ${fields.join(", ")} }`;
}

/** The whole program for a channel as it is wanted. */
export function snippet(url, wanted, asUser) {
  const { topic, changes, replay } = wanted;
  const broadcast = { ...(wanted.self && { self: true }), ...(wanted.ack && { ack: true }), ...(replay && { replay }) };
  const config = {
    ...(wanted.private && { private: true }),
    ...(Object.keys(broadcast).length > 0 && { broadcast }),
    ...(wanted.presence && wanted.presenceKey && { presence: { key: wanted.presenceKey } }),
  };
  const options = Object.keys(config).length > 0 ? `, {\n    config: ${literal(config)},\n  }` : "";
  const lines = [
    'import { createClient } from "@supabase/supabase-js";',
    "",
    `const supabase = createClient(${JSON.stringify(url)}, "<api key>");`,
    ...(asUser ? ['await supabase.realtime.setAuth("<access token>");'] : []),
    "",
    "const channel = supabase",
    `  .channel(${JSON.stringify(topic)}${options})`,
    ...(changes ? [`  .on("postgres_changes", ${literal(changes)}, (change) => {`, "    console.log(change.eventType, change.new, change.old);", "  })"] : []),
    '  .on("broadcast", { event: "*" }, ({ event, payload }) => console.log(event, payload))',
    ...(wanted.presence ? ['  .on("presence", { event: "sync" }, () => console.log(channel.presenceState()))'] : []),
    "  .subscribe((status, error) => console.log(status, error));",
  ];
  return lines.join("\n");
}
