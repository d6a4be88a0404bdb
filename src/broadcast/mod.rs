//! Broadcast: messages between clients, from REST and from the database.

pub mod database;
pub mod metrics;
pub mod persist;
pub mod publish;
pub mod replay;
mod row;

pub use self::{
    database::{DatabaseBroadcasts, Readiness},
    metrics::DatabaseMetrics,
    persist::Store,
    publish::{Broadcasts, PublishError},
    replay::Replays,
};
