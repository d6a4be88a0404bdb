//! What rows wait for besides their tables: values and answers that only
//! PostgreSQL has, asked for all rows of a stretch at once.
//!
//! All of it waits until PostgreSQL answers: what is not judged is not delivered.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    deliver::Row,
    filter::ask::Answers,
    generated,
    pipeline::{RETRY, Shared},
};
use crate::error_code::ErrorCode;

/// How long a commit may take to become visible. Longer only where a standby
/// that commits wait for is away; nothing moves there anyway.
const MAX_INVISIBLE: Duration = Duration::from_secs(10);

/// Between looks, once the first ones were in vain.
const MAX_PAUSE: Duration = Duration::from_millis(50);

impl Shared {
    /// Completes rows with their generated columns and has all filters judged.
    pub(super) async fn make_ready(&self, rows: &mut [Row]) -> Answers {
        loop {
            let wanted: Vec<_> = {
                let state = self.lock();
                let filling = |(at, row): (usize, &Row)| Some((at, state.filling(&row.change)?));
                rows.iter().enumerate().filter_map(filling).collect()
            };
            if wanted.is_empty() {
                break;
            }
            if let Err(error) = generated::fill(&self.catalog, rows, &wanted).await {
                let error = error.without_values();
                tracing::warn!(
                    code = %ErrorCode::ErrorRunningQuery, error,
                    "cannot compute generated columns, trying again"
                );
                tokio::time::sleep(RETRY).await;
            }
        }
        let mut answers = Answers::default();
        loop {
            {
                let mut state = self.lock();
                rows.iter().for_each(|row| state.question(&row.change, &mut answers));
            }
            if answers.is_settled() {
                return answers;
            }
            self.answer(&mut answers).await;
        }
    }

    /// Waits until what the rows' transactions did is visible to queries: the
    /// stream tells of a commit a moment before PostgreSQL shows it, and longer
    /// before it where commits wait for a standby.
    pub(super) async fn until_visible(&self, rows: &[Row]) {
        let mut xids: Vec<i64> = rows.iter().map(|row| i64::from(row.xid)).collect();
        xids.sort_unstable();
        xids.dedup();
        let (start, mut pause) = (Instant::now(), Duration::from_millis(1));
        while start.elapsed() < MAX_INVISIBLE {
            match self.catalog.are_visible(&xids).await {
                Ok(true) => return,
                Ok(false) => {}
                // Whatever is asked next finds out for itself.
                Err(error) => return tracing::debug!(%error, "cannot ask for transactions"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
        tracing::warn!(
            code = %ErrorCode::ErrorRunningQuery, waited = ?MAX_INVISIBLE,
            "rows are judged by what is visible without them"
        );
    }

    /// Has open questions answered, or waits a little if the database is away.
    pub(super) async fn answer(&self, answers: &mut Answers) {
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
                tracing::warn!(
                    code = %ErrorCode::ErrorRunningQuery, %error,
                    "cannot have filters judged, trying again"
                );
                tokio::time::sleep(RETRY).await;
            }
        }
    }

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
