//! What happened to a row, still in PostgreSQL's text form.
//!
//! Values are ranges of the one buffer that came off the wire; nothing is
//! copied until a subscriber wants it.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    position::{Epoch, Lsn},
    relation::Relation,
};

/// Consecutive changes of one transaction, in order. A transaction of any
/// size arrives as one or more batches, so memory stays bounded.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The history these positions belong to.
    pub epoch: Epoch,
    /// The transaction's commit record.
    pub commit: Lsn,
    /// The transaction. It may arrive a moment before it is visible to others.
    pub xid: u32,
    /// When it committed: microseconds since 1970-01-01 UTC.
    pub committed_at: i64,
    /// The ordinal of `changes[0]` within the transaction.
    pub first_ordinal: u32,
    /// True when the transaction ends with this batch.
    pub is_last: bool,
    /// At least one change, unless the transaction changed nothing published.
    pub changes: Vec<Change>,
}

/// One row change.
#[derive(Debug, Clone)]
pub struct Change {
    /// The table as it was when the row changed.
    pub relation: Arc<Relation>,
    /// What happened.
    pub operation: Operation,
}

/// What happened to the row.
#[derive(Debug, Clone)]
pub enum Operation {
    /// A new row.
    Insert {
        /// The row.
        new: Tuple,
    },
    /// A changed row.
    Update {
        /// What PostgreSQL kept of the old row, if anything.
        old: Option<Old>,
        /// The row afterwards.
        new: Tuple,
    },
    /// A deleted row.
    Delete {
        /// What PostgreSQL kept of it.
        old: Old,
    },
    /// All rows of the table went at once.
    Truncate,
}

/// The image of a row before the change.
#[derive(Debug, Clone)]
pub enum Old {
    /// The replica identity's columns only; the others read as null on the wire.
    Key(Tuple),
    /// The whole row: `REPLICA IDENTITY FULL`.
    Full(Tuple),
}

impl Old {
    /// The image itself.
    pub fn tuple(&self) -> &Tuple {
        match self {
            Self::Key(tuple) | Self::Full(tuple) => tuple,
        }
    }
}

/// A row image: one cell per column of its relation.
#[derive(Debug, Clone)]
pub struct Tuple {
    bytes: Bytes,
    cells: Box<[Cell]>,
}

/// Where a column's value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// SQL null.
    Null,
    /// A large value that the update did not touch and the log does not hold.
    Unchanged,
    /// Text at this range of the tuple's bytes.
    Text(Range<u32>),
}

/// A column's value as seen by a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// SQL null.
    Null,
    /// Not in the log: see [`Cell::Unchanged`]. Never an empty string, never null.
    Unchanged,
    /// PostgreSQL's text output (ISO dates, UTC, hex bytea).
    Text(&'a [u8]),
}

impl Tuple {
    /// A tuple whose text cells lie within `bytes`.
    pub fn new(bytes: Bytes, cells: Box<[Cell]>) -> Self {
        Self { bytes, cells }
    }

    /// How many columns the image has.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// True for a table without columns.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The value of column `index`; [`Value::Unchanged`] for a column the image does not have.
    pub fn value(&self, index: usize) -> Value<'_> {
        match self.cells.get(index) {
            Some(Cell::Null) => Value::Null,
            Some(Cell::Text(range)) => {
                match self.bytes.get(range.start as usize..range.end as usize) {
                    Some(text) => Value::Text(text),
                    None => Value::Unchanged,
                }
            }
            Some(Cell::Unchanged) | None => Value::Unchanged,
        }
    }

    /// Bytes of all values together.
    pub fn size(&self) -> usize {
        self.cells
            .iter()
            .map(|cell| match cell {
                Cell::Text(range) => (range.end - range.start) as usize,
                Cell::Null | Cell::Unchanged => 0,
            })
            .sum()
    }
}
