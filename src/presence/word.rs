//! What nodes tell each other about who is present on a topic, as JSON.
//!
//! A node speaks for its own channels only, under their numbers on that node.
//! A newer node's other words make no sense to an older one and are skipped.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    cluster::{Envelope, NodeId, envelope::Kind},
    topic::Key,
};

/// One thing said about a topic.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    /// A channel tracks this from now on.
    Track(Tracked),
    /// A channel tracks nothing any more.
    Untrack(u64),
    /// All that this node's channels track.
    All(Vec<Tracked>),
    /// The same in short, for comparison.
    Digest(Digest),
    /// A question: [`Word::All`] of that node, or of every node.
    Ask(Option<Uuid>),
}

/// What a channel tracks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tracked {
    pub(super) channel: u64,
    pub(super) key: String,
    #[serde(rename = "ref")]
    pub(super) reference: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<String>,
    pub(super) meta: BTreeMap<String, Box<RawValue>>,
}

/// Equal where the same channels track the same, up to chance.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Digest {
    pub(super) count: usize,
    pub(super) hash: u64,
}

impl Digest {
    /// Takes in one channel, in any order. References are random and change
    /// with each update, so a simple sum of a simple hash will do (FNV-1a).
    pub(super) fn add(&mut self, channel: u64, reference: &str) {
        let bytes = channel.to_be_bytes();
        let hash =
            bytes.iter().chain(reference.as_bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
        self.count += 1;
        self.hash = self.hash.wrapping_add(hash);
    }
}

impl Word {
    /// What the bus carries.
    pub(super) fn envelope(&self, node: NodeId, key: &Key) -> Envelope {
        Envelope {
            node,
            key: key.clone(),
            kind: Kind::Presence,
            event: String::new(),
            meta: String::new(),
            payload: self.encode().into(),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        // Maps with text keys and numbers cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn decode(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }
}
