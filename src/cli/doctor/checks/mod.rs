//! What is looked at, a file for each part. Each asks one question or two and
//! then goes through what may be wrong with the answer.

mod messages;
mod publication;
mod redis;
mod role;
mod server;
mod slot;
mod tables;
mod tokens;

use super::{super::connect::pg, report::Report};
use crate::config::Settings;

/// Examines the database.
///
/// # Errors
/// If it does not answer a question.
pub(super) async fn database(
    client: &pg::Client,
    settings: &Settings,
    report: &mut Report,
) -> Result<(), pg::Error> {
    let patient = Patient::meet(client, settings).await?;
    server::check(&patient, report).await?;
    if !patient.is_supported() {
        return Ok(());
    }
    role::check(&patient, report).await?;
    publication::check(&patient, report).await?;
    tables::check(&patient, report).await?;
    messages::check(&patient, report).await?;
    slot::check(&patient, report).await
}

/// Examines what is no database.
pub(super) async fn beside(settings: &Settings, report: &mut Report) {
    tokens::check(&settings.tenant, report).await;
    redis::check(&settings.cluster, report).await;
}

/// The database, and what every check needs to know of it.
#[derive(Debug)]
struct Patient<'a> {
    client: &'a pg::Client,
    settings: &'a Settings,
    /// `server_version_num`: 150008.
    version: i32,
    /// Our role, quoted.
    role: String,
    /// The database, quoted.
    database: String,
    /// Whether there is a role of users who signed in.
    has_users: bool,
}

impl<'a> Patient<'a> {
    /// Makes the session one that cannot write, and asks who is there.
    async fn meet(client: &'a pg::Client, settings: &'a Settings) -> Result<Self, pg::Error> {
        client.batch_execute("set default_transaction_read_only = on").await?;
        let row = client
            .query_one(
                "select current_setting('server_version_num')::int, \
                   quote_ident(current_user), quote_ident(current_database()), \
                   exists (select from pg_roles where rolname = 'authenticated')",
                &[],
            )
            .await?;
        Ok(Self {
            client,
            settings,
            version: row.get(0),
            role: row.get(1),
            database: row.get(2),
            has_users: row.get(3),
        })
    }

    /// Whether there is any use in asking it further.
    fn is_supported(&self) -> bool {
        self.version >= 140_000
    }

    /// A setting of our role in this database alone, which wins over all others.
    fn set(&self, setting: &str) -> String {
        format!("alter role {} in database {} set {setting}", self.role, self.database)
    }
}

/// The roles of clients that are no servers of the application.
const CLIENTS: [&str; 2] = ["anon", "authenticated"];

/// Bytes in a unit that people read.
fn size(bytes: i64) -> String {
    let (mega, giga) = (1 << 20, 1 << 30);
    match bytes {
        _ if bytes >= giga => format!("{}.{} GB", bytes / giga, bytes % giga * 10 / giga),
        _ => format!("{} MB", bytes / mega),
    }
}
