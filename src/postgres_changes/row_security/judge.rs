//! Asks PostgreSQL, from a few connections, until everything is answered.
//!
//! A database that is away is waited for: rows are late then, not lost. What
//! the database answers with an error is narrowed down to whose policies are
//! to blame, and only they are denied.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{sleep, timeout};

use super::{
    Config,
    notes::Notes,
    questions::{Questions, Slot, Unit},
    script::{self, Answer, Asked},
    settle::CANCELED,
    tasks::{self, Task},
    verdicts::Verdicts,
};
use crate::{
    error_code::ErrorCode,
    postgres::{pool::Pool, session::is_transient_sqlstate},
    postgres_changes::image::Image,
    telemetry::reason,
};

/// Between tries while the database is away.
const RETRY: Duration = Duration::from_millis(500);

/// Beyond the server's own limits for a script.
const GRACE: Duration = Duration::from_secs(5);

/// SQLSTATE for answers that make no sense.
const NONSENSE: &str = "XX000";

/// Judges rows. One stretch of rows at a time.
#[derive(Debug)]
pub(in super::super) struct Judge {
    config: Config,
    pool: Pool,
    notes: Mutex<Notes>,
}

/// Why a script has no answers.
pub(super) enum Failure {
    /// The database said so.
    Raised(String),
    /// It was never asked, or for a reason that passes.
    Away,
    /// The connection broke while it was asked.
    Broken,
}

impl Judge {
    pub(in super::super) fn new(config: Config, pool: Pool) -> Self {
        Self { config, pool, notes: Mutex::default() }
    }

    pub(in super::super) fn config(&self) -> &Config {
        &self.config
    }

    /// Answers all questions. `image` gives the image of a slot.
    pub(in super::super) async fn judge<'a>(
        &self,
        mut questions: Questions,
        image: impl Fn(Slot) -> Option<Image<'a>> + Copy + Send + Sync,
        verdicts: &mut Verdicts,
    ) {
        let connections = self.config.connections.max(1);
        let mut waiting = tasks::cut(&mut questions, connections);
        let units = &questions.units;
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < connections {
                self.dismiss(units, &mut waiting, verdicts);
                let taken = tasks::take(&mut waiting);
                if taken.is_empty() {
                    break;
                }
                running.push(self.run(units, taken, image));
            }
            let Some((taken, result)) = running.next().await else { return };
            match result {
                Ok(answers) => {
                    let mut answers = answers.into_iter();
                    for task in taken {
                        let answer = answers.next();
                        waiting.extend(self.apply(units, task, answer, verdicts));
                    }
                }
                Err(failure) => self.narrow(units, taken, &failure, &mut waiting, verdicts),
            }
        }
    }

    async fn run<'a>(
        &self,
        units: &[Unit],
        taken: Vec<Task>,
        image: impl Fn(Slot) -> Option<Image<'a>> + Send + Sync,
    ) -> (Vec<Task>, Result<Vec<Answer>, Failure>) {
        let asked: Vec<_> = taken.iter().filter_map(|task| self.asked(units, task)).collect();
        let script = script::script(&asked, self.config.timeout, image);
        drop(asked);
        let result = self.ask(&script).await;
        if matches!(result, Err(Failure::Away)) {
            sleep(RETRY).await;
        }
        (taken, result)
    }

    fn asked<'a>(&self, units: &'a [Unit], task: &'a Task) -> Option<Asked<'a>> {
        let unit = units.get(task.unit)?;
        let hint = self.notes().hints.get(&(unit.table.oid, Arc::clone(&unit.role))).cloned();
        let wanted = |name: &str| {
            hint.as_ref().is_none_or(|names| names.iter().any(|wanted| wanted == name))
        };
        let columns = unit.held.iter().enumerate().filter(|(_, (_, name, _))| wanted(name));
        Some(Asked { task, unit, columns: columns.map(|(at, _)| at).collect() })
    }

    async fn ask(&self, script: &str) -> Result<Vec<Answer>, Failure> {
        let mut lease = Box::pin(self.pool.checkout()).await.map_err(|error| {
            tracing::warn!(
                code = %ErrorCode::ErrorRunningQuery, error = reason(&error),
                "cannot judge rows by policies, trying again"
            );
            Failure::Away
        })?;
        lease.mark_dirty();
        let limit = self.config.timeout * 2 + GRACE;
        let rows = timeout(limit, lease.simple_rows(script)).await;
        match rows {
            Ok(Ok(rows)) => {
                lease.mark_clean();
                let json = rows.last().map(String::as_str).unwrap_or_default();
                script::answers(json).ok_or_else(|| Failure::Raised(NONSENSE.to_owned()))
            }
            Ok(Err(error)) => match error.code().map(|code| code.code().to_owned()) {
                Some(code) if code == CANCELED || !is_transient_sqlstate(&code) => {
                    Err(Failure::Raised(code))
                }
                // The connection was ended, perhaps by a policy.
                Some(code) if code.starts_with("08") || code == "57P01" || code == "57P02" => {
                    Err(Failure::Broken)
                }
                Some(code) => {
                    tracing::warn!(
                        code = %ErrorCode::ErrorRunningQuery, sqlstate = code,
                        "cannot judge rows by policies, trying again"
                    );
                    Err(Failure::Away)
                }
                None => Err(Failure::Broken),
            },
            Err(_) => Err(Failure::Broken),
        }
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
