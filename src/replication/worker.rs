//! Keeps one stream running until a drain.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::{sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use super::{
    apply::{Ended, apply},
    config::Config,
    error::StreamError,
    guard::Guard,
    link::Link,
    metrics::{Metrics, Series},
    prepare::{History, Prepared, prepare},
    sink::ChangeSink,
    status::{Handle, Status},
    transaction::{Assembler, Limits},
};
use crate::{
    error_code::ErrorCode,
    runtime::{self, Drain, backoff::Backoff},
};

/// How long another process may hold our slot before we call ourselves its
/// standby: a server takes a minute to miss our own last connection.
const TAKEOVER: Duration = Duration::from_secs(60);
/// Between looks at a slot that another process uses.
const STANDBY_PAUSE: Duration = Duration::from_secs(1);

/// The supervised loop behind a [`Handle`].
#[derive(Debug)]
pub struct Worker<S> {
    config: Arc<Config>,
    sink: S,
    drain: Drain,
    series: Series,
    status: watch::Sender<Status>,
    history: History,
    /// Since when the slot has been somebody else's.
    held_since: Option<Instant>,
    /// Why there is no stream, as logged; none while there is one.
    reason: Option<String>,
}

impl<S: ChangeSink> Worker<S> {
    /// Starts the stream; it ends, in order, when `drain` begins.
    pub fn spawn(config: Config, sink: S, drain: &Drain, metrics: &Metrics) -> Handle {
        let (status, handle) = Handle::channel();
        let worker = Self {
            series: metrics.series(&config.tenant),
            config: Arc::new(config),
            sink,
            drain: drain.clone(),
            status,
            history: History::default(),
            held_since: None,
            reason: None,
        };
        drain.spawn("replication", worker.run());
        handle
    }

    async fn run(mut self) {
        let mut quick = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
        let mut slow = Backoff::new(Duration::from_secs(2), Duration::from_secs(30));
        let drain = self.drain.clone();
        loop {
            let prepared = tokio::select! {
                biased;
                () = drain.started() => break,
                // Boxed: a login's future is large.
                prepared = Box::pin(self.attempt()) => prepared,
            };
            let pause = match prepared {
                Ok(prepared) => {
                    self.held_since = None;
                    self.reason = None;
                    let begun = Instant::now();
                    // Nothing of ours is half done at an await; a sink sees to itself.
                    let stream = AssertUnwindSafe(Box::pin(self.stream(prepared)));
                    let panicked = |_| Err(StreamError::Panicked("sink"));
                    let Err(error) = stream.catch_unwind().await.unwrap_or_else(panicked) else {
                        break;
                    };
                    // A stream that breaks at once, again and again, is a failed attempt.
                    if begun.elapsed() > Duration::from_secs(10) {
                        quick.reset();
                    }
                    slow.reset();
                    self.broke(&error);
                    quick.pause()
                }
                Err(error) => {
                    self.failed(&error);
                    match error {
                        StreamError::SlotInUse { .. } => STANDBY_PAUSE,
                        error if error.is_transient() => quick.pause(),
                        _ => slow.pause(),
                    }
                }
            };
            tokio::select! {
                biased;
                () = drain.started() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        // Dropping the worker says that it stopped.
    }

    /// Once the sink is ready, one attempt to start a stream.
    async fn attempt(&mut self) -> Result<Prepared, StreamError> {
        if let Some(reached) = self.sink.ready().await {
            self.history.is_kept_elsewhere(reached);
        }
        prepare(&self.config, &mut self.history, &self.status).await
    }

    /// Streams until it breaks or (Ok) a drain begins.
    async fn stream(&mut self, prepared: Prepared) -> Result<(), StreamError> {
        let Prepared { stream, start, wal_sender_timeout } = prepared;
        let epoch = start.epoch;
        let mut heartbeat = self.config.status_interval;
        if !wal_sender_timeout.is_zero() {
            heartbeat = heartbeat.min(wal_sender_timeout / 3);
        }
        // Never report less than we confirmed before: the server skips what it
        // sends again, and so do we.
        let confirmed = self.history.confirmed.unwrap_or(start.from);
        let mut link = Link::start(stream, &self.config, confirmed, heartbeat, self.series.clone());
        let guard = Guard {
            config: Arc::clone(&self.config),
            stop_link: link.stopper(),
            status: self.status.clone(),
        };
        let guard = AbortOnDropHandle::new(runtime::spawn("replication-guard", guard.run()));

        if start.gap.is_some() {
            self.series.gaps.inc();
        }
        tracing::info!(slot = self.config.slot_name, from = %start.from, gap = ?start.gap, "streaming");
        self.sink.started(start).await;
        self.status.send_replace(Status::Streaming { epoch });

        let limits = Limits { changes: self.config.batch_changes, bytes: self.config.batch_bytes };
        let mut assembler = Assembler::new(epoch, self.history.progress, limits);
        let Self { history, sink, drain, series, .. } = self;
        let ended = apply(&mut link, &mut assembler, history, sink, drain, series).await;
        let result = match ended {
            Ended::Drained => Ok(()),
            Ended::Broken(error) => Err(error),
            Ended::Stopped if !link.is_stopped() => Err(StreamError::Panicked("link")),
            // It has stopped the link and is dropping the slot.
            Ended::Stopped => Err(match guard.await {
                Ok(()) => StreamError::OverBudget,
                Err(_) => StreamError::Panicked("guard"),
            }),
        };
        link.stop().await;
        result
    }

    /// A running stream broke.
    fn broke(&mut self, error: &StreamError) {
        self.series.reconnects.inc();
        // After START_REPLICATION succeeded only a publication can be missing:
        // the server looks it up as of the row it decodes.
        if error.sqlstate() == Some("42704") {
            self.history.is_poisoned = true;
        }
        if self.config.temporary || matches!(error, StreamError::OverBudget) {
            self.history.slot_exists = false;
        }
        let (code, slot) = (ErrorCode::ReplicationConnectionDown, &self.config.slot_name);
        tracing::warn!(%code, error = error.reason(), slot, "stream broke");
        self.sink.interrupted();
        if let Some(epoch) = self.history.epoch {
            self.status.send_replace(Status::Interrupted {
                epoch,
                since: Instant::now(),
                reason: error.reason().into(),
                slot_exists: self.history.slot_exists && !self.history.is_poisoned,
            });
        }
    }

    /// An attempt to start failed.
    fn failed(&mut self, error: &StreamError) {
        let now = Instant::now();
        let reason = error.reason();
        let is_held = matches!(error, StreamError::SlotInUse { .. });
        let held_since = is_held.then(|| self.held_since.unwrap_or(now));
        self.held_since = held_since;
        self.status.send_if_modified(|status| {
            let since = match status {
                Status::Failed { since, .. } | Status::Standby { since } => *since,
                _ => now,
            };
            let next = match (&*status, held_since) {
                (Status::Interrupted { .. }, Some(held)) if held.elapsed() < TAKEOVER => {
                    return false;
                }
                (_, Some(_)) => Status::Standby { since },
                (_, None) if !error.is_transient() => {
                    Status::Failed { since, reason: reason.as_str().into() }
                }
                // Still the same interruption, with its first reason.
                (Status::Interrupted { .. }, None) => return false,
                (_, None) => Status::Starting { detail: reason.as_str().into() },
            };
            let is_new = *status != next;
            *status = next;
            is_new
        });
        // Tried every second or so: what is known already is not said again.
        let slot = &self.config.slot_name;
        if self.reason.as_ref() == Some(&reason) {
            tracing::debug!(reason, slot, "still cannot stream");
        } else if is_held {
            tracing::info!(
                code = %ErrorCode::ReplicationSlotBeingUsed, slot,
                "the slot is in use by another process: standing by"
            );
        } else {
            tracing::warn!(
                code = %ErrorCode::StartReplicationFailed, reason, slot,
                "cannot stream"
            );
        }
        self.reason = Some(reason);
    }
}

impl<S> Drop for Worker<S> {
    fn drop(&mut self) {
        // Also after a panic: nobody must wait for a stream that is gone.
        self.status.send_replace(Status::Stopped);
    }
}
