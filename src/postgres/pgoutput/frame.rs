//! The replication frames round pgoutput, and the client's answer to them
//! (PostgreSQL's manual, "Streaming Replication Protocol").

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::postgres::cursor::{Cursor, Malformed};

/// Seconds between 1970-01-01 and PostgreSQL's epoch, 2000-01-01.
const POSTGRES_EPOCH: i64 = 946_684_800;

/// Turns PostgreSQL's microseconds since 2000 into microseconds since 1970.
pub fn unix_micros(postgres_micros: i64) -> i64 {
    postgres_micros.saturating_add(POSTGRES_EPOCH * 1_000_000)
}

/// What the server sends inside copy data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// `w`: a piece of the log, for pgoutput one message.
    Data {
        /// Where it starts.
        start: u64,
        /// The server's end of log.
        wal_end: u64,
        /// The message.
        message: Bytes,
    },
    /// `k`: a sign of life.
    KeepAlive {
        /// Everything before it has been decoded and sent.
        wal_end: u64,
        /// The server wants an answer at once or will hang up.
        reply: bool,
    },
}

impl Frame {
    /// Decodes the contents of one copy-data message.
    ///
    /// # Errors
    ///
    /// When the bytes are neither kind.
    pub fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        match cursor.u8("frame kind")? {
            b'w' => {
                let start = cursor.u64("start lsn")?;
                let wal_end = cursor.u64("end lsn")?;
                cursor.i64("send time")?;
                let message = bytes.slice_ref(cursor.rest());
                Ok(Self::Data { start, wal_end, message })
            }
            b'k' => {
                let wal_end = cursor.u64("end lsn")?;
                cursor.i64("send time")?;
                let reply = cursor.u8("reply flag")? == 1;
                cursor.finish()?;
                Ok(Self::KeepAlive { wal_end, reply })
            }
            _ => Err(Malformed { at: 0, expected: "a replication frame" }),
        }
    }
}

/// `r`: how far the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusUpdate {
    /// Everything before this is handed off; the server may forget it.
    pub flushed: u64,
    /// The time of the client, microseconds since 1970.
    pub now: i64,
    /// Asks the server for a keep-alive at once.
    pub reply: bool,
}

impl StatusUpdate {
    /// The contents of a copy-data message.
    pub fn encode(self) -> Bytes {
        let mut out = BytesMut::with_capacity(34);
        out.put_u8(b'r');
        // Written, flushed and applied are one for us: a change is either handed off or not.
        for _ in 0..3 {
            out.put_u64(self.flushed);
        }
        out.put_i64(self.now.saturating_sub(POSTGRES_EPOCH * 1_000_000));
        out.put_u8(u8::from(self.reply));
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_decode() {
        let mut data = BytesMut::from(&b"w"[..]);
        data.put_u64(1);
        data.put_u64(2);
        data.put_i64(3);
        data.put_slice(b"payload");
        let message = Bytes::from_static(b"payload");
        let expected = Frame::Data { start: 1, wal_end: 2, message };
        assert_eq!(Frame::decode(&data.freeze()), Ok(expected));

        let mut alive = BytesMut::from(&b"k"[..]);
        alive.put_u64(7);
        alive.put_i64(3);
        alive.put_u8(1);
        let expected = Frame::KeepAlive { wal_end: 7, reply: true };
        assert_eq!(Frame::decode(&alive.freeze()), Ok(expected));
    }

    #[test]
    fn a_status_update_is_34_bytes() {
        let bytes =
            StatusUpdate { flushed: 5, now: POSTGRES_EPOCH * 1_000_000, reply: true }.encode();
        assert_eq!(bytes.len(), 34);
        assert_eq!(&bytes[..9], &[b'r', 0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(&bytes[25..], &[0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    proptest! {
        #[test]
        fn any_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Frame::decode(&Bytes::from(bytes));
        }
    }
}
