//! The table of who is online where. Knows no bus, and no dates but those it is told.
//!
//! Invariant: a server's digests are those of the users that the table has on
//! it, for this server those that others were told of.

use std::collections::{HashMap, HashSet};

use smallvec::SmallVec;
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use crate::cluster::NodeId;

use super::{
    others::Other,
    word::{Ask, Change, Changes, Digest, Moment, PARTS, Part, Parts, Sign, part},
};

/// Changes told to rooms at a time.
pub(super) const BATCH: usize = 200;

/// Changes in a word to other servers.
const SAID: usize = 1000;

/// Between two looks for somebody to forget, if there was nobody.
const LOOK: Duration = Duration::from_secs(1);

/// Who leaves one server may be about to be heard of on another.
const GRACE: Duration = Duration::from_millis(500);

/// Statuses of users.
#[derive(Debug)]
pub(super) struct Table {
    /// Channels of users on this server.
    here: HashMap<Uuid, usize>,
    /// Everybody who is remembered, by part.
    pub(super) known: Vec<HashMap<Uuid, Known>>,
    pub(super) others: HashMap<NodeId, Other>,
    /// Those whose status may have changed since rooms were told, and when.
    changed: HashMap<Uuid, Instant>,
    /// Those of whom other servers were not told how it is here.
    unsaid: HashSet<Uuid>,
    /// What other servers were told.
    said: [Digest; PARTS],
    number: u64,
    /// This server's last sign.
    alive: Moment,
    /// Some who are here are not known, for want of room.
    left_out: bool,
    /// Parts of which it is not known who was there before this server.
    pub(super) unknown: u64,
    /// When there was nobody to forget.
    crowded: Option<Instant>,
    most: usize,
}

/// One user.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Others were told that they are here.
    said: bool,
    /// The other servers that they are on.
    pub(super) on: SmallVec<[NodeId; 1]>,
    pub(super) at: Moment,
    /// What rooms were told of them last.
    pub(super) told_online: bool,
}

/// A user's status as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) online: bool,
    pub(super) last_seen: Option<Moment>,
}

impl Table {
    pub(super) fn new(most: usize) -> Self {
        Self {
            here: HashMap::new(),
            known: (0..PARTS).map(|_| HashMap::new()).collect(),
            others: HashMap::new(),
            changed: HashMap::new(),
            unsaid: HashSet::new(),
            said: [Digest::default(); PARTS],
            number: 0,
            alive: 0,
            left_out: false,
            unknown: u64::MAX,
            crowded: None,
            most,
        }
    }

    /// Whether it is the user's first channel.
    pub(super) fn enter(&mut self, user: Uuid, now: Moment) -> bool {
        let channels = self.here.entry(user).or_default();
        *channels += 1;
        let is_first = *channels == 1;
        if is_first {
            self.moved(user, now);
        }
        is_first
    }

    /// Whether it was the user's last channel.
    pub(super) fn leave(&mut self, user: Uuid, now: Moment) -> bool {
        let Some(channels) = self.here.get_mut(&user) else { return false };
        *channels -= 1;
        let is_last = *channels == 0;
        if is_last {
            self.here.remove(&user);
            self.moved(user, now);
        }
        is_last
    }

    fn moved(&mut self, user: Uuid, now: Moment) {
        match self.admit(user) {
            Some(known) => known.at = known.at.max(now),
            None => return self.left_out = true,
        }
        self.unsaid.insert(user);
        self.note(user);
    }

    /// The user's entry, if there is room for it.
    pub(super) fn admit(&mut self, user: Uuid) -> Option<&mut Known> {
        if !self.is_known(user) && !self.has_room() {
            return None;
        }
        self.known.get_mut(part(user)).map(|known| known.entry(user).or_default())
    }

    fn is_known(&self, user: Uuid) -> bool {
        self.get(user).is_some()
    }

    fn get(&self, user: Uuid) -> Option<&Known> {
        self.known.get(part(user))?.get(&user)
    }

    /// Only of users that are known, whose number is bounded.
    pub(super) fn note(&mut self, user: Uuid) {
        self.changed.insert(user, Instant::now());
    }

    /// Whether there is room for somebody, if need be that of those longest gone.
    pub(super) fn has_room(&mut self) -> bool {
        let is_full =
            |table: &Self| table.known.iter().map(HashMap::len).sum::<usize>() >= table.most;
        // With everybody online there is nobody to forget, and looking costs.
        if is_full(self) && self.crowded.is_none_or(|since| since.elapsed() >= LOOK) {
            self.forget();
            self.crowded = is_full(self).then(Instant::now);
        }
        !is_full(self)
    }

    /// Forgets half of those who are not online, the longest gone first.
    fn forget(&mut self) {
        let is_of_use = |user: &Uuid, known: &Known| {
            known.said
                || !known.on.is_empty()
                || self.here.contains_key(user)
                || self.changed.contains_key(user)
        };
        let mut gone: Vec<(Moment, Uuid)> = self
            .known
            .iter()
            .flatten()
            .filter(|&(user, known)| !is_of_use(user, known))
            .map(|(user, known)| (known.at, *user))
            .collect();
        gone.sort_unstable();
        for (_, user) in gone.iter().take(gone.len().div_ceil(2)) {
            if let Some(known) = self.known.get_mut(part(*user)) {
                known.remove(user);
            }
            self.unsaid.remove(user);
        }
    }

    pub(super) fn status(&self, user: Uuid) -> Told {
        let Some(known) = self.get(user) else { return Told { online: false, last_seen: None } };
        let is_here = self.here.contains_key(&user);
        let signs = known.on.iter().filter_map(|node| self.others.get(node)).map(|other| other.at);
        let signs = signs.chain(is_here.then_some(self.alive));
        Told {
            online: is_here || !known.on.is_empty(),
            last_seen: Some(signs.fold(known.at, Moment::max)),
        }
    }

    /// The status for whoever asks. Of somebody who may be right back rooms are
    /// told nothing, so nobody may learn of it by asking either: they would
    /// never hear that it is over.
    pub(super) fn shown(&self, user: Uuid) -> Told {
        let status = self.status(user);
        let is_told = self.get(user).is_some_and(|known| known.told_online);
        let is_pending = self.changed.contains_key(&user);
        Told { online: status.online || (is_pending && is_told), ..status }
    }

    /// Some users whose status is another than rooms were told, and which it is.
    pub(super) fn changes(&mut self) -> Vec<(Uuid, Told)> {
        let due: Vec<Uuid> = self
            .changed
            .iter()
            .filter(|(user, since)| self.status(**user).online || since.elapsed() >= GRACE)
            .map(|(user, _)| *user)
            .take(BATCH)
            .collect();
        let mut changes = Vec::new();
        for user in due {
            self.changed.remove(&user);
            let status = self.status(user);
            let Some(known) = self.known.get_mut(part(user)).and_then(|all| all.get_mut(&user))
            else {
                continue;
            };
            if known.told_online != status.online {
                known.told_online = status.online;
                changes.push((user, status));
            }
        }
        changes
    }

    /// What was taken by [`Self::changes`] could not be told.
    pub(super) fn untold(&mut self, changes: &[(Uuid, Told)]) {
        for (user, told) in changes {
            if let Some(known) = self.known.get_mut(part(*user)).and_then(|all| all.get_mut(user)) {
                known.told_online = !told.online;
                self.note(*user);
            }
        }
    }

    /// Nobody is told anything.
    pub(super) fn forget_changes(&mut self) {
        self.changed.clear();
    }

    /// What other servers are to be told of those who came here and left.
    pub(super) fn say(&mut self) -> Option<Changes> {
        let some: Vec<Uuid> = self.unsaid.iter().copied().take(SAID).collect();
        let mut changes: Vec<Change> = Vec::new();
        for user in some {
            self.unsaid.remove(&user);
            let (is_here, part) = (self.here.contains_key(&user), part(user));
            let known = self.known.get_mut(part).and_then(|all| all.get_mut(&user));
            let (Some(known), Some(said)) = (known, self.said.get_mut(part)) else { continue };
            if std::mem::replace(&mut known.said, is_here) != is_here {
                said.put(user, is_here);
                changes.push((user, is_here, known.at));
            }
        }
        if changes.is_empty() {
            return None;
        }
        self.number += 1;
        Some(Changes { number: self.number, changes })
    }

    /// A sign of life, after everything was said.
    pub(super) fn sign(&mut self, now: Moment, ttl: Duration, asks: bool) -> Sign {
        self.alive = now;
        if self.left_out && self.has_room() {
            self.left_out = false;
            let unknown = self.here.keys().filter(|user| !self.is_known(**user));
            let unknown: Vec<Uuid> = unknown.copied().collect();
            for user in unknown {
                self.moved(user, now);
            }
        }
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        Sign { number: self.number, at: now, ttl, asks, digests: self.said.to_vec() }
    }

    /// The answer to another server, perhaps to a part of its question.
    pub(super) fn answer(&self, ask: Ask) -> Parts {
        let mut answer = Parts { number: self.number, parts: Vec::new() };
        for (part, known) in self.known.iter().enumerate() {
            if ask.parts & (1 << part) == 0 {
                continue;
            }
            if answer.is_full() {
                break;
            }
            let users = known.iter().filter(|(_, known)| known.said).map(|(user, _)| *user);
            let gone = known
                .iter()
                .filter(|(_, known)| !known.said && known.on.is_empty() && known.at >= ask.since);
            answer.parts.push(Part {
                part,
                users: users.collect(),
                gone: gone.map(|(user, known)| (*user, known.at)).collect(),
            });
        }
        answer
    }
}
