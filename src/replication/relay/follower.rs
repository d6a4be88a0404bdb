//! Every server's reader of the log: entries become batches for its sinks.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    cluster::{
        log::{Entry, Head, LogError},
        redis::Log,
    },
    error_code::ErrorCode,
    runtime::{Drain, backoff::Backoff},
    telemetry::reason,
};

use super::{
    super::{
        change::Batch,
        metrics::Series,
        position::Lsn,
        sink::{ChangeSink, Start},
        status::Status,
    },
    entry::{EntryError, Reader},
    reading::Reading,
};

/// Between looks for a first history.
const LOOK: Duration = Duration::from_millis(50);

/// Changes that are handed on together, if they are there already.
const GROUP: usize = 1_000;

/// Between two words about how far we are.
const REPORT: Duration = Duration::from_millis(200);

/// Between two signs of life while changes are handed on.
const SIGN: Duration = Duration::from_secs(2);

/// The task behind a relay's handle.
#[derive(Debug)]
pub(super) struct Follower<S> {
    log: Arc<Log>,
    sink: S,
    drain: Drain,
    status: watch::Sender<Status>,
    series: Series,
    reading: Option<Reading>,
    /// There was no history yet when we looked: the first one is ours from its start.
    is_first: bool,
    reader: Reader,
    /// What was last reported, and when.
    reported: Option<(Reading, Instant)>,
}

/// Why reading stopped for a while.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error("the server's own subscribers could not be served")]
    Sink,
}

impl<S: ChangeSink> Follower<S> {
    pub(super) fn new(
        log: Arc<Log>,
        sink: S,
        drain: Drain,
        status: watch::Sender<Status>,
        series: Series,
    ) -> Self {
        let (reading, is_first, reader, reported) = (None, false, Reader::default(), None);
        Self { log, sink, drain, status, series, reading, is_first, reader, reported }
    }

    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let drain = self.drain.clone();
        let mut was_told = false;
        loop {
            let stopped = tokio::select! {
                biased;
                () = drain.started() => break,
                stopped = Box::pin(self.read(&mut backoff)) => stopped,
            };
            if !std::mem::replace(&mut was_told, self.is_interrupted()) || self.is_live() {
                tracing::warn!(
                    code = %ErrorCode::ReplicationConnectionDown, error = reason(&stopped),
                    "changes cannot be read, trying again"
                );
            }
            self.interrupted(&stopped);
            tokio::select! {
                biased;
                () = drain.started() => break,
                () = sleep(backoff.pause()) => {}
            }
        }
        self.status.send_replace(Status::Stopped);
    }

    /// Reads until something fails.
    async fn read(&mut self, backoff: &mut Backoff) -> Stopped {
        loop {
            match self.turn().await {
                Ok(()) => backoff.reset(),
                Err(stopped) => return stopped,
            }
        }
    }

    /// Finds the history that is current, then reads it until it ends or
    /// there is nothing new for a second.
    async fn turn(&mut self) -> Result<(), Stopped> {
        let Some(head) = self.log.head().await? else {
            // Nobody has read the database yet, or Redis forgot it.
            self.is_first = true;
            sleep(LOOK).await;
            return Ok(());
        };
        self.follow(&head).await;
        // Before anything is read: whoever appends waits only for whom it knows.
        self.report().await?;
        while let Some(reading) = &self.reading {
            let entries = self.log.read(reading.history(), reading.seen()).await?;
            let is_over = entries.is_empty() || entries.iter().any(|entry| entry.payload.is_none());
            self.deliver(&entries).await?;
            self.report().await?;
            if is_over {
                break;
            }
        }
        Ok(())
    }

    async fn follow(&mut self, head: &Head) {
        let start = if let Some(reading) = &mut self.reading {
            reading.follow(head)
        } else {
            let (reading, start) = Reading::begin(head, self.is_first);
            self.reading = Some(reading);
            Some(start)
        };
        let Some(reading) = &self.reading else { return };
        let epoch = reading.epoch();
        if let Some(start) = start {
            self.started(start).await;
        } else if !self.is_live() {
            let from = Lsn(reading.seen().0);
            self.started(Start { epoch, from, gap: None }).await;
        }
    }

    async fn deliver(&mut self, entries: &[Entry]) -> Result<(), Stopped> {
        let mut batches = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(bytes) = &entry.payload else { break };
            let batch = match self.reader.decode(Lsn(entry.id.0), bytes) {
                Ok(batch) => batch,
                // Tried again: another version of this server may be on its way.
                Err(error) => {
                    self.hand_on(batches).await?;
                    return Err(error.into());
                }
            };
            let Some(reading) = &mut self.reading else { break };
            if let Some(gap) = reading.step(entry) {
                self.hand_on(std::mem::take(&mut batches)).await?;
                self.started(gap).await;
            }
            if let Some(reading) = &mut self.reading {
                batches.extend(reading.news(batch));
            }
            if batches.iter().map(|batch| batch.changes.len()).sum::<usize>() >= GROUP {
                self.hand_on(std::mem::take(&mut batches)).await?;
                self.report().await?;
            }
        }
        self.hand_on(batches).await
    }

    /// Gives batches to the sink, and signs of life while it takes its time.
    async fn hand_on(&self, batches: Vec<Batch>) -> Result<(), Stopped> {
        if batches.is_empty() {
            return Ok(());
        }
        let mut work = pin!(self.sink.deliver_all(&batches));
        loop {
            tokio::select! {
                biased;
                done = &mut work => {
                    done.map_err(|_| Stopped::Sink)?;
                    break;
                }
                () = sleep(SIGN) => {
                    // Without the log nobody waits for us, and the work goes on.
                    if let Some((reported, _)) = &self.reported {
                        let _ = self.log.report(reported.history(), reported.seen()).await;
                    }
                }
            }
        }
        self.series.handed_on(&batches);
        Ok(())
    }

    /// Says how far this server is, now and then.
    async fn report(&mut self) -> Result<(), Stopped> {
        let Some(reading) = &self.reading else { return Ok(()) };
        let now = Instant::now();
        let is_due = self.reported.as_ref().is_none_or(|(_, last)| now - *last >= REPORT);
        if is_due {
            self.log.report(reading.history(), reading.seen()).await?;
            self.reported = Some((reading.clone(), now));
        }
        Ok(())
    }

    async fn started(&mut self, start: Start) {
        if start.gap.is_some() {
            self.series.gaps.inc();
        }
        tracing::info!(from = %start.from, gap = ?start.gap, "changes flow");
        let epoch = start.epoch;
        self.sink.started(start).await;
        self.status.send_replace(Status::Streaming { epoch });
    }

    fn interrupted(&mut self, stopped: &Stopped) {
        let reason = reason(stopped).into();
        let next = match (&self.reading, &*self.status.borrow()) {
            (_, Status::Interrupted { .. }) => return,
            (Some(reading), _) => Status::Interrupted {
                epoch: reading.epoch(),
                since: Instant::now(),
                reason,
                // What is appended meanwhile will come.
                slot_exists: true,
            },
            (None, _) => Status::Starting { detail: reason },
        };
        self.sink.interrupted();
        self.status.send_replace(next);
    }

    fn is_live(&self) -> bool {
        matches!(*self.status.borrow(), Status::Streaming { .. })
    }

    fn is_interrupted(&self) -> bool {
        !self.is_live()
    }
}
