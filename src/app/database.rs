//! Brings the database up: installs the SQL, then keeps the stream running.

use std::time::Duration;

use crate::{
    config::DatabaseSettings,
    postgres::session::{self, SessionConfig, SessionError},
    runtime::{Drain, backoff::Backoff},
    telemetry::reason,
    tenants::migrations::{self, MigrateError, Options},
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
}

impl DatabaseError {
    /// True if waiting may help: the database starts, restarts, or is away.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_transient(),
            Self::Migrate(error) => error.is_transient(),
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
    settings: &DatabaseSettings,
    drain: &Drain,
) -> Result<(), DatabaseError> {
    if !settings.auto_migrate {
        return Ok(());
    }
    match Box::pin(migrate(settings)).await {
        Err(error) if error.is_transient() => {
            tracing::warn!(error = reason(&error), "the database is not ready, trying again");
            let (settings, signal) = (settings.clone(), drain.clone());
            drain.spawn("migrations", async move {
                tokio::select! {
                    () = keep_trying(&settings) => {}
                    () = signal.started() => {}
                }
            });
            Ok(())
        }
        done => done,
    }
}

async fn keep_trying(settings: &DatabaseSettings) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        tokio::time::sleep(backoff.pause()).await;
        match Box::pin(migrate(settings)).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(error = reason(&error), "cannot install the SQL objects"),
        }
    }
}

async fn migrate(settings: &DatabaseSettings) -> Result<(), DatabaseError> {
    let session = SessionConfig::new("rowcast_migrations");
    let client = session::connect(&settings.connect, &session).await;
    let mut client = client.map_err(DatabaseError::Connect)?;
    let options = Options { create_roles: settings.create_roles, chat: None };
    let report = migrations::run(&mut client, &options).await?;
    let applied: Vec<_> = report.steps.iter().filter(|step| step.applied).collect();
    if !report.is_unchanged() {
        tracing::info!(
            applied = applied.len(),
            partitions = report.partitions.len(),
            "SQL objects installed"
        );
    }
    Ok(())
}
