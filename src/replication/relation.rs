//! Tables as the stream describes them.
//!
//! PostgreSQL describes a table before the first change that uses it and again
//! after anything about it changed: columns, grants, policies, row security.
//! So a new [`Relation`] with a new `version` is the signal to look its catalog
//! entries up again before judging the next row.

use std::sync::Arc;

/// A table as described by the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// `pg_class.oid`: survives renames, not re-creation.
    pub oid: u32,
    /// Never repeats within this process: a change of it means "described anew".
    pub version: u64,
    /// Schema name, unquoted.
    pub schema: Arc<str>,
    /// Table name, unquoted.
    pub table: Arc<str>,
    /// Which columns PostgreSQL keeps of an old row.
    pub identity: ReplicaIdentity,
    /// Published columns in attribute order.
    pub columns: Arc<[Column]>,
}

/// A published column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name, unquoted.
    pub name: Arc<str>,
    /// `pg_type.oid`.
    pub type_oid: u32,
    /// `atttypmod`, −1 for none.
    pub type_modifier: i32,
    /// Part of the replica identity.
    pub is_identity: bool,
}

/// `pg_class.relreplident`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// The primary key, if there is one.
    Default,
    /// Nothing.
    Nothing,
    /// The whole row.
    Full,
    /// The columns of an index.
    Index,
}
