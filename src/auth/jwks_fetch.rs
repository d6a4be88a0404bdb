//! One request for a key set: one address, one answer, nothing followed.
//!
//! The address comes from the operator, never from a token. No redirects, no
//! proxies, no cookies; the answer is bounded in bytes and time, because the
//! server at the other end may be slow, wrong or somebody else's.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::{
    Request, StatusCode,
    client::conn::http1,
    header::{ACCEPT, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::Url;

use super::jwks::{Jwks, JwksError};

/// Bytes of an answer.
const MAX_BODY: usize = 1 << 20;

/// Bytes of an answer's head.
const MAX_HEAD: usize = 64 * 1024;

/// For everything: name, connection, TLS, answer.
pub const LIMIT: Duration = Duration::from_secs(5);

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No URL with a host.
    #[error("not a URL with a host")]
    NotAUrl,
    /// Neither `https:` nor, if that is allowed, `http:`.
    #[error("must begin with https://, or http:// with ROWCAST_JWKS_ALLOW_HTTP=true")]
    Scheme,
    /// A user or a password, which would be sent nowhere.
    #[error("must not contain a user or a password")]
    Credentials,
}

/// Why there is no key set.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No address, or nobody answers there.
    #[error("cannot reach the server")]
    Unreachable(#[source] io::Error),
    /// Plain HTTP would leave the machine or the private network.
    #[error("plain HTTP is only for loopback and private addresses")]
    NotPrivate,
    /// The handshake failed, or the certificate is not trusted.
    #[error("TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The answer is not HTTP, or ended early.
    #[error("the answer cannot be read")]
    Http(#[source] hyper::Error),
    /// Not 200. Redirects count: the operator is to enter the last address.
    #[error("the server answered with status {0}")]
    Status(StatusCode),
    /// The answer is too long.
    #[error("the answer has more than {MAX_BODY} bytes")]
    TooLong,
    /// Nothing complete in time.
    #[error("no complete answer within {LIMIT:?}")]
    Timeout,
    /// The answer is something else.
    #[error("the answer is no key set: {0}")]
    NotASet(#[from] JwksError),
}

/// Where a key set is published.
#[derive(Debug, Clone)]
pub struct Address {
    url: Url,
    host: String,
    port: u16,
    /// For `https:`.
    tls: Option<Arc<ClientConfig>>,
}

/// Checks an address without using it.
///
/// # Errors
///
/// See [`AddressError`].
pub fn check(url: &str, allow_http: bool) -> Result<Url, AddressError> {
    let url = Url::parse(url).map_err(|_| AddressError::NotAUrl)?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        _ => return Err(AddressError::Scheme),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError::Credentials);
    }
    url.host().map(|_| ()).ok_or(AddressError::NotAUrl)?;
    Ok(url)
}

impl Address {
    /// An address to fetch from; for `https:` the certificates that the system
    /// trusts are read.
    ///
    /// # Errors
    ///
    /// See [`AddressError`].
    pub fn new(url: &str, allow_http: bool) -> Result<Self, AddressError> {
        let mut roots = RootCertStore::empty();
        if check(url, allow_http)?.scheme() == "https" {
            // A few unreadable certificates in the system's store are normal;
            // without any, the handshake fails and says so.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Self::trusting(url, allow_http, roots)
    }

    /// The same with these authorities.
    pub(super) fn trusting(
        url: &str,
        allow_http: bool,
        roots: RootCertStore,
    ) -> Result<Self, AddressError> {
        let url = check(url, allow_http)?;
        let host = url.host_str().ok_or(AddressError::NotAUrl)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_or_known_default().ok_or(AddressError::NotAUrl)?;
        let tls = (url.scheme() == "https").then(|| tls(roots)).flatten();
        Ok(Self { url, host, port, tls })
    }

    /// Host and port, for logs: a path may hold what is nobody's business.
    pub fn host(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Fetches the set. Cancel safe; takes at most [`LIMIT`].
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    pub async fn fetch(&self) -> Result<Jwks, FetchError> {
        let body = Box::pin(timeout(LIMIT, self.body())).await;
        Ok(Jwks::parse(&body.map_err(|_| FetchError::Timeout)??)?)
    }

    async fn body(&self) -> Result<Bytes, FetchError> {
        let stream = self.connect().await?;
        if self.url.scheme() == "http" {
            return self.request(stream).await;
        }
        let broken = |what: &'static str| FetchError::Tls(io::Error::other(what));
        let tls = self.tls.clone().ok_or(broken("TLS is not set up"))?;
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| broken("the host has no name that a certificate could be for"))?;
        let stream = TlsConnector::from(tls).connect(name, stream).await;
        self.request(stream.map_err(FetchError::Tls)?).await
    }

    async fn connect(&self) -> Result<TcpStream, FetchError> {
        let addresses = lookup_host((self.host.as_str(), self.port)).await;
        let addresses: Vec<SocketAddr> = addresses.map_err(FetchError::Unreachable)?.collect();
        let encrypted = self.url.scheme() == "https";
        // What the name means is checked where it is used: it may change.
        let usable = addresses.iter().filter(|address| encrypted || is_inside(address.ip()));
        let mut last = match addresses.is_empty() {
            true => FetchError::Unreachable(io::Error::other("the host has no address")),
            false => FetchError::NotPrivate,
        };
        for address in usable {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = FetchError::Unreachable(error),
            }
        }
        Err(last)
    }

    async fn request<S>(&self, stream: S) -> Result<Bytes, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut http = http1::Builder::new();
        let (mut sender, connection) = http
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(FetchError::Http)?;
        let request = Request::get(&self.url[url::Position::BeforePath..url::Position::AfterQuery])
            .header(HOST, &self.url[url::Position::BeforeHost..url::Position::AfterPort])
            .header(USER_AGENT, "rowcast")
            .header(ACCEPT, "application/json")
            .body(Empty::<Bytes>::new())
            .map_err(|error| FetchError::Unreachable(io::Error::other(error)))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(FetchError::Http)?;
            if response.status() != StatusCode::OK {
                return Err(FetchError::Status(response.status()));
            }
            let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
            body.map(http_body_util::Collected::to_bytes).map_err(|error| {
                match error.downcast::<hyper::Error>() {
                    Ok(error) => FetchError::Http(*error),
                    Err(error) if error.is::<LengthLimitError>() => FetchError::TooLong,
                    Err(error) => FetchError::Unreachable(io::Error::other(error)),
                }
            })
        };
        // The connection may end before the last of its bytes were taken.
        let driving = async {
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            outcome = exchange => outcome,
            () = driving => Err(FetchError::Timeout),
        }
    }
}

/// Where plain HTTP cannot be read or changed by strangers.
fn is_inside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

fn tls(roots: RootCertStore) -> Option<Arc<ClientConfig>> {
    // rustls would pick a process-wide provider; naming ours keeps it the same everywhere.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().ok()?;
    Some(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
#[path = "jwks_fetch_tests.rs"]
mod tests;
