//! Version 1: JSON objects with `topic`, `event`, `payload`, `ref`.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::message::{DecodeError, Inbound, Payload, Ref};

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
    // Must be there, but may be null: a raw value tells null from absent.
    #[serde(borrow, rename = "ref")]
    reference: &'a RawValue,
    #[serde(borrow, default)]
    join_ref: Option<&'a RawValue>,
}

/// Reads a text frame, or a binary frame that holds the same JSON.
///
/// # Errors
///
/// [`DecodeError::Malformed`] unless it is an object with all four members.
pub(super) fn decode(text: &str) -> Result<Inbound, DecodeError> {
    let frame: Members<'_> = serde_json::from_str(text).map_err(|_| DecodeError::Malformed)?;
    // serde also reads structs from arrays, which version 1 is not.
    if !text.trim_start().starts_with('{') {
        return Err(DecodeError::Malformed);
    }
    Ok(Inbound {
        join_ref: match frame.join_ref {
            Some(value) => Ref::from_json(value).ok_or(DecodeError::Malformed)?,
            None => Ref::NULL,
        },
        reference: Ref::from_json(frame.reference).ok_or(DecodeError::Malformed)?,
        topic: frame.topic.into_owned(),
        event: frame.event.into_owned(),
        payload: Payload::Json(Bytes::copy_from_slice(frame.payload.get().as_bytes())),
        persist: None,
    })
}

/// Appends `{"topic":…,"event":…,"payload":…,"ref":…}`; `payload` is JSON text.
/// Version 1 never carries a `join_ref` to the client.
pub(super) fn encode(out: &mut Vec<u8>, reference: &Ref, topic: &str, event: &str, payload: &[u8]) {
    out.extend_from_slice(br#"{"topic":"#);
    super::write_string(out, topic);
    out.extend_from_slice(br#","event":"#);
    super::write_string(out, event);
    out.extend_from_slice(br#","payload":"#);
    out.extend_from_slice(payload);
    out.extend_from_slice(br#","ref":"#);
    out.extend_from_slice(reference.as_json().as_bytes());
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_with_its_four_members_is_a_message() {
        let text =
            r#"{"topic":"realtime:a","event":"phx_join","payload":{"x":1},"ref":"1","extra":1}"#;
        let message = decode(text).unwrap();
        assert_eq!(message.topic, "realtime:a");
        assert_eq!(message.join_ref, Ref::NULL);
        assert_eq!(message.reference, Ref::string("1"));
        assert_eq!(message.payload, Payload::Json(Bytes::from_static(br#"{"x":1}"#)));
    }

    #[test]
    fn refs_may_be_null_or_any_scalar() {
        let text = r#"{"topic":"t","event":"e","payload":null,"ref":null,"join_ref":true}"#;
        let message = decode(text).unwrap();
        assert_eq!(message.reference, Ref::NULL);
        assert_eq!(message.join_ref.as_json(), "true");
    }

    #[test]
    fn a_missing_member_or_another_shape_is_malformed() {
        for text in [
            r#"{"event":"e","payload":{},"ref":"1"}"#,
            r#"{"topic":"t","payload":{},"ref":"1"}"#,
            r#"{"topic":"t","event":"e","ref":"1"}"#,
            r#"{"topic":"t","event":"e","payload":{}}"#,
            r#"["t","e",{},"1"]"#,
            r#"[null,"1","phoenix","heartbeat",{}]"#,
            "",
            "null",
        ] {
            assert_eq!(decode(text), Err(DecodeError::Malformed), "{text}");
        }
    }
}
