//! Frames of the PostgreSQL protocol.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use postgres_protocol::message::backend::Header;
use tokio_util::codec::{Decoder, Encoder};

/// A row is at most 1 GiB in PostgreSQL, and every other message is smaller.
const LARGEST: usize = 1 << 30;

/// At most this much is reserved before the bytes are there.
const STEP: usize = 64 * 1024;

/// One message from the server.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    /// Its kind.
    pub(super) tag: u8,
    /// What follows the length.
    pub(super) body: Bytes,
}

/// Splits the byte stream. Outgoing messages come ready made.
#[derive(Debug, Default)]
pub(super) struct Codec;

impl Decoder for Codec {
    type Item = Backend;
    type Error = io::Error;

    fn decode(&mut self, source: &mut BytesMut) -> io::Result<Option<Backend>> {
        let Some(header) = Header::parse(source)? else { return Ok(None) };
        // The length counts itself but not the tag; `Header` refuses less than 4.
        let length = usize::try_from(header.len()).unwrap_or(usize::MAX);
        if length > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "message over 1 GiB"));
        }
        let missing = (length + 1).saturating_sub(source.len());
        if missing > 0 {
            // Doubling, so that a length alone makes nobody allocate a gigabyte.
            source.reserve(missing.min(source.len().max(STEP)));
            return Ok(None);
        }
        let mut message = source.split_to(length + 1);
        message.advance(5);
        Ok(Some(Backend { tag: header.tag(), body: message.freeze() }))
    }
}

impl Encoder<Bytes> for Codec {
    type Error = io::Error;

    fn encode(&mut self, message: Bytes, out: &mut BytesMut) -> io::Result<()> {
        out.extend_from_slice(&message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_may_arrive_byte_by_byte() {
        let mut buffer = BytesMut::new();
        for byte in *b"Z\0\0\0\x05" {
            buffer.extend_from_slice(&[byte]);
            assert!(Codec.decode(&mut buffer).unwrap().is_none());
        }
        buffer.extend_from_slice(b"IX");
        let message = Codec.decode(&mut buffer).unwrap().unwrap();
        assert_eq!((message.tag, &message.body[..]), (b'Z', &b"I"[..]));
        assert_eq!(&buffer[..], b"X");
    }

    #[test]
    fn a_declared_length_does_not_allocate() {
        let mut buffer = BytesMut::from(&b"d\x3F\xFF\xFF\xFF"[..]);
        assert!(Codec.decode(&mut buffer).unwrap().is_none());
        assert!(buffer.capacity() <= 2 * STEP);
        let mut buffer = BytesMut::from(&b"d\x7F\xFF\xFF\xFF"[..]);
        assert!(Codec.decode(&mut buffer).is_err());
        let mut buffer = BytesMut::from(&b"d\0\0\0\x03"[..]);
        assert!(Codec.decode(&mut buffer).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Codec.decode(&mut buffer) {}
        }
    }
}
