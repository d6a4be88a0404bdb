//! Rowcast: PostgreSQL changes, broadcast and presence over WebSockets.
#![doc = include_str!("../docs/architecture.md")]

pub mod app;
pub mod auth;
pub mod authorization;
pub mod broadcast;
pub mod chat;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod error_code;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod http;
pub mod hub;
pub mod postgres;
pub mod postgres_changes;
pub mod presence;
pub mod protocol;
pub mod replication;
pub mod runtime;
pub mod secret;
pub mod session;
pub mod telemetry;
pub mod tenants;
pub mod topic;
