//! The WebSocket upgrade and the transport it carries.

use std::{io, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract,
    http::{
        HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
        header::{
            CONNECTION, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
            SEC_WEBSOCKET_VERSION, UPGRADE,
        },
    },
    response::IntoResponse as _,
};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message, Utf8Bytes,
        error::{CapacityError, ProtocolError},
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    protocol::{Received, prepared::Frame},
    runtime,
    session::{
        Socket,
        transport::{Gone, Incoming, Transport},
    },
};

use super::{
    State, error,
    handshake::{self, Accepted, Refused},
    listener::ConnectionSeat,
    stream::Stream,
};

/// Most messages are small; a large read buffer is memory of every idle socket.
const READ_BUFFER: usize = 2048;

/// A goodbye may take this long.
const GOODBYE: Duration = Duration::from_secs(1);

/// `GET /socket/websocket`.
pub async fn upgrade(
    extract::State(state): extract::State<Arc<State>>,
    mut request: Request<Body>,
) -> Response<Body> {
    if request.method() != Method::GET {
        return StatusCode::BAD_REQUEST.into_response();
    }
    if state.readiness.is_stopping() {
        let text = "the server is restarting";
        let mut response = error::message(StatusCode::SERVICE_UNAVAILABLE, "error", text);
        // There is another server, or this one will be back soon.
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    }
    let begun = Instant::now();
    let checked = handshake::check(&state.directory, request.uri(), request.headers()).await;
    state.doors.upgraded(checked.as_ref().ok().map(|accepted| accepted.vsn), begun.elapsed());
    let accepted = match checked {
        Ok(accepted) => accepted,
        Err(refused) => return refuse(&state, refused).await,
    };
    let Some(accept) = accept_key(request.headers()) else {
        let text = "this address is for WebSockets: send an upgrade request of version 13";
        let mut response = error::message(StatusCode::UPGRADE_REQUIRED, "error", text);
        let version = HeaderValue::from_static("13");
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, version);
        return response;
    };
    let Some(pending) = request.extensions_mut().remove::<OnUpgrade>() else {
        return StatusCode::UPGRADE_REQUIRED.into_response();
    };
    let sockets = accepted.services.sockets.clone();
    let seat = request.extensions_mut().remove::<ConnectionSeat>();
    let serving = serve(pending, accepted, state.config.max_frame_bytes, seat);
    runtime::spawn("socket", sockets.track(serving));

    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

async fn refuse(state: &State, refused: Refused) -> Response<Body> {
    match refused {
        Refused::Version => StatusCode::FORBIDDEN.into_response(),
        Refused::Because { status, text, code } => {
            tracing::info!(%code, status = status.as_u16(), "upgrade refused: {text}");
            tokio::time::sleep(state.config.connect_error_backoff).await;
            error::message(status, "error", &text)
        }
    }
}

/// The answer to the client's key; `None` if the request is no upgrade.
fn accept_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let lists = |name, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(word)))
    };
    let is_upgrade = lists(CONNECTION, "upgrade")
        && lists(UPGRADE, "websocket")
        && headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| is_upgrade)?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}

/// Runs the socket; the connection counts as open until it ends.
async fn serve(
    pending: OnUpgrade,
    accepted: Accepted,
    max_message: usize,
    _seat: Option<ConnectionSeat>,
) {
    let Ok(upgraded) = pending.await else { return };
    // The stream itself, without the layers that HTTP needed.
    let Ok(parts) = upgraded.downcast::<TokioIo<Stream>>() else { return };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message));
    let stream = parts.io.into_inner();
    let early = parts.read_buf.to_vec();
    let stream =
        WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await;
    let Accepted { services, vsn, credentials } = accepted;
    let socket = Socket::new(services, vsn, credentials);
    Box::pin(socket.run(WebSocket(stream))).await;
}

/// A WebSocket as the session sees it.
struct WebSocket(WebSocketStream<Stream>);

impl Transport for WebSocket {
    async fn receive(&mut self) -> Incoming {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => Incoming::Message(Received::Text(text.into())),
            Some(Ok(Message::Binary(bytes))) => Incoming::Message(Received::Binary(bytes)),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Incoming::Alive,
            Some(Ok(Message::Close(_))) => {
                // The echo is queued by now; it needs a push to go out.
                let _ = timeout(GOODBYE, self.0.flush()).await;
                Incoming::Gone
            }
            Some(Err(error)) => violation(&error),
            None => Incoming::Gone,
        }
    }

    async fn send(&mut self, frames: &mut Vec<Frame>) -> Result<(), Gone> {
        for frame in frames.drain(..) {
            self.0.feed(message(frame)?).await.map_err(|_| Gone)?;
        }
        self.0.flush().await.map_err(|_| Gone)
    }

    async fn close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        let _ = timeout(GOODBYE, self.0.close(Some(frame))).await;
    }
}

fn message(frame: Frame) -> Result<Message, Gone> {
    Ok(match frame {
        Frame::Text(bytes) => Message::Text(text(bytes)?),
        Frame::Binary(bytes) => Message::Binary(bytes),
    })
}

fn text(bytes: Bytes) -> Result<Utf8Bytes, Gone> {
    Utf8Bytes::try_from(bytes).map_err(|_| Gone)
}

/// The close code that an error of the transport calls for.
fn violation(error: &WsError) -> Incoming {
    match error {
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => Incoming::Violation(1009),
        WsError::Utf8(_) => Incoming::Violation(1007),
        WsError::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
        ) => Incoming::Gone,
        WsError::Protocol(_) => Incoming::Violation(1002),
        WsError::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            Incoming::Violation(1002)
        }
        _ => Incoming::Gone,
    }
}
