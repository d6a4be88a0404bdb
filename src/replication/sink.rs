//! Where changes go. The stream owns this trait; the application wires it.

use std::{future::Future, sync::Arc};

use super::{change::Batch, position::Epoch, position::Lsn};

/// Receives one database's changes, in commit order, each at least once.
///
/// The stream calls one method at a time and waits for it. While a sink is
/// busy the log is not read, but keep-alives are still answered.
pub trait ChangeSink: Send + Sync + 'static {
    /// Asked before each attempt to start a stream: completes when the sink can
    /// take changes. A sink that keeps the history itself, for more than this
    /// process, says how far it reaches; then what this process remembers does
    /// not count.
    fn ready(&self) -> impl Future<Output = Option<Lsn>> + Send {
        async { None }
    }

    /// The stream runs: everything that commits after `start.from` will come.
    fn started(&self, start: Start) -> impl Future<Output = ()> + Send;

    /// Takes a batch over. When this returns, the batch is handed off and its
    /// position may be confirmed to PostgreSQL.
    ///
    /// # Errors
    ///
    /// [`Undelivered`]: the stream starts over from what was confirmed.
    fn deliver(&self, batch: &Batch) -> impl Future<Output = Result<(), Undelivered>> + Send;

    /// Takes several batches over, in order; as [`ChangeSink::deliver`]. For
    /// sinks to which many small transactions at once come cheaper.
    ///
    /// # Errors
    ///
    /// As [`ChangeSink::deliver`]; some may have been taken.
    fn deliver_all(
        &self,
        batches: &[Batch],
    ) -> impl Future<Output = Result<(), Undelivered>> + Send {
        async move {
            for batch in batches {
                self.deliver(batch).await?;
            }
            Ok(())
        }
    }

    /// Takes batches over, none if there are none, before `end` is confirmed to
    /// PostgreSQL, if it is set: there is nothing else before it. For sinks that
    /// keep the history themselves and have to know what will not come again.
    ///
    /// # Errors
    ///
    /// As [`ChangeSink::deliver_all`]; then nothing is confirmed.
    fn hand_off(
        &self,
        batches: &[Batch],
        _end: Option<Lsn>,
    ) -> impl Future<Output = Result<(), Undelivered>> + Send {
        async move {
            match batches {
                [] => Ok(()),
                some => self.deliver_all(some).await,
            }
        }
    }

    /// The stream broke and is being restored. What commits meanwhile still
    /// comes, unless the next [`Start`] says there is a gap.
    fn interrupted(&self);
}

/// A sink could not take what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("changes could not be handed on")]
pub struct Undelivered;

/// Two sinks as one. Each batch goes to the first, then to the second, and is
/// handed off when both have taken it: neither can lose what the other got.
/// A busy second one holds the first up only between calls.
impl<A: ChangeSink, B: ChangeSink> ChangeSink for (A, B) {
    async fn started(&self, start: Start) {
        self.0.started(start.clone()).await;
        self.1.started(start).await;
    }

    async fn deliver(&self, batch: &Batch) -> Result<(), Undelivered> {
        self.0.deliver(batch).await?;
        self.1.deliver(batch).await
    }

    async fn deliver_all(&self, batches: &[Batch]) -> Result<(), Undelivered> {
        self.0.deliver_all(batches).await?;
        self.1.deliver_all(batches).await
    }

    fn interrupted(&self) {
        self.0.interrupted();
        self.1.interrupted();
    }
}

/// A sink that outlives the stream that feeds it.
impl<S: ChangeSink> ChangeSink for Arc<S> {
    async fn ready(&self) -> Option<Lsn> {
        S::ready(self).await
    }

    async fn started(&self, start: Start) {
        S::started(self, start).await;
    }

    async fn deliver(&self, batch: &Batch) -> Result<(), Undelivered> {
        S::deliver(self, batch).await
    }

    async fn deliver_all(&self, batches: &[Batch]) -> Result<(), Undelivered> {
        S::deliver_all(self, batches).await
    }

    async fn hand_off(&self, batches: &[Batch], end: Option<Lsn>) -> Result<(), Undelivered> {
        S::hand_off(self, batches, end).await
    }

    fn interrupted(&self) {
        S::interrupted(self);
    }
}

/// A sink that may be absent.
impl<S: ChangeSink> ChangeSink for Option<S> {
    async fn started(&self, start: Start) {
        if let Some(sink) = self {
            sink.started(start).await;
        }
    }

    async fn deliver(&self, batch: &Batch) -> Result<(), Undelivered> {
        match self {
            Some(sink) => sink.deliver(batch).await,
            None => Ok(()),
        }
    }

    async fn deliver_all(&self, batches: &[Batch]) -> Result<(), Undelivered> {
        match self {
            Some(sink) => sink.deliver_all(batches).await,
            None => Ok(()),
        }
    }

    fn interrupted(&self) {
        if let Some(sink) = self {
            sink.interrupted();
        }
    }
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
    /// Servers that share a stream lost part of what they share.
    LogLost,
}
