//! Several servers, one stream: one of them reads the database for all.
//!
//! Whoever has the slot appends what it reads to a log in Redis; every server,
//! the owner too, follows the log and serves its own clients. PostgreSQL gives
//! a slot to one connection at a time, so the slot elects its owner. An entry
//! is named by its position in the database's own log, so nothing is told
//! twice when an owner starts over where another one ended.
//!
//! `owner` → [`crate::cluster::redis::Log`] → `follower`; `entry` is the form
//! of what is in between, `reading` knows whether something was missed.

mod entry;
mod follower;
mod owner;
mod reading;

use std::{sync::Arc, time::Duration};

use self::{follower::Follower, owner::Owner};
use super::{config, metrics::Metrics, sink::ChangeSink, status::Handle, worker::Worker};
use crate::{cluster::redis::Log, runtime::Stages};

/// Settings of a relay.
#[derive(Debug, Clone)]
pub struct Config {
    /// The most bytes that a server may be behind before the others wait for it.
    pub log_bytes: usize,
}

/// An owner that is not heard of for this long loses the slot.
const HANG_UP: Duration = Duration::from_secs(8);

/// Bytes of a batch in the log: what a server reads at once is a few dozen.
const BATCH_BYTES: usize = 128 << 10;

/// Starts to read the log into `sink`, and stands by to read the database
/// for all. A server that stops leaves the latter to others at once, and reads
/// the log as long as it has clients.
pub fn spawn<S: ChangeSink>(
    stream: config::Config,
    relay: Config,
    log: Arc<Log>,
    sink: S,
    stages: &Stages,
    metrics: &Metrics,
) -> Handle {
    let stream =
        config::Config { hang_up_after: Some(HANG_UP), batch_bytes: BATCH_BYTES, ..stream };
    let (status, handle) = Handle::channel();
    let series = metrics.series(&stream.tenant);
    let follower = Follower::new(Arc::clone(&log), sink, stages.ground.clone(), status, series);
    stages.ground.spawn("changes", follower.run());
    Worker::spawn(stream, Owner::new(log, relay), &stages.work, &metrics.without_counts());
    handle
}
