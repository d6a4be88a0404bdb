//! A connection for the commands that run SQL.

pub(super) use crate::postgres::pool as pg;

use super::Failure;
use crate::{
    postgres::{
        connect::ConnectConfig,
        session::{self, SessionConfig},
    },
    telemetry,
};

/// Connects with the TLS that the settings ask for.
pub(super) async fn connect(config: &ConnectConfig) -> Result<pg::Client, Failure> {
    session::connect(config, &SessionConfig::new("rowcast")).await.map_err(|error| {
        Failure::new(
            format!(
                "Cannot connect to the database {} at {}:{} as {}: {}.",
                config.database,
                config.host,
                config.port,
                config.user,
                telemetry::reason(&error)
            ),
            "check DATABASE_URL (or --db-url), or DB_HOST, DB_PORT, DB_USER, DB_PASSWORD and DB_NAME.",
        )
    })
}
