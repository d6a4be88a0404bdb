//! Talking to PostgreSQL: settings, SQL pool, replication wire, pgoutput.
//!
//! The only module that names tokio-postgres. Both kinds of connection, SQL
//! and replication, go through one [`dial`], so `sslmode` means the same to both.

pub mod connect;
pub(crate) mod cursor;
pub mod dial;
mod lease;
pub mod pgoutput;
pub mod pool;
pub mod session;
pub mod snapshot;
mod tcp;
mod tls;
pub mod types;
pub mod value;
pub mod wire;
