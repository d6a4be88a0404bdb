//! The queue between whoever has something to say and one socket.
//!
//! Invariants: pushing never waits; the queue is bounded in bytes; what does
//! not fit ends the socket as slow, so one reader that stops reading costs its
//! own connection and nobody else's. Order of pushes is order of frames.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::protocol::prepared::Frame;

/// Bytes charged for each queued frame beside its own length.
const FRAME_COST: usize = 64;

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
    frames: VecDeque<Frame>,
    bytes: usize,
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
    /// All frames that were queued, possibly none.
    Frames,
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
        let mut queue = self.lock();
        if queue.state != State::Open {
            return false;
        }
        let cost = frame.len() + FRAME_COST;
        // A single frame larger than the limit passes an empty queue, or it never could.
        if queue.bytes + cost > self.limit && !queue.frames.is_empty() {
            queue.state = State::Overflowed;
            queue.frames = VecDeque::new();
            queue.bytes = 0;
            drop(queue);
            self.wake.notify_one();
            return false;
        }
        let was_empty = queue.frames.is_empty();
        queue.bytes += cost;
        queue.frames.push_back(frame);
        drop(queue);
        if was_empty {
            self.wake.notify_one();
        }
        true
    }

    /// Completes when there is something to drain. Cancel safe; one waiter at a time.
    pub async fn ready(&self) {
        loop {
            {
                let queue = self.lock();
                if queue.state == State::Overflowed || !queue.frames.is_empty() {
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
    pub fn drain(&self, into: &mut Vec<Frame>) -> Drained {
        let mut queue = self.lock();
        if queue.state == State::Overflowed {
            return Drained::Overflowed;
        }
        into.extend(queue.frames.drain(..));
        queue.bytes = 0;
        // Give the memory of a burst back: most sockets idle most of the time.
        if queue.frames.capacity() > 16 {
            queue.frames = VecDeque::new();
        }
        Drained::Frames
    }

    /// Refuses everything from now on and drops what is queued.
    pub fn close(&self) {
        let mut queue = self.lock();
        queue.state = State::Closed;
        queue.frames = VecDeque::new();
        queue.bytes = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(outbox: &Outbox) -> Vec<Frame> {
        let mut frames = Vec::new();
        assert_eq!(outbox.drain(&mut frames), Drained::Frames);
        frames
    }

    #[tokio::test]
    async fn frames_come_out_in_the_order_pushed() {
        let outbox = Outbox::new(1000);
        assert!(outbox.push(Frame::text("a")) && outbox.push(Frame::text("b")));
        outbox.ready().await;
        assert_eq!(drained(&outbox), [Frame::text("a"), Frame::text("b")]);
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
    fn a_closed_outbox_takes_nothing() {
        let outbox = Outbox::new(1000);
        outbox.push(Frame::text("a"));
        outbox.close();
        assert!(!outbox.push(Frame::text("b")));
        assert_eq!(drained(&outbox), []);
    }
}
