//! From bytes to a [`Message`].

use std::ops::Range;

use bytes::Bytes;

use super::message::{
    Begin, Cell, Column, Commit, DecodeError, Identity, LogicalMessage, Message, OldTuple, Origin,
    Relation, Row, Truncate, Type,
};
use crate::postgres::cursor::{Cursor, Malformed};

/// Decodes one message. Rows keep a reference to `bytes` instead of a copy.
///
/// # Errors
///
/// See [`DecodeError`]. Bytes after the message are an error too.
pub fn decode(bytes: &Bytes) -> Result<Message, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let message = match cursor.u8("message kind")? {
        b'B' => Message::Begin(Begin {
            commit_lsn: cursor.u64("commit lsn")?,
            committed_at: cursor.i64("commit time")?,
            xid: cursor.u32("xid")?,
        }),
        b'C' => {
            cursor.u8("flags")?;
            Message::Commit(Commit {
                commit_lsn: cursor.u64("commit lsn")?,
                end_lsn: cursor.u64("end lsn")?,
                committed_at: cursor.i64("commit time")?,
            })
        }
        b'O' => Message::Origin(Origin {
            lsn: cursor.u64("origin lsn")?,
            name: cursor.c_str("origin name")?.into(),
        }),
        b'R' => Message::Relation(relation(&mut cursor)?),
        b'Y' => Message::Type(Type {
            oid: cursor.u32("type oid")?,
            schema: schema(&mut cursor)?,
            name: cursor.c_str("type name")?.into(),
        }),
        b'I' => {
            let relation = cursor.u32("relation oid")?;
            expect(&mut cursor, b'N', "a new row")?;
            Message::Insert { relation, new: row(&mut cursor, bytes)? }
        }
        b'U' => update(&mut cursor, bytes)?,
        b'D' => {
            let relation = cursor.u32("relation oid")?;
            let old = match cursor.u8("an old row")? {
                b'K' => OldTuple::Key(row(&mut cursor, bytes)?),
                b'O' => OldTuple::Full(row(&mut cursor, bytes)?),
                _ => return Err(cursor.malformed("an old row").into()),
            };
            Message::Delete { relation, old }
        }
        b'T' => Message::Truncate(truncate(&mut cursor)?),
        b'M' => logical(&mut cursor, bytes)?,
        // Streamed (S E c A) and prepared (b P K r p) transactions.
        kind @ (b'S' | b'E' | b'c' | b'A' | b'b' | b'P' | b'K' | b'r' | b'p') => {
            return Err(DecodeError::NotAsked { kind });
        }
        kind => return Err(DecodeError::Unknown { kind }),
    };
    cursor.finish()?;
    Ok(message)
}

fn expect(cursor: &mut Cursor<'_>, byte: u8, what: &'static str) -> Result<(), Malformed> {
    if cursor.u8(what)? == byte { Ok(()) } else { Err(cursor.malformed(what)) }
}

/// PostgreSQL sends `pg_catalog` as an empty name.
fn schema(cursor: &mut Cursor<'_>) -> Result<Box<str>, Malformed> {
    let name = cursor.c_str("schema")?;
    Ok(if name.is_empty() { "pg_catalog" } else { name }.into())
}

fn relation(cursor: &mut Cursor<'_>) -> Result<Relation, Malformed> {
    let oid = cursor.u32("relation oid")?;
    let schema = schema(cursor)?;
    let name = cursor.c_str("table name")?.into();
    let identity = match cursor.u8("replica identity")? {
        b'd' => Identity::Default,
        b'n' => Identity::Nothing,
        b'f' => Identity::Full,
        b'i' => Identity::Index,
        _ => return Err(cursor.malformed("a replica identity")),
    };
    let count = cursor.u16("column count")?;
    let mut columns = Vec::with_capacity(fitting(cursor, count, 10));
    for _ in 0..count {
        columns.push(Column {
            is_identity: cursor.u8("column flags")? & 1 == 1,
            name: cursor.c_str("column name")?.into(),
            type_oid: cursor.u32("type oid")?,
            type_modifier: cursor.i32("type modifier")?,
        });
    }
    Ok(Relation { oid, schema, name, identity, columns })
}

fn update(cursor: &mut Cursor<'_>, bytes: &Bytes) -> Result<Message, DecodeError> {
    let relation = cursor.u32("relation oid")?;
    let kind = cursor.u8("a row")?;
    let old = match kind {
        b'K' => Some(OldTuple::Key(row(cursor, bytes)?)),
        b'O' => Some(OldTuple::Full(row(cursor, bytes)?)),
        b'N' => None,
        _ => return Err(cursor.malformed("a row").into()),
    };
    if old.is_some() {
        expect(cursor, b'N', "a new row")?;
    }
    Ok(Message::Update { relation, old, new: row(cursor, bytes)? })
}

fn row(cursor: &mut Cursor<'_>, bytes: &Bytes) -> Result<Row, Malformed> {
    let count = cursor.u16("cell count")?;
    let mut cells = Vec::with_capacity(fitting(cursor, count, 1));
    for _ in 0..count {
        cells.push(match cursor.u8("a cell")? {
            b'n' => Cell::Null,
            b'u' => Cell::Unchanged,
            b't' => Cell::Text(value(cursor)?),
            b'b' => Cell::Binary(value(cursor)?),
            _ => return Err(cursor.malformed("a cell")),
        });
    }
    Ok(Row { bytes: bytes.clone(), cells })
}

fn value(cursor: &mut Cursor<'_>) -> Result<Range<u32>, Malformed> {
    let length = cursor.u32("value length")? as usize;
    let range = cursor.range(length, "a value")?;
    let narrow =
        |at: usize| u32::try_from(at).map_err(|_| cursor.malformed("a message below 4 GiB"));
    Ok(narrow(range.start)?..narrow(range.end)?)
}

fn truncate(cursor: &mut Cursor<'_>) -> Result<Truncate, Malformed> {
    let count = cursor.u32("relation count")?;
    let options = cursor.u8("options")?;
    let mut relations = Vec::new();
    for _ in 0..count {
        relations.push(cursor.u32("relation oid")?);
    }
    Ok(Truncate { cascade: options & 1 != 0, restart_identity: options & 2 != 0, relations })
}

fn logical(cursor: &mut Cursor<'_>, bytes: &Bytes) -> Result<Message, DecodeError> {
    let transactional = cursor.u8("flags")? & 1 == 1;
    let lsn = cursor.u64("message lsn")?;
    let prefix = cursor.c_str("message prefix")?.into();
    let length = cursor.u32("message length")? as usize;
    let content = bytes.slice(cursor.range(length, "message content")?);
    Ok(Message::Logical(LogicalMessage { transactional, lsn, prefix, content }))
}

/// A capacity for `count` items that the rest of the message could really hold.
fn fitting(cursor: &Cursor<'_>, count: u16, least: usize) -> usize {
    usize::from(count).min(cursor.remaining() / least)
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
