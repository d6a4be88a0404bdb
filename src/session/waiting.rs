//! Messages that wait until the database has answered about their topic.
//!
//! Invariants: what waits for one topic keeps its order; what waits on a socket
//! is bounded in bytes. What does not fit is dropped, but joins and leaves have
//! as much room again: losing one would leave client and server of two minds.

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
    queues: HashMap<Topic, VecDeque<Inbound>, RandomState>,
    bytes: usize,
    limit: usize,
    overflowed: bool,
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

    /// From now on the topic's messages wait, behind `first`.
    pub fn begin(&mut self, topic: Topic, first: Option<Inbound>) {
        self.bytes += first.as_ref().map_or(0, cost);
        self.queues.entry(topic).or_default().extend(first);
    }

    /// The topic's messages wait no longer: here they are.
    pub fn end(&mut self, topic: &Topic) -> VecDeque<Inbound> {
        let queue = self.queues.remove(topic).unwrap_or_default();
        self.bytes -= queue.iter().map(cost).sum::<usize>();
        queue
    }

    /// Puts a message behind those that wait for its topic, if any do.
    pub fn take(&mut self, message: Inbound) -> Turn {
        let Some(queue) = self.queues.get_mut(message.topic.as_str()) else {
            return Turn::Now(message);
        };
        let decides = matches!(message.event.as_str(), "phx_join" | "phx_leave");
        let room = if decides { self.limit.saturating_mul(2) } else { self.limit };
        let cost = cost(&message);
        // A single message larger than the limit passes, or it never could.
        if self.bytes > 0 && self.bytes + cost > room {
            self.overflowed |= decides;
            return Turn::Dropped;
        }
        self.bytes += cost;
        queue.push_back(unshared(message));
        Turn::Later
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
fn unshared(message: Inbound) -> Inbound {
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
        waiting.begin(topic("realtime:a"), Some(message("realtime:a", "1", 1_000)));
        assert_eq!(waiting.take(message("realtime:a", "2", 100)), Turn::Later);
        assert_eq!(waiting.take(message("realtime:a", "3", 1_000)), Turn::Dropped);
        let events = |queue: VecDeque<Inbound>| -> Vec<_> {
            queue.into_iter().map(|message| message.event).collect()
        };
        assert_eq!(events(waiting.end(&topic("realtime:a"))), ["1", "2"]);
        waiting.begin(topic("realtime:a"), None);
        assert_eq!(waiting.take(message("realtime:a", "4", 9_000)), Turn::Later, "nothing waits");
        assert!(!waiting.has_overflowed());
    }

    #[test]
    fn the_bound_is_for_all_topics_and_joins_and_leaves_are_not_lost() {
        let mut waiting = Waiting::new(2_000);
        waiting.begin(topic("realtime:a"), Some(message("realtime:a", "e", 1_500)));
        waiting.begin(topic("realtime:b"), None);
        assert_eq!(waiting.take(message("realtime:b", "e", 100)), Turn::Dropped);
        for event in ["phx_leave", "phx_join"] {
            assert_eq!(waiting.take(message("realtime:b", event, 100)), Turn::Later);
        }
        assert!(!waiting.has_overflowed());
        assert_eq!(waiting.take(message("realtime:b", "phx_join", 2_000)), Turn::Dropped);
        assert!(waiting.has_overflowed(), "the socket ends rather than forget one");
    }
}
