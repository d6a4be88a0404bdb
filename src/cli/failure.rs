//! What a command says when it cannot do its work.

use thiserror::Error;

use crate::{
    app::{AppError, DatabaseError},
    chat::MoveError,
    config::ConfigError,
    telemetry,
    tenants::{chat_shards::ShardError, migrations::MigrateError, store::InstallError},
};

/// One plain sentence and the next step.
#[derive(Debug, Error)]
#[error("{what}")]
pub struct Failure {
    what: String,
    next: String,
}

impl Failure {
    /// A failure and what to do about it.
    pub(super) fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what: what.into(), next: next.into() }
    }

    /// The same failure with another next step.
    pub(super) fn advising(self, next: impl Into<String>) -> Self {
        Self { next: next.into(), ..self }
    }

    /// The next step.
    pub(super) fn next(&self) -> &str {
        &self.next
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let next = match &error {
            ConfigError::Missing { name, .. } => {
                format!("set {name}, or try rowcast dev, which needs no settings.")
            }
            _ => "correct it or unset it; rowcast serve --help tells what each setting means."
                .to_owned(),
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
            MigrateError::Locked => Self::new(
                "Another session holds a lock on the schema realtime.",
                "try again when it has finished.",
            ),
            MigrateError::TooOld(version) => Self::new(
                format!("The database runs PostgreSQL {version}, but Rowcast needs 14 or newer."),
                "upgrade PostgreSQL, or name another database with DATABASE_URL or --db-url.",
            ),
            MigrateError::Refused(reason) => Self::new(
                format!("The database refuses: {reason}."),
                "mend what the message names and run rowcast migrate --chat again.",
            ),
            MigrateError::Failed { .. } => Self::new(
                format!("The SQL objects could not be installed: {}.", telemetry::reason(&error)),
                "mend what the message names and try again; nothing was changed.",
            ),
        }
    }
}

impl From<ShardError> for Failure {
    fn from(error: ShardError) -> Self {
        match error {
            ShardError::Connect { shard, source } => Self::new(
                format!(
                    "Cannot connect to shard {shard} of the chat: {}.",
                    telemetry::reason(&source)
                ),
                "check that place in ROWCAST_CHAT_SHARDS and try again.",
            ),
            ShardError::Migrate { shard, source } => {
                let failure = Self::from(source);
                Self::new(format!("Shard {shard} of the chat: {}", failure.what), failure.next)
            }
        }
    }
}

impl From<MoveError> for Failure {
    fn from(error: MoveError) -> Self {
        let (what, next) = (
            format!("{}.", telemetry::reason(&error)),
            match &error {
                MoveError::Connect { .. } => {
                    "check that place in ROWCAST_CHAT_SHARDS and try again."
                }
                MoveError::Busy => "try again when it has finished.",
                MoveError::Silent { .. } => {
                    "start the server that uses it, or drop the slot if none does any more."
                }
                MoveError::NoShard(_) | MoveError::UnderWay { .. } => {
                    "rowcast chat buckets shows where buckets are."
                }
                MoveError::Sql { .. } => {
                    "mend what the message names and run the same command again, which goes on or says what is done."
                }
            },
        );
        Self::new(what, next)
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Listen { address, source }
                if source.kind() == std::io::ErrorKind::AddrInUse =>
            {
                Self::busy(address.port())
            }
            AppError::Listen { address, source } => Self::new(
                format!("Cannot listen on {address}: {source}."),
                "check PORT, ROWCAST_BIND and ROWCAST_ADMIN_ADDRESS, or --port and --bind.",
            ),
            AppError::Tls(error) => Self::new(
                format!("TLS cannot be used: {}.", telemetry::reason(&error)),
                "check the files that ROWCAST_TLS_CERT and ROWCAST_TLS_KEY name.",
            ),
            AppError::NoChat => Self::new(
                "ROWCAST_CHAT is on, but there is no chat in the database.",
                "run rowcast migrate --chat, or set ROWCAST_CHAT=auto.",
            ),
            AppError::RedisUrl(error) => Self::new(
                format!("ROWCAST_REDIS_URL: {}.", telemetry::reason(&error)),
                "set it to a URL such as redis://user:password@host:6379.",
            ),
            AppError::KeySetUrl(_) => {
                Self::new(error.to_string(), "check API_JWT_JWKS and ROWCAST_JWKS_URL.")
            }
            AppError::Control(error @ InstallError::Connect(_)) => Self::new(
                format!("The control database is not ready for us: {}.", telemetry::reason(&error)),
                "check DATABASE_URL, or DB_HOST, DB_USER and so on.",
            ),
            AppError::Seed(_) => Self::new(
                format!("{}.", telemetry::reason(&error)),
                "check API_JWT_SECRET, DB_ENC_KEY and DB_*, or set SEED_SELF_HOST=false.",
            ),
            // What keeps `migrate` from working keeps `serve`, in the same words.
            AppError::Control(InstallError::Migrate(error))
            | AppError::Database(DatabaseError::Migrate(error)) => error.into(),
            AppError::Database(DatabaseError::Shard(error)) => error.into(),
            AppError::Database(error @ DatabaseError::Connect(_)) => Self::new(
                format!("The database is not ready for us: {}.", telemetry::reason(&error)),
                "check DATABASE_URL (or --db-url), or DB_HOST, DB_USER and so on.",
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
