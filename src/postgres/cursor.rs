//! Reading fields off bytes that came from outside.
//!
//! Every access is checked: a short or lying message is an error, never a panic.

use std::ops::Range;

/// The message ended before the field did, or the field is not what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message at byte {at}: expected {expected}")]
pub struct Malformed {
    /// Offset within the message.
    pub at: usize,
    /// What should have been there.
    pub expected: &'static str,
}

/// A place within a message.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The start of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// An error that names this place.
    pub(crate) fn malformed(&self, expected: &'static str) -> Malformed {
        Malformed { at: self.at, expected }
    }

    /// How many bytes are left.
    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Steps over `length` bytes and says where they were.
    pub(crate) fn range(
        &mut self,
        length: usize,
        expected: &'static str,
    ) -> Result<Range<usize>, Malformed> {
        if length > self.remaining() {
            return Err(self.malformed(expected));
        }
        let start = self.at;
        self.at += length;
        Ok(start..self.at)
    }

    /// The next `length` bytes.
    pub(crate) fn take(
        &mut self,
        length: usize,
        expected: &'static str,
    ) -> Result<&'a [u8], Malformed> {
        let range = self.range(length, expected)?;
        self.bytes.get(range).ok_or_else(|| self.malformed(expected))
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at = self.bytes.len();
        rest
    }

    fn array<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], Malformed> {
        let at = self.at;
        let bytes = self.take(N, expected)?;
        bytes.try_into().map_err(|_| Malformed { at, expected })
    }

    /// One byte.
    pub(crate) fn u8(&mut self, expected: &'static str) -> Result<u8, Malformed> {
        self.array::<1>(expected).map(|[byte]| byte)
    }

    /// Two bytes, big endian.
    pub(crate) fn u16(&mut self, expected: &'static str) -> Result<u16, Malformed> {
        self.array(expected).map(u16::from_be_bytes)
    }

    /// Four bytes, big endian.
    pub(crate) fn u32(&mut self, expected: &'static str) -> Result<u32, Malformed> {
        self.array(expected).map(u32::from_be_bytes)
    }

    /// Four bytes, big endian, signed.
    pub(crate) fn i32(&mut self, expected: &'static str) -> Result<i32, Malformed> {
        self.array(expected).map(i32::from_be_bytes)
    }

    /// Eight bytes, big endian.
    pub(crate) fn u64(&mut self, expected: &'static str) -> Result<u64, Malformed> {
        self.array(expected).map(u64::from_be_bytes)
    }

    /// Eight bytes, big endian, signed.
    pub(crate) fn i64(&mut self, expected: &'static str) -> Result<i64, Malformed> {
        self.array(expected).map(i64::from_be_bytes)
    }

    /// Bytes up to a zero byte, which is stepped over.
    pub(crate) fn c_bytes(&mut self, expected: &'static str) -> Result<&'a [u8], Malformed> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = memchr::memchr(0, rest).ok_or_else(|| self.malformed(expected))?;
        let text = self.take(length, expected)?;
        self.at += 1;
        Ok(text)
    }

    /// UTF-8 text up to a zero byte.
    pub(crate) fn c_str(&mut self, expected: &'static str) -> Result<&'a str, Malformed> {
        let at = self.at;
        let text = self.c_bytes(expected)?;
        std::str::from_utf8(text).map_err(|_| Malformed { at, expected })
    }

    /// Succeeds only at the end of the message.
    pub(crate) fn finish(&self) -> Result<(), Malformed> {
        if self.remaining() == 0 { Ok(()) } else { Err(self.malformed("the end")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_message_is_an_error_and_moves_nothing() {
        let mut cursor = Cursor::new(&[0, 1, b'a', 0, 9]);
        assert_eq!(cursor.u16("n").unwrap(), 1);
        assert_eq!(cursor.c_str("name").unwrap(), "a");
        assert!(cursor.u32("n").is_err());
        assert_eq!(cursor.remaining(), 1);
        assert!(cursor.c_str("name").is_err());
        assert!(cursor.finish().is_err());
        assert_eq!(cursor.rest(), [9]);
        assert!(cursor.finish().is_ok());
    }
}
