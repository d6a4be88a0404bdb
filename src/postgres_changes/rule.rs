//! A binding as a row meets it: whose it is, which events, which filters, which columns.
//!
//! Equal rules of many channels are one rule: a row is judged once for all of them.

use std::sync::Arc;

use super::{
    catalog::{Casts, RoleView, Table, TableColumn},
    filter::{
        Filter, Op,
        compile::{self, Misfit, Predicate},
    },
    subscription::{Binding, EventFilter},
};

/// What matching depends on, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Rule {
    pub(super) role: Arc<str>,
    pub(super) event: EventFilter,
    pub(super) filters: Vec<Filter>,
    pub(super) select: Option<Vec<Arc<str>>>,
}

/// A rule compiled for a table.
#[derive(Debug)]
pub(super) struct Fitted {
    /// Conditions by the table's column; without the hashed one, and those
    /// that PostgreSQL must judge last.
    pub(super) tests: Vec<(usize, Predicate)>,
    /// A column that must have exactly this value.
    pub(super) hashed: Option<(usize, Box<[u8]>)>,
}

/// Why a rule does not fit a table, as PostgreSQL would report it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) sqlstate: String,
    pub(super) message: String,
}

impl Rule {
    pub(super) fn new(binding: &Binding, role: Arc<str>) -> Self {
        let (filters, mut select) = (binding.filters.clone(), binding.select.clone());
        if let Some(columns) = &mut select {
            columns.sort_unstable();
            columns.dedup();
        }
        Self { role, event: binding.event, filters, select }
    }

    /// The values that only PostgreSQL can read, by the type to cast them to.
    ///
    /// # Errors
    ///
    /// A column that does not exist or may not be read, or an operator that
    /// does not go with it.
    pub(super) fn casts(
        &self,
        table: &Table,
        view: &RoleView,
    ) -> Result<Vec<(Arc<str>, String)>, Problem> {
        let mut casts = Vec::new();
        for filter in &self.filters {
            let (_, column) = readable(table, view, &filter.column)
                .ok_or_else(|| raised(format!("invalid column for filter {}", filter.column)))?;
            let values = compile::check(filter, &column.filter)?;
            let unsure =
                values.into_iter().filter(|value| column.filter.canonical(value).is_none());
            casts.extend(unsure.map(|value| (Arc::clone(&column.filter.cast), value)));
        }
        for name in self.select.iter().flatten() {
            readable(table, view, name)
                .ok_or_else(|| raised(format!("invalid column for select {name}")))?;
        }
        Ok(casts)
    }

    /// Regular expressions that PostgreSQL should look at, with their operator.
    pub(super) fn regexes(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let regexes = self.filters.iter().filter(|f| matches!(f.op, Op::Match | Op::Imatch));
        regexes.map(|filter| (filter.op.name(), &*filter.value))
    }

    /// Compiles the filters for a table; `casts` are the answers to [`Rule::casts`].
    pub(super) fn fit(
        &self,
        table: &Table,
        view: &RoleView,
        casts: &Casts,
    ) -> Result<Fitted, Problem> {
        let mut fitted = Fitted { tests: Vec::new(), hashed: None };
        for filter in &self.filters {
            let (at, column) = readable(table, view, &filter.column)
                .ok_or_else(|| raised(format!("invalid column for filter {}", filter.column)))?;
            let values: Vec<Arc<str>> = compile::check(filter, &column.filter)?
                .iter()
                .map(|value| match column.filter.canonical(value) {
                    Some(text) => Some(Arc::from(text)),
                    None => casts.find(&column.filter.cast, value),
                })
                .collect::<Option<_>>()
                .ok_or_else(|| raised(format!("the type of column {} changed", filter.column)))?;
            // Compiled in any case: a value that is not understood must not pass.
            let test = compile::compile(filter, &column.filter, &values)?;
            match compile::hash_key(filter, &column.filter, &values) {
                Some(key) if fitted.hashed.is_none() => fitted.hashed = Some((at, key)),
                _ => fitted.tests.push((at, test)),
            }
        }
        // PostgreSQL is asked only about rows that pass everything else.
        fitted.tests.sort_by_key(|(_, test)| !test.asks().is_empty());
        Ok(fitted)
    }
}

impl Problem {
    pub(super) fn new(sqlstate: impl Into<String>, message: impl Into<String>) -> Self {
        Self { sqlstate: sqlstate.into(), message: message.into() }
    }
}

impl From<Misfit> for Problem {
    fn from(misfit: Misfit) -> Self {
        let sqlstate = match misfit {
            Misfit::Raised(_) => "P0001",
            Misfit::Malformed(_) => "22P02",
            Misfit::OpenEscape => "22025",
            Misfit::Changed(_) => "42804",
        };
        Self::new(sqlstate, misfit.to_string())
    }
}

fn raised(message: String) -> Problem {
    Problem::new("P0001", message)
}

fn readable<'a>(table: &'a Table, view: &RoleView, name: &str) -> Option<(usize, &'a TableColumn)> {
    let readable = |at: usize| view.readable.get(at) == Some(&true);
    table.column(name).filter(|(at, column)| column.is_published && readable(*at))
}
