//! Integration tests: one binary, so that the crate is linked once.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking, and nobody reads their documentation"
)]

mod hostile;
mod pool;
mod postgres_changes;
mod replication;
mod sslmode;
mod support;
