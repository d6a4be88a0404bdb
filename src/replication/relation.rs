//! Tables as the stream describes them.
//!
//! PostgreSQL describes a table before the first change that uses it and again
//! after anything about it changed: columns, grants, policies, row security.
//! So a new [`Relation`] with a new `version` is the signal to look its catalog
//! entries up again before judging the next row.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::postgres::pgoutput;

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

impl Relation {
    /// As described just now: with a version that no other has.
    pub(super) fn new(described: pgoutput::Relation) -> Self {
        static VERSIONS: AtomicU64 = AtomicU64::new(1);
        Self {
            oid: described.oid,
            // Only uniqueness matters, so no ordering with other memory.
            version: VERSIONS.fetch_add(1, Ordering::Relaxed),
            schema: described.schema.into(),
            table: described.name.into(),
            identity: match described.identity {
                pgoutput::Identity::Default => ReplicaIdentity::Default,
                pgoutput::Identity::Nothing => ReplicaIdentity::Nothing,
                pgoutput::Identity::Full => ReplicaIdentity::Full,
                pgoutput::Identity::Index => ReplicaIdentity::Index,
            },
            columns: described.columns.into_iter().map(Column::from).collect(),
        }
    }
}

/// The tables described on one connection. A new connection starts empty,
/// because the server describes everything again.
#[derive(Debug, Default)]
pub struct RelationCache {
    relations: HashMap<u32, Arc<Relation>>,
}

impl RelationCache {
    /// Takes a description in. Always a new version, even if it says the same
    /// as before: grants and policies change without showing here.
    pub fn describe(&mut self, described: pgoutput::Relation) -> Arc<Relation> {
        let relation = Arc::new(Relation::new(described));
        self.relations.insert(relation.oid, Arc::clone(&relation));
        relation
    }

    /// The table as it was last described.
    pub fn current(&self, oid: u32) -> Option<Arc<Relation>> {
        self.relations.get(&oid).map(Arc::clone)
    }
}

impl From<pgoutput::Column> for Column {
    fn from(column: pgoutput::Column) -> Self {
        Self {
            name: column.name.into(),
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
            is_identity: column.is_identity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_description_again_is_a_new_version() {
        let described = pgoutput::Relation {
            oid: 7,
            schema: "public".into(),
            name: "t".into(),
            identity: pgoutput::Identity::Default,
            columns: Vec::new(),
        };
        let mut cache = RelationCache::default();
        let first = cache.describe(described.clone());
        let second = cache.describe(described);
        assert!(second.version > first.version);
        assert_eq!(cache.current(7), Some(second));
        assert_eq!(cache.current(8), None);
    }
}
