//! A plain connection for the commands that run SQL.
//!
//! SEAM: to be replaced by a connection of `postgres::pool`, which knows TLS.

pub(super) use tokio_postgres as pg;

use super::Failure;
use crate::{
    postgres::connect::{ConnectConfig, SslMode},
    runtime,
};

/// Connects, and drives the connection in a task.
pub(super) async fn connect(config: &ConnectConfig) -> Result<pg::Client, Failure> {
    if matches!(config.ssl_mode, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) {
        return Err(Failure::plain("This command cannot use TLS yet."));
    }
    let (client, connection) =
        parameters(config).connect(pg::NoTls).await.map_err(|error| unreachable(config, &error))?;
    drop(runtime::spawn("sql", async move {
        // The next query of the client reports what went wrong here.
        let _ = connection.await;
    }));
    Ok(client)
}

fn parameters(config: &ConnectConfig) -> pg::Config {
    let mut parameters = pg::Config::new();
    parameters
        .host(&config.host)
        .port(config.port)
        .user(&config.user)
        .dbname(&config.database)
        .application_name("rowcast")
        .connect_timeout(std::time::Duration::from_secs(10));
    if let Some(password) = &config.password {
        parameters.password(password);
    }
    parameters
}

fn unreachable(config: &ConnectConfig, error: &pg::Error) -> Failure {
    let reason = match error.as_db_error() {
        Some(error) => error.message().to_owned(),
        None => {
            std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
        }
    };
    Failure::new(
        format!(
            "Cannot connect to the database {} at {}:{} as {}: {reason}.",
            config.database, config.host, config.port, config.user
        ),
        "check DB_HOST, DB_PORT, DB_USER, DB_PASSWORD and DB_NAME, or DATABASE_URL.",
    )
}
