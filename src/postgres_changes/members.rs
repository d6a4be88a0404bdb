//! Who gets what: channels with equal subscriptions are one group.
//!
//! A group's frames are rendered once and shared by its members. Members keep
//! whose claims they have, so that row security can tell them apart.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{catalog::Casts, row_security::Claimant, rule::Rule, subscription::Binding};
use crate::{
    hub::outbox::Outbox,
    protocol::{Vsn, prepared::Frame},
    replication::position::Lsn,
    topic::Topic,
};

/// One binding of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Use {
    pub(super) group: u32,
    pub(super) binding: u32,
}

/// What members of a group have in common: everything their frames depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    pub(super) topic: Topic,
    pub(super) vsn: Vsn,
    pub(super) legacy: bool,
    pub(super) role: Arc<str>,
    pub(super) bindings: Arc<[Binding]>,
}

/// Channels with equal subscriptions.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: GroupKey,
    pub(super) rules: Vec<(Arc<Rule>, Arc<Casts>)>,
    pub(super) members: Vec<Member>,
    /// The rules' places in the tables: oid and matcher of each use.
    pub(super) places: Vec<(u32, usize, Use)>,
}

/// One channel of one socket.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: u64,
    /// Commits before this are not for it.
    pub(super) from: Lsn,
    pub(super) outbox: Arc<Outbox>,
    /// Its role and claims.
    pub(super) claimant: Arc<Claimant>,
}

/// All groups, and which of their bindings cover which names.
#[derive(Debug, Default)]
pub(super) struct Groups {
    slots: Vec<Option<Group>>,
    free: Vec<u32>,
    by_key: HashMap<GroupKey, u32>,
    exact: HashMap<(Arc<str>, Arc<str>), HashSet<Use>>,
    wildcards: HashSet<Use>,
}

impl Groups {
    /// The group of this key; new ones call `rules` for their rules. True if it is new.
    pub(super) fn obtain(
        &mut self,
        key: &GroupKey,
        rules: impl FnOnce() -> Vec<(Arc<Rule>, Arc<Casts>)>,
    ) -> (u32, bool) {
        if let Some(at) = self.by_key.get(key) {
            return (*at, false);
        }
        let group =
            Group { key: key.clone(), rules: rules(), members: Vec::new(), places: Vec::new() };
        let next = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let at = self.free.pop().unwrap_or(next);
        match self.slots.get_mut(at as usize) {
            Some(slot) => *slot = Some(group),
            None => self.slots.push(Some(group)),
        }
        self.by_key.insert(key.clone(), at);
        for (used, binding) in uses(at, key) {
            match names(binding) {
                Some(names) => self.exact.entry(names).or_default().insert(used),
                None => self.wildcards.insert(used),
            };
        }
        (at, true)
    }

    pub(super) fn group(&self, at: u32) -> Option<&Group> {
        self.slots.get(at as usize)?.as_ref()
    }

    pub(super) fn group_mut(&mut self, at: u32) -> Option<&mut Group> {
        self.slots.get_mut(at as usize)?.as_mut()
    }

    pub(super) fn member(&self, at: u32, member: u64) -> Option<&Member> {
        self.group(at)?.members.iter().find(|other| other.id == member)
    }

    /// Takes a member out, and its group if it was the last. None if it left before.
    pub(super) fn leave(&mut self, at: u32, member: u64) -> Option<(Member, Option<Group>)> {
        let group = self.group_mut(at)?;
        let found = group.members.iter().position(|other| other.id == member)?;
        let member = group.members.swap_remove(found);
        let last = group.members.is_empty().then(|| self.remove(at)).flatten();
        Some((member, last))
    }

    fn remove(&mut self, at: u32) -> Option<Group> {
        let group = self.slots.get_mut(at as usize)?.take()?;
        self.free.push(at);
        self.by_key.remove(&group.key);
        for (used, binding) in uses(at, &group.key) {
            let Some(names) = names(binding) else {
                self.wildcards.remove(&used);
                continue;
            };
            if let Some(set) = self.exact.get_mut(&names) {
                set.remove(&used);
                if set.is_empty() {
                    self.exact.remove(&names);
                }
            }
        }
        Some(group)
    }

    /// The bindings that cover a table of these names.
    pub(super) fn covering(&self, schema: &Arc<str>, table: &Arc<str>) -> Vec<Use> {
        let exact = self.exact.get(&(Arc::clone(schema), Arc::clone(table)));
        let covers = |used: &Use| {
            let binding = self
                .group(used.group)
                .and_then(|group| group.key.bindings.get(used.binding as usize));
            binding.is_some_and(|b| b.schema.covers(schema) && b.table.covers(table))
        };
        let wild = self.wildcards.iter().filter(|used| covers(used));
        let mut uses: Vec<_> = exact.into_iter().flatten().chain(wild).copied().collect();
        // Shapes are numbered as they are met, and messages follow their numbers.
        uses.sort_unstable();
        uses
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Group> {
        self.slots.iter_mut().flatten()
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }
}

impl Group {
    /// Queues a frame for every member whose subscription covers a commit here.
    pub(super) fn push(&self, frame: &Frame, commit: Lsn) {
        self.covering(commit).for_each(|member| member.push(frame));
    }

    /// The members whose subscription covers a commit here.
    pub(super) fn covering(&self, commit: Lsn) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.from <= commit)
    }
}

impl Member {
    /// Queues a frame. A full outbox ends its own socket; nothing to do here.
    pub(super) fn push(&self, frame: &Frame) {
        self.outbox.push(frame.clone());
    }
}

fn uses(group: u32, key: &GroupKey) -> impl Iterator<Item = (Use, &Binding)> {
    (0..).zip(key.bindings.iter()).map(move |(binding, item)| (Use { group, binding }, item))
}

fn names(binding: &Binding) -> Option<(Arc<str>, Arc<str>)> {
    Some((Arc::from(binding.schema.exact()?), Arc::from(binding.table.exact()?)))
}
