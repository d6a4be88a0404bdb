//! The published tables: what the log keeps of their rows, and who sees them.

use super::{super::super::connect::pg, Patient};
use crate::cli::doctor::report::Report;

/// `identity` is `d`efault, inde`x` as `i`, `f`ull or `n`othing.
const SQL: &str = "select format('%I.%I', n.nspname, c.relname) as name, \
      quote_ident(n.nspname) as schema, \
      c.relreplident::text as identity, \
      exists (select from pg_index i where i.indrelid = c.oid and i.indisvalid \
        and case c.relreplident when 'i' then i.indisreplident else i.indisprimary end) as has_key, \
      c.relrowsecurity as is_secured, \
      exists (select from pg_policy where polrelid = c.oid and polcmd in ('r', '*') \
        and polpermissive) as has_policy, \
      array(select r.rolname::text from pg_roles r where r.rolname in ('anon', 'authenticated') \
        and has_schema_privilege(r.oid, n.oid, 'usage') \
        and has_any_column_privilege(r.oid, c.oid, 'select') order by 1) as readers \
    from pg_publication_tables t join pg_namespace n on n.nspname = t.schemaname \
    join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename \
    where t.pubname = $1 order by 1";

/// A published table.
struct Table {
    name: String,
    schema: String,
    identity: String,
    has_key: bool,
    is_secured: bool,
    has_policy: bool,
    /// Roles of clients that may read it.
    readers: Vec<String>,
}

/// Most tables that a sentence names.
const NAMED: usize = 5;

pub(super) async fn check(patient: &Patient<'_>, report: &mut Report) -> Result<(), pg::Error> {
    let publication = &patient.settings.replication.publication;
    let rows = patient.client.query(SQL, &[publication]).await?;
    let tables: Vec<Table> = rows.iter().map(Table::read).collect();
    let secured = tables.iter().filter(|table| table.is_secured).count();
    let full = tables.iter().filter(|table| table.identity == "f").count();
    report.checked(
        "tables",
        format!(
            "{} published, {secured} with row security, {full} with replica identity full",
            tables.len()
        ),
    );
    identities(&tables, report);
    // Without the roles nobody reads anything, which is told already.
    if patient.has_users {
        readers(&tables, report);
    }
    Ok(())
}

/// What the log keeps of an old row.
fn identities(tables: &[Table], report: &mut Report) {
    let full = |table: &Table| format!("alter table {} replica identity full", table.name);

    let nothing = found(tables, |table| table.identity == "n");
    if !nothing.is_empty() {
        let what = format!(
            "The replica identity of {} is nothing: PostgreSQL refuses updates and deletes there while they are published.",
            names(&nothing)
        );
        report
            .error("replica_identity_nothing", what)
            .all_sql(nothing.iter().map(|table| full(table)));
    }
    let keyless = found(tables, |table| matches!(&*table.identity, "d" | "i") && !table.has_key);
    if !keyless.is_empty() {
        let what = format!(
            "There is no primary key for {}, nor another replica identity: PostgreSQL refuses updates and deletes there while they are published.",
            names(&keyless)
        );
        report.error("primary_key", what).all_sql(keyless.iter().map(|table| full(table)));
    }
    // Deletes then cannot be judged: everybody is told the key.
    let blind = found(tables, |table| {
        table.is_secured
            && table.has_policy
            && matches!(&*table.identity, "d" | "i")
            && table.has_key
    });
    if !blind.is_empty() {
        let what = format!(
            "The log keeps only the key of deleted rows of {}: their policies cannot be asked, so every subscriber is told the keys, and filters on other columns see no deletes.",
            names(&blind)
        );
        report
            .note("replica_identity_deletes", what)
            .all_sql(blind.iter().map(|table| full(table)));
    }
}

/// Who sees the rows.
fn readers(tables: &[Table], report: &mut Report) {
    let open = found(tables, |table| !table.is_secured && !table.readers.is_empty());
    if !open.is_empty() {
        let roles = if open.iter().any(|table| table.readers.iter().any(|role| role == "anon")) {
            "whoever has the anon key"
        } else {
            "every user"
        };
        let what = format!("Row security is off for {}: {roles} sees all rows.", names(&open));
        report.warning("rls_off", what).all_sql(
            open.iter()
                .map(|table| format!("alter table {} enable row level security", table.name)),
        );
    }
    let closed = found(tables, |table| table.is_secured && !table.has_policy);
    if !closed.is_empty() {
        let what = format!(
            "Row security is on for {} without a policy for select: no client sees a row. Put your own condition in the place of true.",
            names(&closed)
        );
        report.warning("rls_no_policy", what).all_sql(closed.iter().map(|table| {
            format!(
                "create policy \"clients read\" on {} for select to authenticated using (true)",
                table.name
            )
        }));
    }
    let granted = found(tables, |table| table.readers.is_empty());
    if !granted.is_empty() {
        let what = format!(
            "Neither anon nor authenticated may select from {}: clients get \"Error 401: Unauthorized\" in the place of rows.",
            names(&granted)
        );
        report.warning("grants", what).all_sql(granted.iter().flat_map(|table| {
            let Table { name, schema, .. } = table;
            [
                format!("grant usage on schema {schema} to authenticated"),
                format!("grant select on {name} to authenticated"),
            ]
        }));
    }
}

fn found(tables: &[Table], is: impl Fn(&Table) -> bool) -> Vec<&Table> {
    tables.iter().filter(|table| is(table)).collect()
}

fn names(tables: &[&Table]) -> String {
    let names: Vec<&str> = tables.iter().take(NAMED).map(|table| &*table.name).collect();
    let more = tables.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", names.join(", "))
}

impl Table {
    fn read(row: &pg::Row) -> Self {
        Self {
            name: row.get("name"),
            schema: row.get("schema"),
            identity: row.get("identity"),
            has_key: row.get("has_key"),
            is_secured: row.get("is_secured"),
            has_policy: row.get("has_policy"),
            readers: row.get("readers"),
        }
    }
}
