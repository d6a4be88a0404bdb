//! What a client may say in a room: `chat:…` events, read and bounded. Pure.

use serde::{Deserialize, de::DeserializeOwned};
use uuid::Uuid;

use super::ChatError;

/// What every verb begins with on the wire.
const PREFIX: &str = "chat:";

/// Bytes of a reaction; the longest emoji sequences have about forty.
const LONGEST_EMOJI: usize = 64;

/// Something a client wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// To the database, in the sender's order.
    Act(Act),
    /// Moves a cursor: what the client has, or what its user saw.
    Mark(Mark),
    /// Its user types, or stopped.
    Typing(bool),
}

/// A change of a room's messages.
#[derive(Clone, PartialEq, Eq)]
pub enum Act {
    /// A new message.
    Send {
        /// Chosen by the client: sending it twice is sending it once.
        id: Uuid,
        /// What it says.
        content: String,
        /// The message it answers.
        reply_to: Option<Uuid>,
    },
    /// Another content.
    Edit {
        /// Of this message.
        id: Uuid,
        /// What it is to say.
        content: String,
        /// The version that is replaced.
        version: i32,
    },
    /// The end of a message.
    Delete {
        /// Which.
        id: Uuid,
        /// The version that is meant; any if none.
        version: Option<i32>,
    },
    /// A reaction comes.
    React {
        /// To this message.
        id: Uuid,
        /// Which.
        emoji: String,
    },
    /// A reaction goes.
    Unreact {
        /// From this message.
        id: Uuid,
        /// Which.
        emoji: String,
    },
}

impl std::fmt::Debug for Act {
    // What people write never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name(), self.id())
    }
}

/// How far a member has come in a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// The last `seq` that a client of the member's has; 0 says nothing.
    pub delivered: i64,
    /// The last `seq` that the member has seen; 0 says nothing.
    pub read: i64,
}

#[derive(Deserialize)]
struct Sent {
    id: Uuid,
    content: String,
    #[serde(default)]
    reply_to: Option<Uuid>,
}

#[derive(Deserialize)]
struct Edited {
    id: Uuid,
    content: String,
    version: i32,
}

#[derive(Deserialize)]
struct Deleted {
    id: Uuid,
    #[serde(default)]
    version: Option<i32>,
}

#[derive(Deserialize)]
struct Reaction {
    id: Uuid,
    emoji: String,
}

#[derive(Deserialize)]
struct Seen {
    seq: i64,
}

#[derive(Deserialize)]
struct Typing {
    typing: bool,
}

impl Verb {
    /// Whether an event is for the chat, whatever it says.
    pub fn is_meant(event: &str) -> bool {
        event.starts_with(PREFIX)
    }

    /// Reads an event and its payload, JSON text.
    ///
    /// # Errors
    ///
    /// With [`Code::BadRequest`](super::Code::BadRequest).
    pub fn parse(event: &str, payload: &[u8]) -> Result<Self, ChatError> {
        let verb = match event.strip_prefix(PREFIX).unwrap_or_default() {
            "send" => {
                let Sent { id, content, reply_to } = fields(payload)?;
                Self::Act(Act::Send { id, content, reply_to })
            }
            "edit" => {
                let Edited { id, content, version } = fields(payload)?;
                Self::Act(Act::Edit { id, content, version })
            }
            "delete" => {
                let Deleted { id, version } = fields(payload)?;
                Self::Act(Act::Delete { id, version })
            }
            "react" => {
                let Reaction { id, emoji } = fields(payload)?;
                Self::Act(Act::React { id, emoji })
            }
            "unreact" => {
                let Reaction { id, emoji } = fields(payload)?;
                Self::Act(Act::Unreact { id, emoji })
            }
            "delivered" => {
                let Seen { seq } = fields(payload)?;
                Self::Mark(Mark { delivered: seq, read: 0 }.checked()?)
            }
            "read" => {
                let Seen { seq } = fields(payload)?;
                Self::Mark(Mark { delivered: 0, read: seq }.checked()?)
            }
            "typing" => Self::Typing(fields::<Typing>(payload)?.typing),
            _ => return Err(ChatError::bad_request("Clients cannot send this event.")),
        };
        Ok(verb)
    }
}

impl Act {
    /// The verb without `chat:`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Send { .. } => "send",
            Self::Edit { .. } => "edit",
            Self::Delete { .. } => "delete",
            Self::React { .. } => "react",
            Self::Unreact { .. } => "unreact",
        }
    }

    /// The message's id.
    pub fn id(&self) -> Uuid {
        match self {
            Self::Send { id, .. }
            | Self::Edit { id, .. }
            | Self::Delete { id, .. }
            | Self::React { id, .. }
            | Self::Unreact { id, .. } => *id,
        }
    }

    /// Looks at what the database need not be asked about.
    ///
    /// # Errors
    ///
    /// With [`Code::BadRequest`](super::Code::BadRequest).
    pub fn check(&self, longest: usize) -> Result<(), ChatError> {
        match self {
            Self::Send { content, .. } | Self::Edit { content, .. } => {
                check_content(content, longest)
            }
            Self::React { emoji, .. } | Self::Unreact { emoji, .. } => {
                match emoji.is_empty() || emoji.len() > LONGEST_EMOJI || emoji.contains('\0') {
                    true => Err(ChatError::bad_request("That is not a reaction.")),
                    false => Ok(()),
                }
            }
            Self::Delete { .. } => Ok(()),
        }
    }
}

impl Mark {
    /// The mark, if its numbers can be a `seq`.
    ///
    /// # Errors
    ///
    /// With [`Code::BadRequest`](super::Code::BadRequest).
    pub fn checked(self) -> Result<Self, ChatError> {
        match self.delivered < 0 || self.read < 0 {
            true => Err(ChatError::bad_request("A seq is a whole number from 0 up.")),
            false => Ok(self),
        }
    }
}

fn check_content(content: &str, longest: usize) -> Result<(), ChatError> {
    if content.contains('\0') {
        return Err(ChatError::bad_request("A message cannot have a zero byte."));
    }
    // Bytes first: counting the characters of a large text costs something.
    if content.len() > longest && content.chars().count() > longest {
        let text = format!("A message has at most {longest} characters.");
        return Err(ChatError::bad_request(text));
    }
    Ok(())
}

fn fields<T: DeserializeOwned>(payload: &[u8]) -> Result<T, ChatError> {
    // A list would be read as the fields in their order.
    let object = payload.trim_ascii_start().starts_with(b"{").then_some(payload);
    object
        .and_then(|payload| serde_json::from_slice(payload).ok())
        .ok_or_else(|| ChatError::bad_request("Fields are missing or have the wrong form."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn parse(event: &str, payload: &serde_json::Value) -> Result<Verb, ChatError> {
        let verb = Verb::parse(event, payload.to_string().as_bytes())?;
        if let Verb::Act(act) = &verb {
            act.check(5)?;
        }
        Ok(verb)
    }

    #[test]
    fn verbs_read_as_they_are_written() {
        let json = serde_json::json!({"id": ID, "content": "é'", "reply_to": null, "more": 1});
        let send = Act::Send { id: ID, content: "é'".to_owned(), reply_to: None };
        assert_eq!(parse("chat:send", &json), Ok(Verb::Act(send)));
        let json = serde_json::json!({"id": ID});
        let delete = Act::Delete { id: ID, version: None };
        assert_eq!(parse("chat:delete", &json), Ok(Verb::Act(delete)));
        let read = Mark { delivered: 0, read: 3 };
        assert_eq!(parse("chat:read", &serde_json::json!({"seq": 3})), Ok(Verb::Mark(read)));
        let json = serde_json::json!({"typing": true});
        assert_eq!(parse("chat:typing", &json), Ok(Verb::Typing(true)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let wrong = [
            ("chat:message", serde_json::json!({"id": ID, "content": "x"})),
            ("chat:send", serde_json::json!({"content": "x"})),
            ("chat:send", serde_json::json!([ID, "x"])),
            ("chat:send", serde_json::json!({"id": "x", "content": "x"})),
            ("chat:send", serde_json::json!({"id": ID, "content": "ééabcd"})),
            ("chat:send", serde_json::json!({"id": ID, "content": "\0"})),
            ("chat:edit", serde_json::json!({"id": ID, "content": "x"})),
            ("chat:react", serde_json::json!({"id": ID, "emoji": ""})),
            ("chat:react", serde_json::json!({"id": ID, "emoji": "x".repeat(65)})),
            ("chat:read", serde_json::json!({"seq": -1})),
            ("chat:typing", serde_json::json!({})),
        ];
        for (event, payload) in wrong {
            let error = parse(event, &payload).unwrap_err();
            assert_eq!(error.code, crate::chat::Code::BadRequest, "{event} {payload}");
        }
    }
}
