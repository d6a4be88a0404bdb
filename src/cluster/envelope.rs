//! What nodes send each other: one message to one topic, its payload encoded once.
//!
//! The form, version 1, numbers big endian:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version |
//! | 4 | length of the header that follows |
//! | 16 | node |
//! | 1 | kind |
//! | 1 | flags; bit 0: the topic is private |
//! | 4 + n, four times | tenant, topic with its prefix, event, meta |
//! | 4 | number of the sender's link to the bus, which grows; 0 if it has none |
//! | the rest | payload |
//!
//! A later version 1 may add fields at the header's end, which older nodes skip.
//! Anything else is another version, which older nodes drop, as they drop kinds
//! they do not know. So the versions before and after a release can run together.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::topic::{Key, Topic};

use super::NodeId;

const VERSION: u8 = 1;

/// Version and length of the header.
const PREAMBLE: usize = 5;

const PRIVATE: u8 = 1;

/// One message on its way to other nodes.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Where it comes from.
    pub node: NodeId,
    /// The topic it is for.
    pub key: Key,
    /// What its parts mean.
    pub kind: Kind,
    /// The user's event, or the one on the wire.
    pub event: String,
    /// Server metadata as JSON text, or empty.
    pub meta: String,
    /// As the kind says.
    pub payload: Bytes,
}

/// What an envelope holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A broadcast whose payload is JSON text, relayed as it is.
    Json = 1,
    /// A user's event with JSON text.
    UserJson = 2,
    /// A user's event with bytes.
    UserBytes = 3,
    /// A broadcast of bytes.
    Raw = 4,
    /// Who is present: JSON for the tracker.
    Presence = 5,
    /// A sign of life of the node.
    Alive = 6,
    /// How many users the tenant in `event` has on the node, as decimal text.
    Users = 7,
    /// Who is online in the chat of the tenant in `event`: JSON for its table.
    Status = 8,
    /// What became of the tenant in `event`, a word in `meta`.
    Tenant = 9,
}

/// Why bytes are no envelope for this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They end too early or are no text where they should be.
    #[error("malformed envelope")]
    Malformed,
    /// Of a newer node.
    #[error("unknown version or kind of envelope")]
    Unknown,
}

impl Envelope {
    /// Its form on the bus.
    pub fn encode(&self) -> Vec<u8> {
        let (tenant, topic) = (&*self.key.tenant, self.key.topic.as_str());
        let texts = [tenant, topic, &self.event, &self.meta];
        let header = 18 + texts.iter().map(|text| 4 + text.len()).sum::<usize>() + 4;
        let mut out = Vec::with_capacity(PREAMBLE + header + self.payload.len());
        out.push(VERSION);
        out.extend_from_slice(&length(header));
        out.extend_from_slice(self.node.0.as_bytes());
        out.push(self.kind as u8);
        out.push(if self.key.private { PRIVATE } else { 0 });
        for text in texts {
            out.extend_from_slice(&length(text.len()));
            out.extend_from_slice(text.as_bytes());
        }
        // No link yet: see `stamp`.
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.payload);
        out
    }

    /// Reads [`Envelope::encode`]'s form; the payload shares the memory.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let (&version, rest) = bytes.split_first().ok_or(DecodeError::Malformed)?;
        if version != VERSION {
            return Err(DecodeError::Unknown);
        }
        let mut reader = Reader(rest);
        let header = reader.length()?;
        let mut reader = Reader(reader.take(header)?);
        let node = reader.take(16)?.try_into().map_err(|_| DecodeError::Malformed)?;
        let kind = Kind::of(reader.byte()?).ok_or(DecodeError::Unknown)?;
        let private = reader.byte()? & PRIVATE != 0;
        let tenant = Arc::from(reader.text()?);
        let topic = Topic::parse(reader.text()?).map_err(|_| DecodeError::Malformed)?;
        let (event, meta) = (reader.text()?.to_owned(), reader.text()?.to_owned());
        let key = Key { tenant, private, topic };
        let node = NodeId(Uuid::from_bytes(node));
        Ok(Self { node, key, kind, event, meta, payload: bytes.slice(PREAMBLE + header..) })
    }
}

/// The node that sent an envelope, without reading the rest.
pub(super) fn sender(bytes: &[u8]) -> Option<NodeId> {
    let (&version, rest) = bytes.split_first()?;
    let node = rest.get(4..20)?.try_into().ok()?;
    (version == VERSION).then(|| NodeId(Uuid::from_bytes(node)))
}

/// The link that an envelope came by; none of an older node.
pub(super) fn link(bytes: &[u8]) -> Option<u32> {
    let at = link_at(bytes)?;
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Notes the link that an envelope goes by.
pub(super) fn stamp(bytes: &mut [u8], link: u32) {
    if let Some(field) = link_at(bytes).and_then(|at| bytes.get_mut(at..at + 4)) {
        field.copy_from_slice(&link.to_be_bytes());
    }
}

/// Where in its bytes an envelope has its link.
fn link_at(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader(bytes.get(1..)?);
    let header = reader.length().ok()?;
    let mut reader = Reader(reader.take(header).ok()?);
    reader.take(18).ok()?;
    for _ in 0..4 {
        let length = reader.length().ok()?;
        reader.take(length).ok()?;
    }
    (reader.0.len() >= 4).then(|| PREAMBLE + header - reader.0.len())
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Json,
        Self::UserJson,
        Self::UserBytes,
        Self::Raw,
        Self::Presence,
        Self::Alive,
        Self::Users,
        Self::Status,
        Self::Tenant,
    ];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Four gigabytes are more than any message may have.
fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(DecodeError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.take(1)?.first().copied().ok_or(DecodeError::Malformed)
    }

    fn length(&mut self) -> Result<usize, DecodeError> {
        let bytes = self.take(4)?.try_into().map_err(|_| DecodeError::Malformed)?;
        usize::try_from(u32::from_be_bytes(bytes)).map_err(|_| DecodeError::Malformed)
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError::Malformed)
    }
}

/// The payload is a user's: only its size is shown.
impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope")
            .field("node", &self.node)
            .field("key", &self.key)
            .field("kind", &self.kind)
            .field("payload", &self.payload.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelope(kind: Kind, private: bool) -> Envelope {
        let topic = Topic::from_sub_topic("ä:b").unwrap();
        Envelope {
            node: NodeId(Uuid::from_u128(7)),
            key: Key { tenant: Arc::from("t"), private, topic },
            kind,
            event: "hello".to_owned(),
            meta: r#"{"id":1}"#.to_owned(),
            payload: Bytes::from_static(b"\x00\xffpayload"),
        }
    }

    #[test]
    fn an_envelope_comes_out_as_it_went_in() {
        for kind in Kind::ALL {
            for private in [true, false] {
                let envelope = envelope(kind, private);
                let bytes = Bytes::from(envelope.encode());
                assert_eq!(sender(&bytes), Some(envelope.node));
                assert_eq!(Envelope::decode(&bytes), Ok(envelope));
            }
        }
    }

    #[test]
    fn the_form_has_not_changed() {
        let bytes = envelope(Kind::UserJson, true).encode();
        let node = Uuid::from_u128(7).into_bytes();
        let expected = [
            b"\x01\x00\x00\x00\x41".as_slice(),
            &node,
            b"\x02\x01",
            b"\x00\x00\x00\x01t\x00\x00\x00\x0drealtime:\xc3\xa4:b",
            b"\x00\x00\x00\x05hello\x00\x00\x00\x08{\"id\":1}",
            b"\x00\x00\x00\x00",
            b"\x00\xffpayload",
        ];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn fields_of_a_newer_node_are_skipped_and_its_other_kinds_and_versions_dropped() {
        let known = envelope(Kind::Json, false);
        let mut bytes = known.encode();
        let header = usize::from(bytes[4]);
        bytes[4] += 3;
        bytes.splice(PREAMBLE + header..PREAMBLE + header, *b"new");
        assert_eq!(Envelope::decode(&Bytes::from(bytes)), Ok(known.clone()));
        let mut bytes = known.encode();
        bytes[PREAMBLE + 16] = 200;
        assert_eq!(Envelope::decode(&Bytes::from(bytes)), Err(DecodeError::Unknown));
        let mut bytes = known.encode();
        bytes[0] = 2;
        assert_eq!(Envelope::decode(&Bytes::from(bytes)), Err(DecodeError::Unknown));
    }

    #[test]
    fn an_envelope_bears_its_link_and_those_of_older_nodes_have_none() {
        let mut bytes = envelope(Kind::Json, false).encode();
        assert_eq!(link(&bytes), Some(0));
        stamp(&mut bytes, 0x0102_0304);
        assert_eq!(link(&bytes), Some(0x0102_0304));
        assert_eq!(Envelope::decode(&Bytes::from(bytes.clone())), Ok(envelope(Kind::Json, false)));
        let end = PREAMBLE + usize::from(bytes[4]);
        bytes.drain(end - 4..end);
        bytes[4] -= 4;
        assert_eq!(link(&bytes), None);
        assert_eq!(Envelope::decode(&Bytes::from(bytes)), Ok(envelope(Kind::Json, false)));
    }

    #[test]
    fn a_payload_is_not_shown() {
        assert!(!format!("{:?}", envelope(Kind::Json, false)).contains("payload\""));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()
        ) {
            let mut bytes = envelope(Kind::Raw, true).encode();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(cut.index(bytes.len()));
            stamp(&mut bytes, 1);
            let _ = (sender(&bytes), link(&bytes));
            let _ = Envelope::decode(&Bytes::from(bytes));
        }
    }
}
