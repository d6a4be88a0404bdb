//! Sockets: what a client says and is told.
//!
//! One task per socket owns everything about it: [`socket`] is its loop over a
//! closed set of events, `dispatch` what it does with a message, [`waiting`]
//! what waits for the database, [`channel`] what it knows about one joined topic,
//! [`join`] the ordered steps of a join, `policies` whom a private one asks,
//! [`entrance`] what follows, [`handlers`] one file per feature.
//! Nothing here waits for a database: slow work is a future that comes back as
//! an event, so one slow topic never holds up another.

pub mod channel;
pub mod context;
mod dispatch;
pub mod entrance;
pub mod handlers;
pub mod join;
mod leaving;
pub mod metrics;
pub mod permission;
mod policies;
pub mod refusal;
pub mod socket;
pub mod tasks;
#[cfg(test)]
mod tests;
pub mod token;
pub mod transport;
pub mod waiting;
pub mod waves;
pub mod writer;

use std::{sync::Arc, time::Duration};

use crate::{
    broadcast::{Broadcasts, Messages},
    chat::Chat,
    cluster::interest::Reached,
    hub::{Key, topics::Hub},
    postgres_changes::PostgresChanges,
    presence::Tracker,
    runtime::Drain,
    tenants::Tenant,
};

pub use self::{
    context::Credentials,
    metrics::{Metrics, TenantMetrics},
    policies::Policies,
    socket::Socket,
    waves::Waves,
};

/// Everything a socket of one tenant works with.
#[derive(Debug)]
pub struct Services {
    /// Whose socket it is.
    pub tenant: Arc<Tenant>,
    /// Who is joined on this node.
    pub hub: Arc<Hub>,
    /// Sends broadcasts.
    pub broadcasts: Broadcasts,
    /// Messages of the database: live, stored, replayed.
    pub messages: Messages,
    /// Rooms and their messages.
    pub chat: Chat,
    /// Who is present.
    pub presence: Arc<Tracker>,
    /// Asks the policies of private topics.
    pub policies: Policies,
    /// Subscriptions to database changes.
    pub changes: PostgresChanges,
    /// Counters.
    pub metrics: TenantMetrics,
    /// Says when the server stops; all its sockets count among its tasks.
    pub drain: Drain,
    /// The tenant's sockets among them.
    pub sockets: Drain,
    /// When each socket closes then.
    pub waves: Arc<Waves>,
    /// Times and sizes.
    pub config: Config,
}

impl Services {
    /// Waits, for a moment at most, until a topic's messages come here from other
    /// nodes and it is known who is present there.
    async fn hear_others(&self, key: &Key, reached: Option<Reached>, shows_presence: bool) {
        if let Some(reached) = reached {
            reached.wait().await;
        }
        if shows_presence && self.presence.must_gather(key) {
            self.presence.gather(key).await;
        }
    }
}

/// Times and sizes of sockets.
#[derive(Debug, Clone)]
pub struct Config {
    /// A socket that sends nothing for this long is closed.
    pub idle_timeout: Duration,
    /// A socket that has joined and has no channel for this long is closed.
    pub no_channel_timeout: Duration,
    /// Pause before a refused join is told so.
    pub channel_error_backoff: Duration,
    /// Bytes that may wait for a client before it counts as slow.
    pub outbox_bytes: usize,
    /// Bytes of messages that may wait for an answer of the database.
    pub waiting_bytes: usize,
    /// A single write may take this long before the client counts as slow.
    pub write_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(60),
            no_channel_timeout: Duration::from_secs(600),
            channel_error_backoff: Duration::from_secs(1),
            outbox_bytes: 4 * 1024 * 1024,
            waiting_bytes: 4 * 1024 * 1024,
            write_timeout: Duration::from_secs(10),
        }
    }
}
