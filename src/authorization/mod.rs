//! Who may read and write a private topic: the policies on `realtime.messages`
//! decide, in PostgreSQL, as the caller's role with the caller's claims.
//!
//! Checks of many callers share transactions and connections: [`queue`] gathers
//! what is asked while earlier checks run, asks equal questions once, and
//! [`probe`] puts a batch to the database in one round trip. Nothing a check
//! does is kept: its transaction is always rolled back.
//!
//! When in doubt the answer is no: an unknown role, a policy that raises, a
//! database that cannot be asked.

mod probe;
mod queue;

use std::sync::Arc;

use crate::{auth::Claims, secret::Secret};

pub use self::queue::{Authorizer, Config};

/// A caller and the topic it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The topic without `realtime:`.
    pub topic: Arc<str>,
    /// The caller's token.
    pub claims: Claims,
    /// The caller's request headers as a JSON object, for `request.headers`.
    pub headers: Secret,
}

/// What is allowed on a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights {
    /// Broadcasts.
    pub broadcast: bool,
    /// Presence.
    pub presence: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizeError {
    /// A policy raised, or the role does not exist or may not be taken.
    #[error("a policy could not be evaluated ({sqlstate})")]
    Policy {
        /// PostgreSQL's code.
        sqlstate: String,
    },
    /// The check took too long (57014).
    #[error("the check was canceled")]
    Canceled,
    /// `realtime.messages` has no partition for today.
    #[error("realtime.messages has no partition for today")]
    MissingPartition,
    /// Too many checks wait already, or no connection was free.
    #[error("no connection was free for the check")]
    PoolExhausted,
    /// The server has no connection left for us.
    #[error("the database has no connection left")]
    LackOfConnections,
    /// The database cannot be reached.
    #[error("the database cannot be reached")]
    Unavailable,
}

impl AuthorizeError {
    /// True if asking again may bring an answer.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Policy { .. })
    }
}
