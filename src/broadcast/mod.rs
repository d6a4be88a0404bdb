//! Broadcast: messages between clients, from REST and from the database.

pub mod message;
pub mod publish;

pub use self::{
    message::Message,
    publish::{Broadcasts, PublishError},
};
