//! Outbound frames: encoded once per serializer, shared by every receiver.

use bytes::Bytes;

use super::{
    Vsn, binary,
    message::{Encoding, Ref, UserBroadcast},
    v1, v2,
};

/// One WebSocket message, ready to send. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text message; the bytes are UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
}

impl Frame {
    /// A text frame of `text`.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Bytes::from(text.into()))
    }

    /// Length of the message in bytes, without WebSocket framing.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes.len(),
        }
    }

    /// True for a message of no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A message to everybody on a topic, before it has a serializer's form.
#[derive(Debug, Clone)]
pub enum Fanout {
    /// An event with a JSON payload, relayed as it is.
    Json {
        /// Event name on the wire.
        event: &'static str,
        /// JSON text.
        payload: Bytes,
    },
    /// A user broadcast: binary to version 2, JSON to version 1.
    User {
        /// What was sent.
        broadcast: UserBroadcast,
        /// Server metadata as JSON text, or empty.
        meta: String,
    },
    /// A binary push: to version 2 only.
    Raw {
        /// Event name on the wire.
        event: &'static str,
        /// The bytes.
        data: Bytes,
    },
}

impl Fanout {
    /// The frame for receivers of one version; `None` if it has no form for them.
    pub fn encode(&self, vsn: Vsn, topic: &str) -> Option<Frame> {
        match (self, vsn) {
            // A payload that is no object has always been for version 1 alone.
            (Self::Json { payload, .. }, Vsn::V2) if payload.first() != Some(&b'{') => None,
            (Self::Json { event, payload }, _) => {
                Some(text(vsn, &Ref::NULL, &Ref::NULL, topic, event, payload))
            }
            (Self::User { broadcast, meta }, Vsn::V2) => {
                binary::user_broadcast(topic, broadcast, meta).map(Frame::Binary)
            }
            (Self::User { broadcast, meta }, Vsn::V1) => match broadcast.encoding {
                Encoding::Json => {
                    let payload = user_payload(&broadcast.event, &broadcast.payload, meta);
                    Some(text(vsn, &Ref::NULL, &Ref::NULL, topic, "broadcast", &payload))
                }
                Encoding::Binary => None,
            },
            (Self::Raw { event, data }, Vsn::V2) => {
                binary::broadcast(topic, event, data).map(Frame::Binary)
            }
            (Self::Raw { .. }, Vsn::V1) => None,
        }
    }
}

/// A user broadcast that a channel itself pushes, with the channel's `join_ref`:
/// JSON is text in both versions, unlike in [`Fanout::User`]. `None` if it has
/// no form for the version.
pub fn pushed(
    vsn: Vsn,
    join_ref: &Ref,
    topic: &str,
    broadcast: &UserBroadcast,
    meta: &str,
) -> Option<Frame> {
    match (broadcast.encoding, vsn) {
        (Encoding::Json, _) => {
            let payload = user_payload(&broadcast.event, &broadcast.payload, meta);
            Some(text(vsn, join_ref, &Ref::NULL, topic, "broadcast", &payload))
        }
        (Encoding::Binary, Vsn::V2) => {
            binary::user_broadcast(topic, broadcast, meta).map(Frame::Binary)
        }
        (Encoding::Binary, Vsn::V1) => None,
    }
}

/// A text frame in either version; `payload` is JSON text.
pub fn text(
    vsn: Vsn,
    join_ref: &Ref,
    reference: &Ref,
    topic: &str,
    event: &str,
    payload: &[u8],
) -> Frame {
    let mut out = Vec::with_capacity(64 + topic.len() + event.len() + payload.len());
    match vsn {
        Vsn::V1 => v1::encode(&mut out, reference, topic, event, payload),
        Vsn::V2 => v2::encode(&mut out, join_ref, reference, topic, event, payload),
    }
    Frame::Text(Bytes::from(out))
}

/// `{"event":…,"payload":…,"type":"broadcast"[,"meta":…]}`. Payload and meta
/// are JSON text; no meta is the empty text.
pub fn user_payload(event: &str, payload: &[u8], meta: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(56 + event.len() + payload.len() + meta.len());
    out.extend_from_slice(br#"{"event":"#);
    super::write_string(&mut out, event);
    out.extend_from_slice(br#","payload":"#);
    out.extend_from_slice(payload);
    out.extend_from_slice(br#","type":"broadcast""#);
    if !meta.is_empty() {
        out.extend_from_slice(br#","meta":"#);
        out.extend_from_slice(meta.as_bytes());
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(payload: &'static str) -> Fanout {
        Fanout::Json { event: "broadcast", payload: Bytes::from_static(payload.as_bytes()) }
    }

    fn user(encoding: Encoding, meta: &str) -> Fanout {
        let payload = Bytes::from_static(br#"{"n":1}"#);
        let broadcast = UserBroadcast { event: "hi".to_owned(), encoding, payload };
        Fanout::User { broadcast, meta: meta.to_owned() }
    }

    #[test]
    fn json_is_relayed_byte_for_byte() {
        assert_eq!(
            json(r#"{"x" : 1.50}"#).encode(Vsn::V2, "realtime:a"),
            Some(Frame::text(r#"[null,null,"realtime:a","broadcast",{"x" : 1.50}]"#))
        );
        assert_eq!(
            json(r#"{"x" : 1.50}"#).encode(Vsn::V1, "realtime:a"),
            Some(Frame::text(
                r#"{"topic":"realtime:a","event":"broadcast","payload":{"x" : 1.50},"ref":null}"#
            ))
        );
    }

    #[test]
    fn a_payload_that_is_no_object_goes_to_version_1_alone() {
        assert_eq!(json(r#""text""#).encode(Vsn::V2, "t"), None);
        assert!(json(r#""text""#).encode(Vsn::V1, "t").is_some());
    }

    #[test]
    fn a_user_broadcast_is_an_object_to_version_1() {
        assert_eq!(
            user(Encoding::Json, "").encode(Vsn::V1, "t"),
            Some(Frame::text(
                r#"{"topic":"t","event":"broadcast","payload":{"event":"hi","payload":{"n":1},"type":"broadcast"},"ref":null}"#
            ))
        );
        assert_eq!(
            user(Encoding::Json, r#"{"id":"x"}"#).encode(Vsn::V1, "t"),
            Some(Frame::text(
                r#"{"topic":"t","event":"broadcast","payload":{"event":"hi","payload":{"n":1},"type":"broadcast","meta":{"id":"x"}},"ref":null}"#
            ))
        );
        assert_eq!(user(Encoding::Binary, "").encode(Vsn::V1, "t"), None);
    }

    #[test]
    fn a_pushed_broadcast_is_text_unless_it_is_bytes() {
        let Fanout::User { mut broadcast, .. } = user(Encoding::Json, "") else { panic!() };
        let push = |broadcast: &UserBroadcast, vsn| {
            pushed(vsn, &Ref::string("7"), "realtime:a", broadcast, r#"{"replayed":true}"#)
        };
        let payload =
            r#"{"event":"hi","payload":{"n":1},"type":"broadcast","meta":{"replayed":true}}"#;
        assert_eq!(
            push(&broadcast, Vsn::V2),
            Some(Frame::text(format!(r#"["7",null,"realtime:a","broadcast",{payload}]"#)))
        );
        assert_eq!(
            push(&broadcast, Vsn::V1),
            Some(Frame::text(format!(
                r#"{{"topic":"realtime:a","event":"broadcast","payload":{payload},"ref":null}}"#
            )))
        );
        broadcast.encoding = Encoding::Binary;
        let bytes = b"\x04\x0a\x02\x11\x00realtime:ahi{\"replayed\":true}{\"n\":1}";
        assert_eq!(push(&broadcast, Vsn::V2), Some(Frame::Binary(Bytes::from_static(bytes))));
        assert_eq!(push(&broadcast, Vsn::V1), None);
    }

    #[test]
    fn bytes_go_to_version_2_alone() {
        let raw = Fanout::Raw { event: "broadcast", data: Bytes::from_static(&[1]) };
        assert_eq!(raw.encode(Vsn::V1, "t"), None);
        assert!(matches!(raw.encode(Vsn::V2, "t"), Some(Frame::Binary(_))));
        assert!(matches!(user(Encoding::Binary, "").encode(Vsn::V2, "t"), Some(Frame::Binary(_))));
    }
}
