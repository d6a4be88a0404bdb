//! Talking to PostgreSQL: settings, SQL pool, replication wire, pgoutput.
//!
//! The only module that names tokio-postgres.

pub mod connect;
pub mod value;
