//! Rowcast: PostgreSQL changes, broadcast and presence over WebSockets.

pub mod error_code;
pub mod hub;
pub mod postgres;
pub mod protocol;
pub mod replication;
pub mod runtime;
pub mod topic;
