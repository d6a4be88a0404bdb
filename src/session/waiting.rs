//! Messages that wait until the database has answered about their topic.
//!
//! Invariants: what waits for one topic keeps its order; what waits on a socket
//! is bounded in bytes, with the messages that the database is asked about or is
//! storing. What does not fit is dropped, but joins and leaves have as much room
//! again: losing one would leave client and server of two minds.

use std::collections::VecDeque;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::{
    protocol::message::{Inbound, Payload, UserBroadcast},
    topic::Topic,
};

/// Bytes charged for each message beside its own length.
const MESSAGE_COST: usize = 256;

/// What waits on one socket, by topic.
#[derive(Debug)]
pub struct Waiting {
    queues: HashMap<Topic, Queue, RandomState>,
    bytes: usize,
    limit: usize,
    overflowed: bool,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Inbound>,
    /// What is charged for these and for the one that they wait for.
    bytes: usize,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing is asked about its topic: it is to be handled now.
    Now(Inbound),
    /// It waits.
    Later,
    /// There was no room for it.
    Dropped,
}

impl Waiting {
    /// Nothing waits; at most `limit` bytes may.
    pub fn new(limit: usize) -> Self {
        Self { queues: HashMap::default(), bytes: 0, limit, overflowed: false }
    }

    /// From now on the topic's messages wait.
    pub fn begin(&mut self, topic: Topic) {
        self.queues.entry(topic).or_default();
    }

    /// The same, for `cause`, which a task keeps meanwhile: it is charged until
    /// the end. False, and nothing waits, if there is no room for it.
    #[must_use]
    pub fn begin_with(&mut self, topic: Topic, cause: &Inbound) -> bool {
        let cost = cost(cause);
        if !self.has_room(cost, self.limit) {
            return false;
        }
        self.bytes += cost;
        self.queues.entry(topic).or_default().bytes += cost;
        true
    }

    /// The topic's messages wait no longer: here they are.
    pub fn end(&mut self, topic: &Topic) -> VecDeque<Inbound> {
        let queue = self.queues.remove(topic).unwrap_or_default();
        self.bytes -= queue.bytes;
        queue.messages
    }

    /// Puts a message behind those that wait for its topic, if any do.
    pub fn take(&mut self, message: Inbound) -> Turn {
        if !self.queues.contains_key(message.topic.as_str()) {
            return Turn::Now(message);
        }
        let decides = matches!(message.event.as_str(), "phx_join" | "phx_leave");
        let room = if decides { self.limit.saturating_mul(2) } else { self.limit };
        let cost = cost(&message);
        if !self.has_room(cost, room) {
            self.overflowed |= decides;
            return Turn::Dropped;
        }
        self.bytes += cost;
        if let Some(queue) = self.queues.get_mut(message.topic.as_str()) {
            queue.bytes += cost;
            queue.messages.push_back(unshared(message));
        }
        Turn::Later
    }

    /// A single message larger than the limit passes, or it never could.
    fn has_room(&self, cost: usize, limit: usize) -> bool {
        self.bytes == 0 || self.bytes + cost <= limit
    }

    /// The topics about which something is asked.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.queues.keys()
    }

    /// A join or a leave was lost: the socket must end.
    pub fn has_overflowed(&self) -> bool {
        self.overflowed
    }
}

fn cost(message: &Inbound) -> usize {
    let payload = match &message.payload {
        Payload::Json(bytes) | Payload::Raw(bytes) => bytes.len(),
        Payload::User(broadcast) => broadcast.event.len() + broadcast.payload.len(),
    };
    MESSAGE_COST + message.topic.len() + message.event.len() + payload
}

/// The message in memory of its own: its payload is a part of its frame, which
/// may be much larger.
pub fn unshared(message: Inbound) -> Inbound {
    let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    let payload = match message.payload {
        Payload::Json(bytes) => Payload::Json(copy(&bytes)),
        Payload::Raw(bytes) => Payload::Raw(copy(&bytes)),
        Payload::User(broadcast) => {
            let payload = copy(&broadcast.payload);
            Payload::User(UserBroadcast { payload, ..broadcast })
        }
    };
    Inbound { payload, ..message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::Ref;

    fn message(topic: &str, event: &str, size: usize) -> Inbound {
        Inbound {
            join_ref: Ref::NULL,
            reference: Ref::NULL,
            topic: topic.to_owned(),
            event: event.to_owned(),
            payload: Payload::Raw(vec![0; size].into()),
            persist: None,
        }
    }

    fn topic(name: &str) -> Topic {
        Topic::parse(name).unwrap()
    }

    #[test]
    fn what_waits_comes_back_in_order_and_frees_its_room() {
        let mut waiting = Waiting::new(2_000);
        let free = message("realtime:b", "e", 1);
        assert_eq!(waiting.take(free.clone()), Turn::Now(free));
        assert!(waiting.begin_with(topic("realtime:a"), &message("realtime:a", "1", 1_000)));
        assert_eq!(waiting.take(message("realtime:a", "2", 100)), Turn::Later);
        assert_eq!(waiting.take(message("realtime:a", "3", 1_000)), Turn::Dropped);
        let events = |queue: VecDeque<Inbound>| -> Vec<_> {
            queue.into_iter().map(|message| message.event).collect()
        };
        assert_eq!(events(waiting.end(&topic("realtime:a"))), ["2"]);
        waiting.begin(topic("realtime:a"));
        assert_eq!(waiting.take(message("realtime:a", "4", 9_000)), Turn::Later, "nothing waits");
        assert!(!waiting.has_overflowed());
    }

    #[test]
    fn the_bound_is_for_all_topics_and_joins_and_leaves_are_not_lost() {
        let mut waiting = Waiting::new(2_000);
        assert!(waiting.begin_with(topic("realtime:a"), &message("realtime:a", "e", 1_500)));
        let another = message("realtime:c", "e", 100);
        assert!(!waiting.begin_with(topic("realtime:c"), &another));
        assert_eq!(waiting.take(another.clone()), Turn::Now(another), "nothing has begun");
        waiting.begin(topic("realtime:b"));
        assert_eq!(waiting.take(message("realtime:b", "e", 100)), Turn::Dropped);
        for event in ["phx_leave", "phx_join"] {
            assert_eq!(waiting.take(message("realtime:b", event, 100)), Turn::Later);
        }
        assert!(!waiting.has_overflowed());
        assert_eq!(waiting.take(message("realtime:b", "phx_join", 2_000)), Turn::Dropped);
        assert!(waiting.has_overflowed(), "the socket ends rather than forget one");
    }
}
