//! One SQL connection, with our `sslmode` and session settings.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    time::Duration,
};

use tokio_postgres::{
    Client,
    config::{SslMode as Wire, SslNegotiation},
    error::SqlState,
    tls::{ChannelBinding, TlsConnect, TlsStream},
};

use crate::telemetry::reason;

use super::{
    connect::ConnectConfig,
    dial::{DialError, Encryption, Transport, attempts, dial, refuses_encryption},
};

/// What a session is told when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// `application_name`, as shown in `pg_stat_activity`.
    pub application_name: String,
    /// Longest time to connect and log in.
    pub connect_timeout: Duration,
    /// `statement_timeout`; none leaves the server's.
    pub statement_timeout: Option<Duration>,
    /// SQL that the operator wants each session to begin with.
    pub after_connect: Option<String>,
}

impl SessionConfig {
    /// Ten seconds to connect, no limit on statements.
    pub fn new(application_name: impl Into<String>) -> Self {
        Self {
            application_name: application_name.into(),
            connect_timeout: Duration::from_secs(10),
            statement_timeout: None,
            after_connect: None,
        }
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The server was not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The server refused, or the connection broke while logging in.
    #[error("cannot log in")]
    Login(#[source] tokio_postgres::Error),
    /// Logging in took too long.
    #[error("the server did not log in within {0:?}")]
    Timeout(Duration),
}

impl SessionError {
    /// The server's SQLSTATE, if it answered with one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Login(error) => error.code().map(SqlState::code),
            Self::Dial(_) | Self::Timeout(_) => None,
        }
    }

    /// True if trying again later may help: not for a wrong password or database.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_transient(),
            Self::Timeout(_) => true,
            Self::Login(error) => {
                error.code().is_none_or(|code| is_transient_sqlstate(code.code()))
            }
        }
    }
}

/// True for the SQLSTATEs that pass by themselves: connection trouble,
/// shortage, conflict, shutdown, an object in use.
pub fn is_transient_sqlstate(code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    matches!(class, "08" | "40" | "53" | "57" | "58") || code == "55006" || code == "55P03"
}

/// Opens one connection that lives until the client is dropped.
///
/// Its time zone is UTC; `search_path` is the user's own.
///
/// # Errors
///
/// See [`SessionError`].
pub async fn connect(
    config: &ConnectConfig,
    session: &SessionConfig,
) -> Result<Client, SessionError> {
    let limit = session.connect_timeout;
    let login = async {
        let mut ways = attempts(config).iter().peekable();
        loop {
            let Some(way) = ways.next() else {
                // `attempts` is never empty and the last one returns below.
                return Err(SessionError::Timeout(limit));
            };
            match attempt(config, session, *way).await {
                Err(error) if ways.peek().is_some() && tries_next(&error) => {}
                done => return done,
            }
        }
    };
    // Boxed: the future of a login is large and callers nest it deeply.
    Box::pin(tokio::time::timeout(limit, login)).await.map_err(|_| SessionError::Timeout(limit))?
}

fn tries_next(error: &SessionError) -> bool {
    matches!(error, SessionError::Dial(DialError::Handshake(_)))
        || error.sqlstate().is_some_and(refuses_encryption)
}

async fn attempt(
    config: &ConnectConfig,
    session: &SessionConfig,
    way: Encryption,
) -> Result<Client, SessionError> {
    let transport = dial(config, way, session.connect_timeout).await?;
    let mut login = tokio_postgres::Config::new();
    login.user(&config.user).dbname(&config.database).application_name(&session.application_name);
    if let Some(password) = &config.password {
        login.password(password);
    }
    // The dialler has done TLS already. `Direct` makes the client take the
    // stream as it is and still ask it for channel binding.
    if transport.is_tls() {
        login.ssl_mode(Wire::Require).ssl_negotiation(SslNegotiation::Direct);
    } else {
        login.ssl_mode(Wire::Disable);
    }
    let (client, connection) =
        login.connect_raw(transport, Dialled).await.map_err(SessionError::Login)?;
    crate::runtime::spawn("postgres", async move {
        if let Err(error) = connection.await {
            // Whoever uses the client sees the failure; this is for the operator.
            tracing::debug!(error = reason(&error), "connection to postgres closed");
        }
    });
    // SET instead of the startup packet's `options`: poolers refuse those.
    let milliseconds = session.statement_timeout.map(|limit| limit.as_millis());
    let settings = match milliseconds {
        Some(limit) => format!("SET TIME ZONE 'UTC'; SET statement_timeout = {limit}"),
        None => "SET TIME ZONE 'UTC'".to_owned(),
    };
    client.batch_execute(&settings).await.map_err(SessionError::Login)?;
    if let Some(sql) = &session.after_connect {
        client.batch_execute(sql).await.map_err(SessionError::Login)?;
    }
    Ok(client)
}

/// Hands tokio-postgres the stream as it came from the dialler.
#[derive(Debug)]
struct Dialled;

impl TlsConnect<Transport> for Dialled {
    type Stream = Transport;
    type Error = Infallible;
    type Future = Ready<Result<Transport, Infallible>>;

    fn connect(self, stream: Transport) -> Self::Future {
        ready(Ok(stream))
    }
}

impl TlsStream for Transport {
    fn channel_binding(&self) -> ChannelBinding {
        self.end_point().map_or_else(ChannelBinding::none, |end_point| {
            ChannelBinding::tls_server_end_point(end_point.to_vec())
        })
    }
}
