//! A broadcast on its way, in the forms its doors give it.

use bytes::Bytes;

use crate::protocol::{
    message::{Encoding, Payload, UserBroadcast},
    prepared::{Fanout, user_payload},
    size,
};

/// What is broadcast, and how receivers are to see it.
#[derive(Debug, Clone)]
pub enum Message {
    /// As a client pushed it.
    Pushed(Payload),
    /// Text to both versions.
    Text {
        /// The user's event.
        event: String,
        /// The user's payload, JSON text.
        payload: Bytes,
        /// Becomes `meta.id`.
        id: Option<String>,
    },
    /// Binary to version 2, and JSON to version 1 as well.
    User {
        /// Event and payload.
        broadcast: UserBroadcast,
        /// Becomes `meta.id`.
        id: Option<String>,
    },
}

impl From<Payload> for Message {
    fn from(payload: Payload) -> Self {
        Self::Pushed(payload)
    }
}

impl Message {
    /// Whether it counts as more than `limit` bytes.
    pub fn exceeds(&self, limit: usize) -> bool {
        match self {
            Self::Pushed(Payload::Json(json)) | Self::Text { payload: json, .. } => {
                size::exceeds(json, limit)
            }
            Self::Pushed(Payload::Raw(bytes)) => bytes.len() > limit,
            Self::Pushed(Payload::User(broadcast)) | Self::User { broadcast, .. } => {
                let is_json = broadcast.encoding == Encoding::Json;
                size::user_broadcast(&broadcast.event, &broadcast.payload, is_json) > limit
            }
        }
    }

    /// Bytes of its payload.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Pushed(Payload::Json(bytes) | Payload::Raw(bytes))
            | Self::Text { payload: bytes, .. } => bytes.len(),
            Self::Pushed(Payload::User(broadcast)) | Self::User { broadcast, .. } => {
                broadcast.payload.len()
            }
        }
    }

    pub(super) fn into_fanout(self) -> Fanout {
        let event = "broadcast";
        match self {
            Self::Pushed(Payload::Json(payload)) => Fanout::Json { event, payload },
            Self::Pushed(Payload::Raw(data)) => Fanout::Raw { event, data },
            Self::Pushed(Payload::User(broadcast)) => {
                Fanout::User { broadcast, meta: String::new() }
            }
            Self::User { broadcast, id } => Fanout::User { broadcast, meta: meta(id.as_deref()) },
            Self::Text { event: name, payload, id } => {
                let payload = user_payload(&name, &payload, &meta(id.as_deref()));
                Fanout::Json { event, payload: payload.into() }
            }
        }
    }
}

/// `{"id":…}`, or nothing without an id.
fn meta(id: Option<&str>) -> String {
    id.map(|id| format!(r#"{{"id":{}}}"#, serde_json::Value::from(id))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Vsn, prepared::Frame};

    #[test]
    fn text_is_text_to_both_versions_and_carries_its_id() {
        let message = |id: Option<&str>| Message::Text {
            event: "e\"".to_owned(),
            payload: Bytes::from_static(br#"{"n": 1}"#),
            id: id.map(str::to_owned),
        };
        let v2 = message(Some("i\"d")).into_fanout().encode(Vsn::V2, "t");
        let expected = r#"[null,null,"t","broadcast",{"event":"e\"","payload":{"n": 1},"type":"broadcast","meta":{"id":"i\"d"}}]"#;
        assert_eq!(v2, Some(Frame::text(expected)));
        let v1 = message(None).into_fanout().encode(Vsn::V1, "t");
        let expected = r#"{"topic":"t","event":"broadcast","payload":{"event":"e\"","payload":{"n": 1},"type":"broadcast"},"ref":null}"#;
        assert_eq!(v1, Some(Frame::text(expected)));
    }

    #[test]
    fn a_user_broadcast_carries_its_id_as_metadata() {
        let payload = Bytes::from_static(b"{}");
        let broadcast = UserBroadcast { event: "e".to_owned(), encoding: Encoding::Json, payload };
        let message = Message::User { broadcast, id: Some("x".to_owned()) };
        let Some(Frame::Binary(bytes)) = message.into_fanout().encode(Vsn::V2, "t") else {
            panic!("version 2 gets binary")
        };
        assert!(bytes.ends_with(br#"te{"id":"x"}{}"#));
    }
}
