//! What the server says in a room: an event, its payload, and ids by which a
//! socket recognizes what it caused itself.
//!
//! The ids are made of what a push says, so that the sender knows them before
//! the database has committed and the log can be faster than its answer. They
//! mean something within this process only.

use std::hash::{DefaultHasher, Hash, Hasher as _};

use bytes::Bytes;
use smallvec::SmallVec;
use uuid::Uuid;

use crate::protocol::{
    message::{Encoding, UserBroadcast},
    prepared::Fanout,
};

/// One push to a room.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) room: Uuid,
    pub(super) event: &'static str,
    /// JSON text of an object.
    pub(super) payload: Bytes,
    /// Who has registered any of these does not want it.
    pub(super) ids: SmallVec<[Uuid; 2]>,
}

impl Push {
    pub(super) fn new(room: Uuid, event: &'static str, payload: impl Into<Bytes>) -> Self {
        Self { room, event, payload: payload.into(), ids: SmallVec::new() }
    }

    pub(super) fn with(mut self, ids: impl IntoIterator<Item = Uuid>) -> Self {
        self.ids.extend(ids);
        self
    }
}

/// A push as the hub sends it.
pub(super) fn fanout(event: &str, payload: Bytes) -> Fanout {
    let broadcast = UserBroadcast { event: event.to_owned(), encoding: Encoding::Json, payload };
    Fanout::User { broadcast, meta: String::new() }
}

/// A new message. Somebody else's of the same id is another.
pub(super) fn inserted(message: Uuid, sender: Uuid) -> Uuid {
    id(("inserted", message, sender))
}

/// A message at this version. Another edit that won is another.
pub(super) fn updated(message: Uuid, version: i64, content: &str) -> Uuid {
    id(("updated", message, version, content))
}

/// A message's end, which happens once.
pub(super) fn deleted(message: Uuid) -> Uuid {
    id(("deleted", message))
}

/// A reaction that came or went.
pub(super) fn reaction(message: Uuid, user: Uuid, emoji: &str, added: bool) -> Uuid {
    id(("reaction", message, user, emoji, added))
}

/// A member's cursor at this place.
pub(super) fn delivered(room: Uuid, user: Uuid, seq: i64) -> Uuid {
    id(("delivered", room, user, seq))
}

/// A member's cursor at this place.
pub(super) fn read(room: Uuid, user: Uuid, seq: i64) -> Uuid {
    id(("read", room, user, seq))
}

fn id(parts: impl Hash) -> Uuid {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, &parts).hash(&mut hasher);
        hasher.finish()
    };
    Uuid::from_u64_pair(half(0), half(1))
}
