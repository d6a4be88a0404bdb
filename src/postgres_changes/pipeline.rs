//! Row changes from the stream to the outboxes.
//!
//! Rows wait for a lookup of their table when the stream describes it anew:
//! PostgreSQL does so after every change of columns, grants, policies and row
//! security, so a revoke takes effect with the first row after it. What it does
//! not tell, changes of roles, is looked up beside the stream every few seconds.
//!
//! Rows of tables with row security are judged ahead, a stretch at a time; they
//! and all others leave in the order of their commits.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{
    catalog::{Catalog, CatalogError},
    deliver::Rules,
    row_security::Judge,
    state::State,
};
use crate::replication::{
    change::Batch,
    relation::Relation,
    sink::{ChangeSink, Gap, Start},
};

/// Between tries of a lookup that failed: the database is away.
const RETRY: Duration = Duration::from_millis(500);

/// A database that keeps refusing a lookup gets this many tries; then the
/// table is treated as gone, so that it cannot stop all others.
const MAX_REFUSALS: u32 = 5;

/// What the sink and the subscribers share.
pub(super) struct Shared {
    pub(super) catalog: Catalog,
    pub(super) rules: Rules,
    pub(super) judge: Judge,
    state: Mutex<State>,
    live: watch::Sender<bool>,
    /// When tables were last looked up again.
    pub(super) checked: Mutex<HashMap<u32, Instant>>,
}

/// The sink to give to the stream. Clones share it.
#[derive(Debug, Clone)]
pub struct Pipeline(pub(super) Arc<Shared>);

impl Shared {
    pub(super) fn new(catalog: Catalog, judge: Judge, max_record_bytes: usize) -> Self {
        let rules = Rules { max_record_bytes, deletes: judge.config().deletes };
        let (state, checked) = (Mutex::default(), Mutex::default());
        Self { catalog, rules, judge, state, live: watch::Sender::new(false), checked }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Each step leaves the state consistent, whatever panicked in another.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes while the stream runs.
    pub(super) async fn until_live(&self) {
        // The sender lives as long as self.
        let _ = self.live.subscribe().wait_for(|live| *live).await;
    }

    /// Looks a table up until PostgreSQL answers, and installs the answer.
    pub(super) async fn refresh(&self, oid: u32, relation: Option<&Arc<Relation>>) {
        let mut refusals = 0;
        loop {
            let (roles, ticket) = {
                let mut state = self.lock();
                (state.roles(oid, relation.map(|relation| &**relation)), state.ticket())
            };
            let found = match self.catalog.table(oid, &roles).await {
                Ok(found) => found,
                Err(CatalogError::Refused { code, message }) if refusals >= MAX_REFUSALS => {
                    tracing::error!(oid, code, message, "table left out: its lookup is refused");
                    None
                }
                Err(error) => {
                    refusals += u32::from(matches!(error, CatalogError::Refused { .. }));
                    tracing::warn!(oid, %error, "cannot look a table up, trying again");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            };
            if self.lock().install(oid, relation, found, &roles, ticket) {
                return;
            }
        }
    }
}

impl ChangeSink for Pipeline {
    async fn started(&self, start: Start) {
        let another = {
            let mut state = self.0.lock();
            let another = state.start(start.epoch);
            if let Some(gap) = start.gap {
                // An error status makes clients subscribe and read again, as they must.
                state.tell_all(&format!(
                    "Changes may be missing: {}. Please subscribe again and reload",
                    reason(gap)
                ));
            }
            another
        };
        tracing::debug!(another, gap = ?start.gap, from = %start.from, "changes flow");
        self.0.live.send_replace(true);
    }

    async fn deliver(&self, batch: &Batch) {
        self.take(std::slice::from_ref(batch)).await;
    }

    async fn deliver_all(&self, batches: &[Batch]) {
        self.take(batches).await;
    }

    fn interrupted(&self) {
        self.0.live.send_replace(false);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresChanges").field("groups", &self.lock().groups.len()).finish()
    }
}

fn reason(gap: Gap) -> &'static str {
    match gap {
        Gap::NewSlot => "the replication slot is new",
        Gap::NewHistory => "the database was restored or failed over",
        Gap::SlotAhead => "the replication slot had moved on",
    }
}
