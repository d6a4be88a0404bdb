//! What a client says, whatever serializer it said it in.

use std::fmt;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::persist::Persist;

/// Longest reference that is kept; clients use a few digits or a UUID.
const LONGEST_REF: usize = 256;

/// One message from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// Which join of the topic the client means; null in many clients.
    pub join_ref: Ref,
    /// Echoed in the reply.
    pub reference: Ref,
    /// The topic as sent: a channel topic, `phoenix`, or anything.
    pub topic: String,
    /// Event name as sent.
    pub event: String,
    /// The rest.
    pub payload: Payload,
    /// Whether the sender wants the message stored; kind 3 only.
    pub persist: Option<Persist>,
}

/// The payload of an inbound message.
#[derive(Clone, PartialEq, Eq)]
pub enum Payload {
    /// Valid JSON text.
    Json(Bytes),
    /// Bytes of a binary push (kind 0).
    Raw(Bytes),
    /// A user broadcast (kind 3).
    User(UserBroadcast),
}

/// A user broadcast as clients of version 2 send it in binary.
#[derive(Clone, PartialEq, Eq)]
pub struct UserBroadcast {
    /// The user's event name.
    pub event: String,
    /// How `payload` is to be read.
    pub encoding: Encoding,
    /// The user's payload, passed on as it is.
    pub payload: Bytes,
}

/// How the payload of a user broadcast is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Opaque bytes.
    Binary,
    /// JSON text.
    Json,
}

impl fmt::Debug for Payload {
    // Payloads never reach a log: only their kind and size do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(text) => write!(f, "Json({} bytes)", text.len()),
            Self::Raw(bytes) => write!(f, "Raw({} bytes)", bytes.len()),
            Self::User(user) => write!(f, "User({user:?})"),
        }
    }
}

impl fmt::Debug for UserBroadcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} bytes", self.encoding, self.payload.len())
    }
}

/// A client's reference: any JSON scalar, echoed byte for byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Ref(Option<Box<str>>);

impl Ref {
    /// The absent reference.
    pub const NULL: Self = Self(None);

    /// A reference that is the JSON string `text`.
    pub fn string(text: &str) -> Self {
        // A string always serializes.
        Self(serde_json::to_string(text).ok().map(String::into_boxed_str))
    }

    /// Takes the JSON value of a frame over. `None` if it is too long to keep.
    pub fn from_json(value: &RawValue) -> Option<Self> {
        match value.get() {
            "null" => Some(Self::NULL),
            text if text.len() <= LONGEST_REF => Some(Self(Some(text.into()))),
            _ => None,
        }
    }

    /// True for null.
    pub fn is_null(&self) -> bool {
        self.0.is_none()
    }

    /// JSON text of the reference.
    pub fn as_json(&self) -> &str {
        self.0.as_deref().unwrap_or("null")
    }

    /// This reference, or `other` if this one is null.
    pub fn or<'a>(&'a self, other: &'a Self) -> &'a Self {
        if self.is_null() { other } else { self }
    }
}

impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_json())
    }
}

/// Why a frame was dropped. The socket lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or not in the shape of its version.
    #[error("the frame is not a message of this version")]
    Malformed,
    /// A binary frame of a kind that clients do not send.
    #[error("binary frames of kind {0} are not for servers")]
    UnknownKind(u8),
    /// A binary frame that is shorter than its header says.
    #[error("the binary frame is shorter than its header says")]
    Truncated,
    /// A name in a binary frame is not UTF-8.
    #[error("a name in the binary frame is not UTF-8")]
    NotUtf8,
    /// Metadata of a user broadcast that is not JSON.
    #[error("the metadata of the user broadcast is not JSON")]
    BadMetadata,
    /// A JSON payload of a user broadcast that is not JSON.
    #[error("the payload of the user broadcast is not JSON")]
    BadPayload,
}
