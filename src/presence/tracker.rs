//! Keeps the presence of every topic and tells those joined on this node.
//!
//! A topic's state changes and its diff is published under one lock, and a
//! newcomer reads the state under the same lock. So no client sees a diff
//! before its state, and none misses one after it. What other nodes are told
//! leaves under that lock too, so they hear it in order. Lock order: presence,
//! then hub, then outbox or bus.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use crate::{
    cluster::{Envelope, NodeId, envelope::Kind},
    hub::{ChannelId, Interest, Key, topics::Hub},
    protocol::prepared::Fanout,
    runtime::shards::Shards,
};

use super::{
    gather::Gathered,
    nodes::Nodes,
    state::{Diff, Meta, State},
    word::Word,
};

pub(super) type Topics = HashMap<Key, Topic, RandomState>;

/// Presence as this node knows it.
#[derive(Debug)]
pub struct Tracker {
    pub(super) hub: Arc<Hub>,
    pub(super) topics: Shards<Mutex<Topics>>,
    pub(super) nodes: Nodes,
}

/// One topic. Without other nodes it is here while anybody is present.
#[derive(Debug, Default)]
pub(super) struct Topic {
    pub(super) state: State,
    /// Other nodes were asked, since there are subscribers.
    pub(super) asked: bool,
    /// While their first answers are waited for.
    pub(super) gathering: Option<watch::Sender<Gathered>>,
    /// When each of them last said all it has to say, or that nothing changed.
    pub(super) heard: HashMap<NodeId, Instant, RandomState>,
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
        Self { hub, topics: Shards::new(), nodes: Nodes::default() }
    }

    /// Tracks a channel under `key`, or changes what it tracked.
    pub fn track(&self, topic: &Key, channel: ChannelId, key: &str, meta: Meta) -> Tracked {
        let mut topics = self.lock(topic);
        let state = &mut entry(&mut topics, topic).state;
        let diff = state.track(channel, key, reference(), meta);
        if diff.is_some()
            && self.hub.bus().is_some()
            && let Some(tracked) = state.one(channel.into())
        {
            self.tell(topic, &Word::Track(tracked));
        }
        self.publish(topic, diff)
    }

    /// Ends a channel's presence, if it had one. To be called when it has left
    /// the hub, if it does.
    pub fn untrack(&self, topic: &Key, channel: ChannelId) -> Tracked {
        let mut topics = self.lock(topic);
        let Some(found) = topics.get_mut(topic) else { return Tracked { told: 0 } };
        let diff = found.state.untrack(channel);
        if diff.is_some() {
            self.tell(topic, &Word::Untrack(channel.0));
        }
        self.tidy(&mut topics, topic);
        self.publish(topic, diff)
    }

    /// Runs `enter` with the JSON text of the topic's state while it cannot
    /// change: whoever joins the hub in there misses nothing and sees nothing twice.
    /// The first to enter on this node hears of the others in a moment, unless
    /// they were waited for with [`Tracker::gather`].
    pub fn enter<R>(&self, topic: &Key, enter: impl FnOnce(&[u8]) -> R) -> R {
        let mut topics = self.lock(topic);
        if self.hub.bus().is_some() {
            let found = entry(&mut topics, topic);
            if !std::mem::replace(&mut found.asked, true) {
                self.tell(topic, &Word::Ask(None));
            }
        }
        match topics.get(topic) {
            Some(topic) => enter(&topic.state.render()),
            None => enter(b"{}"),
        }
    }

    /// What another node says.
    pub fn receive(&self, envelope: &Envelope) -> Tracked {
        let Envelope { node, key, kind, payload, .. } = envelope;
        self.nodes.heard(*node);
        let word = (*kind == Kind::Presence).then(|| Word::decode(payload)).flatten();
        word.map_or(Tracked { told: 0 }, |word| self.hear(*node, key, word))
    }

    fn hear(&self, node: NodeId, key: &Key, word: Word) -> Tracked {
        let mut topics = self.lock(key);
        if let Word::Ask(of) = word {
            if of.is_none_or(|of| self.is_this_node(of)) {
                let own = topics.get(key).map(|topic| topic.state.own()).unwrap_or_default();
                // Also if that is nobody: whoever asks waits for it.
                self.tell(key, &Word::All(own));
            }
            return Tracked { told: 0 };
        }
        // Messages come for a while after the last subscriber left.
        let is_awaited = topics.get(key).is_some_and(|topic| topic.gathering.is_some());
        if self.hub.count(key) == 0 && !is_awaited {
            return Tracked { told: 0 };
        }
        let topic = entry(&mut topics, key);
        let diff = match word {
            Word::Track(tracked) => topic.state.hear(node, tracked),
            Word::Untrack(channel) => topic.state.hear_end(node, channel),
            Word::All(all) => {
                topic.heard.insert(node, Instant::now());
                topic.answered();
                topic.state.hear_all(node, all)
            }
            Word::Digest(digest) => {
                if topic.state.digest(Some(node)) == digest {
                    topic.heard.insert(node, Instant::now());
                } else {
                    self.tell(key, &Word::Ask(Some(node.0)));
                }
                None
            }
            Word::Ask(_) => None,
        };
        // A node that is heard of here for the first time has some time to confirm.
        topic.heard.entry(node).or_insert_with(Instant::now);
        self.publish(key, diff)
    }

    /// Forgets what is of no use any more.
    pub(super) fn tidy(&self, topics: &mut Topics, key: &Key) {
        let Some(topic) = topics.get_mut(key) else { return };
        if topic.gathering.is_some() {
            return;
        }
        let is_alone = self.hub.bus().is_none();
        if !is_alone && self.hub.count(key) == 0 {
            topic.state.forget_others();
            topic.heard.clear();
            topic.asked = false;
        }
        if topic.state.is_empty() && !topic.asked {
            topics.remove(key);
        }
    }

    /// Says all that is tracked here.
    pub(super) fn tell_all(&self, key: &Key) {
        let topics = self.lock(key);
        let own = topics.get(key).map(|topic| topic.state.own()).unwrap_or_default();
        self.tell(key, &Word::All(own));
    }

    fn is_this_node(&self, node: Uuid) -> bool {
        self.hub.bus().is_some_and(|bus| bus.node().0 == node)
    }

    /// Tells other nodes, if there may be any. What they miss is mended later.
    pub(super) fn tell(&self, key: &Key, word: &Word) {
        let Some(bus) = self.hub.bus() else { return };
        let told = bus.publish(&word.envelope(bus.node(), key));
        if told.is_err() && matches!(word, Word::Track(_) | Word::Untrack(_)) {
            self.nodes.not_told(key);
        }
    }

    /// Publishes while the caller holds the lock, so diffs keep their order.
    pub(super) fn publish(&self, topic: &Key, diff: Option<Diff>) -> Tracked {
        let Some(Diff(payload)) = diff else { return Tracked { told: 0 } };
        let message = Fanout::Json { event: "presence_diff", payload: Bytes::from(payload) };
        Tracked { told: self.hub.publish(topic, &message, Interest::PRESENCE, None) }
    }

    pub(super) fn lock(&self, topic: &Key) -> MutexGuard<'_, Topics> {
        self.topics.of(topic).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn entry<'a>(topics: &'a mut Topics, key: &Key) -> &'a mut Topic {
    topics.entry(key.clone()).or_default()
}

/// A reference nobody can guess or repeat: 15 random bytes, 20 characters.
fn reference() -> String {
    let bytes = Uuid::new_v4().into_bytes();
    URL_SAFE_NO_PAD.encode(bytes.get(..15).unwrap_or(&bytes))
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;
