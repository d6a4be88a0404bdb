//! Version 2's binary frames, kinds 0 to 4.
//!
//! Every length is one byte, so a name has at most 255 bytes. What does not
//! fit is not sent rather than cut.

use std::str;

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::{
    message::{DecodeError, Encoding, Inbound, Payload, Ref, UserBroadcast},
    persist::Persist,
};

const PUSH: u8 = 0;
const BROADCAST: u8 = 2;
const USER_BROADCAST_PUSH: u8 = 3;
const USER_BROADCAST: u8 = 4;

/// Reads a frame of kind 0 or 3; the payload shares the frame's memory.
///
/// # Errors
///
/// Any [`DecodeError`] but [`DecodeError::Malformed`], which is for an empty frame.
pub(super) fn decode(frame: &Bytes) -> Result<Inbound, DecodeError> {
    let mut reader = Reader { frame, at: 0 };
    match reader.byte().map_err(|_| DecodeError::Malformed)? {
        PUSH => {
            let [join_ref, reference, topic, event] = reader.lengths()?;
            Ok(Inbound {
                join_ref: Ref::string(reader.text(join_ref)?),
                reference: Ref::string(reader.text(reference)?),
                topic: reader.text(topic)?.to_owned(),
                event: reader.text(event)?.to_owned(),
                payload: Payload::Raw(reader.rest()),
                persist: None,
            })
        }
        USER_BROADCAST_PUSH => {
            let [join_ref, reference, topic, event, meta, encoding] = reader.lengths()?;
            let join_ref = Ref::string(reader.text(join_ref)?);
            let reference = Ref::string(reader.text(reference)?);
            let topic = reader.text(topic)?.to_owned();
            let event = reader.text(event)?.to_owned();
            let meta = reader.text(meta)?;
            // Checked, and then forgotten but for one wish.
            if !meta.is_empty() && serde_json::from_str::<IgnoredAny>(meta).is_err() {
                return Err(DecodeError::BadMetadata);
            }
            let payload = reader.rest();
            let encoding = if encoding == 0 { Encoding::Binary } else { Encoding::Json };
            if encoding == Encoding::Json && serde_json::from_slice::<IgnoredAny>(&payload).is_err()
            {
                return Err(DecodeError::BadPayload);
            }
            Ok(Inbound {
                join_ref,
                reference,
                topic,
                event: "broadcast".to_owned(),
                payload: Payload::User(UserBroadcast { event, encoding, payload }),
                persist: Persist::from_metadata(meta),
            })
        }
        kind => Err(DecodeError::UnknownKind(kind)),
    }
}

/// Kind 2: relays a binary push. `None` if a name is too long for the frame.
pub(super) fn broadcast(topic: &str, event: &str, data: &[u8]) -> Option<Bytes> {
    let mut out = Vec::with_capacity(3 + topic.len() + event.len() + data.len());
    out.extend_from_slice(&[BROADCAST, length(topic)?, length(event)?]);
    out.extend_from_slice(topic.as_bytes());
    out.extend_from_slice(event.as_bytes());
    out.extend_from_slice(data);
    Some(Bytes::from(out))
}

/// Kind 4: a user broadcast to a client; `meta` is JSON text or empty.
/// `None` if a name is too long for the frame.
pub(super) fn user_broadcast(topic: &str, user: &UserBroadcast, meta: &str) -> Option<Bytes> {
    let size = 5 + topic.len() + user.event.len() + meta.len() + user.payload.len();
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(&[USER_BROADCAST, length(topic)?, length(&user.event)?, length(meta)?]);
    out.push(match user.encoding {
        Encoding::Binary => 0,
        Encoding::Json => 1,
    });
    out.extend_from_slice(topic.as_bytes());
    out.extend_from_slice(user.event.as_bytes());
    out.extend_from_slice(meta.as_bytes());
    out.extend_from_slice(&user.payload);
    Some(Bytes::from(out))
}

fn length(text: &str) -> Option<u8> {
    u8::try_from(text.len()).ok()
}

struct Reader<'a> {
    frame: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.frame.get(self.at).ok_or(DecodeError::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    fn lengths<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut lengths = [0; N];
        for length in &mut lengths {
            *length = self.byte()?;
        }
        Ok(lengths)
    }

    fn text(&mut self, length: u8) -> Result<&'a str, DecodeError> {
        let end = self.at + usize::from(length);
        let bytes = self.frame.get(self.at..end).ok_or(DecodeError::Truncated)?;
        self.at = end;
        str::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)
    }

    fn rest(&mut self) -> Bytes {
        let rest = self.frame.slice(self.at..);
        self.at = self.frame.len();
        rest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Bytes {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect::<Vec<u8>>().into()
    }

    const TOPIC: &str = "72 65 61 6c 74 69 6d 65 3a 72 31";

    #[test]
    fn a_user_broadcast_in_json_is_read() {
        let frame = format!("03 01 01 0b 02 00 01 31 37 {TOPIC} 68 69 7b 22 6e 22 3a 31 7d");
        let message = decode(&hex(&frame)).unwrap();
        assert_eq!((message.join_ref, message.reference), (Ref::string("1"), Ref::string("7")));
        assert_eq!((message.topic.as_str(), message.event.as_str()), ("realtime:r1", "broadcast"));
        let Payload::User(user) = message.payload else { panic!("not a user broadcast") };
        assert_eq!((user.event.as_str(), user.encoding), ("hi", Encoding::Json));
        assert_eq!(user.payload, Bytes::from_static(br#"{"n":1}"#));
    }

    #[test]
    fn a_binary_push_is_read() {
        let frame = format!("00 01 01 0b 09 31 39 {TOPIC} 62 72 6f 61 64 63 61 73 74 01 02");
        let message = decode(&hex(&frame)).unwrap();
        assert_eq!(message.event, "broadcast");
        assert_eq!(message.payload, Payload::Raw(Bytes::from_static(&[1, 2])));
    }

    #[test]
    fn frames_to_clients_are_laid_out_as_documented() {
        let json = UserBroadcast {
            event: "hi".to_owned(),
            encoding: Encoding::Json,
            payload: Bytes::from_static(br#"{"n":1}"#),
        };
        let frame = user_broadcast("realtime:r1", &json, "").unwrap();
        assert_eq!(frame, hex(&format!("04 0b 02 00 01 {TOPIC} 68 69 7b 22 6e 22 3a 31 7d")));

        let bytes = UserBroadcast {
            event: "hi".to_owned(),
            encoding: Encoding::Binary,
            payload: Bytes::from_static(&[0xca, 0xfe]),
        };
        let frame = user_broadcast("realtime:r1", &bytes, r#"{"id":"x"}"#).unwrap();
        let meta = "7b 22 69 64 22 3a 22 78 22 7d";
        assert_eq!(frame, hex(&format!("04 0b 02 0a 00 {TOPIC} 68 69 {meta} ca fe")));

        let relayed = broadcast("realtime:r1", "broadcast", &[1, 2]).unwrap();
        assert_eq!(relayed, hex(&format!("02 0b 09 {TOPIC} 62 72 6f 61 64 63 61 73 74 01 02")));
    }

    #[test]
    fn what_does_not_fit_its_length_byte_is_not_sent() {
        assert_eq!(broadcast(&"x".repeat(256), "e", &[]), None);
        assert!(broadcast(&"x".repeat(255), "e", &[]).is_some());
    }

    #[test]
    fn garbage_is_refused_by_name() {
        assert_eq!(decode(&Bytes::new()), Err(DecodeError::Malformed));
        assert_eq!(decode(&hex("09090909")), Err(DecodeError::UnknownKind(9)));
        assert_eq!(decode(&hex("04000000")), Err(DecodeError::UnknownKind(4)));
        assert_eq!(decode(&hex("0301010b0200")), Err(DecodeError::Truncated));
        assert_eq!(decode(&hex("03ffffffffff01")), Err(DecodeError::Truncated));
        assert_eq!(decode(&hex("00 01 00 00 00 ff")), Err(DecodeError::NotUtf8));
        assert_eq!(decode(&hex("03 00 00 00 00 01 01 7b")), Err(DecodeError::BadMetadata));
        assert_eq!(decode(&hex("03 00 00 00 00 00 01 7b")), Err(DecodeError::BadPayload));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = decode(&Bytes::from(bytes));
        }
    }
}
