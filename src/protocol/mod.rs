//! The wire: frames in, frames out. Pure; knows no sockets, tasks or clock.
//!
//! [`decode`] turns what a socket received into a [`message::Inbound`];
//! [`reply`], [`system`] and [`prepared`] make what it sends. JSON payloads are
//! checked but never turned into trees: they are relayed byte for byte.

mod binary;
pub mod join;
pub mod message;
#[cfg(test)]
mod outbound_tests;
pub mod prepared;
pub mod reply;
pub mod size;
pub mod system;
mod v1;
mod v2;

use bytes::Bytes;

use self::message::{DecodeError, Inbound};

/// The serializer a socket speaks, chosen by `vsn` at the upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vsn {
    /// `1.0.x`: JSON objects.
    V1,
    /// `2.0.x`: JSON arrays and binary frames.
    V2,
}

/// What came off a socket.
#[derive(Debug, Clone)]
pub enum Received {
    /// A text message.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
}

impl Vsn {
    /// Reads the query parameter `vsn`; absent means version 1.
    /// `None` for a version that nobody speaks.
    pub fn parse(text: Option<&str>) -> Option<Self> {
        let Some(text) = text else { return Some(Self::V1) };
        let mut parts = text.split('.');
        let (major, minor, patch) = (parts.next()?, parts.next()?, parts.next()?);
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        match (major, minor, parts.next()) {
            ("1", "0", None) if is_number(patch) => Some(Self::V1),
            ("2", "0", None) if is_number(patch) => Some(Self::V2),
            _ => None,
        }
    }
}

/// Reads one frame.
///
/// # Errors
///
/// [`DecodeError`]: the frame is to be dropped, the socket lives on.
pub fn decode(vsn: Vsn, received: &Received) -> Result<Inbound, DecodeError> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| DecodeError::Malformed);
    match (vsn, received) {
        (Vsn::V1, Received::Text(bytes) | Received::Binary(bytes)) => v1::decode(text(bytes)?),
        (Vsn::V2, Received::Text(bytes)) => v2::decode(text(bytes)?),
        (Vsn::V2, Received::Binary(bytes)) => binary::decode(bytes),
    }
}

/// Appends `text` as a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string to a vector cannot fail.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_by_major_and_minor() {
        assert_eq!(Vsn::parse(None), Some(Vsn::V1));
        assert_eq!(Vsn::parse(Some("1.0.0")), Some(Vsn::V1));
        assert_eq!(Vsn::parse(Some("2.0.7")), Some(Vsn::V2));
        for text in ["", "2", "1.0", "3.0.0", "2.1.0", "abc", "2.0.x", "2.0.0.1"] {
            assert_eq!(Vsn::parse(Some(text)), None, "{text}");
        }
    }

    /// The documentation's examples are frames that the decoder reads.
    #[test]
    fn the_documented_frames_are_read() {
        let page = include_str!("../../docs/protocol.md");
        let mut read = 0;
        let mut vsn = None;
        for line in page.lines() {
            match line {
                "```v1" => vsn = Some(Vsn::V1),
                "```v2" => vsn = Some(Vsn::V2),
                "```" => vsn = None,
                frame => {
                    let Some(vsn) = vsn else { continue };
                    let received = Received::Text(Bytes::from_static(frame.as_bytes()));
                    assert!(decode(vsn, &received).is_ok(), "{frame}");
                    read += 1;
                }
            }
        }
        assert!(read > 10, "the page has examples");
    }
}
