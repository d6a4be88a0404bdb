//! The publication of the tables that clients may subscribe to.

use super::{super::super::connect::pg, Patient};
use crate::cli::doctor::report::Report;

const SQL: &str = "select quote_ident($1) as name, p.oid is not null as exists, \
      coalesce(puballtables, false) as is_for_all, \
      coalesce(pubinsert and pubupdate and pubdelete, true) as is_whole, \
      concat_ws(', ', case when pubinsert then 'insert' end, case when pubupdate then 'update' end, \
        case when pubdelete then 'delete' end) as operations, \
      coalesce(pg_has_role(pubowner, 'member'), true) as is_ours, \
      (select count(*) from pg_publication_tables where pubname = $1) as tables, \
      (select string_agg(format('%I.%I', schemaname, tablename), ', ' order by 1) \
        from pg_publication_tables where pubname = $1 and schemaname = 'public') as public_tables, \
      (select min(format('%I.%I', schemaname, tablename)) from pg_tables \
        where schemaname = 'public') as some_table, \
      (select string_agg(r.prrelid::regclass::text, ', ') from pg_publication_rel r \
        join pg_class c on c.oid = r.prrelid \
        where r.prpubid = p.oid and c.relkind = 'p' and not pubviaroot) as roots \
    from (select) one left join pg_publication p on pubname = $1";

pub(super) async fn check(patient: &Patient<'_>, report: &mut Report) -> Result<(), pg::Error> {
    let wanted = &patient.settings.replication.publication;
    let row = patient.client.query_one(SQL, &[wanted]).await?;
    let name: &str = row.get("name");
    let some_table: Option<&str> = row.get("some_table");
    let add = |table: &str| format!("alter publication {name} add table {table}");

    if !row.get::<_, bool>("exists") {
        let what = format!(
            "The publication {name} does not exist: until the server makes it, empty, no table can be subscribed to."
        );
        let finding = report.warning("publication_missing", what);
        finding.sql(format!("create publication {name}"));
        finding.all_sql(some_table.map(add));
        return Ok(());
    }
    let tables: i64 = row.get("tables");
    report.checked("publication", format!("{name} with {tables} tables"));

    if row.get("is_for_all") {
        let what = format!(
            "The publication {name} is for all tables: every table, with those that nobody should know of, is read and can be subscribed to."
        );
        let public: Option<&str> = row.get("public_tables");
        let only = public.map(|tables| format!(" for table {tables}")).unwrap_or_default();
        report
            .warning("publication_all_tables", what)
            .sql(format!("drop publication {name}; create publication {name}{only}"));
    } else if tables == 0 {
        let what = format!(
            "The publication {name} has no table: every subscription to changes is refused."
        );
        let table = some_table.map_or("the_table", |table| table);
        let finding = report.warning("publication_empty", what);
        match some_table {
            Some(table) => finding.sql(add(table)),
            None => finding.by(add(table)),
        };
    }
    if !row.get::<_, bool>("is_whole") {
        let operations: &str = row.get("operations");
        let told = if operations.is_empty() { "nothing" } else { operations };
        let what = format!(
            "The publication {name} publishes {told} only: subscribers never hear of the others."
        );
        report.warning("publication_operations", what).sql(format!(
            "alter publication {name} set (publish = 'insert, update, delete, truncate')"
        ));
    }
    if let Some(roots) = row.get::<_, Option<&str>>("roots") {
        let what = format!(
            "Rows of {roots} are published under the names of the partitions: who subscribes to the table itself hears nothing."
        );
        report
            .warning("publication_partitions", what)
            .sql(format!("alter publication {name} set (publish_via_partition_root = true)"));
    }
    if !row.get::<_, bool>("is_ours") {
        let what = format!(
            "The publication {name} belongs to another role: {} cannot mend it.",
            patient.role
        );
        // Changing the owner takes CREATE on the database for the new one.
        report
            .note("publication_owner", what)
            .sql(format!("grant create on database {} to {}", patient.database, patient.role))
            .sql(format!("alter publication {name} owner to {}", patient.role));
    }
    Ok(())
}
