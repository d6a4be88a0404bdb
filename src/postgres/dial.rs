//! From a [`ConnectConfig`] to a byte stream that is ready for a startup packet.
//!
//! `sslmode` is decided here alone, as libpq decides it: which kinds of
//! connection to try and in which order. Authentication comes afterwards and
//! is the caller's, who may ask for the next kind when the server refuses.

use std::{
    io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use postgres_protocol::message::frontend;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpStream, UnixStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    connect::{ConnectConfig, SslMode},
    tcp, tls,
};

/// One way to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// Without TLS.
    Plain,
    /// With TLS if the server has it, else plain.
    Offered,
    /// With TLS or not at all.
    Required,
}

/// Why there is no connection. The server has not been asked for a session yet.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No address, or nobody answers there.
    #[error("cannot reach the server")]
    Unreachable(#[source] io::Error),
    /// Nothing within the limit.
    #[error("the server did not answer within {0:?}")]
    Timeout(Duration),
    /// `sslmode` asks for TLS and the server has none.
    #[error("the server does not offer TLS, which sslmode asks for")]
    NoTls,
    /// The handshake failed, or the certificate is not trusted.
    #[error("TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// The root certificates cannot be used.
    #[error("cannot load the root certificates")]
    Roots(#[source] io::Error),
}

impl DialError {
    /// True if trying again later may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout(_) => true,
            Self::Handshake(error) => !tls::is_untrusted(error),
            Self::NoTls | Self::Roots(_) => false,
        }
    }
}

/// The ways to try, in order. The next one is for when the server refuses the
/// session (or, with `prefer`, the handshake fails) on the one before.
pub fn attempts(config: &ConnectConfig) -> &'static [Encryption] {
    if is_unix(config) {
        // libpq ignores sslmode for Unix sockets.
        return &[Encryption::Plain];
    }
    match config.ssl_mode {
        SslMode::Disable => &[Encryption::Plain],
        SslMode::Allow => &[Encryption::Plain, Encryption::Required],
        SslMode::Prefer => &[Encryption::Offered, Encryption::Plain],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Encryption::Required],
    }
}

/// True for the SQLSTATE class of `pg_hba.conf` refusing a kind of connection.
pub fn refuses_encryption(sqlstate: &str) -> bool {
    sqlstate == "28000"
}

/// Connects one way, within `limit`.
///
/// # Errors
///
/// See [`DialError`].
pub async fn dial(
    config: &ConnectConfig,
    encryption: Encryption,
    limit: Duration,
) -> Result<Transport, DialError> {
    timeout(limit, connect(config, encryption, limit))
        .await
        .map_err(|_| DialError::Timeout(limit))?
}

fn is_unix(config: &ConnectConfig) -> bool {
    config.host.starts_with('/')
}

async fn connect(
    config: &ConnectConfig,
    encryption: Encryption,
    limit: Duration,
) -> Result<Transport, DialError> {
    if is_unix(config) {
        let path = Path::new(&config.host).join(format!(".s.PGSQL.{}", config.port));
        let stream = UnixStream::connect(path).await.map_err(DialError::Unreachable)?;
        return Ok(Transport::Unix(stream));
    }
    let addresses = lookup_host((config.host.as_str(), config.port)).await;
    let addresses: Vec<_> = addresses.map_err(DialError::Unreachable)?.collect();
    let mut stream = tcp::connect(&addresses, limit).await.map_err(DialError::Unreachable)?;
    if encryption == Encryption::Plain {
        return Ok(Transport::Tcp(stream));
    }
    if !offers_tls(&mut stream).await.map_err(DialError::Unreachable)? {
        return match encryption {
            Encryption::Required => Err(DialError::NoTls),
            Encryption::Plain | Encryption::Offered => Ok(Transport::Tcp(stream)),
        };
    }
    let client = tls::client_config(config).map_err(DialError::Roots)?;
    let name = ServerName::try_from(config.host.clone())
        .map_err(|error| DialError::Handshake(io::Error::other(error)))?;
    let stream = TlsConnector::from(Arc::clone(&client))
        .connect(name, stream)
        .await
        .map_err(DialError::Handshake)?;
    let end_point = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| tls::server_end_point(chain.first()?, client.crypto_provider()));
    Ok(Transport::Tls { stream: Box::new(stream), end_point })
}

async fn offers_tls(stream: &mut TcpStream) -> io::Result<bool> {
    let mut request = bytes::BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await?;
    // Exactly one byte: more would let a man in the middle slip plain text
    // into what we take for the encrypted session (CVE-2021-23222).
    match stream.read_u8().await? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a PostgreSQL server")),
    }
}

/// A connected byte stream.
#[derive(Debug)]
pub enum Transport {
    /// Plain TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls {
        /// The encrypted stream.
        stream: Box<TlsStream<TcpStream>>,
        /// Channel binding data, when known.
        end_point: Option<Vec<u8>>,
    },
}

impl Transport {
    /// `tls-server-end-point` channel binding data, when there is any.
    pub fn end_point(&self) -> Option<&[u8]> {
        match self {
            Self::Tls { end_point, .. } => end_point.as_deref(),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    /// True when the stream is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls { .. })
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls { stream, .. } => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls { stream, .. } => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls { stream, .. } => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls { stream, .. } => Pin::new(stream).poll_shutdown(context),
        }
    }
}
