//! Questions cut into pieces that one script can answer.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Claimant,
    questions::{Questions, Unit},
};

/// What one script takes on, in claimants; so many rows weigh as much as one.
const BUDGET: usize = 128;
const ROWS_OF_A_CLAIMANT: usize = 8;

/// Below this a second connection is not worth its round trip.
const WORTH_SPLITTING: usize = 24;

/// Rows that a claimant's policies are tried on at a time.
const TRY: u32 = 256;

/// A part of a unit.
#[derive(Debug)]
pub(super) struct Task {
    /// Which unit.
    pub(super) unit: usize,
    pub(super) turns: Vec<Turn>,
    /// How often a script failed as a whole over it.
    pub(super) broke: u32,
}

/// A claimant and what is still to be judged for it.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) claimant: Arc<Claimant>,
    /// Places in the unit's rows, not empty.
    pub(super) places: Vec<u32>,
    /// How many of them at a time.
    pub(super) size: u32,
}

impl Task {
    fn new(unit: usize) -> Self {
        Self { unit, turns: Vec::new(), broke: 0 }
    }

    fn weight(&self) -> usize {
        self.turns.iter().map(Turn::weight).sum()
    }

    /// Two halves, to find out which turn is to blame; none of a single turn.
    pub(super) fn halve(mut self) -> Result<[Self; 2], Self> {
        if self.turns.len() < 2 {
            return Err(self);
        }
        let turns = self.turns.split_off(self.turns.len() / 2);
        let second = Self { unit: self.unit, turns, broke: 1 };
        Ok([Self { broke: 1, ..self }, second])
    }
}

impl Turn {
    fn weight(&self) -> usize {
        1 + self.places.len() / ROWS_OF_A_CLAIMANT
    }
}

/// Cuts everything that is asked into tasks, for so many connections.
pub(super) fn cut(questions: &mut Questions, connections: usize) -> VecDeque<Task> {
    let mut tasks = VecDeque::new();
    for (at, unit) in questions.units.iter_mut().enumerate() {
        let turns = turns(unit);
        let weight: usize = turns.iter().map(Turn::weight).sum();
        let pieces = match weight.div_ceil(BUDGET) {
            1 if weight > WORTH_SPLITTING => connections.max(1),
            pieces => pieces,
        };
        let share = weight.div_ceil(pieces.max(1));
        let mut task = Task::new(at);
        for turn in turns {
            if !task.turns.is_empty() && task.weight() >= share {
                tasks.push_back(std::mem::replace(&mut task, Task::new(at)));
            }
            task.turns.push(turn);
        }
        if !task.turns.is_empty() {
            tasks.push_back(task);
        }
    }
    tasks
}

fn turns(unit: &mut Unit) -> Vec<Turn> {
    let askers = std::mem::take(&mut unit.askers).into_iter();
    askers.map(|asker| Turn { claimant: asker.claimant, places: asker.places, size: TRY }).collect()
}

/// The next tasks for one script: as many as fit its budget, one at least.
pub(super) fn take(tasks: &mut VecDeque<Task>) -> Vec<Task> {
    let mut taken: Vec<Task> = Vec::new();
    let mut weight = 0;
    while let Some(next) = tasks.front() {
        weight += next.weight();
        // What broke a connection goes alone, so that it is found.
        let alone = next.broke > 0 || taken.iter().any(|task| task.broke > 0);
        if !taken.is_empty() && (weight > BUDGET || alone) {
            break;
        }
        taken.extend(tasks.pop_front());
    }
    taken
}
