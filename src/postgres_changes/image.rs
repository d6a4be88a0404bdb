//! A change seen as the rows before and after, whatever the log kept of them.

use crate::{
    postgres_changes::subscription::EventFilter,
    replication::{
        change::{Change, Old, Operation, Tuple, Value},
        relation::Relation,
    },
};

/// One change of a row. Columns are those of its relation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Image<'a> {
    pub(super) relation: &'a Relation,
    pub(super) event: EventFilter,
    new: Option<&'a Tuple>,
    old: Option<&'a Old>,
}

impl<'a> Image<'a> {
    /// None for a TRUNCATE, which is not reported.
    pub(super) fn of(change: &'a Change) -> Option<Self> {
        let relation = &*change.relation;
        let (event, new, old) = match &change.operation {
            Operation::Insert { new } => (EventFilter::Insert, Some(new), None),
            Operation::Update { old, new } => (EventFilter::Update, Some(new), old.as_ref()),
            Operation::Delete { old } => (EventFilter::Delete, None, Some(old)),
            Operation::Truncate => return None,
        };
        Some(Self { relation, event, new, old })
    }

    /// The row that filters judge and `record` shows: the new one, or what is
    /// known of a deleted one.
    pub(super) fn current(&self, column: usize) -> Value<'a> {
        let Some(new) = self.new else { return self.kept(column) };
        match (new.value(column), self.old) {
            // A large value that the update did not touch: the whole old row has it.
            (Value::Unchanged, Some(Old::Full(old))) => old.value(column),
            (value, _) => value,
        }
    }

    /// The row that `old_record` shows: what the replica identity keeps.
    pub(super) fn previous(&self, column: usize) -> Value<'a> {
        match (self.old, self.new) {
            // PostgreSQL logs no old row where the identity did not change.
            (None, Some(new)) if self.is_identity(column) => new.value(column),
            _ => self.kept(column),
        }
    }

    /// True if the log has the whole row before the change.
    pub(super) fn has_whole_old(&self) -> bool {
        matches!(self.old, Some(Old::Full(_)))
    }

    /// Bytes of all values.
    pub(super) fn size(&self) -> usize {
        self.new.map_or(0, Tuple::size) + self.old.map_or(0, |old| old.tuple().size())
    }

    fn kept(&self, column: usize) -> Value<'a> {
        match self.old {
            Some(Old::Full(old)) => old.value(column),
            // Other columns read as null in a key, which they need not be.
            Some(Old::Key(old)) if self.is_identity(column) => old.value(column),
            _ => Value::Unchanged,
        }
    }

    fn is_identity(&self, column: usize) -> bool {
        self.relation.columns.get(column).is_some_and(|column| column.is_identity)
    }
}
