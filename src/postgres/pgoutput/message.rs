//! The messages of pgoutput, protocol version 1, as PostgreSQL's manual
//! describes them ("Logical Replication Message Formats").

use std::ops::Range;

use bytes::Bytes;

use crate::postgres::cursor::Malformed;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// `B`: a transaction starts. Only committed ones are ever sent.
    Begin(Begin),
    /// `C`: it ends.
    Commit(Commit),
    /// `O`: it came from another server.
    Origin(Origin),
    /// `R`: what a table looks like from here on.
    Relation(Relation),
    /// `Y`: a type that is not built in.
    Type(Type),
    /// `I`: a new row.
    Insert {
        /// `pg_class.oid`.
        relation: u32,
        /// The row.
        new: Row,
    },
    /// `U`: a changed row.
    Update {
        /// `pg_class.oid`.
        relation: u32,
        /// Sent when the identity changed, or always with `REPLICA IDENTITY FULL`.
        old: Option<OldTuple>,
        /// The row afterwards.
        new: Row,
    },
    /// `D`: a deleted row.
    Delete {
        /// `pg_class.oid`.
        relation: u32,
        /// What is left of it.
        old: OldTuple,
    },
    /// `T`: tables emptied.
    Truncate(Truncate),
    /// `M`: from `pg_logical_emit_message`.
    Logical(LogicalMessage),
}

/// A transaction's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// LSN of its commit record.
    pub commit_lsn: u64,
    /// Microseconds since 2000-01-01 UTC.
    pub committed_at: i64,
    /// Transaction id.
    pub xid: u32,
}

/// A transaction's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// LSN of its commit record.
    pub commit_lsn: u64,
    /// The first byte after that record: what to confirm.
    pub end_lsn: u64,
    /// Microseconds since 2000-01-01 UTC.
    pub committed_at: i64,
}

/// Where a transaction was first committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its commit LSN there.
    pub lsn: u64,
    /// The origin's name.
    pub name: Box<str>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Schema.
    pub schema: Box<str>,
    /// Name.
    pub name: Box<str>,
    /// What is kept of old rows.
    pub identity: Identity,
    /// Published columns.
    pub columns: Vec<Column>,
}

/// `pg_class.relreplident`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// `d`
    Default,
    /// `n`
    Nothing,
    /// `f`
    Full,
    /// `i`
    Index,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Part of the replica identity.
    pub is_identity: bool,
    /// Name.
    pub name: Box<str>,
    /// `pg_type.oid`.
    pub type_oid: u32,
    /// `atttypmod`.
    pub type_modifier: i32,
}

/// A type that is not built in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// `pg_type.oid`.
    pub oid: u32,
    /// Schema.
    pub schema: Box<str>,
    /// Name.
    pub name: Box<str>,
}

/// The image of a row before the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OldTuple {
    /// `K`: the identity's columns; the others are null.
    Key(Row),
    /// `O`: all columns.
    Full(Row),
}

/// A row: cells that point into the message they came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The whole message.
    pub bytes: Bytes,
    /// One per column.
    pub cells: Vec<Cell>,
}

/// A column's value. Ranges are within the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// `n`
    Null,
    /// `u`: stored out of line and not changed.
    Unchanged,
    /// `t`: text format.
    Text(Range<u32>),
    /// `b`: binary format, only when asked for.
    Binary(Range<u32>),
}

/// Tables emptied by one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncate {
    /// `CASCADE` was given.
    pub cascade: bool,
    /// `RESTART IDENTITY` was given.
    pub restart_identity: bool,
    /// Their `pg_class.oid`s.
    pub relations: Vec<u32>,
}

/// What `pg_logical_emit_message` wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalMessage {
    /// Part of a transaction.
    pub transactional: bool,
    /// Where it stands.
    pub lsn: u64,
    /// Its prefix.
    pub prefix: Box<str>,
    /// Its content.
    pub content: Bytes,
}

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Broken.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A kind of streamed or two-phase transactions, which protocol version 1 never sends.
    #[error("message kind `{}` belongs to a later protocol version", kind.escape_ascii())]
    NotAsked {
        /// Its first byte.
        kind: u8,
    },
    /// No kind PostgreSQL documents.
    #[error("unknown message kind `{}`", kind.escape_ascii())]
    Unknown {
        /// Its first byte.
        kind: u8,
    },
}
