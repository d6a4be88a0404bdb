//! A stretch of rows: judged together, sent in order.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    deliver::Row,
    image::Image,
    pipeline::Pipeline,
    row_security::{Questions, Slot, Verdicts},
    state::Readiness,
};
use crate::{replication::change::Batch, runtime};

/// Roles change without a word in the stream: a table with rows is looked up this often.
const RECHECK: Duration = Duration::from_secs(2);

/// Tables whose last lookup is remembered.
const MAX_CHECKED: usize = 10_000;

/// A stretch ends after so many verdicts, which bounds its memory.
const MAX_QUESTIONS: usize = 200_000;

impl Pipeline {
    /// Sends batches on, in order.
    pub(super) async fn take(&self, batches: &[Batch]) {
        let rows = batches.iter().flat_map(|batch| {
            let Batch { commit, committed_at, .. } = *batch;
            batch.changes.iter().map(move |change| Row { change, commit, committed_at })
        });
        let rows: Vec<_> = rows.collect();
        let mut rows = rows.as_slice();
        while !rows.is_empty() {
            let (length, questions) = self.gather(rows).await;
            let (stretch, rest) = rows.split_at(length);
            self.send(stretch, questions).await;
            rows = rest;
        }
    }

    /// How many of these rows can go together, one at least, and what has to
    /// be judged first. A table that was described anew ends a stretch: rows
    /// before that are not to be shown by the new description.
    async fn gather(&self, rows: &[Row<'_>]) -> (usize, Questions) {
        let (mut questions, none) = (Questions::default(), Verdicts::default());
        for (at, row) in rows.iter().enumerate() {
            let relation = &row.change.relation;
            let mut readiness = self.0.lock().readiness(relation);
            while readiness == Readiness::Lookup {
                if at > 0 {
                    return (at, questions);
                }
                self.0.refresh(relation.oid, Some(relation)).await;
                readiness = self.0.lock().readiness(relation);
            }
            if readiness == Readiness::Ready {
                self.recheck(relation.oid);
                self.0.lock().ask(row, at, &self.0.rules, &none, &mut questions);
            }
            if questions.len() >= MAX_QUESTIONS {
                return (at + 1, questions);
            }
        }
        (rows.len(), questions)
    }

    async fn send(&self, rows: &[Row<'_>], questions: Questions) {
        let image = |slot: Slot| rows.get(slot.change()).and_then(|row| Image::of(row.change));
        let mut verdicts = Verdicts::default();
        if !questions.is_empty() {
            Box::pin(self.0.judge.judge(questions, image, &mut verdicts)).await;
        }
        for (at, row) in rows.iter().enumerate() {
            let relation = &row.change.relation;
            loop {
                let mut missing = Questions::default();
                {
                    let mut state = self.0.lock();
                    match state.readiness(relation) {
                        Readiness::Ignored => break,
                        Readiness::Ready => {
                            let rules = &self.0.rules;
                            if state.deliver(row, at, rules, &verdicts, &mut missing) {
                                break;
                            }
                        }
                        Readiness::Lookup => {}
                    }
                }
                if missing.is_empty() {
                    self.0.refresh(relation.oid, Some(relation)).await;
                } else {
                    // Somebody came, or a role lost its exemption, meanwhile.
                    Box::pin(self.0.judge.judge(missing, image, &mut verdicts)).await;
                }
            }
        }
    }

    /// Looks a table up again, beside the stream, if that was not done lately.
    fn recheck(&self, oid: u32) {
        let now = Instant::now();
        {
            let mut checked = self.0.checked.lock().unwrap_or_else(PoisonError::into_inner);
            if checked.len() >= MAX_CHECKED {
                checked.clear();
            }
            let last = checked.entry(oid).or_insert(now);
            if now - *last < RECHECK {
                return;
            }
            *last = now;
        }
        let shared = Arc::clone(&self.0);
        runtime::spawn("table-recheck", async move {
            let relation = shared.lock().relation(oid);
            shared.refresh(oid, relation.as_ref()).await;
        });
    }
}
