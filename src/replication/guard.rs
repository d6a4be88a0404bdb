//! The budget guard: rather lose changes, loudly, than fill the user's disk.
//!
//! A slot makes PostgreSQL keep its log until a consumer confirms it. While
//! the sink is stuck, only somebody else can notice, so this is a task.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    config::Config, error::StreamError, prepare::startup, publication, slot, status::Status,
};
use crate::{
    error_code::ErrorCode,
    postgres::wire::{Connection, Mode},
};

/// Between attempts to drop a slot that is still in use.
const RELEASE: Duration = Duration::from_millis(200);

/// What a guard needs.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    pub(super) config: Arc<Config>,
    /// Ends the stream that uses the slot.
    pub(super) stop_link: CancellationToken,
    pub(super) status: watch::Sender<Status>,
}

impl Guard {
    /// Watches until the slot has been given up. Without a budget, for ever.
    /// Cancel safe between checks, and what it leaves half done the next start
    /// finds: a slot over budget is dropped then too.
    pub(super) async fn run(self) {
        // Without a guard there is no stream, also when the guard panicked.
        let _stops = self.stop_link.clone().drop_guard();
        let Some(budget) = self.config.wal_budget_bytes else {
            return std::future::pending().await;
        };
        // The start has just looked.
        let period = self.config.wal_budget_interval;
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Once the link is stopped the next start finishes the work.
        while !self.stop_link.is_cancelled() {
            ticks.tick().await;
            if let Err(error) = self.check(budget).await {
                tracing::warn!(
                    code = %ErrorCode::ReplicationSlotLagCheckSkipped, error = error.reason(),
                    "cannot look after the slot"
                );
            }
        }
    }

    async fn check(&self, budget: u64) -> Result<(), StreamError> {
        let name = &self.config.slot_name;
        let startup = startup(&self.config, Mode::Sql);
        let mut connection = Connection::open(&self.config.connect, &startup).await?;
        let Some(found) = slot::find(&mut connection, name).await? else { return Ok(()) };
        if !found.is_over(budget) {
            // Since version 18 a stream goes on without a publication that was
            // dropped, and nothing else would tell.
            let config = &self.config;
            let publications = &config.publications;
            publication::ensure(&mut connection, publications, config.create_publications).await?;
            connection.close().await;
            return Ok(());
        }
        tracing::error!(
            code = %ErrorCode::ReplicationSlotLagTooHigh,
            slot = name,
            held = found.held,
            budget,
            "the consumer cannot keep up and the log fills the disk: giving the slot up"
        );
        self.stop_link.cancel();
        self.status.send_if_modified(|status| match status {
            Status::Streaming { epoch } => {
                *status = Status::Interrupted {
                    epoch: *epoch,
                    since: Instant::now(),
                    reason: "the slot held back too much log".into(),
                    slot_exists: false,
                };
                true
            }
            _ => false,
        });
        // The server needs a moment to see that the stream is over.
        for _ in 0..50 {
            match slot::drop_slot(&mut connection, name).await {
                Err(StreamError::SlotInUse { .. }) => tokio::time::sleep(RELEASE).await,
                done => return done,
            }
        }
        Err(StreamError::SlotInUse { name: name.clone() })
    }
}
