//! Broadcasts of the database: rows of `realtime.messages` as the log shows them.
//!
//! The sink never waits: a row is handed to the hub or dropped. Only inserts
//! count; what happens to a row later is of no interest to those who were
//! joined. What is dropped is logged with its reason, never with its payload.
//! Nothing is remembered of the rows: the stream skips what it repeats, except
//! after a crash of this process, when a row may come twice.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::watch;
use uuid::Uuid;

use super::{
    reserved,
    row::{self, Dropped, Layout},
};
use crate::{
    error_code::ErrorCode,
    hub::{Interest, Key, topics::Hub},
    protocol::prepared::Fanout,
    replication::{
        change::{Batch, Operation, Tuple},
        sink::{ChangeSink, Start, Undelivered},
    },
    runtime::clock,
    tenants::Tenant,
};

use super::metrics::DatabaseSeries;

/// The sink to give to the stream. Clones share it.
#[derive(Debug, Clone)]
pub struct DatabaseBroadcasts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tenant: Arc<Tenant>,
    hub: Arc<Hub>,
    /// Rows that committed longer ago are no news to anybody.
    retention: Duration,
    series: DatabaseSeries,
    live: watch::Sender<bool>,
}

/// Tells whether broadcasts of the database flow. Clones share it.
#[derive(Debug, Clone)]
pub struct Readiness(watch::Receiver<bool>);

impl Readiness {
    /// Whether they flow now.
    pub fn is_live(&self) -> bool {
        *self.0.borrow()
    }

    /// Completes when they flow; at once if they do. Never completes after the
    /// stream's end, so put a limit on it. Cancel safe.
    pub async fn live(&mut self) {
        if self.0.wait_for(|live| *live).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The flag itself.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.0.clone()
    }
}

impl DatabaseBroadcasts {
    /// Broadcasts rows within `tenant` that committed within `retention`.
    pub fn new(
        tenant: Arc<Tenant>,
        hub: Arc<Hub>,
        retention: Duration,
        series: DatabaseSeries,
    ) -> Self {
        let live = watch::Sender::new(false);
        Self(Arc::new(Inner { tenant, hub, retention, series, live }))
    }

    /// To wait until broadcasts of the database flow.
    pub fn readiness(&self) -> Readiness {
        Readiness(self.0.live.subscribe())
    }
}

impl ChangeSink for DatabaseBroadcasts {
    async fn started(&self, _start: Start) {
        self.0.live.send_replace(true);
    }

    async fn deliver(&self, batch: &Batch) -> Result<(), Undelivered> {
        let age = age(batch.committed_at);
        let mut dropped: HashMap<Dropped, u64> = HashMap::new();
        let mut layout: Option<(u64, Layout)> = None;
        for change in &batch.changes {
            let relation = &*change.relation;
            let Operation::Insert { new } = &change.operation else { continue };
            if !row::is_messages(relation) {
                continue;
            }
            // All rows of a batch usually have one table.
            let columns = match &layout {
                Some((version, columns)) if *version == relation.version => columns,
                _ => &layout.insert((relation.version, Layout::of(relation))).1,
            };
            match self.0.broadcast(columns, new, batch.xid, age) {
                Ok((id, inserted_at)) => {
                    self.0.series.sent(age, inserted_at.map(self::age));
                    tracing::trace!(%id, "broadcast of the database");
                }
                Err(reason) => *dropped.entry(reason).or_default() += 1,
            }
        }
        for (reason, rows) in dropped {
            self.0.series.dropped(reason.as_str(), rows);
            tracing::warn!(code = %ErrorCode::UnableToBroadcastChanges, %reason, rows, "rows dropped");
        }
        Ok(())
    }

    fn interrupted(&self) {
        self.0.live.send_replace(false);
    }
}

impl Inner {
    fn broadcast(
        &self,
        columns: &Layout,
        new: &Tuple,
        xid: u32,
        age: Duration,
    ) -> Result<(Uuid, Option<i64>), Dropped> {
        if age > self.retention {
            return Err(Dropped::Expired);
        }
        let row = columns.read(new)?;
        if row.broadcast.payload.len() > self.tenant.max_payload_bytes() {
            return Err(Dropped::PayloadTooLarge);
        }
        let key =
            Key { tenant: Arc::clone(&self.tenant.name), private: row.private, topic: row.topic };
        if reserved::is_reserved(&self.tenant, &key, &row.broadcast.event) {
            return Err(Dropped::Reserved);
        }
        let events = &self.tenant.meters.events;
        // Unlike a client's message this closes nobody's channel: no client is
        // to blame for what the database says.
        if events.record(1) {
            return Err(Dropped::TooManyRequests);
        }
        let meta = format!(r#"{{"id":"{}"}}"#, row.id);
        let message = Fanout::User { broadcast: row.broadcast, meta };
        events.record(self.hub.publish_stored(&key, &message, Interest::BROADCAST, (row.id, xid)));
        Ok((row.id, row.inserted_at))
    }
}

/// How long ago that was, in microseconds since 1970; zero for the future.
fn age(committed_at: i64) -> Duration {
    let then = Duration::from_micros(u64::try_from(committed_at).unwrap_or_default());
    clock::unix_time().saturating_sub(then)
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
