//! Keeps the presence of every topic of this node and tells those joined.
//!
//! A topic's state changes and its diff is published under one lock, and a
//! newcomer reads the state under the same lock. So no client sees a diff
//! before its state, and none misses one after it. Lock order: presence,
//! then hub, then outbox.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use uuid::Uuid;

use crate::{
    hub::{ChannelId, Interest, Key, topics::Hub},
    protocol::prepared::Fanout,
    runtime::shards::Shards,
};

use super::state::{Diff, Meta, State};

type Topics = HashMap<Key, State, RandomState>;

/// Presence on this node.
#[derive(Debug)]
pub struct Tracker {
    hub: Arc<Hub>,
    topics: Shards<Mutex<Topics>>,
}

/// What a track or untrack did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracked {
    /// How many were told; 0 if nothing changed.
    pub told: u64,
}

impl Tracker {
    /// Presence for the topics of `hub`.
    pub fn new(hub: Arc<Hub>) -> Self {
        Self { hub, topics: Shards::new() }
    }

    /// Tracks a channel under `key`, or changes what it tracked.
    pub fn track(&self, topic: &Key, channel: ChannelId, key: &str, meta: Meta) -> Tracked {
        let mut topics = self.lock(topic);
        let state = match topics.get_mut(topic) {
            Some(state) => state,
            None => topics.entry(topic.clone()).or_default(),
        };
        let diff = state.track(channel, key, reference(), meta);
        self.publish(topic, diff)
    }

    /// Ends a channel's presence, if it had one.
    pub fn untrack(&self, topic: &Key, channel: ChannelId) -> Tracked {
        let mut topics = self.lock(topic);
        let Some(state) = topics.get_mut(topic) else { return Tracked { told: 0 } };
        let diff = state.untrack(channel);
        if state.is_empty() {
            topics.remove(topic);
        }
        self.publish(topic, diff)
    }

    /// Runs `enter` with the JSON text of the topic's state while it cannot
    /// change: whoever joins the hub in there misses nothing and sees nothing twice.
    pub fn enter<R>(&self, topic: &Key, enter: impl FnOnce(&[u8]) -> R) -> R {
        let topics = self.lock(topic);
        match topics.get(topic) {
            Some(state) => enter(&state.render()),
            None => enter(b"{}"),
        }
    }

    /// Publishes while the caller holds the lock, so diffs keep their order.
    fn publish(&self, topic: &Key, diff: Option<Diff>) -> Tracked {
        let Some(Diff(payload)) = diff else { return Tracked { told: 0 } };
        let message = Fanout::Json { event: "presence_diff", payload: Bytes::from(payload) };
        Tracked { told: self.hub.publish(topic, &message, Interest::PRESENCE, None) }
    }

    fn lock(&self, topic: &Key) -> MutexGuard<'_, Topics> {
        self.topics.of(topic).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reference nobody can guess or repeat: 15 random bytes, 20 characters.
fn reference() -> String {
    let bytes = Uuid::new_v4().into_bytes();
    URL_SAFE_NO_PAD.encode(bytes.get(..15).unwrap_or(&bytes))
}
