//! Where changes go. The stream owns this trait; the application wires it.

use std::future::Future;

use super::{change::Batch, position::Epoch, position::Lsn};

/// Receives one database's changes, in commit order, each at least once.
///
/// The stream calls one method at a time and waits for it. While a sink is
/// busy the log is not read, but keep-alives are still answered.
pub trait ChangeSink: Send + Sync + 'static {
    /// The stream runs: everything that commits after `start.from` will come.
    fn started(&self, start: Start) -> impl Future<Output = ()> + Send;

    /// Takes a batch over. When this returns, the batch is handed off and its
    /// position may be confirmed to PostgreSQL.
    fn deliver(&self, batch: Batch) -> impl Future<Output = ()> + Send;

    /// Takes several batches over, in order; as [`ChangeSink::deliver`]. For
    /// sinks to which many small transactions at once come cheaper.
    fn deliver_all(&self, batches: Vec<Batch>) -> impl Future<Output = ()> + Send {
        async {
            for batch in batches {
                self.deliver(batch).await;
            }
        }
    }

    /// The stream broke and is being restored. What commits meanwhile still
    /// comes, unless the next [`Start`] says there is a gap.
    fn interrupted(&self);
}

/// How a stream starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The history from now on.
    pub epoch: Epoch,
    /// The slot's confirmed position.
    pub from: Lsn,
    /// Set when changes between the last stream and this one may be lost.
    pub gap: Option<Gap>,
}

/// Why changes may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// The slot is new: it was dropped, or PostgreSQL removed its log.
    NewSlot,
    /// Another cluster or timeline: failover or restore.
    NewHistory,
    /// The slot had moved past what was delivered.
    SlotAhead,
}
