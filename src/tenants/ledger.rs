//! Sets of migrations and the tables that list what has been applied.

use super::migrations::{MigrateError, Report, Step};
use crate::postgres::pool as pg;

/// Migrations and the table that lists what has been applied.
pub(super) struct Set {
    /// The SQL that makes that table where it is missing.
    pub(super) ledger: &'static str,
    /// Its qualified name; it has a column `version`.
    pub(super) table: &'static str,
    /// Applied once each, in this order; the name is the version.
    pub(super) migrations: &'static [(&'static str, &'static str)],
}

/// Applies what is missing of a set, and returns what had been applied before.
pub(super) async fn apply(
    transaction: &pg::Transaction<'_>,
    set: &Set,
    report: &mut Report,
) -> Result<Vec<String>, MigrateError> {
    transaction.batch_execute(set.ledger).await.map_err(at("ledger.sql"))?;
    let applied = names(transaction, &versions(set.table)).await?;
    let note = format!("insert into {} (version) values ($1)", set.table);
    for (name, sql) in set.migrations {
        let missing = !applied.iter().any(|version| version == name);
        if missing {
            transaction.batch_execute(sql).await.map_err(at(name))?;
            transaction.execute(&note, &[name]).await.map_err(at(name))?;
        }
        report.steps.push(Step { name, applied: missing });
    }
    Ok(applied)
}

/// The query of what has been applied.
pub(super) fn versions(table: &str) -> String {
    format!("select version from {table} order by version")
}

/// The first column of the rows.
pub(super) async fn names(
    transaction: &pg::Transaction<'_>,
    sql: &str,
) -> Result<Vec<String>, MigrateError> {
    let rows = transaction.query(sql, &[]).await.map_err(at("ledger.sql"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// An error as that of a file.
pub(super) fn at(file: &'static str) -> impl Fn(pg::Error) -> MigrateError {
    move |source| MigrateError::Failed { file, source }
}
