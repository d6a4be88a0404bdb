//! From messages to batches, each change delivered once per history.
//!
//! Pure. PostgreSQL sends a transaction only after it committed and sends
//! again whatever was not confirmed, which after a crash of the server can be
//! more than was really unconfirmed. Transactions come in the order of their
//! commit records, so what was delivered is a prefix: a commit position, and
//! for a transaction in several batches an ordinal within it.

use std::sync::Arc;

use super::{
    change::{Batch, Cell, Change, Old, Operation, Tuple},
    position::{Epoch, Lsn},
    relation::{Relation, RelationCache},
};
use crate::postgres::pgoutput::{self, Message, OldTuple, Row, unix_micros};

/// Charged for each change beside its values: relation, cells, bookkeeping.
const CHANGE_COST: usize = 64;

/// How far a history was delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last transaction of which anything was delivered.
    pub commit: Lsn,
    /// How many of its changes.
    pub changes: u32,
    /// All of them.
    pub is_complete: bool,
}

/// When a batch is full.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most changes.
    pub changes: usize,
    /// Most bytes of values, unless one change alone has more.
    pub bytes: usize,
}

/// A message that does not fit what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// Rows outside a transaction, or a transaction within one.
    #[error("the stream's transactions are not well formed")]
    OutOfOrder,
    /// A row of a table that was never described.
    #[error("change of a table (oid {oid}) that was not described")]
    UnknownRelation {
        /// `pg_class.oid`.
        oid: u32,
    },
    /// A binary value, which was not asked for.
    #[error("value in binary format")]
    Binary,
}

/// What a message led to.
#[derive(Debug)]
pub enum Step {
    /// Nothing to do yet.
    Nothing,
    /// Part of a transaction is ready.
    Batch(Batch),
    /// A transaction ended.
    End {
        /// Its last batch; none if all of it was delivered before or nothing published changed.
        batch: Option<Batch>,
        /// What to confirm once that is delivered.
        confirm: Lsn,
    },
}

/// Assembles the batches of one connection.
#[derive(Debug)]
pub struct Assembler {
    epoch: Epoch,
    limits: Limits,
    progress: Progress,
    relations: RelationCache,
    open: Option<Open>,
}

/// The transaction that is being received.
#[derive(Debug)]
struct Open {
    commit: Lsn,
    xid: u32,
    committed_at: i64,
    /// Ordinal of the next change.
    next: u32,
    /// Changes below this were delivered before.
    skip: u32,
    changes: Vec<Change>,
    bytes: usize,
}

impl Assembler {
    /// Continues a history after `progress`.
    pub fn new(epoch: Epoch, progress: Progress, limits: Limits) -> Self {
        Self { epoch, limits, progress, relations: RelationCache::default(), open: None }
    }

    /// True between transactions.
    pub fn is_idle(&self) -> bool {
        self.open.is_none()
    }

    /// How far batches went out. The caller keeps it for the next connection,
    /// after the batches were delivered.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Takes the next message.
    ///
    /// # Errors
    ///
    /// When it does not fit; the connection has to start over.
    pub fn push(&mut self, message: Message) -> Result<Step, AssembleError> {
        match message {
            Message::Begin(begin) => {
                if self.open.is_some() {
                    return Err(AssembleError::OutOfOrder);
                }
                let commit = Lsn(begin.commit_lsn);
                let done = self.progress;
                let skip = match commit.cmp(&done.commit) {
                    std::cmp::Ordering::Less => u32::MAX,
                    std::cmp::Ordering::Equal if done.is_complete => u32::MAX,
                    std::cmp::Ordering::Equal => done.changes,
                    std::cmp::Ordering::Greater => 0,
                };
                self.open = Some(Open {
                    commit,
                    xid: begin.xid,
                    committed_at: unix_micros(begin.committed_at),
                    next: 0,
                    skip,
                    changes: Vec::new(),
                    bytes: 0,
                });
                Ok(Step::Nothing)
            }
            Message::Commit(commit) => self.end(Lsn(commit.end_lsn)),
            Message::Relation(relation) => {
                self.relations.describe(relation);
                Ok(Step::Nothing)
            }
            Message::Insert { relation, new } => {
                self.change(relation, || Ok(Operation::Insert { new: tuple(new)? }))
            }
            Message::Update { relation, old, new } => self.change(relation, || {
                Ok(Operation::Update { old: old.map(image).transpose()?, new: tuple(new)? })
            }),
            Message::Delete { relation, old } => {
                self.change(relation, || Ok(Operation::Delete { old: image(old)? }))
            }
            Message::Truncate(truncate) => self.truncate(&truncate),
            Message::Origin(_) | Message::Type(_) | Message::Logical(_) => Ok(Step::Nothing),
        }
    }

    fn relation(&self, oid: u32) -> Result<Arc<Relation>, AssembleError> {
        self.relations.current(oid).ok_or(AssembleError::UnknownRelation { oid })
    }

    fn change(
        &mut self,
        oid: u32,
        operation: impl FnOnce() -> Result<Operation, AssembleError>,
    ) -> Result<Step, AssembleError> {
        let relation = self.relation(oid)?;
        let limits = self.limits;
        let open = self.open.as_mut().ok_or(AssembleError::OutOfOrder)?;
        let ordinal = open.next;
        open.next = open.next.saturating_add(1);
        if ordinal < open.skip {
            return Ok(Step::Nothing);
        }
        let change = Change { relation, operation: operation()? };
        let size = CHANGE_COST + size(&change.operation);
        // A full batch leaves when another change comes, not before: so the
        // last one of a transaction is never empty.
        let is_full = !open.changes.is_empty()
            && (open.changes.len() >= limits.changes || open.bytes + size > limits.bytes);
        let batch = is_full.then(|| open.batch(self.epoch, ordinal, false));
        open.bytes += size;
        open.changes.push(change);
        let Some(batch) = batch else { return Ok(Step::Nothing) };
        self.progress = Progress { commit: batch.commit, changes: ordinal, is_complete: false };
        Ok(Step::Batch(batch))
    }

    fn truncate(&mut self, truncate: &pgoutput::Truncate) -> Result<Step, AssembleError> {
        let open = self.open.as_mut().ok_or(AssembleError::OutOfOrder)?;
        for oid in &truncate.relations {
            let relation =
                self.relations.current(*oid).ok_or(AssembleError::UnknownRelation { oid: *oid })?;
            let ordinal = open.next;
            open.next = open.next.saturating_add(1);
            if ordinal >= open.skip {
                // A handful per command at most: no need to cut the batch here.
                open.bytes += CHANGE_COST;
                open.changes.push(Change { relation, operation: Operation::Truncate });
            }
        }
        Ok(Step::Nothing)
    }

    fn end(&mut self, confirm: Lsn) -> Result<Step, AssembleError> {
        let mut open = self.open.take().ok_or(AssembleError::OutOfOrder)?;
        if open.skip == u32::MAX {
            return Ok(Step::End { batch: None, confirm });
        }
        let batch = if open.changes.is_empty() {
            None
        } else {
            Some(open.batch(self.epoch, open.next, true))
        };
        self.progress = Progress { commit: open.commit, changes: open.next, is_complete: true };
        Ok(Step::End { batch, confirm })
    }
}

impl Open {
    /// The collected changes as a batch that ends before `next`.
    fn batch(&mut self, epoch: Epoch, next: u32, is_last: bool) -> Batch {
        self.bytes = 0;
        let changes = std::mem::take(&mut self.changes);
        let count = u32::try_from(changes.len()).unwrap_or(u32::MAX);
        Batch {
            epoch,
            commit: self.commit,
            xid: self.xid,
            committed_at: self.committed_at,
            first_ordinal: next.saturating_sub(count),
            is_last,
            changes,
        }
    }
}

pub(super) fn image(old: OldTuple) -> Result<Old, AssembleError> {
    Ok(match old {
        OldTuple::Key(row) => Old::Key(tuple(row)?),
        OldTuple::Full(row) => Old::Full(tuple(row)?),
    })
}

pub(super) fn tuple(row: Row) -> Result<Tuple, AssembleError> {
    let cells = row.cells.into_iter().map(|cell| match cell {
        pgoutput::Cell::Null => Ok(Cell::Null),
        pgoutput::Cell::Unchanged => Ok(Cell::Unchanged),
        pgoutput::Cell::Text(range) => Ok(Cell::Text(range)),
        pgoutput::Cell::Binary(_) => Err(AssembleError::Binary),
    });
    Ok(Tuple::new(row.bytes, cells.collect::<Result<_, _>>()?))
}

fn size(operation: &Operation) -> usize {
    match operation {
        Operation::Insert { new } => new.size(),
        Operation::Update { old, new } => {
            new.size() + old.as_ref().map_or(0, |old| old.tuple().size())
        }
        Operation::Delete { old } => old.tuple().size(),
        Operation::Truncate => 0,
    }
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
