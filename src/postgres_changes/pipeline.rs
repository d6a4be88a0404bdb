//! Row changes from the stream to the outboxes.
//!
//! Rows wait for a lookup of their table when the stream describes it anew:
//! PostgreSQL does so after every change of columns, grants, policies and row
//! security, so a revoke takes effect with the first row after it. What it does
//! not tell, changes of roles, is looked up beside the stream every few seconds.
//!
//! Rows are made ready a stretch at a time, each with one query for all of its
//! rows: generated columns are computed, filters that only PostgreSQL can judge
//! are judged, then row security. They leave in the order of their commits.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{
    catalog::{Catalog, CatalogError},
    config::Config,
    deliver::{Row, Rules},
    filter::ask::Answers,
    image::Image,
    metrics::Series,
    row_security::{Judge, Questions, Slot, Verdicts},
    state::{Readiness, State},
    throttle::Throttle,
};
use crate::{
    error_code::ErrorCode,
    replication::{
        change::Batch,
        relation::Relation,
        sink::{ChangeSink, Gap, Start, Undelivered},
    },
    runtime,
};

/// Between tries of a lookup that failed: the database is away.
pub(super) const RETRY: Duration = Duration::from_millis(500);

/// A database that keeps refusing a lookup gets this many tries; then the
/// table is treated as gone, so that it cannot stop all others.
const MAX_REFUSALS: u32 = 5;

/// Roles change without a word in the stream: a table with rows is looked up this often.
const RECHECK: Duration = Duration::from_secs(2);

/// Tables whose last lookup is remembered.
const MAX_CHECKED: usize = 10_000;

/// A stretch ends after so many verdicts, which bounds its memory.
const MAX_QUESTIONS: usize = 200_000;

/// What the sink and the subscribers share.
pub(super) struct Shared {
    pub(super) catalog: Catalog,
    pub(super) config: Config,
    throttle: Throttle,
    pub(super) series: Series,
    rules: Rules,
    judge: Judge,
    state: Mutex<State>,
    live: watch::Sender<bool>,
    /// When tables were last looked up again; none while that goes on.
    checked: Mutex<HashMap<u32, Option<Instant>>>,
}

/// The sink to give to the stream. Clones share it.
#[derive(Debug, Clone)]
pub struct Pipeline(pub(super) Arc<Shared>);

impl Shared {
    pub(super) fn new(catalog: Catalog, judge: Judge, config: Config, series: Series) -> Self {
        let deletes = judge.config().deletes;
        let rules = Rules { max_record_bytes: config.max_record_bytes, deletes };
        let state = Mutex::new(State::measured_by(series.sizes.clone()));
        let checked = Mutex::default();
        let (throttle, live) = (Throttle::new(&config), watch::Sender::new(false));
        Self { catalog, config, throttle, series, rules, judge, state, live, checked }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Each step leaves the state consistent, whatever panicked in another.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn checked(&self) -> MutexGuard<'_, HashMap<u32, Option<Instant>>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes while the stream runs.
    pub(super) async fn until_live(&self) {
        // The sender lives as long as self.
        let _ = self.live.subscribe().wait_for(|live| *live).await;
    }

    /// Counts the ids that a row went to.
    fn count(&self, ids: usize, committed_at: i64) {
        if ids > 0 {
            self.throttle.record(ids);
            self.series.delivered(ids, committed_at);
        }
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
                    tracing::error!(
                        code = %ErrorCode::ErrorRunningQuery, oid, sqlstate = code, reason = message,
                        "table left out: its lookup is refused"
                    );
                    None
                }
                Err(error) => {
                    refusals += u32::from(matches!(error, CatalogError::Refused { .. }));
                    tracing::warn!(
                        code = %ErrorCode::ErrorRunningQuery, oid, %error,
                        "cannot look a table up, trying again"
                    );
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

impl Pipeline {
    async fn take(&self, batches: &[Batch]) {
        let mut rows = self.wanted(batches);
        let mut rows = rows.as_mut_slice();
        while !rows.is_empty() {
            let length = self.stretch(rows).await;
            let (stretch, rest) = rows.split_at_mut(length);
            let mut answers = self.0.make_ready(stretch).await;
            let mut stretch = &*stretch;
            while !stretch.is_empty() {
                let (length, questions) = self.gather(stretch, &mut answers);
                let (part, later) = stretch.split_at(length);
                self.send(part, &mut answers, questions).await;
                stretch = later;
            }
            rows = rest;
        }
    }

    /// The rows that may concern somebody; the others cost no more than this look.
    fn wanted(&self, batches: &[Batch]) -> Vec<Row> {
        let mut rows = Vec::new();
        // Rows of one table come in runs.
        let mut last: Option<(u64, bool)> = None;
        for batch in batches {
            let Batch { commit, xid, committed_at, .. } = *batch;
            for change in &batch.changes {
                let relation = &change.relation;
                let is_wanted = match last {
                    Some((version, known)) if version == relation.version => known,
                    _ => self.0.lock().readiness(relation) != Readiness::Ignored,
                };
                last = Some((relation.version, is_wanted));
                if is_wanted {
                    rows.push(Row { change: change.clone(), commit, xid, committed_at });
                }
            }
        }
        rows
    }

    /// How many of these rows can go together, one at least. A table that was
    /// described anew ends a stretch: rows before that are not to be shown by
    /// the new description.
    async fn stretch(&self, rows: &[Row]) -> usize {
        for (at, row) in rows.iter().enumerate() {
            let relation = &row.change.relation;
            let mut readiness = self.0.lock().readiness(relation);
            while readiness == Readiness::Lookup {
                if at > 0 {
                    return at;
                }
                self.0.until_visible(std::slice::from_ref(row)).await;
                self.0.refresh(relation.oid, Some(relation)).await;
                readiness = self.0.lock().readiness(relation);
            }
            if readiness == Readiness::Ready {
                self.recheck(relation.oid);
            }
        }
        rows.len()
    }

    /// What row security has to judge first, and for how many of the rows.
    fn gather(&self, rows: &[Row], answers: &mut Answers) -> (usize, Questions) {
        let (mut questions, none) = (Questions::default(), Verdicts::default());
        for (at, row) in rows.iter().enumerate() {
            let mut state = self.0.lock();
            if state.readiness(&row.change.relation) == Readiness::Ready {
                state.ask(row, at, &self.0.rules, &none, answers, &mut questions);
            }
            if questions.len() >= MAX_QUESTIONS {
                return (at + 1, questions);
            }
        }
        (rows.len(), questions)
    }

    async fn send(&self, rows: &[Row], answers: &mut Answers, questions: Questions) {
        let image = |slot: Slot| rows.get(slot.change()).and_then(|row| Image::of(&row.change));
        let mut verdicts = Verdicts::default();
        if !questions.is_empty() {
            // Policies may read what the same transaction wrote elsewhere.
            self.0.until_visible(rows).await;
            self.judge(questions, image, &mut verdicts).await;
        }
        for (at, row) in rows.iter().enumerate() {
            if self.0.throttle.drops() {
                self.0.series.dropped.inc();
                continue;
            }
            let relation = &row.change.relation;
            loop {
                let mut missing = Questions::default();
                let is_known = {
                    let mut state = self.0.lock();
                    match state.readiness(relation) {
                        Readiness::Ignored => break,
                        Readiness::Ready => {
                            let rules = &self.0.rules;
                            let sent =
                                state.deliver(row, at, rules, &verdicts, answers, &mut missing);
                            if let Some(ids) = sent {
                                self.0.count(ids, row.committed_at);
                                break;
                            }
                            true
                        }
                        Readiness::Lookup => false,
                    }
                };
                // Somebody came, or a role lost its exemption, meanwhile.
                if !is_known {
                    self.0.refresh(relation.oid, Some(relation)).await;
                } else if answers.is_settled() {
                    self.judge(missing, image, &mut verdicts).await;
                } else {
                    self.0.answer(answers).await;
                }
            }
        }
    }

    async fn judge<'a>(
        &self,
        questions: Questions,
        image: impl Fn(Slot) -> Option<Image<'a>> + Copy + Send + Sync,
        verdicts: &mut Verdicts,
    ) {
        let (begun, asked) = (Instant::now(), (questions.groups(), questions.len()));
        Box::pin(self.0.judge.judge(questions, image, verdicts)).await;
        self.0.series.judged(asked, begun.elapsed());
    }

    /// Looks a table up again, beside the stream, if that was not done lately.
    fn recheck(&self, oid: u32) {
        let now = Instant::now();
        {
            let mut checked = self.0.checked();
            if checked.len() >= MAX_CHECKED {
                checked.retain(|_, last| last.is_none());
            }
            let last = checked.entry(oid).or_insert(Some(now));
            if last.is_none_or(|last| now - last < RECHECK) {
                return;
            }
            *last = None;
        }
        let shared = Arc::clone(&self.0);
        runtime::spawn("table-recheck", async move {
            let relation = shared.lock().relation(oid);
            shared.refresh(oid, relation.as_ref()).await;
            shared.checked().insert(oid, Some(now));
        });
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

    async fn deliver(&self, batch: &Batch) -> Result<(), Undelivered> {
        self.take(std::slice::from_ref(batch)).await;
        Ok(())
    }

    async fn deliver_all(&self, batches: &[Batch]) -> Result<(), Undelivered> {
        self.take(batches).await;
        Ok(())
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
        Gap::LogLost => "what the servers share was lost",
    }
}
