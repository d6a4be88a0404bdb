//! What a socket needs from whatever carries its frames.

use std::future::Future;

use crate::protocol::{Received, prepared::Frame};

/// A connection that carries whole messages. The HTTP layer implements it for
/// WebSockets, the tests for a pair of queues.
pub trait Transport: Send {
    /// The next thing the client did. Cancel safe.
    fn receive(&mut self) -> impl Future<Output = Incoming> + Send;

    /// Sends all frames, in order and in as few writes as possible, and leaves
    /// the list empty.
    fn send(&mut self, frames: &mut Vec<Frame>) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Says goodbye with a close code. What fails here does not matter any more.
    fn close(&mut self, code: u16, reason: &'static str) -> impl Future<Output = ()> + Send;
}

/// What a client did.
#[derive(Debug)]
pub enum Incoming {
    /// Sent a message.
    Message(Received),
    /// Showed a sign of life.
    Alive,
    /// Broke a rule of the transport: close with this code.
    Violation(u16),
    /// Left.
    Gone,
}

/// The client is not there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is gone")]
pub struct Gone;
