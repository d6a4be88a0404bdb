//! Integration tests: one binary, so that the crate is linked once.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "tests fail by panicking, and nobody reads their documentation"
)]

mod admin;
mod broadcast;
mod chat;
mod cluster;
mod connection_lifecycle;
#[cfg(feature = "fuzzing")]
mod corpus;
mod delivery;
mod doctor;
mod doors;
mod hostile;
mod least_privilege;
mod list_changes;
mod logs;
mod messages;
mod metric_names;
mod metrics;
mod pool;
mod postgres_changes;
mod presence;
mod private_channels;
mod replication;
mod rest_broadcast;
mod restart;
mod rooms;
mod sslmode;
mod stopping;
mod support;
mod tail;
mod tidy;
mod token_handling;
mod waiting_joins;
