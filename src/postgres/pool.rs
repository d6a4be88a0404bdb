//! A small, bounded pool of SQL connections.
//!
//! Invariants: at most `size` connections exist; a caller waits at most `wait`
//! for its turn, and then for a login if no connection is open; a connection
//! goes back only if nobody called it dirty and all its statements were
//! answered, so one lease's half-done work is never the next one's. Connections
//! open when they are first needed and are replaced when they break. Nothing is
//! retried here: callers know whether their statement may run twice.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};
pub use tokio_postgres::{
    Client, Error, Row, SimpleColumn, SimpleQueryMessage, Transaction,
    error::{DbError, SqlState},
    types,
};

pub use super::lease::{Lease, ScriptError};
use super::{
    connect::ConnectConfig,
    session::{self, SessionConfig, SessionError},
};

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
    /// No new connection.
    #[error(transparent)]
    Connect(SessionError),
}

impl PoolError {
    /// True if trying again later may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Exhausted { .. } | Self::TooManyConnections(_) => true,
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

/// Why a script did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There was no connection.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// It failed, and nothing of its transaction is kept.
    #[error(transparent)]
    Script(#[from] ScriptError),
}

/// The pool. Clones share it.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    config: PoolConfig,
    permits: Arc<Semaphore>,
    /// The one that was used last comes last.
    idle: Mutex<Vec<(Client, Instant)>>,
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
            .ok()
            // The semaphore is never closed.
            .and_then(Result::ok)
            .ok_or_else(exhausted)?;
        let client = match self.shared.idle() {
            Some(client) => client,
            None => session::connect(&config.connect, &config.session).await?,
        };
        let shared = Arc::clone(&self.shared);
        Ok(Lease::new(client, shared, permit))
    }

    /// Runs a script that begins and ends one transaction, in one round trip,
    /// and returns the first column of every row. `limit` is the script's own
    /// `statement_timeout`. A script that the server refuses is rolled back: a
    /// refusal is nothing unusual and must not cost the connection.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub async fn run(&self, limit: Duration, script: &str) -> Result<Vec<String>, RunError> {
        let mut lease = Box::pin(self.checkout()).await?;
        lease.mark_dirty();
        let outcome = lease.simple_rows_within(limit, script).await;
        let is_over = match &outcome {
            Ok(_) => true,
            Err(error) if error.sqlstate().is_some() => {
                lease.simple_rows_within(Duration::ZERO, "rollback").await.is_ok()
            }
            Err(_) => false,
        };
        if is_over {
            lease.mark_clean();
        }
        Ok(outcome?)
    }

    /// Closes the connections that nobody has used for this long.
    pub fn close_idle(&self, since: Duration) {
        self.shared.lock().retain(|(_, used)| used.elapsed() < since);
    }

    /// Leases out at this moment.
    pub fn in_use(&self) -> usize {
        self.shared.config.size.max(1).saturating_sub(self.shared.permits.available_permits())
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Client, Instant)>> {
        // The list stays consistent whatever panicked.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection back.
    pub(super) fn put(&self, client: Client) {
        self.lock().push((client, Instant::now()));
    }

    /// An idle connection that still lives; the dead ones go.
    fn idle(&self) -> Option<Client> {
        let mut idle = self.lock();
        std::iter::from_fn(|| idle.pop())
            .map(|(client, _)| client)
            .find(|client| !client.is_closed())
    }
}

/// PostgreSQL's words without the client's around them, for whoever runs the
/// server: they may quote values, and are not for logs.
pub fn words(error: &Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned())
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("config", &self.shared.config).finish_non_exhaustive()
    }
}
