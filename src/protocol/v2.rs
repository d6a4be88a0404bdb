//! Version 2: JSON arrays `[join_ref, ref, topic, event, payload]`.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::message::{DecodeError, Inbound, Payload, Ref};

/// Reads a text frame. Elements after the fifth are ignored.
///
/// # Errors
///
/// [`DecodeError::Malformed`] for anything else.
pub(super) fn decode(text: &str) -> Result<Inbound, DecodeError> {
    let frame: Elements<'_> = serde_json::from_str(text).map_err(|_| DecodeError::Malformed)?;
    Ok(Inbound {
        join_ref: Ref::from_json(frame.join_ref).ok_or(DecodeError::Malformed)?,
        reference: Ref::from_json(frame.reference).ok_or(DecodeError::Malformed)?,
        topic: frame.topic.into_owned(),
        event: frame.event.into_owned(),
        payload: Payload::Json(Bytes::copy_from_slice(frame.payload.get().as_bytes())),
        persist: None,
    })
}

/// Appends `[join_ref,ref,topic,event,payload]`; `payload` is JSON text.
pub(super) fn encode(
    out: &mut Vec<u8>,
    join_ref: &Ref,
    reference: &Ref,
    topic: &str,
    event: &str,
    payload: &[u8],
) {
    out.push(b'[');
    out.extend_from_slice(join_ref.as_json().as_bytes());
    out.push(b',');
    out.extend_from_slice(reference.as_json().as_bytes());
    out.push(b',');
    super::write_string(out, topic);
    out.push(b',');
    super::write_string(out, event);
    out.push(b',');
    out.extend_from_slice(payload);
    out.push(b']');
}

struct Elements<'a> {
    join_ref: &'a RawValue,
    reference: &'a RawValue,
    topic: Cow<'a, str>,
    event: Cow<'a, str>,
    payload: &'a RawValue,
}

/// Borrows from the frame unless the text has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ElementsVisitor)
    }
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Elements<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of join_ref, ref, topic, event, payload")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Elements<'de>, A::Error> {
        fn next<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(seq: &mut A) -> Result<T, A::Error> {
            seq.next_element()?.ok_or_else(|| serde::de::Error::custom("too few elements"))
        }
        let elements = Elements {
            join_ref: next(&mut seq)?,
            reference: next(&mut seq)?,
            topic: next::<_, Text<'de>>(&mut seq)?.0,
            event: next::<_, Text<'de>>(&mut seq)?.0,
            payload: next(&mut seq)?,
        };
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_of_five_is_a_message() {
        let message = decode(r#" [ "1" , 7, "realtime:\u00e9", "broadcast", {"a" : 1.50} ] "#);
        let message = message.unwrap();
        assert_eq!(message.join_ref, Ref::string("1"));
        assert_eq!(message.reference.as_json(), "7");
        assert_eq!(message.topic, "realtime:é");
        assert_eq!(message.event, "broadcast");
        assert_eq!(message.payload, Payload::Json(Bytes::from_static(br#"{"a" : 1.50}"#)));
    }

    #[test]
    fn elements_after_the_fifth_are_ignored() {
        assert!(decode(r#"[null,"1","phoenix","heartbeat",{},"more",[7]]"#).is_ok());
    }

    #[test]
    fn other_shapes_are_malformed() {
        for text in [
            "",
            "{}",
            "[]",
            "5",
            "null",
            "hello",
            r#"{"a""#,
            r#"[null,"1","phoenix","heartbeat"]"#,
            r#"[null,"1",2,"heartbeat",{}]"#,
            r#"[null,"1","phoenix",null,{}]"#,
            r#"[null,"1","phoenix","heartbeat",{}] x"#,
        ] {
            assert_eq!(decode(text), Err(DecodeError::Malformed), "{text}");
        }
    }

    #[test]
    fn deep_nesting_neither_overflows_the_stack_nor_passes_as_a_name() {
        let deep = "[".repeat(200_000);
        assert_eq!(decode(&deep), Err(DecodeError::Malformed));
        let payload = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        let _ = decode(&format!(r#"[null,"1","t","e",{payload}]"#));
    }
}
