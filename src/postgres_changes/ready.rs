//! What rows wait for besides their tables: values and answers that only
//! PostgreSQL has, asked for all rows of a stretch at once.
//!
//! All of it waits until PostgreSQL answers: what is not judged is not delivered.

use super::{
    deliver::Row,
    filter::ask::Answers,
    generated,
    pipeline::{RETRY, Shared},
};
use crate::error_code::ErrorCode;

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
                tracing::warn!(%error, "cannot compute generated columns, trying again");
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
                tracing::warn!(%error, "cannot have filters judged, trying again");
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
