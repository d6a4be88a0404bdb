//! Broadcast: messages between clients, from REST and from the database.

pub mod publish;

pub use self::publish::{Broadcasts, PublishError};
