//! A connection of a pool, while somebody has it.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::{
    Client, Error, Row, SimpleQueryMessage,
    error::SqlState,
    types::{ToSql, Type},
};

use super::pool::Shared;

/// What a script may take beyond its `statement_timeout` before it is given up:
/// the server keeps the time itself while it is there.
const GRACE: Duration = Duration::from_secs(1);

/// Why a script with a time limit has no rows.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The server refused, or the connection broke. PostgreSQL's own words are
    /// left out, for they may quote what a client sent.
    #[error("{}", failed(.0))]
    Failed(Error),
    /// Nothing came, although the server was to give up by itself.
    #[error("the server does not answer")]
    Silent,
}

impl ScriptError {
    /// The server's SQLSTATE, if it answered with one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Failed(error) => error.code().map(SqlState::code),
            Self::Silent => None,
        }
    }
}

impl From<Error> for ScriptError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn failed(error: &Error) -> String {
    match error.code() {
        Some(code) => format!("the server refused (SQLSTATE {})", code.code()),
        None => crate::telemetry::reason(error),
    }
}

/// One connection, returned when dropped.
///
/// Whoever gives up on a statement half way leaves the connection busy with it:
/// it is closed then instead of returned. Whoever changes the session (`SET`, a
/// hand-written `BEGIN`, a temporary table) calls
/// [`Lease::mark_dirty`] before and [`Lease::mark_clean`] after undoing it.
pub struct Lease {
    client: Option<Client>,
    dirty: bool,
    /// Statements without an answer.
    pending: AtomicU32,
    shared: Arc<Shared>,
    // Dropped after the client went back, so a waiter finds it.
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    pub(super) fn new(client: Client, shared: Arc<Shared>, permit: OwnedSemaphorePermit) -> Self {
        let pending = AtomicU32::new(0);
        Self { client: Some(client), dirty: false, pending, shared, _permit: permit }
    }

    #[expect(clippy::expect_used, reason = "only `drop` takes it")]
    fn client(&self) -> &Client {
        self.client.as_ref().expect("a lease holds its client until it ends")
    }

    /// Counts a statement until it is answered, which is never if it is abandoned.
    async fn answered<T>(&self, statement: impl Future<Output = T>) -> T {
        self.pending.fetch_add(1, Ordering::Relaxed);
        let answer = statement.await;
        self.pending.fetch_sub(1, Ordering::Relaxed);
        answer
    }

    /// As [`Client::query`].
    ///
    /// # Errors
    ///
    /// The server refused, or the connection broke.
    pub async fn query(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        self.answered(self.client().query(sql, params)).await
    }

    /// As [`Client::query_one`].
    ///
    /// # Errors
    ///
    /// As for [`Lease::query`], and if there is not one row.
    pub async fn query_one(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Row, Error> {
        self.answered(self.client().query_one(sql, params)).await
    }

    /// As [`Client::query_typed`].
    ///
    /// # Errors
    ///
    /// As for [`Lease::query`].
    pub async fn query_typed(
        &self,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Error> {
        self.answered(self.client().query_typed(sql, params)).await
    }

    /// As [`Client::batch_execute`].
    ///
    /// # Errors
    ///
    /// As for [`Lease::query`].
    pub async fn batch_execute(&self, sql: &str) -> Result<(), Error> {
        self.answered(self.client().batch_execute(sql)).await
    }

    /// As [`Client::simple_query`].
    ///
    /// # Errors
    ///
    /// As for [`Lease::query`].
    pub async fn simple_query(&self, sql: &str) -> Result<Vec<SimpleQueryMessage>, Error> {
        self.answered(self.client().simple_query(sql)).await
    }

    /// The session is not as it was: close it unless [`Lease::mark_clean`] comes.
    pub fn mark_dirty(&mut self) {
        self.dirty = true;
    }

    /// The session is as it was.
    pub fn mark_clean(&mut self) {
        self.dirty = false;
    }

    /// Runs a script of several statements in one round trip and returns the
    /// first column of every row of their results.
    ///
    /// # Errors
    ///
    /// The first statement's that failed; those after it did not run.
    pub async fn simple_rows(&self, script: &str) -> Result<Vec<String>, Error> {
        let messages = self.simple_query(script).await?;
        let first = |message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        };
        Ok(messages.into_iter().filter_map(first).collect())
    }

    /// The same for a script whose `statement_timeout` is `limit`. A connection
    /// that stays silent for longer is of no use to anybody: drop it dirty.
    ///
    /// # Errors
    ///
    /// [`ScriptError`].
    pub async fn simple_rows_within(
        &self,
        limit: Duration,
        script: &str,
    ) -> Result<Vec<String>, ScriptError> {
        let rows = tokio::time::timeout(limit + GRACE, self.simple_rows(script)).await;
        Ok(rows.map_err(|_| ScriptError::Silent)??)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(client) = self.client.take()
            && !self.dirty
            && *self.pending.get_mut() == 0
            && !client.is_closed()
        {
            self.shared.put(client);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("dirty", &self.dirty).finish_non_exhaustive()
    }
}
