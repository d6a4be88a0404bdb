//! What answers, failures and silence mean for those who asked.

use std::collections::VecDeque;

use super::{
    judge::{Failure, Judge},
    questions::Unit,
    script::{Answer, Judged},
    tasks::{Task, Turn},
    verdicts::Verdicts,
};

/// A script may fail so often over a task whose policies break connections.
const MAX_BROKEN: u32 = 3;

/// SQLSTATE of a policy that took too long.
pub(super) const CANCELED: &str = "57014";
/// SQLSTATE for policies on columns that are generated, unpublished, of the
/// system, or large and left alone by an update.
const NOT_IN_THE_LOG: &str = "0A000";
/// SQLSTATE for a policy that broke its connection.
const BROKEN: &str = "08006";

impl Judge {
    /// Takes a task's answer over; what is left of the task comes back.
    pub(super) fn apply(
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
        if answer.blind {
            self.notes().complaints.raise(&unit.table, &unit.role, NOT_IN_THE_LOG);
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
    pub(super) fn narrow(
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
    pub(super) fn dismiss(
        &self,
        units: &[Unit],
        waiting: &mut VecDeque<Task>,
        verdicts: &mut Verdicts,
    ) {
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
}

fn set(unit: &Unit, verdicts: &mut Verdicts, turn: &Turn, place: u32, seen: bool) {
    if let Some(slot) = unit.rows.get(place as usize) {
        verdicts.set(turn.claimant.id, *slot, seen);
    }
}
