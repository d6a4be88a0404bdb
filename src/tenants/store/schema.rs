//! Installs the tables of tenants in the control database.
//!
//! A database that Supabase Realtime migrated is adopted: its tables, rows and
//! list of migrations stay as they are, and columns that it lacks are added.

use super::super::{
    ledger::{Set, apply, at},
    migrations::{BEGIN, LOCK, MigrateError, Report, check_version, has_code},
};
use crate::postgres::pool::{self as pg, words};

const SET: Set = Set {
    ledger: include_str!("../../../sql/control/ledger.sql"),
    table: "rowcast_migrations",
    migrations: &[
        ("0001_tables", include_str!("../../../sql/control/0001_tables.sql")),
        ("0002_columns", include_str!("../../../sql/control/0002_columns.sql")),
    ],
};

/// The schema that comes first in the session's search path, which may not be
/// there yet.
const SCHEMA: &str = "select btrim(part, ' \"') \
    from unnest(string_to_array(current_setting('search_path'), ',')) with ordinality as path (part, n) \
    where btrim(part, ' \"') not in ('', '$user') order by n limit 1";

/// Installs what is missing and says what it did.
///
/// # Errors
///
/// See [`MigrateError`]; the database is then unchanged.
pub(super) async fn install(client: &mut pg::Client) -> Result<Report, MigrateError> {
    check_version(client).await?;
    let row = client.query_opt(SCHEMA, &[]).await.map_err(at("search path"))?;
    let schema: String = row.map_or_else(|| "public".to_owned(), |row| row.get(0));
    match install_in(client, &schema).await {
        Err(MigrateError::Failed { file, source }) => {
            Err(explain(client, &schema, file, source).await)
        }
        result => result,
    }
}

async fn install_in(client: &mut pg::Client, schema: &str) -> Result<Report, MigrateError> {
    let transaction = client.transaction().await.map_err(at("begin"))?;
    transaction.batch_execute(BEGIN).await.map_err(at("begin"))?;
    transaction.query("select pg_advisory_xact_lock($1)", &[&LOCK]).await.map_err(at("lock"))?;
    let name = transaction
        .query_one(
            "select quote_ident($1), exists (select from pg_namespace where nspname = $1)",
            &[&schema],
        )
        .await
        .map_err(at("schema"))?;
    let (quoted, is_there): (String, bool) = (name.get(0), name.get(1));
    if !is_there {
        let create = format!("create schema {quoted}");
        transaction.batch_execute(&create).await.map_err(at("schema"))?;
    }
    let path = format!("set local search_path = {quoted}");
    transaction.batch_execute(&path).await.map_err(at("schema"))?;
    let mut report = Report::default();
    apply(&transaction, &SET, &mut report).await?;
    report.adopted = transaction
        .query_one("select to_regclass('schema_migrations') is not null", &[])
        .await
        .map_err(at("ledger.sql"))?
        .get(0);
    transaction.commit().await.map_err(at("commit"))?;
    Ok(report)
}

async fn explain(
    client: &pg::Client,
    schema: &str,
    file: &'static str,
    source: pg::Error,
) -> MigrateError {
    if has_code(&source, &pg::SqlState::LOCK_NOT_AVAILABLE) {
        return MigrateError::Locked;
    }
    if !has_code(&source, &pg::SqlState::INSUFFICIENT_PRIVILEGE) {
        return MigrateError::Failed { file, source };
    }
    // Names are looked up in the catalogue: to_regclass() itself needs USAGE.
    let facts = client
        .query_one(
            "select quote_ident(current_user), coalesce( \
               (select format('GRANT CREATE ON DATABASE %I TO %I;', current_database(), current_user) \
                where not exists (select from pg_namespace where nspname = $1)), \
               (select format('GRANT USAGE, CREATE ON SCHEMA %I TO %I;', nspname, current_user) \
                from pg_namespace where nspname = $1 \
                and not has_schema_privilege(oid, 'usage, create')), \
               (select format('GRANT %I TO %I;', pg_get_userbyid(relowner), current_user) \
                from pg_class join pg_namespace n on n.oid = relnamespace \
                where nspname = $1 and relname = 'tenants'), \
               format('GRANT ALL ON SCHEMA %I TO %I;', $1, current_user))",
            &[&schema],
        )
        .await;
    let (user, remedy) = match &facts {
        Ok(row) => (row.get(0), row.get(1)),
        Err(_) => ("of this connection".to_owned(), "GRANT ALL ON SCHEMA …".to_owned()),
    };
    MigrateError::Denied { user, message: words(&source), remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_order_and_nothing_is_dropped() {
        assert!(SET.migrations.is_sorted_by(|(a, _), (b, _)| a < b));
        for sql in SET.migrations.iter().map(|(_, sql)| *sql).chain([SET.ledger]) {
            assert!(!sql.to_lowercase().contains("drop "), "a migration drops something");
        }
    }
}
