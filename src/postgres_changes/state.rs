//! Everything the pipeline knows, behind one lock that is never held across a wait.
//!
//! Pure but for the outboxes it pushes to: lookups happen elsewhere and are
//! installed here, each with the ticket drawn before it started, so that an
//! older answer never replaces a newer one.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    catalog::{Casts, Described},
    filter::ask::Answers,
    generated::Filling,
    image::Image,
    index::Matcher,
    members::{GroupKey, Groups, Member, Use},
    notices::tell_silenced,
    row_security::Claimants,
    rule::Rule,
    subscription::Binding,
    table::{Readers, TableState},
};
use crate::{
    hub::outbox::Outbox,
    protocol::prepared::Frame,
    replication::{
        change::Change,
        position::{Epoch, Lsn},
        relation::Relation,
    },
    telemetry::series::Sizes,
};

/// Tables whose rows concern nobody, remembered up to this many.
const MAX_IGNORED: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) groups: Groups,
    pub(super) tables: HashMap<u32, TableState>,
    /// Oid and version of descriptions that no binding covers.
    ignored: HashMap<u32, u64>,
    /// Bindings whose channels were told that their table is gone.
    pub(super) bereft: HashSet<Use>,
    epoch: Option<Epoch>,
    tickets: u64,
    /// Lookups installed so far, those that told nothing new among them.
    installed: u64,
    /// The last of them after which there is no table to know.
    removed: u64,
    members: u64,
    claimants: Claimants,
    pub(super) readers: Readers,
    /// Where the sizes of changes are counted.
    pub(super) sizes: Option<Sizes>,
}

/// What a row needs before it can be judged.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Nothing.
    Ready,
    /// Nobody wants it.
    Ignored,
    /// Its table must be looked up.
    Lookup,
}

/// When a subscriber looked things up: nothing of its concern may have changed between a subscriber's lookups and its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    installed: u64,
    epoch: Option<Epoch>,
}

/// A subscriber's entry.
pub(super) struct Entry<'a> {
    pub(super) key: GroupKey,
    pub(super) rules: Vec<(Arc<Rule>, Arc<Casts>)>,
    pub(super) tables: Vec<&'a Described>,
    /// Where its frames go.
    pub(super) outbox: Arc<Outbox>,
    /// Commits before this are not for it.
    pub(super) from: Lsn,
    pub(super) claims: Arc<str>,
    pub(super) moment: Moment,
    /// Queued before any change.
    pub(super) ready: Vec<Frame>,
    /// The subscriber that leaves as this one enters: nothing in between.
    pub(super) replaces: Option<(u32, u64)>,
}

impl State {
    /// A state that counts the sizes of changes.
    pub(super) fn measured_by(sizes: Sizes) -> Self {
        Self { sizes: Some(sizes), ..Self::default() }
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { installed: self.installed, epoch: self.epoch }
    }

    pub(super) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    pub(super) fn readiness(&mut self, relation: &Relation) -> Readiness {
        if let Some(table) = self.tables.get(&relation.oid) {
            return if table.knows(relation) { Readiness::Ready } else { Readiness::Lookup };
        }
        if self.ignored.get(&relation.oid) == Some(&relation.version) {
            return Readiness::Ignored;
        }
        if !self.groups.covering(&relation.schema, &relation.table).is_empty() {
            return Readiness::Lookup;
        }
        self.ignore(relation);
        Readiness::Ignored
    }

    fn ignore(&mut self, relation: &Relation) {
        if self.ignored.len() >= MAX_IGNORED {
            self.ignored.clear();
        }
        self.ignored.insert(relation.oid, relation.version);
    }

    /// The roles that a lookup of this table must ask for.
    pub(super) fn roles(&self, oid: u32, relation: Option<&Relation>) -> Vec<Arc<str>> {
        let mut roles: HashSet<Arc<str>> = HashSet::new();
        if let Some(table) = self.tables.get(&oid) {
            roles.extend(table.roles.keys().cloned());
        }
        let names = self.names(oid, relation);
        let uses = names.map(|(schema, table)| self.groups.covering(&schema, &table));
        for used in uses.into_iter().flatten() {
            roles.extend(self.groups.group(used.group).map(|group| Arc::clone(&group.key.role)));
        }
        roles.into_iter().collect()
    }

    fn names(&self, oid: u32, relation: Option<&Relation>) -> Option<(Arc<str>, Arc<str>)> {
        if let Some(relation) = relation {
            return Some((Arc::clone(&relation.schema), Arc::clone(&relation.table)));
        }
        let table = self.tables.get(&oid)?;
        Some((Arc::clone(&table.table.schema), Arc::clone(&table.table.name)))
    }

    /// All subscribed tables.
    pub(super) fn oids(&self) -> Vec<u32> {
        self.tables.keys().copied().collect()
    }

    pub(super) fn relation(&self, oid: u32) -> Option<Arc<Relation>> {
        self.tables.get(&oid)?.relation.clone()
    }

    /// Takes the answer of a lookup. False if it does not cover a role that
    /// came meanwhile: ask again.
    pub(super) fn install(
        &mut self,
        oid: u32,
        relation: Option<&Arc<Relation>>,
        found: Option<Described>,
        asked: &[Arc<str>],
        ticket: u64,
    ) -> bool {
        let newer = self.tables.get(&oid).filter(|table| table.ticket > ticket);
        let relation = match newer {
            Some(table) => table.relation.clone().or_else(|| relation.cloned()),
            None => relation.cloned(),
        };
        let relation = relation.as_ref();
        let described = match newer {
            Some(table) => {
                let (table, roles) = (Arc::clone(&table.table), table.roles.clone());
                Some(Described { table, roles })
            }
            None => found,
        };
        let ticket = newer.map_or(ticket, |table| table.ticket);
        if newer_lacks_role(&self.roles(oid, relation.map(|relation| &**relation)), asked) {
            return false;
        }
        self.installed += 1;
        if let (Some(known), Some(described)) = (self.tables.get_mut(&oid), &described)
            && known.confirm(described, relation, ticket)
        {
            known.installed = self.installed;
            return true;
        }
        let names = self.names(oid, relation.map(|relation| &**relation));
        let before = self.tables.remove(&oid);
        let relation =
            relation.cloned().or_else(|| before.as_ref().and_then(|table| table.relation.clone()));
        for used in before.iter().flat_map(|table| table.index.all()).flat_map(|m| &m.uses) {
            if let Some(group) = self.groups.group_mut(used.group) {
                group.places.retain(|(place, _, _)| *place != oid);
            }
        }
        let uses = names.map(|(schema, table)| self.groups.covering(&schema, &table));
        let uses = uses.unwrap_or_default();
        let (Some(described), false) = (described, uses.is_empty()) else {
            if let Some(relation) = &relation {
                self.ignore(relation);
            }
            self.removed = self.installed;
            if let Some(before) = &before {
                self.tell_gone(before, None);
            }
            return true;
        };
        let mut table = TableState::new(described, relation, ticket);
        table.installed = self.installed;
        for used in uses {
            attach(&mut self.groups, oid, &mut table, used);
        }
        if let Some(before) = &before {
            tell_silenced(&self.groups, before, &table);
            self.tell_gone(before, Some(&table));
        }
        self.tell_back(&table);
        self.tables.insert(oid, table);
        true
    }

    /// Enters a subscriber. `Err` when something changed since its lookups:
    /// the oids to look up again first, if any.
    pub(super) fn enter(&mut self, entry: Entry<'_>) -> Result<(u32, u64), Vec<u32>> {
        if self.has_moved_on(&entry) {
            return Err(Vec::new());
        }
        let changed = |described: &&&Described| {
            let table = self.tables.get(&described.table.oid);
            table.is_some_and(|known| known.table != described.table)
        };
        let changed: Vec<u32> =
            entry.tables.iter().filter(changed).map(|described| described.table.oid).collect();
        if !changed.is_empty() {
            return Err(changed);
        }
        self.ignored.clear();
        let rules = entry.rules;
        let (at, new) = self.groups.obtain(&entry.key, || rules);
        for described in entry.tables {
            let oid = described.table.oid;
            let table = self.tables.entry(oid).or_insert_with(|| {
                // Ticket zero: any lookup that a row starts is newer.
                TableState::new(described.clone(), None, 0)
            });
            for (role, view) in &described.roles {
                table.roles.entry(Arc::clone(role)).or_insert_with(|| Arc::clone(view));
            }
        }
        if new {
            self.attach_group(at);
        }
        self.members += 1;
        let id = self.members;
        let Entry { outbox, mut from, claims, replaces, .. } = entry;
        if let Some(before) = replaces.and_then(|(group, id)| self.groups.member(group, id)) {
            // Rows on their way went to neither yet.
            from = before.from;
        }
        outbox.answer(entry.ready);
        let claimant = self.claimants.enter(&entry.key.role, &claims);
        if let Some(group) = self.groups.group_mut(at) {
            group.members.push(Member { id, from, outbox, claimant });
            for (oid, place, _) in &group.places {
                let matcher = self.tables.get(oid).and_then(|table| table.index.at(*place));
                matcher.into_iter().flat_map(Matcher::asks).for_each(|asked| asked.revive());
            }
        }
        if let Some((group, member)) = replaces {
            self.leave(group, member);
        }
        Ok((at, id))
    }

    /// True if what a subscriber looked up may be out of date. Lookups of
    /// tables that it does not cover do not matter.
    fn has_moved_on(&self, entry: &Entry<'_>) -> bool {
        let then = entry.moment.installed;
        let concerns = |oid: &u32, table: &TableState| {
            let (schema, name) = (&table.table.schema, &table.table.name);
            let covers =
                |binding: &Binding| binding.schema.covers(schema) && binding.table.covers(name);
            entry.tables.iter().any(|described| described.table.oid == *oid)
                || entry.key.bindings.iter().any(covers)
        };
        let mut newer = self.tables.iter().filter(|(_, table)| table.installed > then);
        entry.moment.epoch != self.epoch
            || self.removed > then
            || newer.any(|(oid, table)| concerns(oid, table))
    }

    fn attach_group(&mut self, at: u32) {
        let Some(group) = self.groups.group(at) else { return };
        let bindings = Arc::clone(&group.key.bindings);
        for (oid, table) in &mut self.tables {
            for (binding, item) in (0..).zip(bindings.iter()) {
                let (schema, name) = (&table.table.schema, &table.table.name);
                if item.schema.covers(schema) && item.table.covers(name) {
                    attach(&mut self.groups, *oid, table, Use { group: at, binding });
                }
            }
        }
    }

    /// Takes a subscriber out, and its group's rules if it was the last.
    pub(super) fn leave(&mut self, group: u32, member: u64) {
        let number = group;
        let Some((member, group)) = self.groups.leave(group, member) else { return };
        self.claimants.leave(&member.claimant);
        let Some(group) = group else { return };
        self.bereft.retain(|used| used.group != number);
        for (oid, at, used) in group.places {
            let Some(table) = self.tables.get_mut(&oid) else { continue };
            table.detach(at, used);
            if table.index.is_empty() {
                self.tables.remove(&oid);
            }
        }
    }

    /// What must be computed before a row can be judged.
    pub(super) fn filling(&self, change: &Change) -> Option<Filling> {
        self.tables.get(&change.relation.oid)?.filling(&change.relation)
    }

    /// Notes what PostgreSQL must be asked before a row can be delivered.
    pub(super) fn question(&mut self, change: &Change, answers: &mut Answers) {
        let Some(image) = Image::of(change) else { return };
        let table = self.tables.get(&change.relation.oid);
        if let Some(table) = table.filter(|table| table.index.is_asking()) {
            table.readers(&image, answers, &mut self.readers);
        }
    }

    /// A stream starts. Positions of another history do not compare with
    /// those subscribers began at. True if the history is another.
    pub(super) fn start(&mut self, epoch: Epoch) -> bool {
        let another = self.epoch.replace(epoch).is_some_and(|before| before != epoch);
        if another {
            for group in self.groups.iter_mut() {
                group.members.iter_mut().for_each(|member| member.from = Lsn(0));
            }
        }
        another
    }
}

fn newer_lacks_role(wanted: &[Arc<str>], asked: &[Arc<str>]) -> bool {
    wanted.iter().any(|role| !asked.contains(role))
}

fn attach(groups: &mut Groups, oid: u32, table: &mut TableState, used: Use) {
    let Some(group) = groups.group_mut(used.group) else { return };
    let Some((rule, casts)) = group.rules.get(used.binding as usize).cloned() else { return };
    let at = table.attach(used, &rule, &casts);
    group.places.push((oid, at, used));
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
