//! A subscribed table: its description, its rules, and how each role sees it.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

use super::{
    catalog::{Casts, Described, RoleView, Table},
    filter::{ask::Answers, compare::Kind},
    generated::{self, Filling},
    image::Image,
    index::{Index, Matcher},
    members::Use,
    payload,
    rule::Rule,
    shape::{Shape, Verdict},
};
use crate::replication::relation::Relation;

/// What is known of a subscribed table.
#[derive(Debug)]
pub(super) struct TableState {
    pub(super) table: Arc<Table>,
    pub(super) roles: HashMap<Arc<str>, Arc<RoleView>>,
    /// The stream's description that this was looked up for; none until a row came.
    pub(super) relation: Option<Arc<Relation>>,
    /// When the lookup started, as a serial number.
    pub(super) ticket: u64,
    /// Which of all lookups was its last, as a serial number; zero before the first row.
    pub(super) installed: u64,
    /// The table's columns in the stream's tuples.
    layout: Vec<Option<usize>>,
    shapes: Vec<Shape>,
    pub(super) index: Index,
}

/// A row's readers: bindings, each with the number of the shape it sees.
pub(super) type Readers = Vec<(Use, usize)>;

impl TableState {
    pub(super) fn new(described: Described, relation: Option<Arc<Relation>>, ticket: u64) -> Self {
        let Described { table, roles } = described;
        let relation = relation.map(|relation| generated::complete(&relation, &table));
        let layout = layout(&table, relation.as_deref());
        let (shapes, index) = (Vec::new(), Index::default());
        Self { table, roles, relation, ticket, installed: 0, layout, shapes, index }
    }

    /// True if rows of this description may be judged by what is known.
    pub(super) fn knows(&self, relation: &Relation) -> bool {
        self.relation.as_ref().is_some_and(|known| known.version == relation.version)
    }

    /// What a row lacks that the stream does not tell.
    pub(super) fn filling(&self, relation: &Relation) -> Option<Filling> {
        let known = self.relation.as_ref()?;
        let lacks =
            known.version == relation.version && known.columns.len() > relation.columns.len();
        let filling = || Filling { table: Arc::clone(&self.table), relation: Arc::clone(known) };
        lacks.then(filling)
    }

    /// Takes a new description over if it says nothing new, so that a table
    /// that was only described again keeps its index. False if it does.
    pub(super) fn confirm(
        &mut self,
        described: &Described,
        relation: Option<&Arc<Relation>>,
        ticket: u64,
    ) -> bool {
        let Some(relation) = relation.filter(|_| self.relation.is_some()) else { return false };
        let relation = &generated::complete(relation, &described.table);
        let named =
            |relation: &Arc<Relation>| (Arc::clone(&relation.schema), Arc::clone(&relation.table));
        // Who is covered depends on the name at the time of the row, not of the lookup.
        let same = self.relation.as_ref().map(named) == Some(named(relation))
            && self.table == described.table
            && self.roles == described.roles
            && self.layout == layout(&described.table, Some(relation));
        if same {
            self.relation = Some(Arc::clone(relation));
            self.ticket = ticket;
        }
        same
    }

    /// Puts a binding's rule in place and answers where. A rule that does not
    /// fit the table stays for its errors and never matches.
    pub(super) fn attach(&mut self, used: Use, rule: &Arc<Rule>, casts: &Casts) -> usize {
        let at = self.index.find(rule).unwrap_or_else(|| {
            let view = self.roles.get(&rule.role);
            let fitted = view.and_then(|view| rule.fit(&self.table, view, casts).ok());
            let shape = self.shape_of(rule);
            if let Some(shape) = self.shapes.get_mut(shape) {
                shape.rules += 1;
            }
            let kind = |column: usize| {
                self.table.columns.get(column).map_or(Kind::Opaque, |column| column.filter.kind)
            };
            self.index.insert(Arc::clone(rule), shape, fitted, kind)
        });
        self.index.add_use(at, used);
        at
    }

    /// Takes a binding away from where [`TableState::attach`] put it.
    pub(super) fn detach(&mut self, at: usize, used: Use) {
        let unused = self.index.remove_use(at, used);
        if let Some(shape) = unused.and_then(|shape| self.shapes.get_mut(shape)) {
            shape.rules = shape.rules.saturating_sub(1);
        }
    }

    /// The bindings that cover it.
    pub(super) fn uses(&self) -> impl Iterator<Item = Use> {
        self.index.all().flat_map(|matcher| matcher.uses.iter().copied())
    }

    /// Schema and name as the last row had them.
    pub(super) fn names(&self) -> (Arc<str>, Arc<str>) {
        match &self.relation {
            Some(relation) => (Arc::clone(&relation.schema), Arc::clone(&relation.table)),
            None => (Arc::clone(&self.table.schema), Arc::clone(&self.table.name)),
        }
    }

    pub(super) fn shape(&self, at: usize) -> Option<&Shape> {
        self.shapes.get(at)
    }

    /// True if row security has a say for any reader.
    pub(super) fn has_judged(&self) -> bool {
        self.table.row_security && self.shapes.iter().any(|shape| shape.is_judged)
    }

    /// True if row security has a say for readers of this rule.
    pub(super) fn is_judged(&self, matcher: &Matcher) -> bool {
        self.table.row_security && self.shape(matcher.shape).is_none_or(|shape| shape.is_judged)
    }

    /// True if readers of this rule are to hear that they get nothing.
    pub(super) fn is_silent(&self, matcher: &Matcher) -> bool {
        matcher.is_broken()
            || self.shape(matcher.shape).is_some_and(|shape| shape.verdict == Verdict::Hide)
    }

    /// Who gets this row as far as `answers` go, in order of group and shape.
    pub(super) fn readers(&self, image: &Image<'_>, answers: &mut Answers, into: &mut Readers) {
        into.clear();
        let shape = |matcher: &Matcher| self.shapes.get(matcher.shape);
        let cell = |column: usize| match self.layout.get(column) {
            Some(Some(at)) => image.current(*at),
            _ => crate::replication::change::Value::Unchanged,
        };
        self.index.matches(image.event, cell, answers, |matcher| {
            let shown = shape(matcher).is_some_and(|shape| {
                shape.verdict != Verdict::Hide && shape.error(image.event).is_none()
            });
            if shown {
                into.extend(matcher.uses.iter().map(|used| (*used, matcher.shape)));
            }
        });
        // An error goes to all readers of the role, whatever their filters.
        if self.shapes.iter().any(|shape| shape.error(image.event).is_some()) {
            let failing = self.index.all().filter(|matcher| {
                matcher.wants(image.event)
                    && shape(matcher).is_some_and(|shape| shape.error(image.event).is_some())
            });
            for matcher in failing {
                into.extend(matcher.uses.iter().map(|used| (*used, matcher.shape)));
            }
        }
        into.sort_unstable_by_key(|(used, shape)| (used.group, *shape, used.binding));
    }

    /// The change object as a shape shows it; of the old row the key only, if so.
    pub(super) fn render(
        &self,
        image: &Image<'_>,
        shape: &Shape,
        committed_at: i64,
        max_record_bytes: usize,
        keys_only: bool,
    ) -> Bytes {
        if let Some(text) = shape.error(image.event) {
            return payload::failure(image, text);
        }
        let shown = payload::Shown { table: &self.table, shape, keys_only };
        payload::change(image, &shown, committed_at, max_record_bytes)
    }

    fn shape_of(&mut self, rule: &Rule) -> usize {
        let same = |shape: &Shape| shape.role == rule.role && shape.select == rule.select;
        if let Some(at) = self.shapes.iter().position(same) {
            return at;
        }
        let view = self.roles.get(&rule.role).map(|view| &**view);
        let (role, select) = (Arc::clone(&rule.role), rule.select.clone());
        let shape = Shape::new(&self.table, &self.layout, role, view, select);
        if let Some(at) = self.shapes.iter().position(|shape| shape.rules == 0) {
            if let Some(slot) = self.shapes.get_mut(at) {
                *slot = shape;
            }
            return at;
        }
        self.shapes.push(shape);
        self.shapes.len() - 1
    }
}

/// Matches columns by name and type: a column that was changed since has no
/// place, so it is neither shown nor filtered by.
fn layout(table: &Table, relation: Option<&Relation>) -> Vec<Option<usize>> {
    let Some(relation) = relation else { return Vec::new() };
    let place = |name: &str, type_oid: u32| {
        let mut columns = relation.columns.iter();
        columns.position(|column| *column.name == *name && column.type_oid == type_oid)
    };
    table.columns.iter().map(|column| place(&column.name, column.type_oid)).collect()
}
