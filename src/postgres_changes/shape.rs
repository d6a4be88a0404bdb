//! What one role with one `select` gets to see of a table.

use std::sync::Arc;

use super::{
    catalog::{RoleView, Table},
    subscription::EventFilter,
};
use crate::postgres::value::write_string;

/// One way of showing a table's rows.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) role: Arc<str>,
    pub(super) select: Option<Vec<Arc<str>>>,
    pub(super) verdict: Verdict,
    /// Row security applies to the role.
    pub(super) is_judged: bool,
    /// Visible columns: place in the table and in the stream's tuples.
    pub(super) columns: Vec<(usize, usize)>,
    /// The `columns` of a change, rendered.
    pub(super) columns_json: Vec<u8>,
    /// Rules that use it; at zero its slot may be taken.
    pub(super) rules: usize,
}

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is shown.
    Show,
    /// Nothing: the role is gone.
    Hide,
    /// Inserts and updates are announced as errors.
    Error(&'static str),
}

const NO_KEY: &str = "Error 400: Bad Request, no primary key";
const UNAUTHORIZED: &str = "Error 401: Unauthorized";

impl Shape {
    /// `layout` maps the table's columns to the stream's.
    pub(super) fn new(
        table: &Table,
        layout: &[Option<usize>],
        role: Arc<str>,
        view: Option<&RoleView>,
        select: Option<Vec<Arc<str>>>,
    ) -> Self {
        let readable = |at: usize| view.is_some_and(|view| view.readable.get(at) == Some(&true));
        let columns: Vec<_> = table
            .columns
            .iter()
            .enumerate()
            .filter(|(at, column)| {
                let selected = select.as_ref().is_none_or(|names| names.contains(&column.name));
                readable(*at) && (selected || column.is_key)
            })
            .filter_map(|(at, _)| Some((at, (*layout.get(at)?)?)))
            .collect();
        let mut keys = table.columns.iter().enumerate().filter(|(_, column)| column.is_key);
        let verdict = match view {
            None => Verdict::Hide,
            Some(_) if !table.has_key() => Verdict::Error(NO_KEY),
            Some(_) if !keys.all(|(at, _)| readable(at)) => Verdict::Error(UNAUTHORIZED),
            Some(_) => Verdict::Show,
        };
        let is_judged = table.row_security && view.is_some_and(|view| !view.exempt);
        let columns_json = columns_json(table, &columns);
        Self { role, select, verdict, is_judged, columns, columns_json, rules: 0 }
    }

    /// The error that stands for a row, if it is not to be shown as it is.
    /// Deletes need no key.
    pub(super) fn error(&self, event: EventFilter) -> Option<&'static str> {
        match self.verdict {
            Verdict::Error(text) if event != EventFilter::Delete => Some(text),
            _ => None,
        }
    }
}

fn columns_json(table: &Table, columns: &[(usize, usize)]) -> Vec<u8> {
    let mut out = vec![b'['];
    for column in columns.iter().filter_map(|(at, _)| table.columns.get(*at)) {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"name\":");
        write_string(column.name.as_bytes(), &mut out);
        out.extend_from_slice(b",\"type\":");
        write_string(column.type_name.as_bytes(), &mut out);
        out.push(b'}');
    }
    out.push(b']');
    out
}
