//! What channels are told about changes that they cannot get.

use std::{collections::HashSet, sync::Arc};

use super::{
    filter::ask::Asked,
    members::{Groups, Use},
    payload,
    state::State,
    table::TableState,
};
use crate::replication::position::Lsn;

impl State {
    /// Tells the channels that wait for an answer that cannot be had. Where row
    /// security has a say nothing is told: the row may not be theirs to know of.
    pub(super) fn tell_hopeless(&self, asked: &Arc<Asked>, problem: &str) {
        let mut told = HashSet::new();
        for table in self.tables.values().filter(|table| table.index.is_asking()) {
            let (schema, name) = (&table.table.schema, &table.table.name);
            let matchers = table.index.all();
            let waiting = matchers.filter(|matcher| matcher.asks().any(|other| other == asked));
            for matcher in waiting {
                // Equal questions of other rules are as hopeless.
                matcher.asks().filter(|other| *other == asked).for_each(|other| other.give_up());
                if table.is_judged(matcher) {
                    continue;
                }
                for used in matcher.uses.iter().filter(|used| told.insert(used.group)) {
                    let Some(group) = self.groups.group(used.group) else { continue };
                    let message = format!(
                        "Changes of {schema}.{name} are no longer delivered to a filter that PostgreSQL cannot evaluate: {problem}"
                    );
                    group.push(&payload::system(&group.key, "error", &message), Lsn(u64::MAX));
                }
            }
        }
    }

    /// Tells channels that named a table that it gives no more changes: it is
    /// gone, or `now` has another name.
    pub(super) fn tell_gone(&mut self, before: &TableState, now: Option<&TableState>) {
        let kept: HashSet<Use> = now.map(TableState::uses).into_iter().flatten().collect();
        let (schema, name) = before.names();
        let mut told = HashSet::new();
        for used in before.uses().filter(|used| !kept.contains(used)) {
            let Some(group) = self.groups.group(used.group) else { continue };
            // Who asked for whatever there is misses nothing.
            let named = group.key.bindings.get(used.binding as usize).is_some_and(|binding| {
                binding.schema.exact().is_some() && binding.table.exact().is_some()
            });
            if named && self.bereft.insert(used) && told.insert(used.group) {
                let message = format!(
                    "Changes of {schema}.{name} are no longer delivered: the table is gone or not published any more"
                );
                group.push(&payload::system(&group.key, "error", &message), Lsn(u64::MAX));
            }
        }
    }

    /// Tells those channels that their table is there again.
    pub(super) fn tell_back(&mut self, table: &TableState) {
        let mut told = HashSet::new();
        for used in table.uses().filter(|used| self.bereft.remove(used)) {
            if told.insert(used.group)
                && let Some(group) = self.groups.group(used.group)
            {
                let message = "Subscribed to PostgreSQL";
                group.push(&payload::system(&group.key, "ok", message), Lsn(u64::MAX));
            }
        }
    }

    /// Sends a system error to every subscriber.
    pub(super) fn tell_all(&mut self, message: &str) {
        for group in self.groups.iter_mut() {
            group.push(&payload::system(&group.key, "error", message), Lsn(u64::MAX));
        }
    }
}

/// Tells groups whose rules gave rows before and give none now.
pub(super) fn tell_silenced(groups: &Groups, before: &TableState, now: &TableState) {
    let silenced = now.index.all().filter(|matcher| {
        let was = before.index.find(&matcher.rule).and_then(|at| before.index.at(at));
        now.is_silent(matcher) && was.is_some_and(|was| !before.is_silent(was))
    });
    let mut told = HashSet::new();
    for used in silenced.flat_map(|matcher| &matcher.uses) {
        if told.insert(used.group)
            && let Some(group) = groups.group(used.group)
        {
            let (schema, table) = (&now.table.schema, &now.table.name);
            let message = format!(
                "Changes of {schema}.{table} are no longer delivered: its columns or privileges changed. Please subscribe again"
            );
            group.push(&payload::system(&group.key, "error", &message), Lsn(u64::MAX));
        }
    }
}
