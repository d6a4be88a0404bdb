//! Many nodes as one: what is said on one node reaches the members on others.
//!
//! A [`Bus`] carries [`Envelope`]s between nodes. It is best effort, as
//! broadcast is: it keeps the order of one node's envelopes, delivers none
//! twice, stores nothing and loses what its link loses. A node is sent only what
//! its [`Interest`] names: the topics it has members of.
//!
//! Invariants: nothing here waits for the link except a join, and that for a
//! short time; every queue is bounded, and what does not fit is dropped and
//! counted; a node never hears itself.

pub mod envelope;
pub mod interest;
pub mod log;
pub mod memory;
pub mod metrics;
mod queue;
pub mod redis;

use std::fmt;

use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

pub use self::{envelope::Envelope, interest::Interest, metrics::Metrics};

/// Carries envelopes to other nodes and names the topics whose envelopes are to
/// come here. Two implementations: [`memory`] within a process, [`redis`]
/// between processes.
pub trait Bus: fmt::Debug + Send + Sync {
    /// This node.
    fn node(&self) -> NodeId;

    /// Hands an envelope to the bus; never waits.
    ///
    /// # Errors
    ///
    /// [`Refused`]: no other node will get it.
    fn publish(&self, envelope: &Envelope) -> Result<(), Refused>;

    /// As [`Bus::publish`], and tells how many other nodes it went to: those that
    /// are interested in the topic. Never answers if that cannot be known.
    ///
    /// # Errors
    ///
    /// [`Refused`].
    fn ask(&self, envelope: &Envelope) -> Result<oneshot::Receiver<usize>, Refused>;

    /// The topics whose envelopes come to this node, and whether the bus is up.
    fn interest(&self) -> &Interest;
}

/// Takes what other nodes say. Owned here, implemented above.
pub trait Handler: fmt::Debug + Send + Sync {
    /// An envelope of another node, in its node's order. Must not block.
    fn receive(&self, envelope: Envelope);
}

/// Why the bus does not take an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It cannot be reached.
    #[error("the bus is away")]
    Away,
    /// Too much waits for it already.
    #[error("the bus is slow")]
    Full,
}

/// One process among the nodes; another one after each start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub Uuid);

impl NodeId {
    /// A node that was never there before.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

/// Hands on what came from another node.
fn receive(bytes: &Bytes, handler: &dyn Handler, metrics: &Metrics) {
    match Envelope::decode(bytes) {
        Ok(envelope) => {
            metrics.received.inc();
            handler.receive(envelope);
        }
        Err(error) => {
            metrics.dropped("unreadable", 1);
            tracing::debug!(%error, "message of another node dropped");
        }
    }
}
