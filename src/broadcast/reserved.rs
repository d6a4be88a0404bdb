//! What only the server may say: `chat:…` on the private topics of rooms.
//!
//! Clients trust these events to be what the database holds. So nobody else may
//! send them, by whatever door: sockets, REST, persist, rows of
//! `realtime.messages`, replay. This is the one rule for all of them. It holds
//! only where the tenant's rooms are the chat's.

use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

use crate::{hub::Key, protocol::message::Payload, tenants::Tenant};

use super::message::Message;

/// What such an event begins with, in any case: clients compare without it.
const PREFIX: &str = "chat:";

/// Whether an event on this topic is the server's alone.
pub(super) fn is_reserved(tenant: &Tenant, key: &Key, event: &str) -> bool {
    belongs(tenant, key) && begins(event)
}

/// The same of a message as it came in.
pub(super) fn claims(tenant: &Tenant, key: &Key, message: &Message) -> bool {
    belongs(tenant, key)
        && match message {
            Message::Pushed(Payload::Json(json)) => names(json),
            // Bytes without an event's name say nothing that clients would trust.
            Message::Pushed(Payload::Raw(_)) => false,
            Message::Pushed(Payload::User(broadcast)) | Message::User { broadcast, .. } => {
                begins(&broadcast.event)
            }
            Message::Text { event, .. } => begins(event),
        }
}

fn belongs(tenant: &Tenant, key: &Key) -> bool {
    key.private && tenant.keeps_rooms() && key.topic.room().is_some()
}

fn begins(event: &str) -> bool {
    event.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Whether any member `event` of an object begins so. Receivers get the object
/// byte for byte, and do not agree on which of two equal names counts. What
/// cannot be read here may still be readable to them, and is taken to be one.
fn names(json: &[u8]) -> bool {
    let is_object = json.trim_ascii_start().starts_with(b"{");
    let mut text = serde_json::Deserializer::from_slice(json);
    is_object && text.deserialize_map(Events).unwrap_or(true)
}

struct Events;

impl<'de> Visitor<'de> for Events {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<bool, M::Error> {
        let mut found = false;
        while let Some(name) = members.next_key::<String>()? {
            if name == "event" {
                let value: serde_json::Value = members.next_value()?;
                found |= value.as_str().is_some_and(begins);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_such_an_event_is_seen() {
        for json in [
            r#"{"event":"chat:message"}"#,
            r#"{"event":"CHAT:message"}"#,
            r#"{"event":"ch\u0061t:x","payload":{}}"#,
            r#"{"event":"hi","event":"chat:x"}"#,
            r#"{"event":"chat:x","event":"hi"}"#,
            r#"{"\u0065vent":"chat:x"}"#,
            // Fine with JavaScript, and not with us.
            r#"{"\ud800":0,"event":"chat:x"}"#,
            r#"{"event":1e999,"event":"chat:x"}"#,
            &format!(r#"{{"a":{}{},"event":"chat:x"}}"#, "[".repeat(200), "]".repeat(200)),
        ] {
            assert!(names(json.as_bytes()), "{json}");
        }
        for json in [
            r#"{"event":"chat"}"#,
            r#"{"event":"ché:x"}"#,
            r#"{"payload":{"event":"chat:x"}}"#,
            r#"{"event":["chat:x"]}"#,
            "[]",
            r#""chat:x""#,
        ] {
            assert!(!names(json.as_bytes()), "{json}");
        }
    }
}
