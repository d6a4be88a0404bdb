//! The queue between whoever has something to say and one socket.
//!
//! Invariants: pushing never waits; the queue is bounded in bytes; what does
//! not fit ends the socket as slow, so one reader that stops reading costs its
//! own connection and nobody else's. Order of pushes is order of frames.
//!
//! Answers to what the client asks for itself, such as the state of a crowded
//! topic, may be larger than that: they are counted apart, and the socket asks
//! for no more of them before they are sent ([`Outbox::takes_answers`]).

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{hub::ChannelId, protocol::prepared::Frame};

/// Bytes charged for each queued item beside its own length.
const ITEM_COST: usize = 64;

/// One thing for the socket's task to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Send this.
    Frame(Frame),
    /// Shut one of the socket's channels down, in order, for this reason.
    Shutdown {
        /// The channel.
        channel: ChannelId,
        /// What its client is told.
        reason: Cow<'static, str>,
    },
}

/// The sending end that the hub and the pipelines hold, and the receiving end
/// that the socket's task drains.
#[derive(Debug)]
pub struct Outbox {
    queue: Mutex<Queue>,
    wake: Notify,
    limit: usize,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    /// Of everything but answers.
    bytes: usize,
    answers: usize,
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Overflowed,
    Closed,
}

/// What [`Outbox::drain`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// All that was queued, possibly nothing.
    Items,
    /// The reader was too slow: close the socket.
    Overflowed,
}

impl Outbox {
    /// An empty outbox that holds at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { queue: Mutex::default(), wake: Notify::new(), limit }
    }

    /// Queues a frame. False if the outbox overflowed or is closed.
    pub fn push(&self, frame: Frame) -> bool {
        let cost = frame.len() + ITEM_COST;
        self.push_item(Item::Frame(frame), cost)
    }

    /// Queues what the client has asked for, as one piece of any size. False if
    /// answers above the limit wait already, or nothing is taken any more.
    pub fn answer(&self, frames: impl IntoIterator<Item = Frame>) -> bool {
        let mut queue = self.lock();
        if queue.state != State::Open {
            return false;
        }
        if queue.answers >= self.limit {
            self.overflow(queue);
            return false;
        }
        let was_empty = queue.items.is_empty();
        for frame in frames {
            queue.answers += frame.len() + ITEM_COST;
            queue.items.push_back(Item::Frame(frame));
        }
        drop(queue);
        if was_empty {
            self.wake.notify_one();
        }
        true
    }

    /// Whether there is room for another answer.
    pub fn takes_answers(&self) -> bool {
        self.lock().answers < self.limit
    }

    /// Asks the socket's task to shut a channel down, after what is queued.
    pub fn shut_down(&self, channel: ChannelId, reason: impl Into<Cow<'static, str>>) -> bool {
        let reason = reason.into();
        let cost = ITEM_COST + reason.len();
        self.push_item(Item::Shutdown { channel, reason }, cost)
    }

    fn push_item(&self, item: Item, cost: usize) -> bool {
        let mut queue = self.lock();
        if queue.state != State::Open {
            return false;
        }
        // A single frame larger than the limit passes an empty queue, or it never could.
        if queue.bytes + cost > self.limit && queue.bytes > 0 {
            self.overflow(queue);
            return false;
        }
        let was_empty = queue.items.is_empty();
        queue.bytes += cost;
        queue.items.push_back(item);
        drop(queue);
        if was_empty {
            self.wake.notify_one();
        }
        true
    }

    fn overflow(&self, mut queue: MutexGuard<'_, Queue>) {
        queue.empty(State::Overflowed);
        drop(queue);
        self.wake.notify_one();
    }

    /// Completes when there is something to drain. Cancel safe; one waiter at a time.
    pub async fn ready(&self) {
        loop {
            {
                let queue = self.lock();
                if queue.state == State::Overflowed || !queue.items.is_empty() {
                    return;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Completes when the outbox has overflowed. Cancel safe.
    pub async fn overflowed(&self) {
        while self.lock().state != State::Overflowed {
            self.wake.notified().await;
        }
    }

    /// Moves everything queued to the end of `into`.
    pub fn drain(&self, into: &mut Vec<Item>) -> Drained {
        let mut queue = self.lock();
        if queue.state == State::Overflowed {
            return Drained::Overflowed;
        }
        into.extend(queue.items.drain(..));
        (queue.bytes, queue.answers) = (0, 0);
        // Give the memory of a burst back: most sockets idle most of the time.
        if queue.items.capacity() > 16 {
            queue.items = VecDeque::new();
        }
        Drained::Items
    }

    /// Refuses everything from now on and drops what is queued.
    pub fn close(&self) {
        self.lock().empty(State::Closed);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn empty(&mut self, state: State) {
        *self = Self { state, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(outbox: &Outbox) -> Vec<Item> {
        let mut items = Vec::new();
        assert_eq!(outbox.drain(&mut items), Drained::Items);
        items
    }

    #[tokio::test]
    async fn frames_come_out_in_the_order_pushed() {
        let outbox = Outbox::new(1000);
        assert!(outbox.push(Frame::text("a")) && outbox.push(Frame::text("b")));
        outbox.ready().await;
        outbox.shut_down(ChannelId(7), "why");
        let shutdown = Item::Shutdown { channel: ChannelId(7), reason: "why".into() };
        let frame = |text| Item::Frame(Frame::text(text));
        assert_eq!(drained(&outbox), [frame("a"), frame("b"), shutdown]);
        assert_eq!(drained(&outbox), []);
    }

    #[tokio::test]
    async fn a_full_outbox_overflows_for_good() {
        let outbox = Outbox::new(200);
        assert!(outbox.push(Frame::text("x".repeat(100))));
        assert!(!outbox.push(Frame::text("y".repeat(100))));
        assert!(!outbox.push(Frame::text("z")));
        outbox.overflowed().await;
        assert_eq!(outbox.drain(&mut Vec::new()), Drained::Overflowed);
    }

    #[test]
    fn one_frame_above_the_limit_passes_an_empty_outbox() {
        let outbox = Outbox::new(10);
        assert!(outbox.push(Frame::text("x".repeat(100))));
        assert_eq!(drained(&outbox).len(), 1);
    }

    #[test]
    fn answers_of_any_size_leave_the_room_of_the_others() {
        let outbox = Outbox::new(200);
        assert!(outbox.answer([Frame::text("a"), Frame::text("x".repeat(1000))]));
        assert!(!outbox.takes_answers());
        assert!(outbox.push(Frame::text("b")), "it is another's");
        assert_eq!(drained(&outbox).len(), 3);
        assert!(outbox.takes_answers() && outbox.answer([Frame::text("x".repeat(1000))]));
        assert!(!outbox.answer([Frame::text("c")]));
        assert_eq!(outbox.drain(&mut Vec::new()), Drained::Overflowed);
    }

    #[test]
    fn a_closed_outbox_takes_nothing() {
        let outbox = Outbox::new(1000);
        outbox.push(Frame::text("a"));
        outbox.close();
        assert!(!outbox.push(Frame::text("b")));
        assert_eq!(drained(&outbox), []);
    }
}
