//! The doors: HTTP routes and the WebSocket upgrade.
//!
//! Everything under `/socket` and `/api` is also served under `/realtime/v1`,
//! where the hosted gateway puts it, so that clients can point straight here.

pub mod directory;
pub mod error;
pub mod handshake;
pub mod health;
pub mod inspector;
pub mod listener;
pub mod metrics;
pub mod websocket;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    routing::{any, get},
};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use self::{directory::Directory, error::ApiError, inspector::Page, metrics::MetricsPage};

/// What the handlers share.
#[derive(Debug)]
pub struct State {
    /// Whose request it is.
    pub directory: Directory,
    /// `/metrics`.
    pub metrics: MetricsPage,
    /// The page at `/`.
    pub inspector: Arc<Page>,
    /// Times and sizes.
    pub config: Config,
}

/// Times and sizes of HTTP.
#[derive(Debug, Clone)]
pub struct Config {
    /// Pause before a refused upgrade is told so.
    pub connect_error_backoff: Duration,
    /// Largest message a client may send.
    pub max_frame_bytes: usize,
}

/// All routes.
pub fn router(state: Arc<State>) -> Router {
    let socket = Router::new().route("/websocket", any(websocket::upgrade));
    let api = Router::new().route("/ping", get(health::ping)).layer(cors());
    let gateway =
        Router::new().route("/websocket", any(websocket::upgrade)).nest("/api", api.clone());
    Router::new()
        .nest("/socket", socket)
        .nest("/api", api)
        .nest("/realtime/v1", gateway)
        .route("/healthcheck", get(health::healthcheck))
        .route("/metrics", get(metrics::page))
        .merge(inspector::routes(Arc::clone(&state.inspector)))
        .fallback(|| async { ApiError::NotFound })
        .with_state(state)
}

/// Browsers may call the API from anywhere: the token decides, not the page.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::any())
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
}
