//! From a row to the rules it may match.
//!
//! A rule with an equality filter is found by the hash of that value, so a row
//! touches only rules of its own values; the rest stand in a list. A rule is
//! hashed under one column at most.

use std::{collections::HashMap, sync::Arc};

use smallvec::SmallVec;

use super::{
    filter::{
        ask::{Answers, Asked},
        compare::Kind,
        compile::{Predicate, Verdict},
    },
    members::Use,
    rule::{Fitted, Rule},
    subscription::EventFilter,
};
use crate::replication::change::Value;

/// The rules of one table.
#[derive(Debug, Default)]
pub(super) struct Index {
    matchers: Vec<Option<Matcher>>,
    free: Vec<usize>,
    by_rule: HashMap<Arc<Rule>, usize>,
    hashed: Vec<Hashed>,
    rest: Vec<usize>,
    /// Rules that may need PostgreSQL to judge a row.
    asking: usize,
}

/// A rule in place.
#[derive(Debug)]
pub(super) struct Matcher {
    pub(super) rule: Arc<Rule>,
    /// Index of the table's shape for its role and select.
    pub(super) shape: usize,
    /// The bindings that stand behind it.
    pub(super) uses: Vec<Use>,
    /// None for a rule that no longer fits the table: it never matches.
    tests: Option<Vec<(usize, Predicate)>>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// `key` in the hash of this column.
    Hashed { column: usize, key: Box<[u8]> },
    /// At this position of the list.
    Rest(usize),
}

#[derive(Debug)]
struct Hashed {
    column: usize,
    kind: Kind,
    keys: HashMap<Box<[u8]>, SmallVec<[usize; 1]>>,
}

impl Index {
    /// The matcher of an equal rule, if there is one.
    pub(super) fn find(&self, rule: &Rule) -> Option<usize> {
        self.by_rule.get(rule).copied()
    }

    /// Adds a rule; `kind` tells how the hashed column compares. A rule
    /// without `fitted` stays for its errors but never matches.
    pub(super) fn insert(
        &mut self,
        rule: Arc<Rule>,
        shape: usize,
        fitted: Option<Fitted>,
        kind: impl Fn(usize) -> Kind,
    ) -> usize {
        let at = self.free.pop().unwrap_or(self.matchers.len());
        let (tests, hashed) = match fitted {
            Some(fitted) => (Some(fitted.tests), fitted.hashed),
            None => (None, None),
        };
        let place = if let Some((column, key)) = hashed {
            let hashed = self.hashed_column(column, kind(column));
            hashed.keys.entry(key.clone()).or_default().push(at);
            Place::Hashed { column, key }
        } else {
            self.rest.push(at);
            Place::Rest(self.rest.len() - 1)
        };
        self.by_rule.insert(Arc::clone(&rule), at);
        let matcher = Matcher { rule, shape, uses: Vec::new(), tests, place };
        self.asking += usize::from(matcher.asks().next().is_some());
        match self.matchers.get_mut(at) {
            Some(slot) => *slot = Some(matcher),
            None => self.matchers.push(Some(matcher)),
        }
        at
    }

    pub(super) fn at(&self, at: usize) -> Option<&Matcher> {
        self.matchers.get(at)?.as_ref()
    }

    pub(super) fn add_use(&mut self, at: usize, used: Use) {
        if let Some(Some(matcher)) = self.matchers.get_mut(at) {
            matcher.uses.push(used);
        }
    }

    /// Takes a binding away, and its rule if it was the last: then answers the rule's shape.
    pub(super) fn remove_use(&mut self, at: usize, used: Use) -> Option<usize> {
        let slot = self.matchers.get_mut(at)?;
        let matcher = slot.as_mut()?;
        if let Some(found) = matcher.uses.iter().position(|other| *other == used) {
            matcher.uses.swap_remove(found);
        }
        if !matcher.uses.is_empty() {
            return None;
        }
        let matcher = slot.take()?;
        self.asking -= usize::from(matcher.asks().next().is_some());
        self.free.push(at);
        self.by_rule.remove(&matcher.rule);
        match matcher.place {
            Place::Hashed { column, key } => self.unhash(column, &key, at),
            Place::Rest(position) => {
                self.rest.swap_remove(position);
                // The one that took the place must know it.
                if let Some(moved) = self.rest.get(position)
                    && let Some(Some(matcher)) = self.matchers.get_mut(*moved)
                {
                    matcher.place = Place::Rest(position);
                }
            }
        }
        Some(matcher.shape)
    }

    /// True if rows may raise questions.
    pub(super) fn is_asking(&self) -> bool {
        self.asking > 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_rule.is_empty()
    }

    /// All rules.
    pub(super) fn all(&self) -> impl Iterator<Item = &Matcher> {
        self.matchers.iter().flatten()
    }

    /// Calls `found` with each rule that a row matches as far as `answers`
    /// go, which note what is missing.
    pub(super) fn matches<'a>(
        &'a self,
        event: EventFilter,
        cell: impl Fn(usize) -> Value<'a>,
        answers: &mut Answers,
        mut found: impl FnMut(&'a Matcher),
    ) {
        let mut judge = |at: &usize| {
            if let Some(Some(matcher)) = self.matchers.get(*at)
                && matcher.wants(event)
                && matcher.judge(&cell, answers) == Verdict::Holds
            {
                found(matcher);
            }
        };
        for hashed in &self.hashed {
            if let Value::Text(text) = cell(hashed.column)
                && let Some(key) = hashed.kind.hash_key(text)
                && let Some(list) = hashed.keys.get(key)
            {
                list.iter().for_each(&mut judge);
            }
        }
        self.rest.iter().for_each(&mut judge);
    }

    fn hashed_column(&mut self, column: usize, kind: Kind) -> &mut Hashed {
        let at = self.hashed.iter().position(|hashed| hashed.column == column);
        let at = at.unwrap_or_else(|| {
            self.hashed.push(Hashed { column, kind, keys: HashMap::new() });
            self.hashed.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found or just pushed")]
        &mut self.hashed[at]
    }

    fn unhash(&mut self, column: usize, key: &[u8], at: usize) {
        let Some(index) = self.hashed.iter().position(|hashed| hashed.column == column) else {
            return;
        };
        if let Some(hashed) = self.hashed.get_mut(index) {
            if let Some(list) = hashed.keys.get_mut(key) {
                list.retain(|other| *other != at);
                if list.is_empty() {
                    hashed.keys.remove(key);
                }
            }
            if hashed.keys.is_empty() {
                self.hashed.swap_remove(index);
            }
        }
    }
}

impl Matcher {
    /// True if the rule asks for this kind of event.
    pub(super) fn wants(&self, event: EventFilter) -> bool {
        self.rule.event == EventFilter::All || self.rule.event == event
    }

    /// Whether a row has what the rule asks for.
    fn judge<'a>(&self, cell: impl Fn(usize) -> Value<'a>, answers: &mut Answers) -> Verdict {
        let mut verdict = if self.tests.is_some() { Verdict::Holds } else { Verdict::Fails };
        for (column, test) in self.tests.iter().flatten() {
            match test.judge(cell(*column), answers) {
                Verdict::Holds => {}
                Verdict::Fails => return Verdict::Fails,
                // The other questions are noted too: one round answers them all.
                Verdict::Open => verdict = Verdict::Open,
            }
        }
        verdict
    }

    /// What PostgreSQL may be asked about rows.
    pub(super) fn asks(&self) -> impl Iterator<Item = &Arc<Asked>> {
        self.tests.iter().flatten().flat_map(|(_, test)| test.asks())
    }

    /// True if the rule no longer fits its table.
    pub(super) fn is_broken(&self) -> bool {
        self.tests.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn rule(n: usize, event: EventFilter) -> Arc<Rule> {
        Arc::new(Rule { role: Arc::from(format!("r{n}")), event, filters: vec![], select: None })
    }

    fn hashed(key: &str) -> Option<Fitted> {
        Some(Fitted { tests: vec![], hashed: Some((0, key.as_bytes().into())) })
    }

    fn used(n: u32) -> Use {
        Use { group: n, binding: 0 }
    }

    fn found(index: &Index, event: EventFilter, value: &str) -> Vec<Use> {
        let mut uses = Vec::new();
        let cell = |_| Value::Text(value.as_bytes());
        index.matches(event, cell, &mut Answers::default(), |m| uses.extend(&m.uses));
        uses.sort_unstable();
        uses
    }

    #[test]
    fn a_row_touches_only_the_rules_of_its_own_value() {
        let mut index = Index::default();
        for n in 0..100_000_u32 {
            let rule = rule(n as usize, EventFilter::All);
            let at = index.insert(rule, 0, hashed(&n.to_string()), |_| Kind::Integer);
            index.add_use(at, used(n));
        }
        let asked = Cell::new(0);
        let mut uses = Vec::new();
        let cell = |_| {
            asked.set(asked.get() + 1);
            Value::Text(b"77".as_slice())
        };
        let answers = &mut Answers::default();
        index.matches(EventFilter::Insert, cell, answers, |matcher| uses.extend(&matcher.uses));
        assert_eq!((uses, asked.get()), (vec![used(77)], 1));
    }

    #[test]
    fn removed_rules_no_longer_match() {
        let mut index = Index::default();
        let open = || Some(Fitted { tests: vec![], hashed: None });
        let kind = |_| Kind::Integer;
        let all: Vec<_> = (0..4)
            .map(|n| {
                let fitted = if n % 2 == 0 { open() } else { hashed("1") };
                let at = index.insert(rule(n as usize, EventFilter::All), 0, fitted, kind);
                index.add_use(at, used(n));
                at
            })
            .collect();
        assert_eq!(found(&index, EventFilter::Delete, "1").len(), 4);
        index.remove_use(all[0], used(0));
        index.remove_use(all[1], used(1));
        assert_eq!(found(&index, EventFilter::Delete, "1"), [used(2), used(3)]);
        assert_eq!(found(&index, EventFilter::Delete, "2"), [used(2)]);
        index.remove_use(all[2], used(2));
        index.remove_use(all[3], used(3));
        assert!(index.is_empty() && index.hashed.is_empty() && index.rest.is_empty());
    }

    #[test]
    fn a_rule_sees_only_its_events_and_a_broken_one_none() {
        let mut index = Index::default();
        let open = Some(Fitted { tests: vec![], hashed: None });
        let kind = |_| Kind::Integer;
        let one = index.insert(rule(1, EventFilter::Update), 0, open, kind);
        let two = index.insert(rule(2, EventFilter::All), 0, None, kind);
        index.add_use(one, used(1));
        index.add_use(two, used(2));
        assert_eq!(found(&index, EventFilter::Update, "x"), [used(1)]);
        assert!(found(&index, EventFilter::Insert, "x").is_empty());
    }
}
