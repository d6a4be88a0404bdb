//! Broadcast: messages between clients, from REST and from the database.

pub mod database;
pub mod message;
pub mod metrics;
pub mod persist;
pub mod publish;
pub mod remote;
pub mod replay;
mod reserved;
mod row;

use crate::tenants::janitor;

/// What the database has to do with broadcasts, for sockets and REST.
#[derive(Debug, Clone)]
pub struct Messages {
    /// Whether broadcasts of the database flow; `None` where they are switched off.
    pub readiness: Option<Readiness>,
    /// Reads stored messages for channels that join.
    pub replays: Replays,
    /// Stores broadcasts of clients.
    pub store: Store,
    /// To be told when today's partition is missing.
    pub janitor: janitor::Handle,
}

pub use self::{
    database::{DatabaseBroadcasts, Readiness},
    message::Message,
    metrics::DatabaseMetrics,
    persist::Store,
    publish::{Broadcasts, PublishError},
    remote::{Remote, RemoteMetrics},
    replay::Replays,
};
