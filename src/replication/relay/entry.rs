//! A batch as an entry of the log, and back.
//!
//! The form, version 1, numbers big endian: version (1 byte), xid (4), time of
//! the commit (8), ordinal of the first change (4), whether the transaction
//! ends here (1). Then items: a kind (1), for a table the number of its
//! description (8), a length (4) and a message of pgoutput. An entry describes
//! each table that it uses, so a reader may begin with any. Newer versions and
//! kinds are refused: a server that cannot read a change must not skip it.

use std::{collections::HashMap, sync::Arc};

use bytes::{BufMut as _, Bytes};

use super::super::{
    change::{Batch, Change, Old, Operation, Tuple, Value},
    position::{Epoch, Lsn},
    relation::{Relation, ReplicaIdentity},
    transaction::{AssembleError, image, tuple},
};
use crate::postgres::{
    cursor::{Cursor, Malformed},
    pgoutput::{self, DecodeError, Message},
};

const VERSION: u8 = 1;
const TABLE: u8 = 0;
const CHANGE: u8 = 1;

/// A row of more bytes loses its largest values: Redis takes no string of more than 512 MB.
const MOST: usize = 64 << 20;

/// From this size on a value of such a row is left out.
const LARGE: usize = 1 << 20;

/// Why bytes are no entry for this server.
#[derive(Debug, thiserror::Error)]
pub(super) enum EntryError {
    /// Of a newer server.
    #[error("unknown form of an entry: a newer server wrote it; update this one")]
    Unknown,
    /// They end too early.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A change in a form of its own.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// A change of a table that the entry does not describe.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
}

/// The batch as bytes.
pub(super) fn encode(batch: &Batch) -> Bytes {
    let mut out = Vec::with_capacity(256 + batch.changes.len() * 128);
    out.put_u8(VERSION);
    out.put_u32(batch.xid);
    out.put_i64(batch.committed_at);
    out.put_u32(batch.first_ordinal);
    out.put_u8(u8::from(batch.is_last));
    let mut described: HashMap<u32, u64> = HashMap::new();
    for Change { relation, operation } in &batch.changes {
        if described.insert(relation.oid, relation.version) != Some(relation.version) {
            out.put_u8(TABLE);
            out.put_u64(relation.version);
            item(&mut out, |out| put_relation(out, relation));
        }
        out.put_u8(CHANGE);
        item(&mut out, |out| put_change(out, relation.oid, operation));
    }
    out.into()
}

/// Reads entries of one history; the tables they describe stay the same
/// [`Relation`] until whoever wrote them describes them anew.
#[derive(Debug, Default)]
pub(super) struct Reader {
    tables: HashMap<u32, (u64, Arc<Relation>)>,
}

impl Reader {
    /// The batch in an entry, in no epoch yet. Rows keep a reference to the bytes.
    pub(super) fn decode(&mut self, commit: Lsn, bytes: &Bytes) -> Result<Batch, EntryError> {
        let mut cursor = Cursor::new(bytes);
        if cursor.u8("version")? != VERSION {
            return Err(EntryError::Unknown);
        }
        let mut batch = Batch {
            epoch: Epoch { system_id: 0, timeline: 0, generation: 0 },
            commit,
            xid: cursor.u32("xid")?,
            committed_at: cursor.i64("commit time")?,
            first_ordinal: cursor.u32("ordinal")?,
            is_last: cursor.u8("end")? != 0,
            changes: Vec::new(),
        };
        while cursor.remaining() > 0 {
            match cursor.u8("kind")? {
                TABLE => {
                    let version = cursor.u64("number of a description")?;
                    let message = message(&mut cursor, bytes)?;
                    let Message::Relation(described) = message else {
                        return Err(EntryError::Unknown);
                    };
                    let known = self.tables.get(&described.oid);
                    if known.is_none_or(|(known, _)| *known != version) {
                        let relation = Arc::new(Relation::new(described));
                        self.tables.insert(relation.oid, (version, relation));
                    }
                }
                CHANGE => {
                    let message = message(&mut cursor, bytes)?;
                    batch.changes.push(self.change(message)?);
                }
                _ => return Err(EntryError::Unknown),
            }
        }
        Ok(batch)
    }

    fn change(&self, message: Message) -> Result<Change, EntryError> {
        let (oid, operation) = match message {
            Message::Insert { relation, new } => (relation, Operation::Insert { new: tuple(new)? }),
            Message::Update { relation, old, new } => {
                let old = old.map(image).transpose()?;
                (relation, Operation::Update { old, new: tuple(new)? })
            }
            Message::Delete { relation, old } => (relation, Operation::Delete { old: image(old)? }),
            Message::Truncate(truncate) => match truncate.relations.as_slice() {
                &[relation] => (relation, Operation::Truncate),
                _ => return Err(EntryError::Unknown),
            },
            _ => return Err(EntryError::Unknown),
        };
        let known = self.tables.get(&oid).ok_or(AssembleError::UnknownRelation { oid })?;
        Ok(Change { relation: Arc::clone(&known.1), operation })
    }
}

fn message(cursor: &mut Cursor<'_>, bytes: &Bytes) -> Result<Message, EntryError> {
    let length = cursor.u32("length")? as usize;
    let range = cursor.range(length, "message")?;
    Ok(pgoutput::decode(&bytes.slice(range))?)
}

fn item(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.put_u32(0);
    put(out);
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&length);
    }
}

fn put_relation(out: &mut Vec<u8>, relation: &Relation) {
    out.put_u8(b'R');
    out.put_u32(relation.oid);
    put_name(out, &relation.schema);
    put_name(out, &relation.table);
    out.put_u8(match relation.identity {
        ReplicaIdentity::Default => b'd',
        ReplicaIdentity::Nothing => b'n',
        ReplicaIdentity::Full => b'f',
        ReplicaIdentity::Index => b'i',
    });
    out.put_u16(u16::try_from(relation.columns.len()).unwrap_or(u16::MAX));
    for column in &*relation.columns {
        out.put_u8(u8::from(column.is_identity));
        put_name(out, &column.name);
        out.put_u32(column.type_oid);
        out.put_i32(column.type_modifier);
    }
}

fn put_change(out: &mut Vec<u8>, oid: u32, operation: &Operation) {
    let kind = match operation {
        Operation::Insert { .. } => b'I',
        Operation::Update { .. } => b'U',
        Operation::Delete { .. } => b'D',
        Operation::Truncate => b'T',
    };
    out.put_u8(kind);
    match operation {
        Operation::Insert { new } => {
            out.put_u32(oid);
            put_tuple(out, b'N', new);
        }
        Operation::Update { old, new } => {
            out.put_u32(oid);
            old.iter().for_each(|old| put_old(out, old));
            put_tuple(out, b'N', new);
        }
        Operation::Delete { old } => {
            out.put_u32(oid);
            put_old(out, old);
        }
        Operation::Truncate => {
            out.put_u32(1);
            out.put_u8(0);
            out.put_u32(oid);
        }
    }
}

fn put_old(out: &mut Vec<u8>, old: &Old) {
    match old {
        Old::Key(tuple) => put_tuple(out, b'K', tuple),
        Old::Full(tuple) => put_tuple(out, b'O', tuple),
    }
}

fn put_tuple(out: &mut Vec<u8>, kind: u8, tuple: &Tuple) {
    let most = if tuple.size() > MOST { LARGE } else { usize::MAX };
    out.put_u8(kind);
    out.put_u16(u16::try_from(tuple.len()).unwrap_or(u16::MAX));
    for at in 0..tuple.len() {
        match tuple.value(at) {
            Value::Null => out.put_u8(b'n'),
            Value::Text(text) if text.len() <= most => {
                out.put_u8(b't');
                out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
                out.put_slice(text);
            }
            Value::Text(_) | Value::Unchanged => out.put_u8(b'u'),
        }
    }
}

/// Names of PostgreSQL hold no zero byte.
fn put_name(out: &mut Vec<u8>, name: &str) {
    out.put_slice(name.as_bytes());
    out.put_u8(0);
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
