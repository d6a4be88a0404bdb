//! From nothing to a running stream: connect, identify, publications, slot, start.
//!
//! Every step can be abandoned at any await; what it leaves behind in the
//! database is found by the next attempt. What must not be forgotten between
//! attempts is in [`History`].

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    config::Config,
    error::StreamError,
    position::{Epoch, Lsn},
    publication,
    sink::{Gap, Start},
    slot,
    status::Status,
    transaction::Progress,
};
use crate::{
    error_code::ErrorCode,
    postgres::wire::{Connection, Mode, ReplicationStream, Startup, WireError},
    runtime::clock,
};

/// What is remembered from one connection to the next.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The last history that the sink was told of.
    pub(super) epoch: Option<Epoch>,
    /// How far it was delivered.
    pub(super) progress: Progress,
    /// The most we ever confirmed, or found confirmed when we took the slot over.
    pub(super) confirmed: Option<Lsn>,
    /// How far the sink says that its own history reaches.
    pub(super) reached: Option<Lsn>,
    /// A gap that the sink has not been told of yet.
    pub(super) gap: Option<Gap>,
    /// As far as we know.
    pub(super) slot_exists: bool,
    /// The slot stands before a publication that was dropped and made anew:
    /// it fails at the same place for ever.
    pub(super) is_poisoned: bool,
}

/// A stream that is ready, and how it starts.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) stream: ReplicationStream,
    pub(super) start: Start,
    /// The server hangs up after this much silence; zero for never.
    pub(super) wal_sender_timeout: Duration,
}

/// One attempt.
pub(super) async fn prepare(
    config: &Config,
    history: &mut History,
    status: &watch::Sender<Status>,
) -> Result<Prepared, StreamError> {
    let startup = startup(config, Mode::Replication);
    let mut connection = Connection::open(&config.connect, &startup).await?;
    let Settings { wal_sender_timeout, is_standby } =
        check_settings(&mut connection, config).await?;
    let (system_id, timeline, end) = identify(&mut connection).await?;
    if let Some(old) = history.epoch
        && (old.system_id, old.timeline) != (system_id, timeline)
    {
        history.note(Gap::NewHistory);
    }
    // A data folder that was put back is the same system on the same timeline,
    // with less log than we have confirmed. A standby just may not be there yet.
    if !is_standby && history.confirmed.max(history.reached).is_some_and(|ours| end < ours) {
        history.note(Gap::NewHistory);
    }
    publication::ensure(&mut connection, &config.publications, config.create_publications).await?;
    let confirmed = ensure_slot(config, history, status, &mut connection).await?;

    let command = format!(
        "START_REPLICATION SLOT {} LOGICAL 0/0 (proto_version '1', publication_names {})",
        publication::identifier(&config.slot_name),
        publication::list(&config.publications),
    );
    let stream = connection
        .start_replication(&command)
        .await
        .map_err(|error| slot::in_use(error.into(), &config.slot_name))?;
    let start = history.begin(system_id, timeline, confirmed);
    Ok(Prepared { stream, start, wal_sender_timeout })
}

/// How our connections start.
pub(super) fn startup(config: &Config, mode: Mode) -> Startup {
    Startup {
        application_name: "rowcast-replication".to_owned(),
        mode,
        timeout: config.connect_timeout,
    }
}

/// The cluster's identity, its timeline, and the end of its log on disk.
async fn identify(connection: &mut Connection) -> Result<(u64, u32, Lsn), StreamError> {
    let rows = connection.query("IDENTIFY_SYSTEM").await?;
    let read = || Some((rows.parse(0, 0)?, rows.parse(0, 1)?, rows.parse(0, 2)?));
    read().ok_or(StreamError::Answer("IDENTIFY_SYSTEM"))
}

/// What matters of how a server is set up.
struct Settings {
    wal_sender_timeout: Duration,
    is_standby: bool,
}

/// Checks that the server can stream.
async fn check_settings(
    connection: &mut Connection,
    config: &Config,
) -> Result<Settings, StreamError> {
    if connection.server_version() >= 140_000 {
        // So that a backend that waits to create a slot notices when we are
        // gone. Some systems cannot do it; they only take longer.
        match connection.query("SET client_connection_check_interval = '2s'").await {
            Ok(_) | Err(WireError::Server(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(limit) = config.hang_up_after {
        // Whoever waits for the slot of a process that hangs waits this long.
        let milliseconds = limit.as_millis();
        connection.query(&format!("SET wal_sender_timeout = {milliseconds}")).await?;
    }
    let sql = "SELECT current_setting('wal_level'), \
               (SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'), \
               pg_is_in_recovery()";
    let rows = connection.query(sql).await?;
    match rows.text(0, 0) {
        Some("logical") => {}
        found => {
            return Err(StreamError::WalLevel { found: found.unwrap_or("unknown").to_owned() });
        }
    }
    // Asked before the timeline: a promotion after it would go by unseen.
    // From 16 on a standby can stream as it is.
    let is_standby = rows.text(0, 2) == Some("t");
    if is_standby && connection.server_version() < 160_000 {
        return Err(StreamError::InRecovery);
    }
    let wal_sender_timeout = Duration::from_millis(rows.parse(0, 1).unwrap_or(60_000));
    Ok(Settings { wal_sender_timeout, is_standby })
}

/// Finds or makes the slot and returns its confirmed position.
async fn ensure_slot(
    config: &Config,
    history: &mut History,
    status: &watch::Sender<Status>,
    connection: &mut Connection,
) -> Result<Lsn, StreamError> {
    let name = &config.slot_name;
    loop {
        let Some(found) = slot::find(connection, name).await? else {
            history.slot_exists = false;
            status.send_if_modified(|status| match status {
                Status::Interrupted { slot_exists, .. } => std::mem::take(slot_exists),
                Status::Stopped | Status::Streaming { .. } => false,
                Status::Starting { .. } | Status::Standby { .. } | Status::Failed { .. } => {
                    let detail = "creating the slot; waits for open transactions".into();
                    *status = Status::Starting { detail };
                    true
                }
            });
            // Before the attempt: if the answer gets lost, the slot is there
            // next time and nothing else would tell.
            history.note(Gap::NewSlot);
            let Some(at) = slot::create(connection, name, config.temporary).await? else {
                continue;
            };
            tracing::info!(slot = name, %at, "created the replication slot");
            history.slot_exists = true;
            history.is_poisoned = false;
            return Ok(at);
        };
        if found.is_active {
            return Err(StreamError::SlotInUse { name: name.clone() });
        }
        let over = config.wal_budget_bytes.is_some_and(|budget| found.is_over(budget));
        if found.is_lost {
            tracing::error!(
                code = %ErrorCode::ReplicationSlotNotAlive,
                slot = name,
                "postgres removed log that the slot needs: making it anew"
            );
            slot::drop_slot(connection, name).await?;
        } else if over {
            let held = found.held;
            tracing::error!(
                code = %ErrorCode::ReplicationSlotLagTooHigh, slot = name, held,
                "the slot holds back too much log: making it anew"
            );
            slot::drop_slot(connection, name).await?;
        } else if history.is_poisoned {
            tracing::error!(
                code = %ErrorCode::ReplicationSlotNotAlive,
                slot = name,
                from = %found.confirmed,
                "the slot stands before a publication that was made anew: skipping what it holds"
            );
            history.note(Gap::SlotAhead);
            if slot::skip_to_now(connection, name).await? {
                history.is_poisoned = false;
                history.confirmed = None;
            } else {
                slot::drop_slot(connection, name).await?;
            }
        } else {
            history.slot_exists = true;
            if history.confirmed.is_some_and(|ours| found.confirmed > ours) {
                history.note(Gap::SlotAhead);
            }
            return Ok(found.confirmed);
        }
    }
}

impl History {
    /// Remembers a gap until the sink is told; the more it says, the longer it stays.
    pub(super) fn note(&mut self, gap: Gap) {
        let weight = |gap| match gap {
            Gap::LogLost => 0,
            Gap::SlotAhead => 1,
            Gap::NewSlot => 2,
            Gap::NewHistory => 3,
        };
        if self.gap.is_none_or(|known| weight(gap) > weight(known)) {
            self.gap = Some(gap);
        }
    }

    /// The sink keeps the history, as far as `reached`, and others may have
    /// continued it: what is remembered here counts no more, but for a gap.
    pub(super) fn is_kept_elsewhere(&mut self, reached: Lsn) {
        self.reached = Some(reached);
        self.epoch = None;
        self.progress = Progress::default();
        self.confirmed = None;
    }

    /// The stream runs: continues the history, or begins a new one after a gap.
    fn begin(&mut self, system_id: u64, timeline: u32, confirmed: Lsn) -> Start {
        let gap = self.gap.take();
        let epoch = match self.epoch {
            Some(epoch) if gap.is_none() => epoch,
            _ => {
                self.progress = Progress::default();
                self.confirmed = None;
                Epoch { system_id, timeline, generation: next_generation() }
            }
        };
        self.epoch = Some(epoch);
        // After a crash of the server its slot may stand before what we confirmed.
        self.confirmed = Some(self.confirmed.map_or(confirmed, |ours| ours.max(confirmed)));
        Start { epoch, from: confirmed, gap }
    }
}

/// A number that no history of this database had before, if the clock is right.
///
/// PostgreSQL does not say when a slot was made, so a process cannot tell
/// whether a slot it finds is the one that an earlier process used. Each
/// process therefore begins a history of its own, numbered by the clock, and
/// another after each gap. A restart ends the old positions although the slot
/// lost nothing; the opposite, old positions taken for valid ones, would
/// take a clock that was put back.
fn next_generation() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let now = u32::try_from(clock::unix_seconds()).unwrap_or(u32::MAX);
    let next = |last: u32| now.max(last.saturating_add(1));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
    next(last.unwrap_or_else(|last| last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_goes_on_until_there_is_a_gap() {
        let mut history = History::default();
        let first = history.begin(1, 1, Lsn(5));
        assert_eq!((first.from, first.gap), (Lsn(5), None));
        history.progress = Progress { commit: Lsn(8), changes: 1, is_complete: true };
        history.confirmed = Some(Lsn(9));
        let second = history.begin(1, 1, Lsn(7));
        assert_eq!(second.epoch, first.epoch);
        assert_eq!(history.confirmed, Some(Lsn(9)), "a crashed server does not take it back");
        assert_eq!(history.progress.commit, Lsn(8));
        history.note(Gap::NewSlot);
        history.note(Gap::SlotAhead);
        let third = history.begin(1, 1, Lsn(7));
        assert_eq!(third.gap, Some(Gap::NewSlot));
        assert!(third.epoch.generation > first.epoch.generation);
        assert_eq!(history.progress, Progress::default());
        assert_eq!(history.gap, None);
    }
}
