//! Rowcast: PostgreSQL changes, broadcast and presence over WebSockets.

pub mod app;
pub mod cli;
pub mod config;
pub mod hub;
pub mod postgres;
pub mod protocol;
pub mod replication;
pub mod runtime;
pub mod tenants;
pub mod topic;
