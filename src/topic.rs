//! Topics: the names clients join.
//!
//! A client topic is `realtime:<sub-topic>`. The sub-topic is what REST calls,
//! SQL functions and policies use; the prefix exists on the socket only. A
//! [`Topic`] holds both without a second allocation; it is never empty, never
//! longer than [`LONGEST`], and every database can store it.

use std::{borrow::Borrow, fmt, sync::Arc};

use uuid::Uuid;

/// What every channel topic starts with on a socket.
pub const PREFIX: &str = "realtime:";

/// Most bytes of a topic with its prefix. Binary frames carry 255, but a join
/// without `config` has a whole filter in its topic, with up to a hundred values.
pub const LONGEST: usize = 8192;

/// What the topic of a chat room starts with, before its id.
const ROOM: &str = "room:";

/// The topic of heartbeats, which is not a channel.
pub const PHOENIX: &str = "phoenix";

/// A channel topic with its prefix, cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Topic(Arc<str>);

/// A namespace of topics. Public and private topics of one name are strangers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Whose topic.
    pub tenant: Arc<str>,
    /// Guarded by policies.
    pub private: bool,
    /// Its name.
    pub topic: Topic,
}

/// Why a string is not a channel topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The prefix `realtime:` is missing.
    #[error("a channel topic starts with `realtime:`")]
    NoPrefix,
    /// Nothing follows the prefix.
    #[error("a channel topic needs a name after `realtime:`")]
    Empty,
    /// More bytes than [`LONGEST`].
    #[error("a channel topic has at most {LONGEST} bytes")]
    TooLong,
    /// PostgreSQL has no text with a zero byte, so no policy could judge it.
    #[error("a channel topic has no zero byte")]
    ZeroByte,
}

impl Topic {
    /// Reads a topic as a client sends it.
    ///
    /// # Errors
    ///
    /// [`TopicError`] when the prefix is missing or the name cannot be one.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        check(text.strip_prefix(PREFIX).ok_or(TopicError::NoPrefix)?)?;
        Ok(Self(Arc::from(text)))
    }

    /// Makes the topic of a sub-topic, as REST and the database name it.
    ///
    /// # Errors
    ///
    /// [`TopicError`] when the name cannot be one.
    pub fn from_sub_topic(sub_topic: &str) -> Result<Self, TopicError> {
        check(sub_topic)?;
        Ok(Self(Arc::from(format!("{PREFIX}{sub_topic}"))))
    }

    /// The whole topic, `realtime:` included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The topic without `realtime:`.
    pub fn sub_topic(&self) -> &str {
        self.0.strip_prefix(PREFIX).unwrap_or(&self.0)
    }

    /// The topic of a chat room, `room:<id>`.
    pub fn of_room(room: Uuid) -> Self {
        Self(Arc::from(format!("{PREFIX}{ROOM}{room}")))
    }

    /// The id in `room:<id>`, however it is written; `None` for other topics.
    pub fn room(&self) -> Option<Uuid> {
        Uuid::parse_str(self.sub_topic().strip_prefix(ROOM)?).ok()
    }
}

fn check(sub_topic: &str) -> Result<(), TopicError> {
    match sub_topic {
        "" => Err(TopicError::Empty),
        name if name.len() > LONGEST - PREFIX.len() => Err(TopicError::TooLong),
        name if name.contains('\0') => Err(TopicError::ZeroByte),
        _ => Ok(()),
    }
}

// Equality and hash are those of the text, so maps keyed by topic look texts up.
impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({:?})", self.as_str())
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_keeps_everything_after_the_prefix() {
        let topic = Topic::parse("realtime:room:a b/é").unwrap();
        assert_eq!(topic.sub_topic(), "room:a b/é");
        assert_eq!(topic.as_str(), "realtime:room:a b/é");
        assert_eq!(Topic::from_sub_topic("room:a b/é"), Ok(topic));
    }

    #[test]
    fn the_topic_of_a_room_holds_its_id() {
        let room = Uuid::from_u128(0xab);
        let topic = Topic::of_room(room);
        assert_eq!(topic.as_str(), format!("realtime:room:{room}"));
        assert_eq!(topic.room(), Some(room));
        let shouted = Topic::from_sub_topic(&format!("room:{room}").replace("ab", "AB")).unwrap();
        assert_eq!(shouted.room(), Some(room));
        assert_eq!(Topic::from_sub_topic("room:lobby").unwrap().room(), None);
    }

    #[test]
    fn a_name_without_prefix_or_without_rest_is_no_topic() {
        assert_eq!(Topic::parse("room"), Err(TopicError::NoPrefix));
        assert_eq!(Topic::parse("realtime:"), Err(TopicError::Empty));
        assert_eq!(Topic::from_sub_topic(""), Err(TopicError::Empty));
    }

    #[test]
    fn what_a_database_cannot_store_or_nobody_can_read_is_no_topic() {
        assert_eq!(Topic::parse("realtime:a\0"), Err(TopicError::ZeroByte));
        assert_eq!(Topic::from_sub_topic("\0"), Err(TopicError::ZeroByte));
        let longest = "x".repeat(LONGEST - PREFIX.len());
        assert_eq!(Topic::from_sub_topic(&longest).unwrap().as_str().len(), LONGEST);
        assert_eq!(Topic::from_sub_topic(&format!("{longest}x")), Err(TopicError::TooLong));
        assert_eq!(Topic::parse(&format!("{PREFIX}{longest}x")), Err(TopicError::TooLong));
    }
}
