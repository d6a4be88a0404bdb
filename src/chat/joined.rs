//! Whose channels are joined to which rooms here, so that a member who is
//! removed can be cut off, and so that it is known who is online.
//!
//! Invariant: a channel enters a room's topic under the room's lock, and so is
//! a removed member cut. A join that was under way when its member was removed
//! is refused then: its policies may have been asked before the removal.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use uuid::Uuid;

use crate::{
    hub::{ChannelId, Key, Subscriber},
    runtime::shards::Shards,
};

/// Removals remembered in each shard, for joins that were under way.
const MOST_REMOVALS: usize = 1024;

/// Joined channels of known users, by room.
#[derive(Debug, Default)]
pub(super) struct Joined {
    shards: Shards<Mutex<Shard>>,
    removals: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    rooms: HashMap<Uuid, Vec<Seat>, RandomState>,
    removed: VecDeque<(u64, Uuid, Uuid)>,
}

/// One channel of a user.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) user: Uuid,
    pub(super) key: Key,
    pub(super) subscriber: Arc<Subscriber>,
}

/// How an entry ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// The channel is in.
    New,
    /// It was in before, perhaps as another user: who that was.
    Again(Uuid),
    /// Its user was removed meanwhile.
    Refused,
}

/// A moment before a join's policies were asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

impl Joined {
    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.removals.load(Ordering::SeqCst))
    }

    /// Enters the topic by `join`, unless the user was removed since `ticket`.
    pub(super) fn enter(
        &self,
        room: Uuid,
        seat: Seat,
        ticket: Ticket,
        join: impl FnOnce(),
    ) -> Entry {
        let mut shard = self.lock(room);
        let is_removed = shard
            .removed
            .iter()
            .any(|&(at, from, user)| at > ticket.0 && from == room && user == seat.user);
        if is_removed {
            return Entry::Refused;
        }
        join();
        let seats = shard.rooms.entry(room).or_default();
        let known = seats.iter_mut().find(|known| known.subscriber.id == seat.subscriber.id);
        if let Some(known) = known {
            return Entry::Again(std::mem::replace(known, seat).user);
        }
        seats.push(seat);
        Entry::New
    }

    /// Takes a channel out. Returns whose it was, if it was here.
    pub(super) fn leave(&self, room: Uuid, channel: ChannelId) -> Option<Uuid> {
        let mut shard = self.lock(room);
        let seats = shard.rooms.get_mut(&room)?;
        let at = seats.iter().position(|seat| seat.subscriber.id == channel)?;
        let seat = seats.swap_remove(at);
        if seats.is_empty() {
            shard.rooms.remove(&room);
        }
        Some(seat.user)
    }

    /// Hands each of a user's channels in a room to `cut`. Whoever joins from
    /// now on must have asked the policies anew.
    pub(super) fn remove(&self, room: Uuid, user: Uuid, cut: impl Fn(&Seat)) {
        let mut shard = self.lock(room);
        let number = self.removals.fetch_add(1, Ordering::SeqCst) + 1;
        if shard.removed.len() >= MOST_REMOVALS {
            shard.removed.pop_front();
        }
        shard.removed.push_back((number, room, user));
        let seats = shard.rooms.get(&room).into_iter().flatten();
        for seat in seats.filter(|seat| seat.user == user) {
            cut(seat);
        }
    }

    /// The rooms that known users are joined to here.
    pub(super) fn rooms(&self) -> Vec<Uuid> {
        let lock = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.rooms.keys().copied().collect::<Vec<_>>()
        };
        self.shards.all().flat_map(lock).collect()
    }

    /// Whether anybody is joined to a room here.
    pub(super) fn is_used(&self, room: Uuid) -> bool {
        self.lock(room).rooms.contains_key(&room)
    }

    fn lock(&self, room: Uuid) -> MutexGuard<'_, Shard> {
        self.shards.of(&room).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::{
        hub::{Interest, outbox::Outbox},
        protocol::Vsn,
        topic::Topic,
    };

    const ROOM: Uuid = Uuid::from_u128(1);
    const ADA: Uuid = Uuid::from_u128(2);
    const BOB: Uuid = Uuid::from_u128(3);

    fn seat(user: Uuid) -> Seat {
        let outbox = Arc::new(Outbox::new(1000));
        let key = Key { tenant: "t".into(), private: true, topic: Topic::of_room(ROOM) };
        Seat { user, key, subscriber: Subscriber::new(Vsn::V2, outbox, Interest::ALL) }
    }

    #[test]
    fn a_removed_member_is_cut_and_others_are_not() {
        let joined = Joined::default();
        let (ada, bob) = (seat(ADA), seat(BOB));
        let before = joined.ticket();
        assert_eq!(joined.enter(ROOM, ada.clone(), before, || {}), Entry::New);
        assert_eq!(joined.enter(ROOM, ada.clone(), before, || {}), Entry::Again(ADA));
        assert_eq!(joined.enter(ROOM, bob, before, || {}), Entry::New);
        let cut = Cell::new(Vec::new());
        joined.remove(ROOM, ADA, |seat| {
            let mut list = cut.take();
            list.push(seat.subscriber.id);
            cut.set(list);
        });
        assert_eq!(cut.take(), [ada.subscriber.id]);
        assert_eq!(joined.leave(ROOM, ada.subscriber.id), Some(ADA));
        assert_eq!(joined.leave(ROOM, ada.subscriber.id), None);
        assert!(joined.is_used(ROOM));
    }

    #[test]
    fn a_join_under_way_does_not_outlive_a_removal() {
        let joined = Joined::default();
        let before = joined.ticket();
        joined.remove(ROOM, ADA, |_| panic!("nobody is here"));
        let refused = joined.enter(ROOM, seat(ADA), before, || panic!("refused"));
        assert_eq!(refused, Entry::Refused);
        assert_eq!(joined.enter(ROOM, seat(BOB), before, || {}), Entry::New, "another user");
        let later = joined.enter(ROOM, seat(ADA), joined.ticket(), || {});
        assert_eq!(later, Entry::New, "invited again");
    }
}
