//! Tenants in the control database: found, listed, changed, deleted.
//!
//! The tables are those of Supabase Realtime, so that either server can go on
//! where the other stopped; where they are is said by the search path of the
//! sessions ([`StoreConfig::after_connect`]). Nothing is remembered here: see
//! [`super::cache`]. An error never means that there is no such tenant.

mod rows;
mod schema;
mod seed;

use std::{sync::Arc, time::Duration};

use crate::postgres::{
    connect::ConnectConfig,
    pool::{self as pg, Lease, Pool, PoolConfig, PoolError, types::Type},
    session::{self, SessionConfig, SessionError, is_transient_sqlstate},
};

pub use self::seed::Seed;
use super::{
    crypto::{CryptoError, Vault},
    migrations::{LOCK, MigrateError, Report},
    record::{Defaults, Effects, Faults, Record, Request},
};
use serde_json::Value;

/// Statements are short; a lock that is held for longer is an error.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How to reach the control database and what it holds.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The control database.
    pub connect: ConnectConfig,
    /// Most connections at once.
    pub pool_size: usize,
    /// Longest wait for a free one.
    pub pool_wait: Duration,
    /// SQL that each session begins with, such as `SET search_path TO _realtime`.
    pub after_connect: Option<String>,
    /// The keys of secrets.
    pub vault: Arc<Vault>,
    /// What stands in for what a tenant does not say.
    pub defaults: Defaults,
}

/// Why the control database gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached.
    #[error("the control database cannot be reached")]
    Away(#[from] PoolError),
    /// Its tables are missing.
    #[error("the control database has no tables of tenants")]
    NotInstalled,
    /// It refused, or the connection broke.
    #[error("the control database failed")]
    Failed(#[source] pg::Error),
    /// A secret was written with another key.
    #[error("{what} of the tenant {external_id} cannot be read")]
    Unreadable {
        /// The tenant.
        external_id: String,
        /// The column or setting.
        what: &'static str,
        /// Why.
        source: CryptoError,
    },
    /// A secret cannot be encrypted.
    #[error("a secret cannot be written")]
    Unwritable(#[source] CryptoError),
}

impl StoreError {
    /// True if trying again later may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Away(error) => error.is_transient(),
            Self::Failed(error) => {
                error.code().is_none_or(|code| is_transient_sqlstate(code.code()))
            }
            Self::NotInstalled | Self::Unreadable { .. } | Self::Unwritable(_) => false,
        }
    }
}

impl From<pg::Error> for StoreError {
    fn from(error: pg::Error) -> Self {
        let is_missing = error.code().is_some_and(|code| {
            [pg::SqlState::UNDEFINED_TABLE, pg::SqlState::UNDEFINED_COLUMN].contains(code)
        });
        if is_missing { Self::NotInstalled } else { Self::Failed(error) }
    }
}

/// Why a tenant was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The request is wrong.
    #[error("the request is not valid")]
    Invalid(Faults),
    /// The control database did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<pg::Error> for PutError {
    fn from(error: pg::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Why the tables were not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The control database cannot be reached.
    #[error("the control database cannot be reached")]
    Connect(#[from] SessionError),
    /// It could, but did not let itself be changed.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
}

impl InstallError {
    /// True if trying again later may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_transient(),
            Self::Migrate(error) => error.is_transient(),
        }
    }
}

/// What storing a tenant did.
#[derive(Debug, Clone)]
pub struct Put {
    /// The tenant as it is now.
    pub record: Record,
    /// Whether it is new.
    pub created: bool,
    /// What it means for a server that serves the tenant; nothing if it is new.
    pub effects: Effects,
}

/// The control database. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool,
    config: Arc<StoreConfig>,
}

impl Store {
    /// A store without connections yet.
    pub fn new(config: StoreConfig) -> Self {
        let pool = Pool::new(PoolConfig {
            connect: config.connect.clone(),
            size: config.pool_size,
            wait: config.pool_wait,
            session: session(&config),
        });
        Self { pool, config: Arc::new(config) }
    }

    /// What stands in for what a tenant does not say.
    pub fn defaults(&self) -> &Defaults {
        &self.config.defaults
    }

    /// Installs the tables, or adopts those of Supabase Realtime, and says what
    /// was done. Does nothing if nothing is missing.
    ///
    /// # Errors
    ///
    /// See [`InstallError`]; the database is then unchanged.
    pub async fn install(&self) -> Result<Report, InstallError> {
        let mut session = session(&self.config);
        session.statement_timeout = None;
        let mut client = session::connect(&self.config.connect, &session).await?;
        Ok(Box::pin(schema::install(&mut client)).await?)
    }

    /// The tenant of that name, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn find(&self, external_id: &str) -> Result<Option<Record>, StoreError> {
        // Such a name cannot be stored.
        if external_id.contains('\0') {
            return Ok(None);
        }
        let lease = Box::pin(self.pool.checkout()).await?;
        read(&lease, external_id, &self.config.vault).await
    }

    /// All tenants in the order of their names, as operators see them. No secret
    /// is read.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn list(&self) -> Result<Vec<Value>, StoreError> {
        let lease = Box::pin(self.pool.checkout()).await?;
        let sql = format!("{} order by external_id", rows::SELECT);
        let rows = lease.query_typed(&sql, &[]).await?;
        rows.iter().map(|row| Ok(rows::record(row, None)?.resource())).collect()
    }

    /// The names of all tenants, in order.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn names(&self) -> Result<Vec<String>, StoreError> {
        let lease = Box::pin(self.pool.checkout()).await?;
        let sql = "select external_id::text from tenants where external_id is not null order by 1";
        let rows = lease.query_typed(sql, &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Makes the tenant of a request, or changes it. A change that changes
    /// nothing writes nothing.
    ///
    /// # Errors
    ///
    /// [`PutError`]; nothing is stored then.
    pub async fn put(&self, request: &Request) -> Result<Put, PutError> {
        let (vault, defaults) = (&self.config.vault, &self.config.defaults);
        let tx = self.begin(request.external_id()).await?;
        let before = read(&tx.lease, request.external_id(), vault).await?;
        let record = match &before {
            Some(before) => before.clone().changed(request, defaults),
            None => Record::new(request, defaults),
        };
        let record = match record {
            Ok(record) => record,
            Err(faults) => {
                tx.end("rollback").await?;
                return Err(PutError::Invalid(faults));
            }
        };
        let effects = before.as_ref().map(|before| record.effects(before)).unwrap_or_default();
        let created = before.is_none();
        let record = kept_times(record, before.as_ref());
        if created || effects.any {
            rows::write(&tx, &record, created, vault).await?;
        }
        let stored = read(&tx.lease, request.external_id(), vault).await?;
        tx.end("commit").await?;
        Ok(Put { record: stored.unwrap_or(record), created, effects })
    }

    /// Deletes a tenant and says whether there was one.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; it is still there then.
    pub async fn delete(&self, external_id: &str) -> Result<bool, StoreError> {
        let tx = self.begin(external_id).await?;
        let existed = remove(&tx, external_id).await?;
        tx.end("commit").await?;
        Ok(existed)
    }

    /// Notes how many migrations a tenant's database has. Other servers learn it
    /// when they next look.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn set_migrations_ran(
        &self,
        external_id: &str,
        count: i32,
    ) -> Result<(), StoreError> {
        let lease = Box::pin(self.pool.checkout()).await?;
        let sql = "update tenants set migrations_ran = $2 \
            where external_id = $1 and migrations_ran is distinct from $2";
        lease.query_typed(sql, &[(&external_id, Type::TEXT), (&count, Type::INT4)]).await?;
        Ok(())
    }

    /// A transaction that nobody else has about this tenant.
    async fn begin(&self, external_id: &str) -> Result<Tx, StoreError> {
        let mut lease = Box::pin(self.pool.checkout()).await?;
        lease.mark_dirty();
        lease.batch_execute("begin").await?;
        let lock = "select pg_advisory_xact_lock(hashtextextended($1, $2))";
        lease.query_typed(lock, &[(&external_id, Type::TEXT), (&LOCK, Type::INT8)]).await?;
        Ok(Tx { lease })
    }
}

/// A transaction. Dropped without an end, it takes its connection with it.
struct Tx {
    lease: Lease,
}

impl Tx {
    async fn end(mut self, how: &str) -> Result<(), StoreError> {
        self.lease.batch_execute(how).await?;
        self.lease.mark_clean();
        Ok(())
    }
}

fn session(config: &StoreConfig) -> SessionConfig {
    SessionConfig {
        statement_timeout: Some(STATEMENT_TIMEOUT),
        after_connect: config.after_connect.clone(),
        ..SessionConfig::new("rowcast_control")
    }
}

async fn read(
    lease: &Lease,
    external_id: &str,
    vault: &Vault,
) -> Result<Option<Record>, StoreError> {
    let sql = format!("{} where external_id = $1", rows::SELECT);
    let rows = lease.query_typed(&sql, &[(&external_id, Type::TEXT)]).await?;
    rows.first().map(|row| rows::record(row, Some(vault))).transpose()
}

async fn remove(tx: &Tx, external_id: &str) -> Result<bool, StoreError> {
    let name = (&external_id as &(dyn pg::types::ToSql + Sync), Type::TEXT);
    // The original's tables do it by themselves.
    let extensions = "delete from extensions where tenant_external_id = $1";
    tx.lease.query_typed(extensions, &[(name.0, Type::TEXT)]).await?;
    let tenant = "delete from tenants where external_id = $1 returning 1";
    Ok(!tx.lease.query_typed(tenant, &[name]).await?.is_empty())
}

/// Extensions that say the same as before are those of before.
fn kept_times(mut record: Record, before: Option<&Record>) -> Record {
    for extension in &mut record.extensions {
        let before =
            before.and_then(|before| before.extensions.iter().find(|one| *one == extension));
        if let Some(before) = before {
            *extension = before.clone();
        }
    }
    record
}
