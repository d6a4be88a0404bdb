//! The map from topics to those joined.
//!
//! Invariants: a topic exists exactly while it has a subscriber, and other
//! nodes are told when it begins and ends to exist; joining and
//! leaving take the shard's lock for writing, publishing takes it for reading
//! and only to find the topic. Locks are never held across an await.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, atomic::Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::{cluster::Bus, runtime::shards::Shards};

use super::{Key, Subscriber};

type Shard = RwLock<HashMap<Key, Arc<Members>, RandomState>>;

/// All topics with subscribers on this node.
#[derive(Debug, Default)]
pub struct Hub {
    shards: Shards<Shard>,
    /// To other nodes, if there may be any.
    pub(super) bus: Option<Arc<dyn Bus>>,
}

/// The subscribers of one topic.
#[derive(Debug, Default)]
pub(super) struct Members(RwLock<Vec<Arc<Subscriber>>>);

impl Hub {
    /// A hub nobody has joined.
    pub fn new() -> Self {
        Self::default()
    }

    /// A hub of one node among others.
    pub fn with_bus(bus: Arc<dyn Bus>) -> Self {
        Self { bus: Some(bus), ..Self::default() }
    }

    /// Adds a subscriber to a topic.
    pub fn join(&self, key: &Key, subscriber: &Arc<Subscriber>) {
        let mut shard = self.shards.of(key).write().unwrap_or_else(PoisonError::into_inner);
        if let Some(members) = shard.get(key) {
            members.add(subscriber);
        } else {
            let members = Members::default();
            members.add(subscriber);
            shard.insert(key.clone(), Arc::new(members));
            // Within the lock, so that the bus hears of joins and leaves in order.
            if let Some(bus) = &self.bus {
                bus.interest().enter(key);
            }
        }
    }

    /// Removes a subscriber, and with the last one the topic.
    pub fn leave(&self, key: &Key, subscriber: &Subscriber) {
        let mut shard = self.shards.of(key).write().unwrap_or_else(PoisonError::into_inner);
        if shard.get(key).is_some_and(|members| members.remove(subscriber)) {
            shard.remove(key);
            if let Some(bus) = &self.bus {
                bus.interest().leave(key);
            }
            if shard.is_empty() {
                shard.shrink_to_fit();
            }
        }
    }

    /// How many have joined a topic.
    pub fn count(&self, key: &Key) -> usize {
        self.members(key).map_or(0, |members| members.read().len())
    }

    pub(super) fn members(&self, key: &Key) -> Option<Arc<Members>> {
        let shard = self.shards.of(key).read().unwrap_or_else(PoisonError::into_inner);
        shard.get(key).map(Arc::clone)
    }
}

impl Members {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Vec<Arc<Subscriber>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, subscriber: &Arc<Subscriber>) {
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        subscriber.place.store(list.len(), Ordering::Relaxed);
        list.push(Arc::clone(subscriber));
    }

    /// True if nobody is left. Constant time: the last one takes the free place.
    fn remove(&self, subscriber: &Subscriber) -> bool {
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let place = subscriber.place.load(Ordering::Relaxed);
        if list.get(place).is_some_and(|found| found.id == subscriber.id) {
            list.swap_remove(place);
            if let Some(moved) = list.get(place) {
                moved.place.store(place, Ordering::Relaxed);
            }
            if list.capacity() > 4 * list.len().max(4) {
                list.shrink_to_fit();
            }
        }
        list.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hub::{Interest, outbox::Outbox},
        protocol::Vsn,
        topic::Topic,
    };

    fn key(topic: &str) -> Key {
        Key { tenant: Arc::from("t"), private: false, topic: Topic::from_sub_topic(topic).unwrap() }
    }

    fn subscriber() -> Arc<Subscriber> {
        Subscriber::new(Vsn::V2, Arc::new(Outbox::new(1000)), Interest::ALL)
    }

    #[test]
    fn a_topic_lives_as_long_as_it_has_subscribers() {
        let hub = Hub::new();
        let (one, two, three) = (subscriber(), subscriber(), subscriber());
        for each in [&one, &two, &three] {
            hub.join(&key("a"), each);
        }
        assert_eq!(hub.count(&key("a")), 3);
        hub.leave(&key("a"), &one);
        hub.leave(&key("a"), &one);
        assert_eq!(hub.count(&key("a")), 2, "leaving twice counts once");
        hub.leave(&key("a"), &three);
        hub.leave(&key("a"), &two);
        assert_eq!(hub.count(&key("a")), 0);
        assert!(hub.members(&key("a")).is_none());
    }

    #[test]
    fn public_private_and_other_tenants_are_strangers() {
        let hub = Hub::new();
        hub.join(&key("a"), &subscriber());
        assert_eq!(hub.count(&Key { private: true, ..key("a") }), 0);
        assert_eq!(hub.count(&Key { tenant: Arc::from("u"), ..key("a") }), 0);
    }
}
