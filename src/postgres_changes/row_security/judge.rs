//! Asks PostgreSQL, from a few connections, until everything is answered.
//!
//! A database that is away is waited for: rows are late then, not lost. What
//! the database answers with an error is narrowed down to whose policies are
//! to blame, and only they are denied.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{sleep, timeout};

use super::{
    Config,
    complaints::Complaints,
    penalties::Penalties,
    questions::{Questions, Slot, Unit},
    script::{self, Answer, Asked, Judged},
    tasks::{self, Task, Turn},
    verdicts::Verdicts,
};
use crate::{
    postgres::{pool::Pool, session::is_transient_sqlstate},
    postgres_changes::image::Image,
};

/// Between tries while the database is away.
const RETRY: Duration = Duration::from_millis(500);

/// A policy may break its connection; so often, and it is to blame.
const MAX_BROKEN: u32 = 3;

/// Beyond the server's own limits for a script.
const GRACE: Duration = Duration::from_secs(5);

/// Tables whose columns of interest are remembered.
const MAX_HINTS: usize = 10_000;

/// SQLSTATE of a policy that took too long.
const CANCELED: &str = "57014";
/// SQLSTATE for answers that make no sense.
const NONSENSE: &str = "XX000";
/// SQLSTATE for a policy that broke its connection.
const BROKEN: &str = "08006";

/// Judges rows. One stretch of rows at a time.
#[derive(Debug)]
pub(in super::super) struct Judge {
    config: Config,
    pool: Pool,
    notes: Mutex<Notes>,
}

/// What is remembered between stretches; nothing of it decides who sees a row.
#[derive(Debug, Default)]
struct Notes {
    penalties: Penalties,
    complaints: Complaints,
    /// The columns that a table's policies for a role read when last asked.
    hints: HashMap<(u32, Arc<str>), Arc<[String]>>,
}

impl Notes {
    /// Rows that lack columns read fewer, so what is known only grows.
    fn learn(&mut self, unit: &Unit, columns: &[String]) {
        if self.hints.len() >= MAX_HINTS {
            self.hints.clear();
        }
        let hint = self.hints.entry((unit.table.oid, Arc::clone(&unit.role))).or_default();
        if columns.iter().any(|column| !hint.contains(column)) || hint.is_empty() {
            let known = hint.iter().filter(|column| !columns.contains(column)).cloned();
            *hint = known.chain(columns.iter().cloned()).collect();
        }
    }
}

enum Failure {
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
            tracing::warn!(%error, "cannot judge rows by policies, trying again");
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
                Some(code) => {
                    tracing::warn!(code, "cannot judge rows by policies, trying again");
                    Err(Failure::Away)
                }
                None => Err(Failure::Broken),
            },
            Err(_) => Err(Failure::Broken),
        }
    }

    /// Takes a task's answer over; what is left of the task comes back.
    fn apply(
        &self,
        units: &[Unit],
        task: Task,
        answer: Option<Answer>,
        verdicts: &mut Verdicts,
    ) -> Option<Task> {
        // Without an answer its turn did not come.
        let Some(answer) = answer else { return Some(task) };
        let unit = units.get(task.unit)?;
        if let Some(sqlstate) = answer.error {
            self.deny(unit, &task.turns, &sqlstate, verdicts);
            return None;
        }
        if let Some(columns) = answer.needs.or(answer.reads) {
            self.notes().learn(unit, &columns);
        }
        let judged = match (answer.judged, answer.seen) {
            (Some(judged), _) => judged,
            (None, Some(seen)) => Judged { seen, ..Judged::default() },
            (None, None) => return Some(task),
        };
        for state in &judged.states {
            self.notes().complaints.raise(&unit.table, &unit.role, state);
        }
        self.proceed(unit, task, judged, verdicts)
    }

    fn proceed(
        &self,
        unit: &Unit,
        mut task: Task,
        judged: Judged,
        verdicts: &mut Verdicts,
    ) -> Option<Task> {
        let begun = judged.seen.len();
        let mut left = Vec::new();
        for (turn, seen) in task.turns.iter_mut().zip(judged.seen) {
            let seen = seen.unwrap_or_default();
            for (place, mark) in turn.places.iter().zip(seen.bytes()) {
                set(unit, verdicts, turn, *place, mark == b't');
            }
            turn.places.drain(..seen.len().min(turn.places.len()));
        }
        for (at, mut turn) in task.turns.into_iter().enumerate() {
            if at + 1 == begun
                && let Some(tried) = judged.cut
            {
                if tried > 1 {
                    // Many rows together may be slow where each alone is not.
                    turn.size = 1;
                } else {
                    self.notes().penalties.strike(unit.table.oid, &turn.claimant);
                    self.deny(unit, std::slice::from_ref(&turn), CANCELED, verdicts);
                    continue;
                }
            }
            if !turn.places.is_empty() {
                left.push(turn);
            }
        }
        task = Task { unit: task.unit, turns: left, broke: 0 };
        if begun == 0 && judged.cut.is_some() {
            // Slow before anybody's turn came: the plan itself, or a lock.
            if let Some(turn) = task.turns.first() {
                self.notes().penalties.strike_role(unit.table.oid, &turn.claimant.role);
            }
            self.deny(unit, &task.turns, CANCELED, verdicts);
            return None;
        }
        (!task.turns.is_empty()).then_some(task)
    }

    /// A script failed as a whole: asks its tasks again, one by one and then in
    /// halves, until it is known whose fault it is.
    fn narrow(
        &self,
        units: &[Unit],
        taken: Vec<Task>,
        failure: &Failure,
        waiting: &mut VecDeque<Task>,
        verdicts: &mut Verdicts,
    ) {
        let sqlstate = match failure {
            Failure::Away => return waiting.extend(taken),
            Failure::Raised(sqlstate) => sqlstate.as_str(),
            Failure::Broken => BROKEN,
        };
        let is_alone = taken.len() == 1;
        for mut task in taken {
            task.broke += 1;
            let is_sure = !matches!(failure, Failure::Broken) || task.broke >= MAX_BROKEN;
            if !is_alone || !is_sure {
                // By themselves, because they broke.
                waiting.push_back(task);
                continue;
            }
            match task.halve() {
                Ok(halves) => waiting.extend(halves),
                Err(task) => {
                    let Some(unit) = units.get(task.unit) else { continue };
                    for turn in task.turns.iter().filter(|_| sqlstate == CANCELED) {
                        self.notes().penalties.strike(unit.table.oid, &turn.claimant);
                    }
                    self.deny(unit, &task.turns, sqlstate, verdicts);
                }
            }
        }
    }

    /// Denies what is asked by those who are not to be asked about now.
    fn dismiss(&self, units: &[Unit], waiting: &mut VecDeque<Task>, verdicts: &mut Verdicts) {
        if self.notes().penalties.is_empty() {
            return;
        }
        waiting.retain_mut(|task| {
            let Some(unit) = units.get(task.unit) else { return false };
            let notes = self.notes();
            let (held, rest) =
                std::mem::take(&mut task.turns).into_iter().partition::<Vec<_>, _>(|turn| {
                    notes.penalties.holds(unit.table.oid, &turn.claimant)
                });
            drop(notes);
            task.turns = rest;
            if !held.is_empty() {
                self.deny(unit, &held, CANCELED, verdicts);
            }
            !task.turns.is_empty()
        });
    }

    fn deny(&self, unit: &Unit, turns: &[Turn], sqlstate: &str, verdicts: &mut Verdicts) {
        self.notes().complaints.raise(&unit.table, &unit.role, sqlstate);
        for turn in turns {
            for place in &turn.places {
                set(unit, verdicts, turn, *place, false);
            }
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set(unit: &Unit, verdicts: &mut Verdicts, turn: &Turn, place: u32, seen: bool) {
    if let Some(slot) = unit.rows.get(place as usize) {
        verdicts.set(turn.claimant.id, *slot, seen);
    }
}
