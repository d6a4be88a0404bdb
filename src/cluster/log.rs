//! The form of the log that nodes share: what one of them reads for all.
//!
//! A log is a list of entries in the order of their ids. One node appends, the
//! others read on from where they are. A list that may have lost something is
//! left, and another *history* begun, so that a reader can tell.

use std::{fmt, str::FromStr};

use bytes::Bytes;

/// The place of an entry within its history: two numbers, compared in turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u64, pub u64);

/// One entry as a reader gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub id: EntryId,
    /// The entry before it when it was appended: a reader that has not seen
    /// that one has missed something.
    pub previous: EntryId,
    /// None at the end of a history: another one goes on.
    pub payload: Option<Bytes>,
}

/// Which history is the current one, and what is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its name, never used again.
    pub history: String,
    /// The last entry; of a history without any, zero.
    pub top: EntryId,
    /// What whoever began it says about it.
    pub about: About,
    /// A reader that has all of that history up to that entry has missed nothing.
    pub follows: Option<(String, EntryId)>,
}

/// What a history is of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The database cluster and its timeline. Another one is another history.
    pub source: (u64, u32),
    /// Tells histories of the same source apart.
    pub generation: u32,
    /// Why something is missing before it; empty if nothing is.
    pub gap: String,
}

/// The right to append, until somebody else takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Names this turn and no other.
    pub token: String,
    /// The history that is appended to.
    pub history: String,
    /// Its last entry.
    pub top: EntryId,
    /// What the source keeps no longer, as far as the log was told.
    pub end: u64,
    /// How many entries it has.
    pub entries: usize,
    /// About how many bytes they are.
    pub bytes: usize,
}

/// What a node knows of the log that it appended to last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The history.
    pub history: String,
    /// The last entry.
    pub top: EntryId,
    /// As in [`Turn`].
    pub end: u64,
}

/// Why the log did not take something or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It cannot be reached or refuses the command.
    #[error("the log between servers is out of reach")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another node appends now.
    #[error("another server has taken the log over")]
    TakenOver,
    /// Entries that were appended are there no more.
    #[error("the log between servers has lost entries")]
    Lost,
    /// An answer that makes no sense.
    #[error("the log between servers answers nonsense")]
    Answer,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl FromStr for EntryId {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        let parts = text.split_once('-');
        parts
            .and_then(|(major, minor)| Some(Self(major.parse().ok()?, minor.parse().ok()?)))
            .ok_or(LogError::Answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_it_is_written_and_compares_by_number() {
        for id in [EntryId(0, 0), EntryId(9, 10), EntryId(u64::MAX, u64::MAX)] {
            assert_eq!(id.to_string().parse::<EntryId>().unwrap(), id);
        }
        assert!(EntryId(9, 0) < EntryId(10, 0) && EntryId(9, 9) < EntryId(9, 10));
        for text in ["", "1", "1-", "-1", "1-2-3", "a-b"] {
            assert!(text.parse::<EntryId>().is_err(), "{text}");
        }
    }
}
