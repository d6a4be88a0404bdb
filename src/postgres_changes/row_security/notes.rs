//! What is remembered from one judgement to the next.

use std::{collections::HashMap, sync::Arc};

use super::{complaints::Complaints, penalties::Penalties, questions::Unit};

/// Tables whose columns of interest are remembered.
const MAX_HINTS: usize = 10_000;

/// What is remembered between stretches; nothing of it decides who sees a row.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) penalties: Penalties,
    pub(super) complaints: Complaints,
    /// The columns that a table's policies for a role read when last asked.
    pub(super) hints: HashMap<(u32, Arc<str>), Arc<[String]>>,
}

impl Notes {
    /// Rows that lack columns read fewer, so what is known only grows.
    pub(super) fn learn(&mut self, unit: &Unit, columns: &[String]) {
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
