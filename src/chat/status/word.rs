//! What servers tell each other about who is online, as JSON.
//!
//! A server speaks for its own channels only. Its users are told apart by the
//! [`part`] they are in, so that a difference is found and mended in pieces. A
//! newer server's other words make no sense to an older one and are skipped.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    cluster::{Envelope, NodeId, envelope::Kind},
    topic::Key,
};

/// Parts of all users.
pub(super) const PARTS: usize = 64;

/// Users of one word, about: a part is not cut.
const CROWD: usize = 10_000;

/// Milliseconds since 1970.
pub(super) type Moment = u64;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    /// To all: these users came to the server or left it.
    Changes(Changes),
    /// To all, every few seconds: a sign of life, and all its users in short.
    Sign(Sign),
    /// To one: what is in parts of yours?
    Ask(Ask),
    /// The answer, as many of them as there is room for.
    Parts(Parts),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Changes {
    /// One more each time.
    pub(super) number: u64,
    pub(super) changes: Vec<Change>,
}

/// A user, whether they are on the server from now on, and when that was.
pub(super) type Change = (Uuid, bool, Moment);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sign {
    /// Of the changes before it.
    pub(super) number: u64,
    pub(super) at: Moment,
    /// How long it counts, in milliseconds.
    pub(super) ttl: u64,
    /// Whether others are to give theirs.
    pub(super) asks: bool,
    pub(super) digests: Vec<Digest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ask {
    /// A bit for each.
    pub(super) parts: u64,
    /// What was before is known.
    pub(super) since: Moment,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Parts {
    /// Of the changes that are in it.
    pub(super) number: u64,
    pub(super) parts: Vec<Part>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) part: usize,
    /// Who is on the server.
    pub(super) users: Vec<Uuid>,
    /// Who was on any server, and when last.
    pub(super) gone: Vec<(Uuid, Moment)>,
}

/// A sum over users: equal where they are the same, up to chance.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Digest(u64);

impl Digest {
    /// A user is there from now on, or not any more.
    pub(super) fn put(&mut self, user: Uuid, is_there: bool) {
        self.0 = match is_there {
            true => self.0.wrapping_add(hash(user)),
            false => self.0.wrapping_sub(hash(user)),
        };
    }
}

impl Parts {
    /// Whether no part should be added.
    pub(super) fn is_full(&self) -> bool {
        self.parts.iter().map(|part| part.users.len() + part.gone.len()).sum::<usize>() >= CROWD
    }
}

/// The part a user is in: the same on all servers, of all versions.
pub(super) fn part(user: Uuid) -> usize {
    usize::try_from(hash(user) % PARTS as u64).unwrap_or_default()
}

/// FNV-1a, with its upper half folded in.
fn hash(user: Uuid) -> u64 {
    let hash = user.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^ (hash >> 32)
}

impl Word {
    /// What the bus carries.
    pub(super) fn envelope(&self, node: NodeId, tenant: &str, key: &Key) -> Envelope {
        Envelope {
            node,
            key: key.clone(),
            kind: Kind::Status,
            event: tenant.to_owned(),
            meta: String::new(),
            // Lists of numbers and ids cannot fail.
            payload: serde_json::to_vec(self).unwrap_or_default().into(),
        }
    }

    pub(super) fn decode(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }
}
