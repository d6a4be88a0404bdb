//! Whose channels are joined to which rooms here, so that a member who is
//! removed can be cut off, and so that it is known who is online.
//!
//! Invariant: a channel enters a room's topic under the room's lock, and so is
//! a removed member cut. A join that was under way when its member was removed
//! is refused then: its policies may have been asked before the removal. What
//! is no longer remembered counts as a removal of everybody.

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

/// Joined channels by room.
#[derive(Debug, Default)]
pub(super) struct Joined {
    shards: Shards<Mutex<Shard>>,
    removals: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    rooms: HashMap<Uuid, Vec<Seat>, RandomState>,
    removed: VecDeque<Removal>,
    /// The number of the last removal that was forgotten.
    forgotten: u64,
}

#[derive(Debug)]
struct Removal {
    number: u64,
    room: Uuid,
    /// `None` for everybody.
    user: Option<Uuid>,
}

/// One channel.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    /// Whose, if its token names a user as the tables do.
    pub(super) user: Option<Uuid>,
    /// Whether it is the service's, which no membership binds.
    pub(super) is_service: bool,
    pub(super) key: Key,
    pub(super) subscriber: Arc<Subscriber>,
}

/// How an entry ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// The channel is in.
    New,
    /// It was in before, perhaps as another user: who that was.
    Again(Option<Uuid>),
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
        let is_meant = |removal: &Removal| {
            removal.number > ticket.0
                && removal.room == room
                && (removal.user.is_none() || removal.user == seat.user)
        };
        if shard.forgotten > ticket.0 || shard.removed.iter().any(is_meant) {
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

    /// Takes a channel out and returns it, if it was here.
    pub(super) fn leave(&self, room: Uuid, channel: ChannelId) -> Option<Seat> {
        let mut shard = self.lock(room);
        let seats = shard.rooms.get_mut(&room)?;
        let at = seats.iter().position(|seat| seat.subscriber.id == channel)?;
        let seat = seats.swap_remove(at);
        if seats.is_empty() {
            shard.rooms.remove(&room);
        }
        Some(seat)
    }

    /// Hands each of a user's channels in a room to `cut`. Whoever joins from
    /// now on must have asked the policies anew.
    pub(super) fn remove(&self, room: Uuid, user: Uuid, cut: impl Fn(&Seat)) {
        let mut shard = self.lock(room);
        self.remember(&mut shard, room, Some(user));
        let seats = shard.rooms.get(&room).into_iter().flatten();
        for seat in seats.filter(|seat| seat.user == Some(user)) {
            cut(seat);
        }
    }

    /// The channels in a room. Whoever joins from now on must have asked the
    /// policies anew.
    pub(super) fn close(&self, room: Uuid) -> Vec<Seat> {
        let mut shard = self.lock(room);
        self.remember(&mut shard, room, None);
        shard.rooms.get(&room).cloned().unwrap_or_default()
    }

    fn remember(&self, shard: &mut Shard, room: Uuid, user: Option<Uuid>) {
        let number = self.removals.fetch_add(1, Ordering::SeqCst) + 1;
        if shard.removed.len() >= MOST_REMOVALS
            && let Some(oldest) = shard.removed.pop_front()
        {
            shard.forgotten = oldest.number;
        }
        shard.removed.push_back(Removal { number, room, user });
    }

    /// The rooms that known users are joined to here.
    pub(super) fn rooms(&self) -> Vec<Uuid> {
        let lock = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.rooms.keys().copied().collect::<Vec<_>>()
        };
        self.shards.all().flat_map(lock).collect()
    }

    /// Whether nobody is joined to any room here.
    pub(super) fn is_empty(&self) -> bool {
        let lock = |shard: &Mutex<Shard>| {
            shard.lock().unwrap_or_else(PoisonError::into_inner).rooms.is_empty()
        };
        self.shards.all().all(lock)
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
        Seat {
            user: Some(user),
            is_service: false,
            key,
            subscriber: Subscriber::new(Vsn::V2, outbox, Interest::ALL),
        }
    }

    #[test]
    fn a_removed_member_is_cut_and_others_are_not() {
        let joined = Joined::default();
        let (ada, bob) = (seat(ADA), seat(BOB));
        let before = joined.ticket();
        assert_eq!(joined.enter(ROOM, ada.clone(), before, || {}), Entry::New);
        assert_eq!(joined.enter(ROOM, ada.clone(), before, || {}), Entry::Again(Some(ADA)));
        assert_eq!(joined.enter(ROOM, bob, before, || {}), Entry::New);
        let cut = Cell::new(Vec::new());
        joined.remove(ROOM, ADA, |seat| {
            let mut list = cut.take();
            list.push(seat.subscriber.id);
            cut.set(list);
        });
        assert_eq!(cut.take(), [ada.subscriber.id]);
        assert_eq!(joined.leave(ROOM, ada.subscriber.id).unwrap().user, Some(ADA));
        assert!(joined.leave(ROOM, ada.subscriber.id).is_none());
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

    #[test]
    fn a_join_under_way_does_not_outlive_a_closing() {
        let joined = Joined::default();
        let before = joined.ticket();
        assert_eq!(joined.enter(ROOM, seat(ADA), before, || {}), Entry::New);
        assert_eq!(joined.close(ROOM).len(), 1);
        assert_eq!(joined.enter(ROOM, seat(BOB), before, || panic!("refused")), Entry::Refused);
        assert_eq!(joined.enter(ROOM, seat(BOB), joined.ticket(), || {}), Entry::New);
    }

    #[test]
    fn what_is_forgotten_refuses_joins_of_before() {
        let joined = Joined::default();
        let before = joined.ticket();
        joined.remove(ROOM, ADA, |_| {});
        for _ in 0..MOST_REMOVALS {
            joined.remove(ROOM, BOB, |_| {});
        }
        assert_eq!(joined.enter(ROOM, seat(ADA), before, || panic!("refused")), Entry::Refused);
        assert_eq!(joined.enter(ROOM, seat(ADA), joined.ticket(), || {}), Entry::New);
    }
}
