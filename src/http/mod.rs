//! The doors: HTTP routes and the WebSocket upgrade.
//!
//! Everything under `/socket` and `/api` is also served under `/realtime/v1`,
//! where the hosted gateway puts it, so that clients can point straight here.

pub mod auth;
pub mod body;
pub mod broadcast;
pub mod chat;
mod cors;
pub mod directory;
pub mod error;
pub mod handshake;
pub mod health;
pub mod inspector;
pub mod listener;
mod media;
pub mod metrics;
pub mod openapi;
pub mod rate;
pub mod request_id;
pub mod tenants;
pub mod websocket;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    routing::{any, get, post},
};

use self::{
    directory::Directory, error::ApiError, inspector::Page, metrics::MetricsPage, tenants::Admin,
};

/// What the handlers share.
#[derive(Debug)]
pub struct State {
    /// Whose request it is.
    pub directory: Directory,
    /// `/metrics`.
    pub metrics: MetricsPage,
    /// `/api/tenants`.
    pub admin: Admin,
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
    /// Largest body of a broadcast.
    pub max_body_bytes: usize,
    /// The entry of `baggage` that names a request.
    pub baggage_key: String,
}

/// All routes.
pub fn router(state: Arc<State>) -> Router {
    let socket = Router::new().route("/websocket", any(websocket::upgrade));
    let api = calls(&state).route("/openapi", get(openapi::document));
    let gateway =
        Router::new().route("/websocket", any(websocket::upgrade)).nest("/api", api.clone());
    Router::new()
        .nest("/socket", socket)
        .nest("/api", api.merge(tenants::routes(Arc::clone(&state))))
        .nest("/realtime/v1", gateway)
        .nest("/chat/v1", chat::routes(&state))
        .route("/healthcheck", get(health::healthcheck))
        .route("/metrics", get(metrics::page))
        .route("/swaggerui", get(openapi::to_page))
        .route("/swaggerui/", get(openapi::page))
        .route("/swaggerui/{*file}", get(openapi::page_file))
        .merge(inspector::routes(Arc::clone(&state.inspector)))
        .fallback(|| async { ApiError::NotFound })
        .with_state(state)
}

/// What a tenant's clients call. The last layer is the first to see a request.
fn calls(state: &Arc<State>) -> Router<Arc<State>> {
    Router::new()
        .route("/ping", get(health::ping))
        .route("/broadcast", post(broadcast::batch::send_all))
        .route("/broadcast/{topic}/events/{event}", post(broadcast::single::send_one))
        // Unknown methods are unknown routes to the original, and to clients.
        .method_not_allowed_fallback(|| async { ApiError::NotFound })
        .layer(from_fn_with_state(Arc::clone(state), rate::limit))
        .layer(from_fn(media::answers_json))
        .layer(from_fn_with_state(Arc::clone(state), request_id::tag))
        .layer(from_fn(cors::allow))
}
