//! Accepts connections: bounded in number, patient for a bounded time, with TLS
//! or without.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, Response, StatusCode, header::CONNECTION},
};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tower_service::Service as _;

use super::{metrics::DoorMetrics, patience::Timed, stream::Stream, tls::Tls};
use crate::{error_code::ErrorCode, runtime::Stages, telemetry::reason};

/// The least that hyper needs for a request's head.
const SMALLEST_HEAD: usize = 8192;

/// Bounds of the listener.
#[derive(Debug, Clone)]
pub struct Config {
    /// Connections open at a time; more wait to be accepted.
    pub max_connections: usize,
    /// Bytes of a request's head.
    pub max_header_bytes: usize,
    /// Time for a connection to greet with TLS, and to send a request's head,
    /// the next one too.
    pub handshake_timeout: Duration,
    /// Time for a request to send its body.
    pub body_timeout: Duration,
    /// The certificate; none for no TLS.
    pub tls: Option<Tls>,
    /// Where connections are counted.
    pub metrics: DoorMetrics,
}

/// Serves `router` on `listener` until the doors close.
pub async fn serve(listener: TcpListener, router: Router, config: Config, stages: Stages) {
    let seats = Arc::new(Semaphore::new(config.max_connections));
    let metrics = &config.metrics;
    metrics.most.set(i64::try_from(config.max_connections).unwrap_or(i64::MAX));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.handshake_timeout)
        .max_buf_size(config.max_header_bytes.max(SMALLEST_HEAD));
    loop {
        let (stream, peer, seat) = tokio::select! {
            accepted = accept(&listener, &seats, metrics) => accepted,
            () = stages.doors.started() => return,
        };
        let way = Way { http: http.clone(), router: router.clone(), config: config.clone() };
        let serving = connection(stream, peer, seat, way, stages.clone());
        stages.doors.spawn("connection", serving);
    }
}

async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
    metrics: &DoorMetrics,
) -> (TcpStream, Peer, Seat) {
    loop {
        // The semaphore is never closed.
        let permit = Arc::clone(seats).acquire_owned().await.ok();
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Frames are whole when they are written: waiting for more only delays them.
                let _ = stream.set_nodelay(true);
                metrics.accepted.inc();
                return (stream, Peer(peer), Seat::taken(permit, metrics.active.clone()));
            }
            Err(error) => {
                // Usually no file descriptor is left: give open sockets time to end.
                tracing::warn!(
                    code = %ErrorCode::HttpServerError, %error,
                    "cannot accept a connection"
                );
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Held by a connection as long as it is open.
struct Seat {
    _permit: Option<OwnedSemaphorePermit>,
    active: Gauge,
}

impl Seat {
    fn taken(permit: Option<OwnedSemaphorePermit>, active: Gauge) -> Self {
        active.inc();
        Self { _permit: permit, active }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.active.dec();
    }
}

/// How connections are served.
struct Way {
    http: http1::Builder,
    router: Router,
    config: Config,
}

async fn connection(stream: TcpStream, peer: Peer, seat: Seat, way: Way, stages: Stages) {
    let Stages { work, doors, .. } = stages;
    let Way { http, router, config } = way;
    let stream = tokio::select! {
        greeted = greet(stream, &config) => greeted,
        () = doors.started() => return,
    };
    let Some(stream) = stream else { return };
    let body_timeout = config.body_timeout;
    let seat = Arc::new(seat);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let mut router = router.clone();
        // An upgraded connection outlives this task and keeps its seat.
        request.extensions_mut().insert(ConnectionSeat(Arc::clone(&seat)));
        request.extensions_mut().insert(peer);
        let work = work.clone();
        async move {
            let request = request.map(|body| match body.is_end_stream() {
                true => Body::empty(),
                false => Body::new(Timed::new(body, body_timeout)),
            });
            let mut response = router.call(request).await?;
            if work.is_draining() {
                part(&mut response);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let serving = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(serving);
    tokio::select! {
        ended = serving.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(error = reason(&error), "connection ended");
            }
        }
        () = doors.started() => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}

/// The stream to speak HTTP over; none if the client does not manage TLS.
async fn greet(stream: TcpStream, config: &Config) -> Option<Stream> {
    let Some(tls) = &config.tls else { return Some(Stream::Plain(stream)) };
    match timeout(config.handshake_timeout, Box::pin(tls.accept(stream))).await {
        Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream))),
        Ok(Err(error)) => {
            tracing::debug!(error = reason(&error), "no TLS with a client");
            None
        }
        Err(_) => None,
    }
}

/// The client's next request is better sent elsewhere.
fn part(response: &mut Response<Body>) {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Whom a connection comes from; every request carries it.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Lets whoever takes a connection over keep it counted.
#[derive(Clone)]
pub struct ConnectionSeat(#[expect(dead_code, reason = "held, not read")] Arc<Seat>);

impl std::fmt::Debug for ConnectionSeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConnectionSeat")
    }
}

/// Listens on `address`.
///
/// # Errors
///
/// The operating system's, for example when the port is taken.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}
