//! What other servers say, taken into the table.
//!
//! Each server is right about its own users, so there is nothing to resolve.
//! What it said last counts, by its numbers: through a cluster of Redis servers
//! its answers may overtake its changes, and the other way round.

use std::collections::HashSet;

use tokio::time::{Duration, Instant};
use uuid::Uuid;

use crate::cluster::NodeId;

use super::{
    table::{Known, Table},
    word::{Ask, Changes, Digest, Moment, PARTS, Part, Parts, Sign, part},
};

/// Longest that a sign of another server may count.
const LONGEST: Duration = Duration::from_secs(3600);

/// Another server.
#[derive(Debug)]
pub(super) struct Other {
    heard: Instant,
    /// How long it may be silent.
    ttl: Duration,
    /// Its last sign, by its clock.
    pub(super) at: Moment,
    /// Of its users as they are known here.
    digests: [Digest; PARTS],
    /// What of each part is known: no older change counts.
    numbers: [u64; PARTS],
    /// Its last changes that were heard.
    number: u64,
    /// Parts that are to be asked for.
    wanted: u64,
    /// Everything before was known, by its clock.
    agreed: Moment,
    /// It has given a sign: it is known what it has.
    has_signed: bool,
}

impl Other {
    fn new(manner: Manner) -> Self {
        Self {
            heard: Instant::now(),
            ttl: manner.ttl,
            at: 0,
            digests: [Digest::default(); PARTS],
            numbers: [0; PARTS],
            number: 0,
            wanted: 0,
            agreed: manner.since,
            has_signed: false,
        }
    }
}

/// How a word of another server is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// What is heard counts as told to rooms: nobody was told otherwise.
    pub(super) quiet: bool,
    /// Who left before this server started is known once, of whichever server.
    pub(super) since: Moment,
    /// How long a server may be silent that did not say so itself.
    pub(super) ttl: Duration,
}

impl Table {
    fn other(&mut self, node: NodeId, manner: Manner) -> &mut Other {
        self.others.entry(node).or_insert_with(|| Other::new(manner))
    }

    pub(super) fn hear_changes(&mut self, node: NodeId, word: Changes, manner: Manner) {
        let other = self.other(node, manner);
        (other.heard, other.number) = (Instant::now(), other.number.max(word.number));
        let numbers = other.numbers;
        for (user, is_there, at) in word.changes {
            if numbers.get(part(user)).is_some_and(|number| *number < word.number) {
                self.put(node, user, is_there, at, manner.quiet);
            }
        }
    }

    pub(super) fn hear_sign(&mut self, node: NodeId, sign: &Sign, manner: Manner) {
        let has_room = self.has_room();
        if !has_room {
            self.unknown = 0;
        }
        let other = self.other(node, manner);
        other.heard = Instant::now();
        other.ttl = Duration::from_millis(sign.ttl).min(LONGEST);
        other.at = other.at.max(sign.at);
        other.number = other.number.max(sign.number);
        other.has_signed = true;
        other.wanted = 0;
        // A table that is full asks nobody: it would do so for ever.
        for (part, known) in other.digests.iter().enumerate().filter(|_| has_room) {
            let is_newer = other.numbers.get(part).is_some_and(|known| *known > sign.number);
            if !is_newer && sign.digests.get(part) != Some(known) {
                other.wanted |= 1 << part;
            }
        }
        if other.wanted == 0 {
            other.agreed = sign.at;
        }
    }

    pub(super) fn hear_parts(&mut self, node: NodeId, word: Parts, manner: Manner) {
        let Some(other) = self.others.get_mut(&node) else { return };
        other.heard = Instant::now();
        if word.number < other.number {
            return;
        }
        let at = other.at;
        for Part { part, users, gone } in word.parts.into_iter().filter(|part| part.part < PARTS) {
            if let Some(other) = self.others.get_mut(&node) {
                other.wanted &= !(1 << part);
                self.unknown &= !(1 << part);
                if let Some(number) = other.numbers.get_mut(part) {
                    *number = word.number;
                }
            }
            let mut left = self.users_on(node, part);
            for user in users.into_iter().filter(|user| self::part(*user) == part) {
                left.remove(&user);
                self.put(node, user, true, at, manner.quiet);
            }
            for (user, at) in gone {
                if let Some(known) = self.admit(user) {
                    known.at = known.at.max(at);
                }
            }
            for user in left {
                self.put(node, user, false, 0, manner.quiet);
            }
        }
        if let Some(other) = self.others.get_mut(&node)
            && other.wanted == 0
        {
            other.agreed = other.at;
        }
    }

    fn users_on(&self, node: NodeId, part: usize) -> HashSet<Uuid> {
        let known = self.known.get(part).into_iter().flatten();
        known.filter(|(_, known)| known.on.contains(&node)).map(|(user, _)| *user).collect()
    }

    fn put(&mut self, node: NodeId, user: Uuid, is_there: bool, at: Moment, quiet: bool) {
        let known = if is_there { self.admit(user) } else { self.entry(user) };
        let Some(known) = known else { return };
        known.at = known.at.max(at);
        let place = known.on.iter().position(|on| *on == node);
        match (place, is_there) {
            (None, true) => known.on.push(node),
            (Some(place), false) => drop(known.on.swap_remove(place)),
            _ => return,
        }
        let is_told = quiet && is_there;
        known.told_online |= is_told;
        if let Some(other) = self.others.get_mut(&node)
            && let Some(digest) = other.digests.get_mut(part(user))
        {
            digest.put(user, is_there);
        }
        if !is_told {
            self.note(user);
        }
    }

    fn entry(&mut self, user: Uuid) -> Option<&mut Known> {
        self.known.get_mut(part(user))?.get_mut(&user)
    }

    /// The users of servers that are silent leave; how many servers those are.
    pub(super) fn bury(&mut self) -> usize {
        let silent = self.others.iter().filter(|(_, other)| other.heard.elapsed() >= other.ttl);
        let dead: Vec<(NodeId, Moment)> = silent.map(|(node, other)| (*node, other.at)).collect();
        for (node, at) in &dead {
            for part in 0..PARTS {
                for user in self.users_on(*node, part) {
                    self.put(*node, user, false, *at, false);
                }
            }
            self.others.remove(node);
        }
        dead.len()
    }

    /// Nobody could be heard: everybody has as much time as at first.
    pub(super) fn forgive(&mut self) {
        for other in self.others.values_mut() {
            other.heard = Instant::now();
        }
    }

    /// A server to be asked, and for what.
    pub(super) fn question(&self) -> Option<(NodeId, Ask)> {
        let mut others = self.others.iter().filter(|(_, other)| other.has_signed);
        let (node, other) = others.find(|(_, other)| (other.wanted | self.unknown) != 0)?;
        let since = if self.unknown == 0 { other.agreed } else { 0 };
        Some((*node, Ask { parts: other.wanted | self.unknown, since }))
    }

    /// It does not answer: its next sign tells what is to be asked.
    pub(super) fn give_up(&mut self, node: NodeId) {
        if let Some(other) = self.others.get_mut(&node) {
            other.has_signed = false;
        }
    }

    /// Whether all that so many other servers know is known here.
    pub(super) fn agrees(&self, others: usize) -> bool {
        let agreeing = |other: &&Other| other.has_signed && other.wanted == 0;
        others == 0 || self.unknown == 0 && self.others.values().filter(agreeing).count() >= others
    }
}
