//! The role that the server logs in as, and the roles of clients.

use super::{super::super::connect::pg, CLIENTS, Patient};
use crate::{
    cli::doctor::report::Report,
    postgres::wire::{Connection, Mode, Startup},
    telemetry,
};

/// `rds_replication` is how Amazon's PostgreSQL gives the attribute.
const OURS: &str = "select rolsuper as is_superuser, \
      rolsuper or rolreplication or exists (select from pg_roles r \
        where r.rolname = 'rds_replication' and pg_has_role(r.oid, 'member')) as replicates, \
      has_database_privilege(current_database(), 'create') as creates \
    from pg_roles where rolname = current_user";

pub(super) async fn check(patient: &Patient<'_>, report: &mut Report) -> Result<(), pg::Error> {
    let row = patient.client.query_one(OURS, &[]).await?;
    let replicates: bool = row.get("replicates");
    let creates: bool = row.get("creates");
    let role = &patient.role;
    let kind = if row.get("is_superuser") { ", a superuser" } else { "" };
    report.checked("role", format!("{role}{kind}, in the database {}", patient.database));

    if replicates {
        replication_login(patient, report).await;
    } else {
        let what = format!(
            "The role {role} may not replicate: no change and no message of the database reaches a client."
        );
        report.error("role_replication", what).sql(format!("alter role {role} replication"));
    }
    if !creates {
        missing_create(patient, report).await?;
    }
    client_roles(patient, report).await
}

/// What needs CREATE has perhaps been made by somebody else already.
async fn missing_create(patient: &Patient<'_>, report: &mut Report) -> Result<(), pg::Error> {
    let sql = "select to_regnamespace('realtime') is not null \
        and exists (select from pg_publication where pubname = $1)";
    let publication = &patient.settings.replication.publication;
    if patient.client.query_one(sql, &[publication]).await?.get(0) {
        return Ok(());
    }
    let (role, database) = (&patient.role, &patient.database);
    let what = format!(
        "The role {role} may not create in the database {database}: the schema realtime or the publication, which are missing, cannot be made."
    );
    let grant = format!("grant create on database {database} to {role}");
    report.error("role_create", what).sql(grant);
    Ok(())
}

/// Poolers let SQL through and replication not.
async fn replication_login(patient: &Patient<'_>, report: &mut Report) {
    let startup = Startup {
        application_name: "rowcast-doctor".to_owned(),
        mode: Mode::Replication,
        timeout: std::time::Duration::from_secs(10),
    };
    let connection = Connection::open(&patient.settings.database.connect, &startup).await;
    let error = match connection {
        Ok(connection) => return connection.close().await,
        // No sender is free, which has its own finding.
        Err(error) if error.sqlstate() == Some("53300") => return,
        Err(error) => telemetry::reason(&error),
    };
    let what = format!(
        "SQL works, but a connection for replication does not ({error}): no change reaches a client."
    );
    report
        .error("replication_login", what)
        .by("name the database itself in DATABASE_URL rather than a pooler");
}

async fn client_roles(patient: &Patient<'_>, report: &mut Report) -> Result<(), pg::Error> {
    // From 16 on a member may be forbidden to take the role.
    let kind = if patient.version >= 160_000 { "set" } else { "member" };
    let sql = format!(
        "select wanted.name, r.oid is not null as exists, \
           coalesce(pg_has_role(r.oid, '{kind}'), false) as is_ours, \
           coalesce(r.rolbypassrls or r.rolsuper, false) as bypasses \
         from unnest(array['anon', 'authenticated', 'service_role']) with ordinality wanted(name, n) \
         left join pg_roles r on r.rolname = wanted.name order by n"
    );
    let rows = patient.client.query(&sql, &[]).await?;
    let names = |wanted: &dyn Fn(&pg::Row) -> bool| -> Vec<&str> {
        rows.iter().filter(|row| wanted(row)).map(|row| row.get("name")).collect()
    };
    let role = &patient.role;

    let missing = names(&|row| !row.get::<_, bool>("exists"));
    if !missing.is_empty() {
        let what = format!(
            "There is no role {}: whoever has a token for it is refused private channels and gets no changes.",
            missing.join(", ")
        );
        let create = |name: &str| {
            let bypass = if CLIENTS.contains(&name) { "" } else { " bypassrls" };
            format!("create role {name} nologin noinherit{bypass}")
        };
        let finding = report.error("client_roles", what);
        finding.all_sql(missing.iter().map(|name| create(name)));
        finding.sql(format!("grant {} to {role}", missing.join(", ")));
        finding.by("rowcast migrate");
    }
    let foreign = names(&|row| row.get("exists") && !row.get::<_, bool>("is_ours"));
    if !foreign.is_empty() {
        let list = foreign.join(", ");
        let what = format!(
            "The role {role} may not act as {list}: policies cannot be asked for such tokens, so private channels refuse them and tables with row security send them nothing."
        );
        report.error("role_membership", what).sql(format!("grant {list} to {role}"));
    }
    let bound = names(&|row| {
        row.get::<_, &str>("name") == "service_role"
            && row.get("exists")
            && !row.get::<_, bool>("bypasses")
    });
    if !bound.is_empty() {
        let what = "Row security binds service_role: the application's own servers, which hold that key, see only what policies allow.";
        report.warning("service_role", what).sql("alter role service_role bypassrls");
    }
    Ok(())
}
