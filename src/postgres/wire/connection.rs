//! A session: plain queries, and the door to streaming.

use std::{fmt, str::FromStr, time::Duration};

use postgres_protocol::message::frontend;
use tokio::time::timeout;

use super::{
    codec::Backend,
    error::{ServerError, WireError},
    startup::{Link, Startup, log_in, next, send},
    stream::ReplicationStream,
};
use crate::postgres::{
    connect::ConnectConfig,
    cursor::{Cursor, Malformed},
    dial::{DialError, attempts, dial, refuses_encryption},
};

/// A connection that is ready for a query.
pub struct Connection {
    link: Link,
    server_version: u32,
    patience: Duration,
}

/// Rows in text form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    rows: Vec<Vec<Option<String>>>,
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    ///
    /// See [`WireError`].
    pub async fn open(config: &ConnectConfig, startup: &Startup) -> Result<Self, WireError> {
        let login = async {
            let mut ways = attempts(config).iter().peekable();
            loop {
                let Some(way) = ways.next() else { return Err(WireError::Closed) };
                let attempt = async {
                    let transport = dial(config, *way, startup.timeout).await?;
                    log_in(transport, config, startup).await
                };
                match attempt.await {
                    Ok((link, server)) => {
                        let (server_version, patience) = (server.version, startup.timeout);
                        return Ok(Self { link, server_version, patience });
                    }
                    Err(error) if ways.peek().is_some() && tries_next(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        };
        timeout(startup.timeout, login).await.map_err(|_| WireError::Timeout(startup.timeout))?
    }

    /// The server's major version times 10,000.
    pub fn server_version(&self) -> u32 {
        self.server_version
    }

    /// Runs one or more statements; the rows are the last statement's. Waits as
    /// long as logging in may take.
    ///
    /// # Errors
    ///
    /// [`WireError::Server`] leaves the connection usable, all others end it.
    pub async fn query(&mut self, sql: &str) -> Result<Rows, WireError> {
        let limit = self.patience;
        timeout(limit, self.query_patiently(sql)).await.map_err(|_| WireError::Timeout(limit))?
    }

    /// Like [`Connection::query`], for what may rightly take any time.
    ///
    /// # Errors
    ///
    /// As for [`Connection::query`].
    pub async fn query_patiently(&mut self, sql: &str) -> Result<Rows, WireError> {
        send(&mut self.link, |out| frontend::query(sql, out)).await?;
        let mut rows = Rows::default();
        let mut failure = None;
        loop {
            match next(&mut self.link).await {
                Ok(Backend { tag: b'T', .. }) => rows.rows.clear(),
                Ok(Backend { tag: b'D', body }) => rows.rows.push(row(&body)?),
                // Command complete, empty query, parameter status.
                Ok(Backend { tag: b'C' | b'I' | b'S', .. }) => {}
                Ok(Backend { tag: b'Z', .. }) => return failure.map_or(Ok(rows), Err),
                Ok(Backend { tag, .. }) => return Err(WireError::Unexpected { tag }),
                // A fatal error has no ready-for-query after it; the end of the
                // connection then ends this loop with the error that says why.
                Err(error @ WireError::Server(_)) => failure = Some(error),
                Err(error) => return Err(failure.unwrap_or(error)),
            }
        }
    }

    /// Sends a `START_REPLICATION` command and changes over to streaming.
    ///
    /// # Errors
    ///
    /// [`WireError::Server`] when the server refuses.
    pub async fn start_replication(
        mut self,
        command: &str,
    ) -> Result<ReplicationStream, WireError> {
        let limit = self.patience;
        let answer = async {
            send(&mut self.link, |out| frontend::query(command, out)).await?;
            next(&mut self.link).await
        };
        match timeout(limit, answer).await.map_err(|_| WireError::Timeout(limit))?? {
            Backend { tag: b'W', .. } => Ok(ReplicationStream::new(self.link)),
            Backend { tag, .. } => Err(WireError::Unexpected { tag }),
        }
    }

    /// Says goodbye. Best effort: dropping the connection does as well.
    pub async fn close(mut self) {
        let _ = send(&mut self.link, |out| {
            frontend::terminate(out);
            Ok(())
        })
        .await;
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("server_version", &self.server_version)
            .finish_non_exhaustive()
    }
}

impl Rows {
    /// True without a row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// A cell's text; none for null and for cells that do not exist.
    pub fn text(&self, row: usize, column: usize) -> Option<&str> {
        self.rows.get(row)?.get(column)?.as_deref()
    }

    /// A cell, parsed; none also when it does not parse.
    pub fn parse<T: FromStr>(&self, row: usize, column: usize) -> Option<T> {
        self.text(row, column)?.parse().ok()
    }
}

fn tries_next(error: &WireError) -> bool {
    match error {
        WireError::Dial(DialError::Handshake(_)) => true,
        WireError::Server(ServerError { code, .. }) => refuses_encryption(code),
        _ => false,
    }
}

fn row(body: &[u8]) -> Result<Vec<Option<String>>, Malformed> {
    let mut cursor = Cursor::new(body);
    let count = cursor.u16("column count")?;
    let mut cells = Vec::new();
    for _ in 0..count {
        let cell = match u32::try_from(cursor.i32("value length")?) {
            // Only null has a negative length.
            Err(_) => None,
            Ok(length) => {
                let value = cursor.take(length as usize, "a value")?;
                Some(String::from_utf8_lossy(value).into_owned())
            }
        };
        cells.push(cell);
    }
    cursor.finish()?;
    Ok(cells)
}
