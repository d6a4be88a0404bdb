//! A client of the server: one socket, version 2 of the protocol.
//!
//! What `tail` and `bench` need and no more: text frames, no reconnecting.

use std::{io, sync::Arc};

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error as WsError, Message as Frame,
        client::IntoClientRequest as _,
        http::{HeaderValue, header::HOST},
    },
};
use url::Url;

use crate::secret::Secret;

/// A plain stream or one with TLS.
trait Pipe: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Pipe for T {}

/// An open socket.
pub(super) struct Socket {
    frames: WebSocketStream<Box<dyn Pipe>>,
    last_ref: u64,
}

/// What the server says.
#[derive(Debug)]
pub(super) struct Message {
    /// The reference of the message it answers.
    pub(super) reference: Option<String>,
    pub(super) topic: String,
    pub(super) event: String,
    pub(super) payload: Value,
}

/// Why there is no socket, or none any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    /// Not `ws`, `wss`, `http` or `https` with a host.
    #[error("{0} is no address of a server")]
    Url(String),
    /// Nobody answers there.
    #[error("cannot reach {0}")]
    Unreachable(String, #[source] io::Error),
    /// The server does not want us, and says why.
    #[error("the server refuses with status {status}: {text}")]
    Refused {
        /// Of HTTP.
        status: u16,
        /// Its words.
        text: String,
    },
    /// It closed the socket.
    #[error("the server closed the socket: {0}")]
    Closed(String),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] Box<WsError>),
}

impl From<WsError> for SocketError {
    fn from(error: WsError) -> Self {
        match error {
            WsError::Http(answer) => {
                let body = answer.body().as_deref().unwrap_or_default();
                let body: Value = serde_json::from_slice(body).unwrap_or_default();
                let text = body.get("error").and_then(Value::as_str).unwrap_or("no reason given");
                Self::Refused { status: answer.status().as_u16(), text: text.to_owned() }
            }
            error => Self::Broken(Box::new(error)),
        }
    }
}

impl Socket {
    /// Connects to the socket at `url` with a key. `host` is what the server is
    /// to be called, where that is not its address: the host names the tenant.
    pub(super) async fn open(
        url: &Url,
        host: Option<&str>,
        key: &Secret,
    ) -> Result<Self, SocketError> {
        let wrong = || SocketError::Url(url.to_string());
        let request = format!("{url}?vsn=2.0.0").into_client_request();
        let mut request = request.map_err(|_| wrong())?;
        let header = |text: &str| HeaderValue::from_str(text).map_err(|_| wrong());
        // In a header, because addresses end up in logs.
        request.headers_mut().insert("x-api-key", header(key.expose())?);
        if let Some(host) = host {
            request.headers_mut().insert(HOST, header(host)?);
        }
        let stream = pipe(url).await?;
        let (frames, _) = Box::pin(client_async(request, stream)).await?;
        Ok(Self { frames, last_ref: 0 })
    }

    /// Sends a message of a channel and returns its reference.
    pub(super) async fn push(
        &mut self,
        topic: &str,
        event: &str,
        payload: Value,
    ) -> Result<String, SocketError> {
        self.last_ref += 1;
        let reference = self.last_ref.to_string();
        let frame = json!(["1", reference, topic, event, payload]).to_string();
        self.frames.send(Frame::text(frame)).await?;
        Ok(reference)
    }

    /// Shows the server that somebody is there.
    pub(super) async fn heartbeat(&mut self) -> Result<(), SocketError> {
        self.push("phoenix", "heartbeat", json!({})).await.map(drop)
    }

    /// Joins a channel. The server's reason if it refuses; what else it says
    /// meanwhile is dropped.
    pub(super) async fn join(
        &mut self,
        topic: &str,
        payload: Value,
    ) -> Result<Result<(), String>, SocketError> {
        let reference = self.push(topic, "phx_join", payload).await?;
        loop {
            let message = self.next().await?;
            if message.reference.as_deref() != Some(&*reference) || message.event != "phx_reply" {
                continue;
            }
            let at = |path| message.payload.pointer(path).and_then(Value::as_str);
            return Ok(match at("/status") {
                Some("ok") => Ok(()),
                _ => Err(at("/response/reason").unwrap_or("no reason given").to_owned()),
            });
        }
    }

    /// The next message. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Message, SocketError> {
        loop {
            let frame = self.frames.next().await;
            match frame.unwrap_or(Err(WsError::ConnectionClosed))? {
                Frame::Text(text) => {
                    // Frames of the server are arrays of five.
                    if let Ok((_, reference, topic, event, payload)) = serde_json::from_str::<(
                        Option<String>,
                        Option<String>,
                        String,
                        String,
                        Value,
                    )>(&text)
                    {
                        return Ok(Message { reference, topic, event, payload });
                    }
                }
                Frame::Close(Some(frame)) => {
                    let reason = format!("{} {}", u16::from(frame.code), frame.reason);
                    return Err(SocketError::Closed(reason.trim_end().to_owned()));
                }
                Frame::Close(None) => return Err(SocketError::Closed("no reason".to_owned())),
                Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_) => {}
            }
        }
    }
}

async fn pipe(url: &Url) -> Result<Box<dyn Pipe>, SocketError> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let address = format!("{host}:{port}");
    let unreachable = |error| SocketError::Unreachable(address.clone(), error);
    let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
    let _ = stream.set_nodelay(true);
    if url.scheme() != "wss" {
        return Ok(Box::new(stream));
    }
    let other = |text: &'static str| unreachable(io::Error::other(text));
    let config = tls().ok_or(other("TLS is not set up"))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| other("no name for TLS"))?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(unreachable)?;
    Ok(Box::new(stream))
}

/// Trusts whom the system trusts.
fn tls() -> Option<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().ok()?;
    Some(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// The address of the socket of a server, from whatever names the server: a
/// path that is no socket's is that of a gateway.
pub(super) fn address(text: &str) -> Result<Url, SocketError> {
    let wrong = || SocketError::Url(text.to_owned());
    let mut url = Url::parse(text).map_err(|_| wrong())?;
    let scheme = match url.scheme() {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        _ => return Err(wrong()),
    };
    url.set_scheme(scheme).map_err(|()| wrong())?;
    if url.host_str().is_none() {
        return Err(wrong());
    }
    let path = match url.path().trim_end_matches('/') {
        "" => "/realtime/v1/websocket".to_owned(),
        path if path.ends_with("/websocket") => path.to_owned(),
        path => format!("{path}/websocket"),
    };
    url.set_path(&path);
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_in_many_ways() {
        let read = |text| address(text).map(String::from).map_err(|error| error.to_string());
        assert_eq!(read("http://h:4000").unwrap(), "ws://h:4000/realtime/v1/websocket");
        assert_eq!(read("https://p.example/").unwrap(), "wss://p.example/realtime/v1/websocket");
        assert_eq!(read("wss://h/realtime/v1").unwrap(), "wss://h/realtime/v1/websocket");
        assert_eq!(read("ws://h/socket/websocket?a=b").unwrap(), "ws://h/socket/websocket");
        assert_eq!(read("ftp://h").unwrap_err(), "ftp://h is no address of a server");
        assert!(read("h:4000").is_err() && read("nonsense").is_err());
    }
}
