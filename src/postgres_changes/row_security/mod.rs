//! Row security over the images in the log.
//!
//! A table's SELECT policies are evaluated by PostgreSQL itself, over the row
//! as it was committed and not over what the table holds by now, as the role
//! of a subscriber with its claims: once for all who share both.
//!
//! Invariants:
//! - what was not judged, or could not be, is not delivered;
//! - a policy that raises or takes too long costs its own reader that row and
//!   nobody else anything;
//! - policies, membership and exemptions are read with every judgement; nothing
//!   that decides is remembered;
//! - everything is rolled back: the database is not written to.
//!
//! Deliberately not here: an evaluator of our own, however simple the policy.

mod claimants;
mod complaints;
mod judge;
mod notes;
mod penalties;
mod questions;
mod script;
mod settle;
mod tasks;
mod verdicts;

use std::time::Duration;

pub(super) use self::{
    claimants::{Claimant, Claimants},
    judge::Judge,
    questions::{Questions, Side, Slot},
    verdicts::Verdicts,
};

/// How policies are judged.
#[derive(Debug, Clone)]
pub struct Config {
    /// What one reader's policies may take; beyond it the rows are not for that reader.
    pub timeout: Duration,
    /// Scripts that run at a time. The pool must have as many connections.
    pub connections: usize,
    /// Who hears of deleted rows.
    pub deletes: DeleteVisibility,
}

impl Default for Config {
    fn default() -> Self {
        let timeout = Duration::from_secs(1);
        Self { timeout, connections: 2, deletes: DeleteVisibility::Strict }
    }
}

/// Who hears of the deletes, and sees the old values, of tables with row
/// security. The log has a whole old row only under `REPLICA IDENTITY FULL`;
/// where it has no more than the key, nobody can judge and both are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteVisibility {
    /// As in Supabase Realtime: every subscriber whose filters match.
    Compatible,
    /// Who could see the row that is gone.
    Strict,
}
