//! Values of generated columns, which the stream leaves out.
//!
//! Their expressions are immutable, so PostgreSQL computes them again from the
//! row in the log, exactly. It does so as the table's owner: an expression may
//! call functions that whoever made the table wrote.

use std::sync::Arc;

use super::CatalogError;
use crate::postgres::pool::{
    Pool,
    types::{ToSql, Type},
};

/// How the generated columns of a table are computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Generation {
    /// The role that owns the table, quoted.
    pub(in super::super) owner: Arc<str>,
    /// In attribute order.
    pub(in super::super) columns: Vec<Generated>,
}

/// A generated column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Generated {
    pub(in super::super) name: Arc<str>,
    pub(in super::super) type_oid: u32,
    /// As `pg_get_expr` writes it.
    pub(in super::super) expression: Arc<str>,
    /// Names of the columns in it.
    pub(in super::super) sources: Vec<Arc<str>>,
}

/// A source of the expressions: its quoted name, its type, its value in each row.
#[derive(Debug, Clone)]
pub(in super::super) struct Source {
    pub(in super::super) name: String,
    pub(in super::super) cast: Arc<str>,
    pub(in super::super) values: Vec<Option<String>>,
}

/// Text as the stream writes it, and no expression that runs for ever.
const SETTINGS: &str = "set local statement_timeout = '2s'; set local DateStyle = 'ISO'; \
    set local TimeZone = 'UTC'; set local IntervalStyle = 'postgres'; \
    set local extra_float_digits = 3; set local bytea_output = 'hex'";

/// The values of each row's generated columns, in the order of the rows.
pub(super) async fn compute(
    pool: &Pool,
    generation: &Generation,
    sources: &[Source],
    rows: usize,
) -> Result<Vec<Vec<Option<String>>>, CatalogError> {
    let mut lease = pool.checkout().await?;
    let sql = sql(generation, sources);
    let count = i64::try_from(rows).unwrap_or(i64::MAX);
    let mut params: Vec<(&(dyn ToSql + Sync), Type)> = vec![(&count, Type::INT8)];
    for source in sources {
        params.push((&source.values, Type::TEXT_ARRAY));
    }
    let open = format!("begin read only; {SETTINGS}; set local role {}", generation.owner);
    // Until the rollback is through, the session is not as it was.
    lease.mark_dirty();
    let (began, found, done) = futures_util::future::join3(
        lease.batch_execute(&open),
        lease.query_typed(&sql, &params),
        lease.batch_execute("rollback"),
    )
    .await;
    if done.is_ok() {
        lease.mark_clean();
    }
    began.map_err(super::comparisons::refused_if_too_slow)?;
    let found = found.map_err(super::comparisons::refused_if_too_slow)?;
    let values = |row: &crate::postgres::pool::Row| {
        (0..generation.columns.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>()
    };
    Ok(found.iter().map(values).collect::<Result<_, _>>()?)
}

fn sql(generation: &Generation, sources: &[Source]) -> String {
    // The number of a row stands first under a name that no column has here.
    let number = "\"rowcast row number\"";
    let list = |part: &dyn Fn(usize, &Source) -> String| -> String {
        (2..).zip(sources).map(|(at, source)| part(at, source)).collect()
    };
    let casts = list(&|_, source| format!(", {0}::{1} as {0}", source.name, source.cast));
    let joins = list(&|at, source| {
        format!(
            " join unnest(${at}) with ordinality x{at}({}, n{at}) on n{at} = {number}",
            source.name
        )
    });
    let output = generation.columns.iter().map(|column| {
        // `format` calls the type's output function, as the stream does.
        format!(
            "(select case when e.e is distinct from null then format('%s', e.e) end from (select ({}) e) e)",
            column.expression
        )
    });
    format!(
        "select {} from (select {number}{casts} from generate_series(1, $1) g({number}){joins}) r order by r.{number}",
        output.collect::<Vec<_>>().join(", "),
    )
}
