//! `persist`: a sender's wish to have a broadcast stored for replay.
//!
//! realtime-js sends it in the metadata of a kind 3 frame, as `true` or
//! `{"ttl": seconds}`, and to REST as `persist=true` or `persist[ttl]=seconds`.

use serde::Deserialize;
use serde_json::value::RawValue;

/// How long to keep a broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persist {
    /// As long as messages are kept.
    Retention,
    /// This many seconds, at least one.
    Seconds(u32),
    /// Asked for, in a way that means nothing. To be refused, since storing
    /// for too long or not at all would both be wrong.
    Unreadable,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    persist: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Options<'a> {
    #[serde(borrow, default)]
    ttl: Option<&'a RawValue>,
}

impl Persist {
    /// Reads the metadata of a frame, which is JSON. `None` if nothing is to be stored.
    pub fn from_metadata(json: &str) -> Option<Self> {
        let metadata: Metadata<'_> = serde_json::from_str(json).ok()?;
        let persist = metadata.persist?.get();
        match persist {
            "true" => Some(Self::Retention),
            "false" => None,
            _ if !persist.starts_with('{') => Some(Self::Unreadable),
            _ => match serde_json::from_str::<Options<'_>>(persist) {
                Ok(Options { ttl: None }) => Some(Self::Retention),
                Ok(Options { ttl: Some(ttl) }) => Some(Self::seconds(ttl.get())),
                Err(_) => Some(Self::Unreadable),
            },
        }
    }

    /// Reads one parameter of a query. `None` if it is not about storing, or says no.
    pub fn from_query(name: &str, value: &str) -> Option<Self> {
        match (name, value) {
            ("persist", "true") => Some(Self::Retention),
            ("persist", "false" | "") => None,
            ("persist", _) => Some(Self::Unreadable),
            ("persist[ttl]", seconds) => Some(Self::seconds(seconds)),
            _ => None,
        }
    }

    fn seconds(text: &str) -> Self {
        match text.parse() {
            Ok(seconds) if seconds > 0 => Self::Seconds(seconds),
            _ => Self::Unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_says_whether_and_for_how_long() {
        let read = Persist::from_metadata;
        assert_eq!(read(r#"{"persist":true}"#), Some(Persist::Retention));
        assert_eq!(read(r#"{"persist":{}}"#), Some(Persist::Retention));
        assert_eq!(read(r#"{"persist":{"ttl":60}}"#), Some(Persist::Seconds(60)));
        for nothing in [r#"{"persist":false}"#, r#"{"persist":null}"#, r#"{"other":1}"#, "5"] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
        for odd in
            [r#"{"persist":{"ttl":0}}"#, r#"{"persist":{"ttl":"x"}}"#, r#"{"persist":"yes"}"#]
        {
            assert_eq!(read(odd), Some(Persist::Unreadable), "{odd}");
        }
    }

    #[test]
    fn a_query_says_the_same() {
        assert_eq!(Persist::from_query("persist", "true"), Some(Persist::Retention));
        assert_eq!(Persist::from_query("persist[ttl]", "9"), Some(Persist::Seconds(9)));
        assert_eq!(Persist::from_query("persist[ttl]", "-9"), Some(Persist::Unreadable));
        assert_eq!(Persist::from_query("private", "true"), None);
    }
}
