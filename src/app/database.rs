//! Brings the database up: installs the SQL, then keeps the stream running.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    chat,
    config::Settings,
    error_code::ErrorCode,
    postgres::session::{self, SessionConfig, SessionError},
    runtime::{Drain, backoff::Backoff},
    telemetry::reason,
    tenants::{
        chat_schema::Chat,
        chat_shards::{self, ShardError},
        metrics::Metrics,
        migrations::{self, MigrateError, Options, Report},
    },
};

/// Why the database is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It cannot be reached or refuses us.
    #[error("cannot connect to the database")]
    Connect(#[source] SessionError),
    /// The schema cannot be installed.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The same of a shard of the chat.
    #[error(transparent)]
    Shard(#[from] ShardError),
}

impl DatabaseError {
    /// True if waiting may help: the database starts, restarts, or is away.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_transient(),
            Self::Migrate(error) => error.is_transient(),
            Self::Shard(error) => error.is_transient(),
        }
    }
}

/// Installs the SQL if the settings say so. What waiting may mend is tried
/// again in the background, since sockets need no database to broadcast.
///
/// # Errors
///
/// What an operator has to mend.
pub(super) async fn prepare(
    settings: &Settings,
    drain: &Drain,
    metrics: &Metrics,
) -> Result<(), DatabaseError> {
    if !settings.database.auto_migrate {
        return Ok(());
    }
    match Box::pin(install(settings, metrics)).await {
        Err(error) if error.is_transient() => {
            tracing::warn!(
                code = %ErrorCode::MigrationsFailedToRun, error = reason(&error),
                "the database is not ready, trying again"
            );
            let (settings, signal, metrics) = (settings.clone(), drain.clone(), metrics.clone());
            drain.spawn("migrations", async move {
                tokio::select! {
                    () = keep_trying(&settings, &metrics) => {}
                    () = signal.started() => {}
                }
            });
            Ok(())
        }
        done => done.map(|_| ()),
    }
}

async fn keep_trying(settings: &Settings, metrics: &Metrics) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        tokio::time::sleep(backoff.pause()).await;
        match Box::pin(install(settings, metrics)).await {
            Ok(_) => return,
            Err(error) => {
                let error = reason(&error);
                tracing::warn!(
                    code = %ErrorCode::MigrationsFailedToRun, error,
                    "cannot install the SQL objects"
                );
            }
        }
    }
}

/// Installs the SQL in the database of the settings, and says how many
/// migrations it has then.
///
/// # Errors
///
/// [`DatabaseError`].
pub(super) async fn install(
    settings: &Settings,
    metrics: &Metrics,
) -> Result<usize, DatabaseError> {
    let begun = Instant::now();
    let outcome = Box::pin(migrate(settings)).await;
    match &outcome {
        Ok(_) => metrics.migrated(begun.elapsed()),
        Err(DatabaseError::Migrate(error)) => metrics.not_migrated(error),
        Err(DatabaseError::Connect(_) | DatabaseError::Shard(_)) => {}
    }
    outcome
}

async fn migrate(settings: &Settings) -> Result<usize, DatabaseError> {
    let session = SessionConfig::new("rowcast_migrations");
    let client = session::connect(&settings.database.connect, &session).await;
    let mut client = client.map_err(DatabaseError::Connect)?;
    let create_roles = settings.database.create_roles;
    let options = Options { create_roles, chat: None };
    let report = migrations::run(&mut client, &options).await?;
    log(&report);
    if settings.chat.mode != chat::Mode::Off {
        let publication = settings.replication.publication.clone();
        let chat = Some(Chat { publication, general_room: false });
        let options = Options { create_roles, chat };
        let told = |_, report: &Report| log(report);
        Box::pin(chat_shards::set_up(&settings.chat_shards, &options, told)).await?;
    }
    Ok(report.steps.len())
}

fn log(report: &Report) {
    let applied: Vec<_> = report.steps.iter().filter(|step| step.applied).collect();
    if !report.is_unchanged() {
        tracing::info!(
            applied = applied.len(),
            partitions = report.partitions.len(),
            "SQL objects installed"
        );
    }
}
