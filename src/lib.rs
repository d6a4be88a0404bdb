//! Rowcast: PostgreSQL changes, broadcast and presence over WebSockets.

pub mod hub;
pub mod postgres;
pub mod postgres_changes;
pub mod protocol;
pub mod replication;
pub mod runtime;
pub mod topic;
