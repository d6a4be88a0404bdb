//! A small, bounded pool of SQL connections.
//!
//! Invariants: at most `size` connections exist; a caller waits at most `wait`
//! for one; a connection goes back only if nobody called it dirty, so one
//! lease's half-done transaction is never the next one's. Connections open when
//! they are first needed and are replaced when they break. Nothing is retried
//! here: callers know whether their statement may run twice.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
pub use tokio_postgres::{
    Client, Error, IsolationLevel, Row, SimpleColumn, SimpleQueryMessage, Statement, Transaction,
    error::{DbError, SqlState},
    types,
};

use super::{
    connect::ConnectConfig,
    session::{self, SessionConfig, SessionError},
};

/// What a script may take beyond its `statement_timeout` before it is given up:
/// the server keeps the time itself while it is there.
const GRACE: Duration = Duration::from_secs(1);

/// How a pool is made.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Where to.
    pub connect: ConnectConfig,
    /// Most connections at once.
    pub size: usize,
    /// Longest wait for a free one.
    pub wait: Duration,
    /// What each session is told.
    pub session: SessionConfig,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// All were in use for the whole wait.
    #[error("all {size} connections were in use for {wait:?}")]
    Exhausted {
        /// Connections of the pool.
        size: usize,
        /// How long the caller waited.
        wait: Duration,
    },
    /// The server has no connection left for us (53300).
    #[error("the server has too many connections")]
    TooManyConnections(#[source] SessionError),
    /// The pool was closed.
    #[error("the connection pool is closed")]
    Closed,
    /// No new connection.
    #[error(transparent)]
    Connect(SessionError),
}

impl PoolError {
    /// True if trying again later may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Exhausted { .. } | Self::TooManyConnections(_) => true,
            Self::Closed => false,
            Self::Connect(error) => error.is_transient(),
        }
    }
}

impl From<SessionError> for PoolError {
    fn from(error: SessionError) -> Self {
        if error.sqlstate() == Some("53300") {
            Self::TooManyConnections(error)
        } else {
            Self::Connect(error)
        }
    }
}

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

/// The pool. Clones share it.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    config: PoolConfig,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Client>>,
}

impl Pool {
    /// A pool without connections yet.
    pub fn new(config: PoolConfig) -> Self {
        let permits = Arc::new(Semaphore::new(config.size.max(1)));
        Self { shared: Arc::new(Shared { config, permits, idle: Mutex::default() }) }
    }

    /// A connection for one piece of work.
    ///
    /// # Errors
    ///
    /// See [`PoolError`].
    pub async fn checkout(&self) -> Result<Lease, PoolError> {
        let config = &self.shared.config;
        let exhausted = || PoolError::Exhausted { size: config.size, wait: config.wait };
        let permits = Arc::clone(&self.shared.permits);
        let permit = tokio::time::timeout(config.wait, permits.acquire_owned())
            .await
            .map_err(|_| exhausted())?
            .map_err(|_| PoolError::Closed)?;
        let client = match self.shared.idle() {
            Some(client) => client,
            None => session::connect(&config.connect, &config.session).await?,
        };
        let shared = Arc::clone(&self.shared);
        Ok(Lease { client: Some(client), dirty: false, shared, _permit: permit })
    }

    /// Refuses new leases and closes idle connections; leases out close on return.
    pub fn close(&self) {
        self.shared.permits.close();
        self.shared.lock().clear();
    }

    /// Leases out at this moment.
    pub fn in_use(&self) -> usize {
        self.shared.config.size.max(1).saturating_sub(self.shared.permits.available_permits())
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        // The list stays consistent whatever panicked.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle connection that still lives; the dead ones go.
    fn idle(&self) -> Option<Client> {
        let mut idle = self.lock();
        std::iter::from_fn(|| idle.pop()).find(|client| !client.is_closed())
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

/// One connection, returned when dropped. Use it as a [`Client`].
///
/// A caller that gives up on a statement half way leaves the connection busy
/// with it until `statement_timeout`; [`Lease::discard`] spares the next one.
///
/// [`Client::transaction`] rolls back by itself. Whoever changes the session in
/// another way (`SET`, a hand-written `BEGIN`, a temporary table) calls
/// [`Lease::mark_dirty`] before and [`Lease::mark_clean`] after undoing it.
pub struct Lease {
    client: Option<Client>,
    dirty: bool,
    shared: Arc<Shared>,
    // Dropped after the client went back, so a waiter finds it.
    _permit: OwnedSemaphorePermit,
}

impl Lease {
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

    /// Closes the connection instead of returning it.
    pub fn discard(mut self) {
        self.client = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(client) = self.client.take()
            && !self.dirty
            && !client.is_closed()
            && !self.shared.permits.is_closed()
        {
            self.shared.lock().push(client);
        }
    }
}

impl Deref for Lease {
    type Target = Client;

    #[expect(clippy::expect_used, reason = "only `discard` and `drop` take it, and both end self")]
    fn deref(&self) -> &Client {
        self.client.as_ref().expect("a lease holds its client until it ends")
    }
}

impl DerefMut for Lease {
    #[expect(clippy::expect_used, reason = "only `discard` and `drop` take it, and both end self")]
    fn deref_mut(&mut self) -> &mut Client {
        self.client.as_mut().expect("a lease holds its client until it ends")
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("dirty", &self.dirty).finish_non_exhaustive()
    }
}
