//! The schema `realtime`: its migrations, and the table of messages.

use super::{super::super::connect::pg, Patient};
use crate::{cli::doctor::report::Report, tenants::migrations};

/// The catalogue is asked by name: `to_regclass()` itself needs USAGE.
const SQL: &str = "with c as (select * from pg_class where relname = 'messages' \
        and relnamespace = to_regnamespace('realtime')), \
      l as (select * from pg_class where relname = 'rowcast_migrations' \
        and relnamespace = to_regnamespace('realtime')), \
      day as (select n, (now() at time zone 'utc')::date + n as day from generate_series(0, 1) n), \
      missing as (select n, format('create table realtime.messages_%s partition of realtime.messages \
          for values from (%L) to (%L)', to_char(day, 'YYYY_MM_DD'), day, day + 1) as make \
        from day where not exists (select from pg_inherits i join pg_class p on p.oid = i.inhrelid \
          join c on c.oid = i.inhparent where p.relname = 'messages_' || to_char(day, 'YYYY_MM_DD'))) \
    select to_regnamespace('realtime') is not null as has_schema, \
      exists (select from l) as has_ledger, \
      coalesce(has_schema_privilege(to_regnamespace('realtime'), 'usage') \
        and has_schema_privilege(to_regnamespace('realtime'), 'create'), true) \
        and coalesce((select has_table_privilege(oid, 'select') \
          and has_table_privilege(oid, 'insert') from l), true) as is_usable, \
      exists (select from c) as has_messages, \
      coalesce((select relrowsecurity from c), true) as is_secured, \
      coalesce((select pg_has_role(relowner, 'member') from c), true) as is_ours, \
      (select quote_ident(pg_get_userbyid(relowner)) from c) as owner, \
      (select make from missing where n = 0 and (select relkind from c) = 'p') as today, \
      (select make from missing where n = 1 and (select relkind from c) = 'p') as tomorrow, \
      array(select r.rolname::text from pg_roles r, c where r.rolname in ('anon', 'authenticated') \
        and not (has_schema_privilege(r.oid, c.relnamespace, 'usage') \
          and has_any_column_privilege(r.oid, c.oid, 'select') \
          and has_any_column_privilege(r.oid, c.oid, 'insert'))) as strangers";

pub(super) async fn check(patient: &Patient<'_>, report: &mut Report) -> Result<(), pg::Error> {
    let row = patient.client.query_one(SQL, &[]).await?;
    if !row.get::<_, bool>("has_schema") {
        install(patient, report, "schema_missing", "The schema realtime is not installed");
        return Ok(());
    }
    if !row.get::<_, bool>("is_usable") {
        let role = &patient.role;
        let what = format!(
            "The role {role} may not use the schema realtime and create in it: its objects cannot be installed, nor partitions made."
        );
        let finding = report.error("schema_privileges", what);
        finding.sql(format!("grant usage, create on schema realtime to {role}"));
        if row.get("has_ledger") {
            finding.sql(format!("grant select, insert on realtime.rowcast_migrations to {role}"));
        }
    } else if row.get("has_ledger") {
        applied(patient, report).await?;
    } else {
        install(
            patient,
            report,
            "schema_missing",
            "The schema realtime is there, but not the objects of this server",
        );
    }
    if row.get("has_messages") {
        table(patient, &row, report);
        publication(patient, report).await?;
    }
    Ok(())
}

/// What has been applied, beside what this version knows.
async fn applied(patient: &Patient<'_>, report: &mut Report) -> Result<(), pg::Error> {
    let sql = "select version from realtime.rowcast_migrations where version not like 'grants/%'";
    let rows = patient.client.query(sql, &[]).await?;
    let there: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    let known: Vec<&str> = migrations::versions().collect();
    let missing = known.iter().filter(|version| !there.contains(version)).count();
    let foreign = there.iter().filter(|version| !known.contains(version)).count();
    report.checked("schema", format!("realtime with {} migrations", there.len()));
    if missing > 0 {
        let what = format!("{missing} migrations of the schema realtime have not been applied");
        install(patient, report, "schema_behind", &what);
    }
    if foreign > 0 {
        let what = format!(
            "The schema realtime has {foreign} migrations that this version does not know: a newer server was here."
        );
        report.note("schema_ahead", what).by("run the same version everywhere");
    }
    Ok(())
}

/// Objects are missing. It depends on a setting whether that mends itself.
fn install(patient: &Patient<'_>, report: &mut Report, code: &'static str, what: &str) {
    if patient.settings.database.auto_migrate {
        let what = format!(
            "{what}: private channels and messages of the database do not work until the server starts and installs it."
        );
        report.warning(code, what).by("rowcast migrate");
    } else {
        let what = format!(
            "{what}, and ROWCAST_AUTO_MIGRATE is off: private channels and messages of the database do not work."
        );
        report.error(code, what).by("rowcast migrate");
    }
}

fn table(patient: &Patient<'_>, row: &pg::Row, report: &mut Report) {
    if let Some(make) = row.get::<_, Option<String>>("today") {
        let what = "realtime.messages has no partition for today: private channels are refused, and messages of the database are lost.";
        report.error("partition_today", what).sql(make);
    } else if let Some(make) = row.get::<_, Option<String>>("tomorrow") {
        // With a janitor the server is to make it in time.
        let what = "realtime.messages has no partition for tomorrow: unless a server runs by then, private channels are refused, and messages of the database are lost.";
        report.warning("partition_tomorrow", what).sql(make);
    }
    if !row.get::<_, bool>("is_secured") {
        let what = "Row security is off for realtime.messages, whose policies say who may use a private channel: everybody may use every one.";
        report
            .error("messages_rls_off", what)
            .sql("alter table realtime.messages enable row level security");
    }
    if !row.get::<_, bool>("is_ours") {
        let owner: &str = row.get("owner");
        let role = &patient.role;
        let what = format!(
            "realtime.messages belongs to {owner}: {role} can neither publish it nor look after its partitions."
        );
        report.error("messages_owner", what).sql(format!("grant {owner} to {role}"));
    }
    let strangers: Vec<&str> = row.get("strangers");
    if !strangers.is_empty() {
        let roles = strangers.join(", ");
        let what = format!(
            "{roles} may not use realtime.messages, whatever its policies say: private channels refuse their tokens."
        );
        report
            .warning("messages_grants", what)
            .sql(format!("grant usage on schema realtime to {roles}"))
            .sql(format!("grant select, insert, update on realtime.messages to {roles}"));
    }
}

/// The publication of messages, which is for that table alone.
async fn publication(patient: &Patient<'_>, report: &mut Report) -> Result<(), pg::Error> {
    if !patient.settings.messages.broadcasts {
        return Ok(());
    }
    let sql = "select puballtables as is_for_all, pubinsert as inserts, \
          exists (select from pg_publication_rel r where r.prpubid = p.oid \
            and r.prrelid::regclass::text <> 'realtime.messages') as has_others \
        from pg_publication p where pubname = 'supabase_realtime_messages_publication'";
    // A missing one is made by the server.
    let Some(row) = patient.client.query_opt(sql, &[]).await? else { return Ok(()) };
    let name = "supabase_realtime_messages_publication";
    if row.get("is_for_all") {
        let what = format!(
            "The publication {name} is for all tables: every row of every table is read twice."
        );
        report.warning("messages_publication", what).sql(format!(
            "drop publication {name}; create publication {name} for table realtime.messages"
        ));
    } else if row.get("has_others") {
        let what =
            format!("The publication {name} has further tables: their rows are read for nothing.");
        report
            .warning("messages_publication", what)
            .sql(format!("alter publication {name} set table realtime.messages"));
    }
    if !row.get::<_, bool>("inserts") {
        let what = format!(
            "The publication {name} does not publish inserts: messages of the database reach nobody."
        );
        report.error("messages_operations", what).sql(format!(
            "alter publication {name} set (publish = 'insert, update, delete, truncate')"
        ));
    }
    Ok(())
}
