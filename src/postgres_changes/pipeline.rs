//! Row changes from the stream to the outboxes.
//!
//! Rows wait for a lookup of their table, which happens when the stream
//! describes it anew: PostgreSQL does so after every change of columns, grants,
//! policies and row security, so a revoke takes effect with the first row
//! after it. And they wait for the filters that only PostgreSQL can judge,
//! which it is asked about all rows at hand at once.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    catalog::{Catalog, CatalogError},
    config::Config,
    filter::ask::Answers,
    generated::{self, Filling},
    metrics::Series,
    state::{Readiness, State},
    throttle::Throttle,
};
use crate::{
    error_code::ErrorCode,
    replication::{
        change::{Batch, Change},
        position::Lsn,
        relation::Relation,
        sink::{ChangeSink, Gap, Start},
    },
    runtime::clock,
};

/// Between tries of a lookup that failed: the database is away.
const RETRY: Duration = Duration::from_millis(500);

/// A database that keeps refusing a lookup gets this many tries; then the
/// table is treated as gone, so that it cannot stop all others.
const MAX_REFUSALS: u32 = 5;

/// Rows judged under one hold of the lock, and in one round of questions.
const MAX_RUN: usize = 256;

/// What the sink and the subscribers share.
pub(super) struct Shared {
    pub(super) catalog: Catalog,
    pub(super) config: Config,
    throttle: Throttle,
    series: Series,
    state: Mutex<State>,
    live: watch::Sender<bool>,
}

/// The sink to give to the stream. Clones share it.
#[derive(Debug, Clone)]
pub struct Pipeline(pub(super) Arc<Shared>);

impl Shared {
    pub(super) fn new(catalog: Catalog, config: Config, series: Series) -> Self {
        let (state, live) = (Mutex::default(), watch::Sender::new(false));
        let throttle = Throttle::new(&config);
        Self { catalog, config, throttle, series, state, live }
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

/// How far the rows at hand came.
enum Progress {
    /// This many are done.
    Delivered(usize),
    /// The first one's table must be looked up.
    Lookup,
    /// These rows lack their generated columns.
    Fill(Vec<(usize, Filling)>),
    /// PostgreSQL must be asked before any can be delivered.
    Ask,
}

impl Shared {
    /// Delivers the rows that wait for nothing. Readiness and questions are
    /// looked at again each time: subscribers come and go while others wait.
    fn run(
        &self,
        commit: Lsn,
        committed_at: i64,
        rows: &[Change],
        answers: &mut Answers,
    ) -> Progress {
        let mut state = self.lock();
        let ready = rows
            .iter()
            .take(MAX_RUN)
            .take_while(|change| state.readiness(&change.relation) != Readiness::Lookup);
        let ready = ready.count();
        let rows = rows.get(..ready).unwrap_or_default();
        if rows.is_empty() {
            return Progress::Lookup;
        }
        let filling = |(at, change)| Some((at, state.filling(change)?));
        let fillings: Vec<_> = rows.iter().enumerate().filter_map(filling).collect();
        if !fillings.is_empty() {
            return Progress::Fill(fillings);
        }
        rows.iter().for_each(|change| state.question(change, answers));
        if !answers.is_settled() {
            return Progress::Ask;
        }
        let max = self.config.max_record_bytes;
        let before = self.series.rows.get();
        for change in rows {
            if self.throttle.drops() {
                self.series.dropped.inc();
                continue;
            }
            let ids = state.deliver(change, commit, committed_at, max, answers);
            if ids > 0 {
                self.throttle.record(ids);
                self.series.rows.inc();
                self.series.db_events.inc_by(u64::try_from(ids).unwrap_or(u64::MAX));
            }
        }
        if self.series.rows.get() > before {
            self.series.latency.observe(seconds_since(committed_at));
        }
        Progress::Delivered(ready)
    }

    /// Completes rows, or waits a little if the database is away.
    async fn fill(&self, rows: &mut [Change], wanted: &[(usize, Filling)]) {
        if let Err(error) = generated::fill(&self.catalog, rows, wanted).await {
            tracing::warn!(%error, "cannot compute generated columns, trying again");
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Asks until PostgreSQL answers: what is not judged is not delivered.
    async fn answer(&self, answers: &mut Answers) {
        self.series.questions.inc();
        match self.catalog.answer(answers).await {
            Ok(hopeless) => {
                for (asked, problem) in hopeless {
                    tracing::warn!(
                        code = %ErrorCode::UnableToSubscribeToPostgres, problem,
                        "a filter is given up: PostgreSQL cannot evaluate it"
                    );
                    self.lock().tell_hopeless(&asked, &problem);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot have filters judged, trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

impl Shared {
    /// Finds the subscribed tables that are no longer published and tells
    /// their subscribers. A table that comes back is told by its first row.
    pub(super) async fn check_publication(&self) {
        let known = self.lock().oids();
        if known.is_empty() {
            return;
        }
        match self.catalog.unpublished(known).await {
            // A look at each decides: it knows what else happened meanwhile.
            Ok(gone) => {
                for oid in gone {
                    let relation = self.lock().relation(oid);
                    self.refresh(oid, relation.as_ref()).await;
                }
            }
            Err(error) => tracing::debug!(%error, "cannot look at the publication"),
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

    async fn deliver(&self, batch: Batch) {
        let Batch { commit, committed_at, mut changes, .. } = batch;
        let mut answers = Answers::default();
        let mut rest = changes.as_mut_slice();
        while let Some(first) = rest.first() {
            match self.0.run(commit, committed_at, rest, &mut answers) {
                Progress::Delivered(count) => {
                    rest = rest.get_mut(count..).unwrap_or_default();
                    answers = Answers::default();
                }
                Progress::Lookup => {
                    self.0.refresh(first.relation.oid, Some(&first.relation)).await;
                }
                Progress::Fill(wanted) => self.0.fill(rest, &wanted).await,
                Progress::Ask => self.0.answer(&mut answers).await,
            }
        }
    }

    fn interrupted(&self) {
        self.0.live.send_replace(false);
    }
}

/// Seconds since a moment in microseconds since 1970; zero for the clock of a
/// database that runs ahead of ours.
fn seconds_since(moment: i64) -> f64 {
    let moment = Duration::from_micros(u64::try_from(moment).unwrap_or_default());
    clock::unix_time().saturating_sub(moment).as_secs_f64()
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
