//! Installs the schema `realtime` in a tenant's database.
//!
//! Everything happens in one transaction under an advisory lock, so that two
//! servers starting together do not collide and a failure leaves nothing
//! behind. Each migration tolerates that its objects exist: a database that
//! Supabase Realtime prepared is taken over without harm. Nothing is dropped.
//! The publication belongs to the replication worker.

use thiserror::Error;

use super::{
    chat_schema::{self, Chat},
    ledger::{self, Set, apply, at, names},
    partitions,
};
use crate::postgres::{
    pool::{self as pg, words},
    session::is_transient_sqlstate,
};

const SET: Set =
    Set { ledger: LEDGER, table: "realtime.rowcast_migrations", migrations: MIGRATIONS };

/// Applied once each, in this order; the name is the version.
const MIGRATIONS: &[(&str, &str)] = &[
    ("20260101000000_messages", include_str!("../../sql/tenant/20260101000000_messages.sql")),
    ("20260101000100_topic", include_str!("../../sql/tenant/20260101000100_topic.sql")),
    ("20260101000200_send", include_str!("../../sql/tenant/20260101000200_send.sql")),
    (
        "20260101000300_broadcast_changes",
        include_str!("../../sql/tenant/20260101000300_broadcast_changes.sql"),
    ),
    ("20260101000400_expiries", include_str!("../../sql/tenant/20260101000400_expiries.sql")),
    (
        "20260101000500_subscription",
        include_str!("../../sql/tenant/20260101000500_subscription.sql"),
    ),
    ("20260101000600_filters", include_str!("../../sql/tenant/20260101000600_filters.sql")),
    ("20260101000700_changes", include_str!("../../sql/tenant/20260101000700_changes.sql")),
];

const LEDGER: &str = include_str!("../../sql/tenant/ledger.sql");
const ROLES: &str = include_str!("../../sql/tenant/roles.sql");
const GRANTS: &str = include_str!("../../sql/tenant/grants.sql");

/// "rowcast" in ASCII, so that a look at `pg_locks` can tell whose lock it is.
pub(super) const LOCK: i64 = 0x0072_6f77_6361_7374;

/// The names of functions and tables in the SQL are all qualified; a search
/// path of the user must not change what they mean. Waiting for a lock ends
/// with an error, because a start that hangs explains nothing.
pub(super) const BEGIN: &str = "set local search_path = pg_catalog; \
    set local client_min_messages = warning; \
    set local lock_timeout = '30s'";

/// The state in which `chat/check.sql` refuses.
const REFUSED: &str = "RC001";

/// What to install beside the schema itself.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The roles `anon`, `authenticated` and `service_role` and the functions
    /// `auth.uid()`, `auth.role()` and `auth.jwt()`, where they are missing.
    pub create_roles: bool,
    /// The tables and functions of the chat.
    pub chat: Option<Chat>,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Every migration in order.
    pub steps: Vec<Step>,
    /// Roles that were created.
    pub roles: Vec<String>,
    /// Roles that were granted the use of the schema.
    pub granted: Vec<String>,
    /// Partitions that were created.
    pub partitions: Vec<String>,
    /// Whether Supabase Realtime was here before.
    pub adopted: bool,
}

/// One migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its version and name.
    pub name: &'static str,
    /// Whether it was applied now; otherwise it had been before.
    pub applied: bool,
}

impl Report {
    /// Whether nothing had to be done.
    pub fn is_unchanged(&self) -> bool {
        self.steps.iter().all(|step| !step.applied)
            && self.roles.is_empty()
            && self.granted.is_empty()
            && self.partitions.is_empty()
    }
}

/// Why the schema could not be installed.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// PostgreSQL 13 or older.
    #[error("the database runs PostgreSQL {0}, but Rowcast needs 14 or newer")]
    TooOld(String),
    /// The user lacks a privilege.
    #[error("the user {user} lacks a privilege ({message}); as a superuser run: {remedy}")]
    Denied {
        /// The user of the connection.
        user: String,
        /// PostgreSQL's words.
        message: String,
        /// The statement that helps.
        remedy: String,
    },
    /// Somebody else held a lock for too long.
    #[error("another session holds a lock on the schema realtime")]
    Locked,
    /// The chat's names are taken, or the roles are missing.
    #[error("{0}")]
    Refused(String),
    /// Any other error of one of the SQL files.
    #[error("{file} failed")]
    Failed {
        /// The file.
        file: &'static str,
        /// The error.
        source: pg::Error,
    },
}

impl MigrateError {
    /// The SQLSTATE, or what it would be.
    pub fn sqlstate(&self) -> &str {
        match self {
            Self::TooOld(_) => "0A000",
            Self::Denied { .. } => "42501",
            Self::Locked => "55P03",
            Self::Refused(_) => REFUSED,
            Self::Failed { source, .. } => source.code().map_or("08000", |code| code.code()),
        }
    }

    /// True if waiting may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::TooOld(_) | Self::Denied { .. } | Self::Refused(_) => false,
            Self::Locked => true,
            Self::Failed { source, .. } => {
                source.code().is_none_or(|code| is_transient_sqlstate(code.code()))
            }
        }
    }
}

/// The versions of all migrations of the schema, in their order.
pub fn versions() -> impl Iterator<Item = &'static str> {
    MIGRATIONS.iter().map(|(name, _)| *name)
}

/// Installs what is missing and says what it did.
///
/// # Errors
/// See [`MigrateError`]; the database is then unchanged.
pub async fn run(client: &mut pg::Client, options: &Options) -> Result<Report, MigrateError> {
    check_version(client).await?;
    match install(client, options).await {
        Err(MigrateError::Failed { file, source }) => Err(explain(client, file, source).await),
        result => result,
    }
}

/// Refuses a PostgreSQL that is too old.
pub(super) async fn check_version(client: &pg::Client) -> Result<(), MigrateError> {
    let version = client
        .query_one(
            "select current_setting('server_version'), current_setting('server_version_num')::int",
            &[],
        )
        .await
        .map_err(at("connection"))?;
    if version.get::<_, i32>(1) < 140_000 {
        return Err(MigrateError::TooOld(version.get(0)));
    }
    Ok(())
}

/// What an error of a file means, now that its transaction is undone. What the
/// SQL itself refuses speaks for itself.
pub(super) async fn explain(
    client: &pg::Client,
    file: &'static str,
    source: pg::Error,
) -> MigrateError {
    if has_code(&source, &pg::SqlState::INSUFFICIENT_PRIVILEGE) {
        denied(client, &source).await
    } else if has_code(&source, &pg::SqlState::LOCK_NOT_AVAILABLE) {
        MigrateError::Locked
    } else if source.code().is_some_and(|code| code.code() == REFUSED) {
        MigrateError::Refused(words(&source))
    } else {
        MigrateError::Failed { file, source }
    }
}

async fn install(client: &mut pg::Client, options: &Options) -> Result<Report, MigrateError> {
    let transaction = client.transaction().await.map_err(at("begin"))?;
    transaction.batch_execute(BEGIN).await.map_err(at("begin"))?;
    transaction.query("select pg_advisory_xact_lock($1)", &[&LOCK]).await.map_err(at("lock"))?;

    let mut report = Report::default();
    if options.create_roles {
        let before = names(&transaction, "select rolname::text from pg_roles").await?;
        transaction.batch_execute(ROLES).await.map_err(at("roles.sql"))?;
        let after = names(&transaction, "select rolname::text from pg_roles").await?;
        report.roles = after.into_iter().filter(|role| !before.contains(role)).collect();
    }

    let applied = apply(&transaction, &SET, &mut report).await?;
    transaction.batch_execute(GRANTS).await.map_err(at("grants.sql"))?;
    report.granted = names(&transaction, &ledger::versions(SET.table))
        .await?
        .into_iter()
        .filter(|version| !applied.contains(version))
        .filter_map(|version| version.strip_prefix("grants/").map(str::to_owned))
        .collect();
    report.partitions = partitions::create(&transaction).await.map_err(at("partitions"))?;
    report.adopted = transaction
        .query_one("select to_regclass('realtime.schema_migrations') is not null", &[])
        .await
        .map_err(at("ledger.sql"))?
        .get(0);
    if let Some(chat) = &options.chat {
        chat_schema::install(&transaction, chat, &mut report).await?;
    }
    transaction.commit().await.map_err(at("commit"))?;
    Ok(report)
}

/// Finds out which privilege is missing.
async fn denied(client: &pg::Client, source: &pg::Error) -> MigrateError {
    let message = words(source);
    let facts = client
        .query_one(
            "select quote_ident(current_user), \
               case \
                 when to_regnamespace('realtime') is null \
                      and not has_database_privilege(current_database(), 'create') \
                   then format('GRANT CREATE ON DATABASE %I TO %I;', current_database(), current_user) \
                 when to_regnamespace('realtime') is not null \
                      and not has_schema_privilege(to_regnamespace('realtime'), 'usage, create') \
                   then format('GRANT USAGE, CREATE ON SCHEMA realtime TO %I;', current_user) \
                 else coalesce( \
                   (select format('GRANT %I TO %I;', pg_get_userbyid(relowner), current_user) \
                    from pg_class where relname = 'messages' \
                    and relnamespace = to_regnamespace('realtime') \
                    and not pg_has_role(current_user, relowner, 'member')), \
                   (select format('GRANT %s TO %I;', string_agg(quote_ident(rolname), ', '), current_user) \
                    from pg_roles where rolname in ('anon', 'authenticated', 'service_role') \
                    and not pg_has_role(current_user, oid, 'member'))) \
               end",
            &[],
        )
        .await;
    // Names are looked up in the catalogue: to_regclass() itself needs USAGE.
    let (user, remedy) = match &facts {
        Ok(row) => (row.get(0), row.get(1)),
        Err(_) => (String::from("of this connection"), None::<String>),
    };
    let remedy = remedy.unwrap_or_else(|| "rowcast migrate --create-roles".to_owned());
    MigrateError::Denied { user, message, remedy }
}

pub(super) fn has_code(error: &pg::Error, code: &pg::SqlState) -> bool {
    error.code() == Some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_order_and_unique() {
        assert!(MIGRATIONS.is_sorted_by(|(a, _), (b, _)| a < b));
    }

    #[test]
    fn nothing_is_ever_dropped() {
        for sql in MIGRATIONS.iter().map(|(_, sql)| *sql).chain([LEDGER, ROLES, GRANTS]) {
            assert!(!sql.to_lowercase().contains("drop "), "a migration drops something");
        }
    }
}
