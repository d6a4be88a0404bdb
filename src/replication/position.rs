//! Where in the history of a database a change stands.
//!
//! An LSN alone is not enough: after a failover it runs backwards, and a new
//! slot starts a new history. Only positions of one [`Epoch`] compare.

use std::{fmt, num::ParseIntError, str::FromStr};

/// A byte position in the write-ahead log, printed as PostgreSQL does (`16/B374D848`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// One unbroken history: any change of its parts means that something may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch {
    /// The cluster's identity, from `IDENTIFY_SYSTEM`.
    pub system_id: u64,
    /// Changes at each promotion of a standby.
    pub timeline: u32,
    /// Grows with each history that a server begins, by the clock.
    pub generation: u32,
}

/// The place of one change. Unique within its database for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The history the rest is valid in.
    pub epoch: Epoch,
    /// The commit record of the change's transaction.
    pub commit: Lsn,
    /// Index of the change within its transaction, from 0.
    pub ordinal: u32,
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// Why a text is not an LSN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a log position like 16/B374D848")]
pub struct LsnError(String);

impl FromStr for Lsn {
    type Err = LsnError;

    fn from_str(text: &str) -> Result<Self, LsnError> {
        let half = |part: &str| -> Result<u64, ParseIntError> {
            u32::from_str_radix(part, 16).map(u64::from)
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(half(high).ok()? << 32 | half(low).ok()?)))
            .ok_or_else(|| LsnError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_lsn_prints_and_reads_as_postgresql_writes_it() {
        for text in ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(text.parse::<Lsn>().unwrap().to_string(), text);
        }
        assert!("16".parse::<Lsn>().is_err());
        assert!("1/2/3".parse::<Lsn>().is_err());
        assert!("x/1".parse::<Lsn>().is_err());
    }
}
