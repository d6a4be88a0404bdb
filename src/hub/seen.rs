//! Which stored messages a subscriber has, so that it gets each of them once.
//!
//! A stored message can reach a channel by two ways: replayed from the table
//! and live from the log. And a sender that does not want its own messages
//! back must not get them by the second way. Nearly all channels neither
//! replay nor store; for them the question costs one atomic load.
//!
//! Invariants: bounded, whatever clients do. The oldest own messages are
//! forgotten first; a sender would then get one back, which does no harm.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use uuid::Uuid;

use crate::postgres::snapshot::Snapshot;

/// Own messages on their way through the database that are remembered.
const MOST_OWN: usize = 1024;

/// Live messages remembered while a replay is under way.
const MOST_LIVE: usize = 4096;

/// The stored messages that a subscriber has or will not want.
#[derive(Debug, Default)]
pub struct Seen {
    /// False while there is nothing to look up and nothing to remember.
    in_use: AtomicBool,
    /// Boxed: most channels never need it.
    sets: Mutex<Option<Box<Sets>>>,
}

#[derive(Debug, Default)]
struct Sets {
    /// Ids that came live while a replay was awaited.
    live: Option<VecDeque<Uuid>>,
    /// Ids that were replayed; kept as long as the channel.
    replayed: Vec<Uuid>,
    /// What the replay saw. What is not among `replayed` was left out of it and
    /// is older: it may come live where the log is behind.
    saw: Option<Snapshot>,
    /// Own messages not wanted back.
    own: VecDeque<Uuid>,
}

impl Seen {
    /// A replay begins: from now on live messages are remembered. Call it
    /// before the subscriber enters its topic, or a message that commits in
    /// between comes twice.
    pub fn replay_begins(&self) {
        self.change(|sets| sets.live = Some(VecDeque::new()));
    }

    /// A replay ends with these messages, in this order, and saw that much.
    /// Returns whether each is still to be sent; none of them will come live any
    /// more, nor any other that it saw.
    pub fn replay_ends(&self, ids: &[Uuid], saw: Option<Snapshot>) -> Vec<bool> {
        let live = self.change(|sets| {
            sets.replayed.extend_from_slice(ids);
            sets.saw = saw;
            sets.live.take().unwrap_or_default()
        });
        ids.iter().map(|id| !live.contains(id)).collect()
    }

    /// The subscriber is about to store this message and does not want it back.
    pub fn will_store(&self, id: Uuid) {
        self.change(|sets| {
            if sets.own.len() >= MOST_OWN {
                sets.own.pop_front();
            }
            sets.own.push_back(id);
        });
    }

    /// The message of [`Seen::will_store`] was not stored after all. False if
    /// one of that id came by in the meantime, and was skipped.
    pub fn did_not_store(&self, id: Uuid) -> bool {
        self.change(|sets| {
            let before = sets.own.len();
            sets.own.retain(|own| *own != id);
            sets.own.len() < before
        })
    }

    /// A message comes live, of a transaction if that is known: whether it is to be sent.
    pub(super) fn take_live(&self, id: Uuid, xid: Option<u32>) -> bool {
        if !self.in_use.load(Ordering::Acquire) {
            return true;
        }
        self.change(|sets| {
            if let Some(at) = sets.own.iter().position(|own| *own == id) {
                sets.own.remove(at);
                return false;
            }
            let was_read = || xid.zip(sets.saw.as_ref()).is_some_and(|(xid, saw)| saw.saw(xid));
            if sets.replayed.contains(&id) || was_read() {
                return false;
            }
            if let Some(live) = &mut sets.live {
                if live.len() >= MOST_LIVE {
                    live.pop_front();
                }
                live.push_back(id);
            }
            true
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Sets) -> T) -> T {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(sets.get_or_insert_default());
        sets.take_if(|sets| sets.is_empty());
        self.in_use.store(sets.is_some(), Ordering::Release);
        result
    }
}

impl Sets {
    fn is_empty(&self) -> bool {
        let none_read = self.replayed.is_empty() && self.saw.is_none();
        self.live.is_none() && none_read && self.own.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);

    #[test]
    fn what_was_replayed_does_not_come_live_and_the_other_way_round() {
        let seen = Seen::default();
        assert!(
            seen.take_live(A, None) && seen.take_live(A, None),
            "nothing is remembered without a replay"
        );
        seen.replay_begins();
        assert!(seen.take_live(A, None));
        assert_eq!(seen.replay_ends(&[A, B], None), [false, true]);
        assert!(!seen.take_live(B, None) && !seen.take_live(B, None));
        assert!(seen.take_live(Uuid::from_u128(3), None));
    }

    #[test]
    fn what_a_replay_saw_and_left_out_does_not_come_after_it() {
        let seen = Seen::default();
        seen.replay_begins();
        let snapshot = Snapshot::parse("7:9:7");
        assert_eq!(seen.replay_ends(&[A], snapshot), [true]);
        assert!(!seen.take_live(B, Some(8)), "it was there and is older");
        assert!(seen.take_live(B, Some(7)) && seen.take_live(B, Some(9)), "it was not there");
        assert!(seen.take_live(B, None));
    }

    #[test]
    fn an_own_message_is_skipped_once() {
        let seen = Seen::default();
        seen.will_store(A);
        assert!(!seen.take_live(A, None));
        assert!(seen.take_live(A, None));
        seen.will_store(B);
        assert!(seen.did_not_store(B) && !seen.did_not_store(B));
        assert!(seen.take_live(B, None));
        assert!(!seen.in_use.load(Ordering::Acquire));
    }
}
