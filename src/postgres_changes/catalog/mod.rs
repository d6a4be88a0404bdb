//! What PostgreSQL's catalogs say about published tables, types and roles.
//!
//! Only reads, through the SQL pool. Nothing is cached here: the pipeline
//! keeps what it judges rows by and asks again when the stream says so.

mod casts;
mod comparisons;
mod generation;
mod lookup;
mod types;

use std::{collections::HashMap, sync::Arc};

use prometheus_client::metrics::counter::Counter;

pub(super) use self::{
    casts::Casts,
    generation::{Generated, Generation, Source},
    lookup::Scope,
};
use super::{
    filter::{
        ask::{Answers, Asked},
        compile::ColumnType,
    },
    flight::Flights,
};
use crate::{
    postgres::{
        pool::{self, Pool, PoolError},
        value::TypeShape,
    },
    replication::position::Lsn,
    telemetry::reason,
};

/// A published table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) oid: u32,
    pub(super) schema: Arc<str>,
    pub(super) name: Arc<str>,
    /// `relrowsecurity`.
    pub(super) row_security: bool,
    /// In attribute order.
    pub(super) columns: Vec<TableColumn>,
    /// How the generated ones among them are computed.
    pub(super) generation: Option<Arc<Generation>>,
}

/// A live column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableColumn {
    pub(super) name: Arc<str>,
    pub(super) type_oid: u32,
    /// `pg_type.typname`, as the `columns` of a change tell it.
    pub(super) type_name: Arc<str>,
    pub(super) shape: TypeShape,
    /// How filters compare it.
    pub(super) filter: ColumnType,
    /// Part of the primary key.
    pub(super) is_key: bool,
    /// In the publication's column list, if it has one.
    pub(super) is_published: bool,
}

/// What a role may see of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoleView {
    /// Row security does not apply: superuser, BYPASSRLS, or owner without FORCE.
    pub(super) exempt: bool,
    /// SELECT on each of the table's columns.
    pub(super) readable: Vec<bool>,
}

/// A table and how the roles that were asked for see it. A role that does not
/// exist is not in the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) table: Arc<Table>,
    pub(super) roles: HashMap<Arc<str>, Arc<RoleView>>,
}

/// Why the catalog gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CatalogError {
    /// PostgreSQL answered with an error.
    #[error("{message}")]
    Refused { code: String, message: String },
    /// No connection, or it broke.
    #[error("{0}")]
    Unavailable(String),
}

impl CatalogError {
    /// For logs, where PostgreSQL's words may quote a row.
    pub(super) fn without_values(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Unavailable(reason) => reason,
        }
    }
}

type Found = Result<Arc<[Described]>, CatalogError>;

/// The way to the catalogs. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Catalog {
    pool: Pool,
    publication: Arc<str>,
    /// Queries about tables.
    count: Counter,
    lookups: Arc<Flights<(Scope, Arc<str>), Found>>,
    positions: Arc<Flights<(), Result<Lsn, CatalogError>>>,
}

impl Table {
    pub(super) fn has_key(&self) -> bool {
        self.columns.iter().any(|column| column.is_key)
    }

    pub(super) fn column(&self, name: &str) -> Option<(usize, &TableColumn)> {
        self.columns.iter().enumerate().find(|(_, column)| *column.name == *name)
    }
}

impl Catalog {
    pub(super) fn new(pool: Pool, publication: Arc<str>, count: Counter) -> Self {
        let (lookups, positions) = (Arc::new(Flights::new()), Arc::new(Flights::new()));
        Self { pool, publication, count, lookups, positions }
    }

    /// The published tables of `scope` as `role` sees them; many callers share a query.
    pub(super) async fn tables(
        &self,
        scope: Scope,
        role: Arc<str>,
    ) -> Result<Arc<[Described]>, CatalogError> {
        let (pool, publication) = (self.pool.clone(), Arc::clone(&self.publication));
        let key = (scope.clone(), Arc::clone(&role));
        let count = self.count.clone();
        let trip = || async move {
            count.inc();
            lookup::tables(&pool, &publication, &scope, &[role]).await.map(Arc::from)
        };
        self.lookups.run(key, trip).await
    }

    /// One table as `roles` see it; none if it is gone or not published.
    pub(super) async fn table(
        &self,
        oid: u32,
        roles: &[Arc<str>],
    ) -> Result<Option<Described>, CatalogError> {
        self.count.inc();
        let found = lookup::tables(&self.pool, &self.publication, &Scope::Oid(oid), roles).await?;
        Ok(found.into_iter().next())
    }

    /// Which of these tables are not published.
    pub(super) async fn unpublished(&self, oids: Vec<u32>) -> Result<Vec<u32>, CatalogError> {
        self.count.inc();
        lookup::unpublished(&self.pool, &self.publication, oids).await
    }

    /// True if what these transactions did is visible to the next query.
    pub(super) async fn are_visible(&self, xids: &[i64]) -> Result<bool, CatalogError> {
        lookup::are_visible(&self.pool, xids).await
    }

    /// Where the log ends now: what commits from here on stands behind it.
    pub(super) async fn position(&self) -> Result<Lsn, CatalogError> {
        let pool = self.pool.clone();
        let trip = || async move {
            let lease = pool.checkout().await?;
            let row = lease.query_one("select pg_current_wal_insert_lsn()::text", &[]).await?;
            let text: String = row.try_get(0)?;
            text.parse().map_err(|_| CatalogError::Unavailable(format!("no position: {text}")))
        };
        self.positions.run((), trip).await
    }

    /// The canonical text of filter values that only PostgreSQL can read.
    pub(super) async fn cast(
        &self,
        values: Vec<(Arc<str>, String)>,
    ) -> Result<Casts, CatalogError> {
        casts::cast(&self.pool, values).await
    }

    /// The values of generated columns for some rows.
    pub(super) async fn compute(
        &self,
        generation: &Generation,
        sources: &[Source],
        rows: usize,
    ) -> Result<Vec<Vec<Option<String>>>, CatalogError> {
        generation::compute(&self.pool, generation, sources, rows).await
    }

    /// Fails with PostgreSQL's error if a question makes no sense to it.
    pub(super) async fn check_questions(&self, asked: &[Arc<Asked>]) -> Result<(), CatalogError> {
        comparisons::check(&self.pool, asked).await
    }

    /// Has the open questions answered. What PostgreSQL cannot answer is
    /// given up and returned with its SQLSTATE.
    ///
    /// # Errors
    ///
    /// Only [`CatalogError::Unavailable`]; what was answered until then stays.
    pub(super) async fn answer(
        &self,
        answers: &mut Answers,
    ) -> Result<Vec<(Arc<Asked>, String)>, CatalogError> {
        comparisons::answer(&self.pool, answers).await
    }

    /// Fails with PostgreSQL's error if `pattern` is no regular expression.
    pub(super) async fn check_regex(&self, pattern: &str) -> Result<(), CatalogError> {
        let lease = self.pool.checkout().await?;
        lease.query_one("select '' ~ $1::text", &[&pattern]).await?;
        Ok(())
    }
}

impl From<PoolError> for CatalogError {
    fn from(error: PoolError) -> Self {
        Self::Unavailable(reason(&error))
    }
}

impl From<pool::Error> for CatalogError {
    fn from(error: pool::Error) -> Self {
        match error.as_db_error() {
            Some(db) if !crate::postgres::session::is_transient_sqlstate(db.code().code()) => {
                Self::Refused {
                    code: db.code().code().to_owned(),
                    message: db.message().to_owned(),
                }
            }
            Some(db) => Self::Unavailable(format!("SQLSTATE {}", db.code().code())),
            None => Self::Unavailable(reason(&error)),
        }
    }
}
