//! Policies that raise are told to the operator, once a burst.

use std::{collections::HashMap, sync::Arc};

use tokio::time::{Duration, Instant};

use crate::{error_code::ErrorCode, postgres_changes::catalog::Table};

/// The same complaint is not repeated for this long.
const PAUSE: Duration = Duration::from_secs(10);

/// Complaints remembered.
const MAX: usize = 1_000;

/// What was said when, and how often it was held back since.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    said: HashMap<(u32, Arc<str>, String), (Instant, u64)>,
}

impl Complaints {
    /// Rows of a table were not shown to a role's readers, for this SQLSTATE.
    /// Neither rows nor claims are logged.
    pub(super) fn raise(&mut self, table: &Table, role: &Arc<str>, sqlstate: &str) {
        let now = Instant::now();
        if self.said.len() >= MAX {
            self.said.clear();
        }
        let key = (table.oid, Arc::clone(role), sqlstate.to_owned());
        let mut repeated = 0;
        if let Some((last, held_back)) = self.said.get_mut(&key) {
            if now - *last < PAUSE {
                *held_back += 1;
                return;
            }
            repeated = *held_back;
        }
        self.said.insert(key, (now, 0));
        let (schema, name) = (&table.schema, &table.name);
        let code =
            if sqlstate == "57014" { ErrorCode::QueryCanceled } else { ErrorCode::RlsPolicyError };
        tracing::warn!(
            %code, %schema, table = %name, %role, sqlstate, repeated,
            "a row was not shown: its table's policies failed"
        );
    }
}
