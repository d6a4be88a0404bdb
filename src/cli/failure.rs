//! What a command says when it cannot do its work.

use thiserror::Error;

use crate::{app::AppError, config::ConfigError, tenants::migrations::MigrateError};

/// One plain sentence and, where there is one, the next step.
#[derive(Debug, Error)]
#[error("{what}")]
pub struct Failure {
    what: String,
    next: Option<String>,
}

impl Failure {
    /// A failure and what to do about it.
    pub(super) fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what: what.into(), next: Some(next.into()) }
    }

    /// A failure whose sentence says it all.
    pub(super) fn plain(what: impl Into<String>) -> Self {
        Self { what: what.into(), next: None }
    }

    /// The next step.
    pub(super) fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let next = match &error {
            ConfigError::Missing { name, .. } => {
                format!("set {name}, or try rowcast dev, which needs no settings.")
            }
            _ => "rowcast config check shows what is in force.".to_owned(),
        };
        Self::new(error.to_string(), next)
    }
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Denied { user, message, remedy } => Self::new(
                format!("The user {user} lacks a privilege: {message}."),
                format!("as a superuser run {remedy}"),
            ),
            MigrateError::Locked => Self::new(error.to_string(), "try again when it has finished."),
            MigrateError::TooOld(_) | MigrateError::Refused(_) | MigrateError::Failed { .. } => {
                Self::plain(error.to_string())
            }
        }
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        match &error {
            AppError::Listen { address, source }
                if source.kind() == std::io::ErrorKind::AddrInUse =>
            {
                Self::busy(address.port())
            }
            AppError::Listen { .. } => Self::new(error.to_string(), "check PORT and ROWCAST_BIND."),
            AppError::KeySetUrl(_) => {
                Self::new(error.to_string(), "check API_JWT_JWKS and ROWCAST_JWKS_URL.")
            }
            AppError::Database(error) => Self::new(
                format!("The database is not ready for us: {}.", crate::telemetry::reason(error)),
                "check DATABASE_URL or DB_*; ROWCAST_AUTO_MIGRATE=false leaves the SQL to you.",
            ),
        }
    }
}

impl Failure {
    /// Another program listens on that port.
    pub(super) fn busy(port: u16) -> Self {
        let other = port.checked_add(1).unwrap_or(4000);
        Self::new(
            format!("Port {port} is used by another program."),
            format!("stop that program, or choose another port with --port {other}."),
        )
    }
}
