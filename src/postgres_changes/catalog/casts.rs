//! Filter values in the form in which PostgreSQL prints them.

use std::{collections::HashMap, sync::Arc};

use super::CatalogError;
use crate::postgres::pool::{Pool, types::ToSql};

/// Values of one query; PostgreSQL takes 1,664 result columns.
const CHUNK: usize = 500;

/// Output as the stream writes it, whatever the database's own settings are;
/// for this statement only. The order of day and month in input stays.
const SETTINGS: &str = "(select set_config('DateStyle', 'ISO', true), \
    set_config('bytea_output', 'hex', true), set_config('extra_float_digits', '3', true) \
    offset 0) settings";

/// Canonical texts by type and value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Casts(HashMap<(Arc<str>, String), Arc<str>>);

impl Casts {
    /// The canonical text of `value` as type `cast`.
    pub(in super::super) fn find(&self, cast: &Arc<str>, value: &str) -> Option<Arc<str>> {
        self.0.get(&(Arc::clone(cast), value.to_owned())).cloned()
    }
}

/// Casts each value to its type (as `format_type` writes it) and back.
pub(super) async fn cast(
    pool: &Pool,
    values: Vec<(Arc<str>, String)>,
) -> Result<Casts, CatalogError> {
    let mut casts = Casts::default();
    if values.is_empty() {
        return Ok(casts);
    }
    let lease = pool.checkout().await?;
    for chunk in values.chunks(CHUNK) {
        // The type names come from the catalog, quoted by PostgreSQL itself.
        // `format` calls the type's output function, as the stream does; a
        // cast to text need not (boolean has its own).
        let columns: Vec<_> = chunk
            .iter()
            .enumerate()
            .map(|(at, (cast, _))| format!("format('%s', ${}::text::{cast})", at + 1))
            .collect();
        let sql = format!("select {} from {SETTINGS}", columns.join(", "));
        let params: Vec<&(dyn ToSql + Sync)> =
            chunk.iter().map(|(_, value)| value as &(dyn ToSql + Sync)).collect();
        let row = lease.query_one(&sql, &params).await?;
        for (at, (cast, value)) in chunk.iter().enumerate() {
            let text: String = row.try_get(at)?;
            casts.0.insert((Arc::clone(cast), value.clone()), Arc::from(text));
        }
    }
    Ok(casts)
}
