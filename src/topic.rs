//! Topics: the names clients join.
//!
//! A client topic is `realtime:<sub-topic>`. The sub-topic is what REST calls,
//! SQL functions and policies use; the prefix exists on the socket only. A
//! [`Topic`] holds both without a second allocation and is never empty.

use std::{borrow::Borrow, fmt, sync::Arc};

/// What every channel topic starts with on a socket.
pub const PREFIX: &str = "realtime:";

/// The topic of heartbeats, which is not a channel.
pub const PHOENIX: &str = "phoenix";

/// A channel topic with its prefix, cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Topic(Arc<str>);

/// Why a string is not a channel topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The prefix `realtime:` is missing.
    #[error("a channel topic starts with `realtime:`")]
    NoPrefix,
    /// Nothing follows the prefix.
    #[error("a channel topic needs a name after `realtime:`")]
    Empty,
}

impl Topic {
    /// Reads a topic as a client sends it.
    ///
    /// # Errors
    ///
    /// [`TopicError`] when the prefix or the name is missing.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        match text.strip_prefix(PREFIX) {
            None => Err(TopicError::NoPrefix),
            Some("") => Err(TopicError::Empty),
            Some(_) => Ok(Self(Arc::from(text))),
        }
    }

    /// Makes the topic of a sub-topic, as REST and the database name it.
    ///
    /// # Errors
    ///
    /// [`TopicError::Empty`] for an empty name.
    pub fn from_sub_topic(sub_topic: &str) -> Result<Self, TopicError> {
        if sub_topic.is_empty() {
            return Err(TopicError::Empty);
        }
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
    fn a_name_without_prefix_or_without_rest_is_no_topic() {
        assert_eq!(Topic::parse("room"), Err(TopicError::NoPrefix));
        assert_eq!(Topic::parse("realtime:"), Err(TopicError::Empty));
        assert_eq!(Topic::from_sub_topic(""), Err(TopicError::Empty));
    }
}
