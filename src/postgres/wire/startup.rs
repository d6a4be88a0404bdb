//! Logging in: startup packet, authentication, session parameters.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256},
    },
    message::frontend,
};
use tokio_util::codec::Framed;

use super::{
    codec::{Backend, Codec},
    error::{ServerError, WireError},
};
use crate::postgres::{connect::ConnectConfig, cursor::Cursor, dial::Transport};

/// What kind of session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// SQL and replication commands, in one database; takes a WAL sender.
    Replication,
    /// SQL only.
    Sql,
}

/// How to start a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// `application_name`.
    pub application_name: String,
    /// What kind.
    pub mode: Mode,
    /// Longest time to connect and log in.
    pub timeout: Duration,
}

/// The settings that decide how PostgreSQL writes values as text. Whatever the
/// database's or the role's own are, the stream is always written like this.
const CANONICAL: [(&str, &str); 6] = [
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("TimeZone", "UTC"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
];

/// Many small rows per read; also what a kept row holds on to at most.
const READ_BUFFER: usize = 64 * 1024;

pub(super) type Link = Framed<Transport, Codec>;

/// What the server said about itself.
#[derive(Debug, Default)]
pub(super) struct Server {
    /// As `server_version_num`: 150004.
    pub(super) version: u32,
}

/// Logs in over a fresh transport.
pub(super) async fn log_in(
    transport: Transport,
    config: &ConnectConfig,
    startup: &Startup,
) -> Result<(Link, Server), WireError> {
    let mut link = Framed::with_capacity(transport, Codec, READ_BUFFER);
    let mut parameters = vec![
        ("user", config.user.as_str()),
        ("database", config.database.as_str()),
        ("application_name", startup.application_name.as_str()),
    ];
    parameters.extend(CANONICAL);
    if startup.mode == Mode::Replication {
        parameters.push(("replication", "database"));
    }
    let mut packet = BytesMut::new();
    frontend::startup_message(parameters, &mut packet)?;
    link.send(packet.freeze()).await?;
    authenticate(&mut link, config).await?;
    let server = wait_ready(&mut link).await?;
    Ok((link, server))
}

/// The next message; errors and the end become errors, notices are dropped.
pub(super) async fn next(link: &mut Link) -> Result<Backend, WireError> {
    loop {
        let message = link.next().await.ok_or(WireError::Closed)??;
        match message.tag {
            b'E' => return Err(ServerError::decode(&message.body)?.into()),
            b'N' => {}
            _ => return Ok(message),
        }
    }
}

/// Sends what `write` puts into a buffer.
pub(super) async fn send(
    link: &mut Link,
    write: impl FnOnce(&mut BytesMut) -> std::io::Result<()>,
) -> Result<(), WireError> {
    let mut buffer = BytesMut::new();
    write(&mut buffer)?;
    Ok(link.send(buffer.freeze()).await?)
}

async fn authenticate(link: &mut Link, config: &ConnectConfig) -> Result<(), WireError> {
    let password = || {
        let missing = WireError::Login("the server asks for a password and none is set");
        config.password.as_deref().map(str::as_bytes).ok_or(missing)
    };
    loop {
        let body = authentication(link).await?;
        let mut cursor = Cursor::new(&body);
        match cursor.u32("authentication kind")? {
            0 => return Ok(()),
            3 => {
                let password = password()?;
                send(link, |out| frontend::password_message(password, out)).await?;
            }
            5 => {
                let salt = cursor.u32("salt")?.to_be_bytes();
                let hash = md5_hash(config.user.as_bytes(), password()?, salt);
                send(link, |out| frontend::password_message(hash.as_bytes(), out)).await?;
            }
            10 => scram(link, cursor, password()?).await?,
            _ => return Err(WireError::Login("the server asks for a method we do not have")),
        }
    }
}

async fn authentication(link: &mut Link) -> Result<Bytes, WireError> {
    let message = next(link).await?;
    if message.tag == b'R' {
        Ok(message.body)
    } else {
        Err(WireError::Unexpected { tag: message.tag })
    }
}

async fn scram(
    link: &mut Link,
    mut mechanisms: Cursor<'_>,
    password: &[u8],
) -> Result<(), WireError> {
    let (mut plain, mut plus) = (false, false);
    loop {
        match mechanisms.c_str("mechanism")? {
            "" => break,
            SCRAM_SHA_256 => plain = true,
            SCRAM_SHA_256_PLUS => plus = true,
            _ => {}
        }
    }
    let end_point = link.get_ref().end_point().map(<[u8]>::to_vec);
    let (mechanism, binding) = match end_point {
        Some(hash) if plus => (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash)),
        // Tells the server that we could have: if it could too, somebody
        // between us took the offer out, and the server will refuse.
        Some(_) if plain => (SCRAM_SHA_256, ChannelBinding::unrequested()),
        None if plain => (SCRAM_SHA_256, ChannelBinding::unsupported()),
        _ => return Err(WireError::Login("the server asks for a method we do not have")),
    };
    let refused = |_| WireError::Login("the server did not prove that it knows the password");
    let mut scram = ScramSha256::new(password, binding);
    send(link, |out| frontend::sasl_initial_response(mechanism, scram.message(), out)).await?;
    let challenge = sasl(link, 11).await?;
    scram.update(&challenge).map_err(refused)?;
    send(link, |out| frontend::sasl_response(scram.message(), out)).await?;
    let proof = sasl(link, 12).await?;
    scram.finish(&proof).map_err(refused)
}

async fn sasl(link: &mut Link, kind: u32) -> Result<Vec<u8>, WireError> {
    let body = authentication(link).await?;
    let mut cursor = Cursor::new(&body);
    if cursor.u32("authentication kind")? != kind {
        return Err(WireError::Login("the server broke off SCRAM"));
    }
    Ok(cursor.rest().to_vec())
}

async fn wait_ready(link: &mut Link) -> Result<Server, WireError> {
    let mut server = Server::default();
    loop {
        let message = next(link).await?;
        let mut cursor = Cursor::new(&message.body);
        match message.tag {
            b'Z' => return Ok(server),
            b'S' => {
                if cursor.c_bytes("parameter name")? == b"server_version" {
                    server.version = version(cursor.c_str("server version")?);
                }
            }
            // Backend key data and protocol negotiation.
            b'K' | b'v' => {}
            tag => return Err(WireError::Unexpected { tag }),
        }
    }
}

/// `15.4 (Debian …)` as 150000: the minor number never matters to us.
fn version(text: &str) -> u32 {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..digits)
        .and_then(|major| major.parse::<u32>().ok())
        .unwrap_or(0)
        .saturating_mul(10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_releases_and_betas_are_read() {
        assert_eq!(version("15.4 (Debian 15.4-1)"), 150_000);
        assert_eq!(version("17beta1"), 170_000);
        assert_eq!(version("x"), 0);
    }
}
