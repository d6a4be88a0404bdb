//! The sink of the one server that reads the database: batches go to the log.
//!
//! A batch is handed off when the log has it, so a crash in between repeats
//! entries, which the log knows by their ids. Whoever cannot append gives the
//! slot back, for another server may be able to.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    cluster::{
        log::{About, EntryId, Known, LogError, Turn},
        redis::Log,
    },
    error_code::ErrorCode,
    runtime::backoff::Backoff,
    telemetry::reason,
};

use super::{
    super::{
        change::Batch,
        position::Lsn,
        sink::{ChangeSink, Start, Undelivered},
    },
    Config, entry,
    reading::gap_name,
};

/// How long the log may be away before the slot is given back.
const PATIENCE: Duration = Duration::from_secs(4);

/// Between looks at readers that are behind.
const LOOK: Duration = Duration::from_millis(20);

/// A reader that is behind and does not move for this long is not waited for,
/// nor one that is not heard of.
const LAGGARD: Duration = Duration::from_secs(30);

/// Entries are kept this many times the bytes that readers may be behind.
const KEPT: usize = 2;

/// Most entries of which the log is told the sizes.
const MOST_SIZES: usize = 1_000_000;

/// Appends what the stream brings.
#[derive(Debug)]
pub(super) struct Owner {
    log: Arc<Log>,
    config: Config,
    state: Mutex<State>,
}

/// What is known of the log; a lock is held for no longer than a look.
#[derive(Debug, Default)]
struct State {
    turn: Option<Turn>,
    /// What this server knows of the log it appended to.
    known: Option<Known>,
    /// The newest entries and their bytes, the oldest first.
    kept: VecDeque<(EntryId, usize)>,
    kept_bytes: usize,
    /// Those that a reader may not have yet.
    unread: VecDeque<(EntryId, usize)>,
    unread_bytes: usize,
}

impl Owner {
    pub(super) fn new(log: Arc<Log>, config: Config) -> Self {
        Self { log, config, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the log answers.
    async fn reach(&self) -> Lsn {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            match self.log.head().await {
                Ok(head) => return Lsn(head.map_or(0, |head| head.top.0)),
                Err(error) => tracing::debug!(error = reason(&error), "no log to append to"),
            }
            sleep(backoff.pause()).await;
        }
    }

    async fn take(&self, start: &Start) -> Result<Turn, LogError> {
        let about = About {
            source: (start.epoch.system_id, start.epoch.timeline),
            generation: start.epoch.generation,
            gap: gap_name(start.gap).to_owned(),
        };
        let token = Uuid::new_v4().simple().to_string();
        let known = self.lock().known.clone();
        self.log.take(&token, &about, start.from.0, known.as_ref()).await
    }

    async fn append(
        &self,
        turn: &Turn,
        entries: &[(EntryId, Bytes)],
        end: u64,
    ) -> Result<(), LogError> {
        let keep = self.lock().keep(self.config.log_bytes * KEPT) + entries.len();
        let given_up = Instant::now() + PATIENCE;
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
        loop {
            match self.log.append(turn, keep, entries, end).await {
                // Appended or not: asking again finds out.
                Err(LogError::Away(error)) if Instant::now() < given_up => {
                    tracing::debug!(error = reason(&*error), "the log is away");
                    sleep(backoff.pause()).await;
                }
                done => return done,
            }
        }
    }

    /// Waits for readers that are too far behind, unless they do not move.
    async fn hold(&self, history: &str) {
        let (mut slowest, mut since) = (EntryId::default(), Instant::now());
        while self.lock().unread_bytes > self.config.log_bytes {
            // Without an answer nobody can be waited for.
            let Ok(places) = self.log.places(history).await else { return };
            let Some(least) = places.into_iter().min() else {
                return self.lock().read_up_to(EntryId(u64::MAX, u64::MAX));
            };
            self.lock().read_up_to(least);
            if least != slowest {
                (slowest, since) = (least, Instant::now());
            } else if since.elapsed() > LAGGARD {
                tracing::warn!(
                    code = %ErrorCode::RealtimeNodeDisconnected,
                    "a server does not keep up with the changes and will miss some"
                );
                return self.lock().read_up_to(EntryId(u64::MAX, u64::MAX));
            }
            sleep(LOOK).await;
        }
    }
}

impl ChangeSink for Owner {
    async fn ready(&self) -> Option<Lsn> {
        Some(self.reach().await)
    }

    async fn started(&self, start: Start) {
        let turn = match self.take(&start).await {
            Ok(turn) => turn,
            // The first batch will fail and the stream start over.
            Err(error) => {
                tracing::warn!(
                    code = %ErrorCode::RealtimeNodeDisconnected, error = reason(&error),
                    "cannot take the log over"
                );
                self.lock().turn = None;
                return;
            }
        };
        tracing::info!(history = turn.history, top = %turn.top, "reading the database for all");
        self.lock().begin(turn);
    }

    async fn deliver(&self, batch: &Batch) -> Result<(), Undelivered> {
        self.deliver_all(std::slice::from_ref(batch)).await
    }

    async fn deliver_all(&self, batches: &[Batch]) -> Result<(), Undelivered> {
        self.hand_off(batches, None).await
    }

    async fn hand_off(&self, batches: &[Batch], end: Option<Lsn>) -> Result<(), Undelivered> {
        let turn = self.lock().turn.clone().ok_or(Undelivered)?;
        let news = batches.iter().map(|batch| (id(batch), batch));
        let entries: Vec<_> = news
            .filter(|(id, _)| *id > turn.top)
            .map(|(id, batch)| (id, entry::encode(batch)))
            .collect();
        // Whoever takes over knows by this whether the log lost what will not come again.
        let end = end.map_or(turn.end, |end| end.0.max(turn.end));
        if entries.is_empty() && end == turn.end {
            return Ok(());
        }
        if !entries.is_empty() {
            self.hold(&turn.history).await;
        }
        if let Err(error) = self.append(&turn, &entries, end).await {
            tracing::warn!(
                code = %ErrorCode::RealtimeNodeDisconnected, error = reason(&error),
                "changes cannot be shared"
            );
            self.lock().turn = None;
            return Err(Undelivered);
        }
        self.lock().appended(&entries, end);
        Ok(())
    }

    fn interrupted(&self) {
        self.lock().turn = None;
    }
}

impl State {
    fn begin(&mut self, turn: Turn) {
        self.known = Some(Known { history: turn.history.clone(), top: turn.top, end: turn.end });
        *self = Self { known: self.known.take(), ..Self::default() };
        // What others appended: about as large as their average.
        let size = turn.bytes / turn.entries.max(1);
        for _ in 0..turn.entries.min(MOST_SIZES) {
            self.kept.push_back((EntryId::default(), size));
            self.kept_bytes += size;
        }
        self.turn = Some(turn);
    }

    fn appended(&mut self, entries: &[(EntryId, Bytes)], end: u64) {
        for (id, bytes) in entries {
            let size = (*id, bytes.len());
            self.kept.push_back(size);
            self.unread.push_back(size);
            self.kept_bytes += size.1;
            self.unread_bytes += size.1;
        }
        if let Some(turn) = &mut self.turn {
            (turn.top, turn.end) = (entries.last().map_or(turn.top, |(id, _)| *id), end);
            self.known =
                Some(Known { history: turn.history.clone(), top: turn.top, end: turn.end });
        }
    }

    /// How many entries make up that many bytes.
    fn keep(&mut self, bytes: usize) -> usize {
        while self.kept_bytes > bytes || self.kept.len() > MOST_SIZES {
            let Some((_, size)) = self.kept.pop_front() else { break };
            self.kept_bytes -= size;
        }
        self.kept.len()
    }

    fn read_up_to(&mut self, place: EntryId) {
        while let Some((id, size)) = self.unread.front().copied()
            && id <= place
        {
            self.unread.pop_front();
            self.unread_bytes -= size;
        }
    }
}

/// By the end of a batch, so that a longer piece of the same transaction is new.
fn id(batch: &Batch) -> EntryId {
    let count = u64::try_from(batch.changes.len()).unwrap_or(u64::MAX);
    EntryId(batch.commit.0, u64::from(batch.first_ordinal).saturating_add(count))
}
