//! Our own client for replication connections.
//!
//! tokio-postgres cannot stream replication, so this speaks the little that is
//! needed: log in, plain queries, and the copy-both mode of `START_REPLICATION`.

mod codec;
mod connection;
mod error;
mod startup;
mod stream;

pub use self::{
    connection::{Connection, Rows},
    error::{ServerError, WireError},
    startup::{Mode, Startup},
    stream::ReplicationStream,
};
