//! Keeps presence true between nodes: signs of life, comparison, expiry.
//!
//! - Every node gives a sign of life; the channels of one that is silent for
//!   [`SILENCE`] leave.
//! - For each topic a node says in short what its channels track, once a round;
//!   whoever knows otherwise asks for all of it. What is not confirmed for
//!   [`EXPIRES`] leaves.
//! - While the bus is away nobody can be heard, so nobody leaves. When it is
//!   back everybody has as much time as at first, and what was missed is asked for.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    cluster::{Bus, Envelope, NodeId, envelope::Kind},
    runtime::Drain,
    topic::{Key, Topic},
};

use super::{
    tracker::{Topics, Tracker},
    word::Word,
};

/// Between two looks; each compares the topics of one shard.
const TICK: Duration = Duration::from_millis(450);

/// Ticks between two signs of life: about five seconds.
const SIGNS: u64 = 11;

/// A node that is not heard of for so long is dead.
pub(super) const SILENCE: Duration = Duration::from_secs(15);

/// What a node does not confirm for so long, two rounds, is not so any more.
pub(super) const EXPIRES: Duration = Duration::from_secs(60);

/// Topics that are remembered while the bus is away; changes to more of them
/// are found by comparison, or expire.
const MOST_UNTOLD: usize = 10_000;

/// What this node knows of the others as such.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// When they were last heard of.
    heard: Mutex<HashMap<NodeId, Instant>>,
    /// Topics of which the bus did not take the last change.
    untold: Mutex<HashSet<Key>>,
}

impl Nodes {
    pub(super) fn heard(&self, node: NodeId) {
        self.lock().insert(node, Instant::now());
    }

    /// Those that are dead, each once.
    fn dead(&self) -> Vec<NodeId> {
        let mut nodes = self.lock();
        let silent = |&(_, at): &(&NodeId, &Instant)| at.elapsed() >= SILENCE;
        let dead: Vec<NodeId> = nodes.iter().filter(silent).map(|(&node, _)| node).collect();
        for node in &dead {
            nodes.remove(node);
        }
        dead
    }

    /// Others do not know of a change on this topic.
    pub(super) fn not_told(&self, key: &Key) {
        let mut untold = self.untold();
        if untold.len() < MOST_UNTOLD {
            untold.insert(key.clone());
        }
    }

    fn untold(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forgive(&self) {
        let now = Instant::now();
        self.lock().values_mut().for_each(|at| *at = now);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Instant>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tracker {
    /// Keeps presence true between nodes until the drain begins; nothing to do
    /// where there are no others.
    pub fn start(self: &Arc<Self>, drain: &Drain) {
        let (tracker, signal) = (Arc::clone(self), drain.clone());
        let Some(bus) = self.hub.bus().cloned() else { return };
        drain.spawn("presence", async move {
            tokio::select! {
                () = tracker.keep_true(&*bus) => {}
                () = signal.started() => {}
            }
        });
    }

    async fn keep_true(&self, bus: &dyn Bus) {
        let Some(alive) = alive() else { return };
        bus.interest().enter(&alive);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut link = bus.interest().link();
        for tick in 0.. {
            ticks.tick().await;
            if !bus.interest().is_up() {
                continue;
            }
            // Also if it was away for less than a tick.
            if link.has_changed().unwrap_or_default() {
                link.mark_unchanged();
                self.bus_came_back();
            }
            if tick % SIGNS == 0 {
                let _ = bus.publish(&sign(bus.node(), &alive));
            }
            for node in self.nodes.dead() {
                tracing::info!("another server is gone: its clients leave");
                self.each(|topics| self.bury(topics, node));
            }
            let shard = usize::try_from(tick).unwrap_or_default() % self.topics.all().count();
            if let Some(shard) = self.topics.all().nth(shard) {
                self.compare(&mut shard.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    fn bus_came_back(&self) {
        self.nodes.forgive();
        let untold = std::mem::take(&mut *self.nodes.untold());
        for key in untold {
            self.tell_all(&key);
        }
        self.each(|topics| {
            for (key, topic) in topics {
                topic.heard.values_mut().for_each(|at| *at = Instant::now());
                self.tell(key, &Word::Ask(None));
            }
        });
    }

    fn bury(&self, topics: &mut Topics, node: NodeId) {
        for (key, topic) in topics {
            topic.heard.remove(&node);
            let diff = topic.state.forget_node(node);
            self.publish(key, diff);
        }
    }

    /// Says in short what is tracked here, and drops what others do not confirm.
    fn compare(&self, topics: &mut Topics) {
        // Of joins that were refused after others had been asked.
        let idle = topics.keys().filter(|key| self.hub.count(key) == 0);
        let idle: Vec<Key> = idle.cloned().collect();
        for key in &idle {
            self.tidy(topics, key);
        }
        for (key, topic) in topics {
            let digest = topic.state.digest(None);
            if digest.count > 0 {
                self.tell(key, &Word::Digest(digest));
            }
            let old = |&(_, at): &(&NodeId, &Instant)| at.elapsed() >= EXPIRES;
            let expired: Vec<NodeId> = topic.heard.iter().filter(old).map(|(&n, _)| n).collect();
            for node in expired {
                topic.heard.remove(&node);
                let diff = topic.state.forget_node(node);
                self.publish(key, diff);
            }
        }
    }

    fn each(&self, act: impl Fn(&mut Topics)) {
        for shard in self.topics.all() {
            act(&mut shard.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

fn sign(node: NodeId, key: &Key) -> Envelope {
    Envelope {
        node,
        key: key.clone(),
        kind: Kind::Alive,
        event: String::new(),
        meta: String::new(),
        payload: bytes::Bytes::new(),
    }
}

/// Where signs of life are given. No tenant has an empty name, so no client can join it.
fn alive() -> Option<Key> {
    let topic = Topic::from_sub_topic("alive").ok()?;
    Some(Key { tenant: Arc::from(""), private: true, topic })
}
