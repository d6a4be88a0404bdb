//! The doors: HTTP routes and the WebSocket upgrade.
//!
//! Everything under `/socket` and `/api` is also served under `/realtime/v1`,
//! where the hosted gateway puts it, so that clients can point straight here.

pub mod auth;
pub mod body;
pub mod broadcast;
pub mod chat;
mod cors;
pub mod dev;
pub mod directory;
pub mod error;
pub mod handshake;
pub mod health;
pub mod inspector;
pub mod listener;
mod media;
pub mod metrics;
pub mod openapi;
pub mod origin;
mod patience;
pub mod rate;
pub mod request_id;
pub mod site;
mod stream;
pub mod tenants;
pub mod tls;
pub mod websocket;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    response::Redirect,
    routing::{any, get, post},
};

use self::{
    directory::Directory,
    error::ApiError,
    health::Readiness,
    inspector::Page,
    metrics::{DoorMetrics, MetricsPage},
    origin::Origins,
    site::Site,
    tenants::Admin,
};

/// What the handlers share.
#[derive(Debug)]
pub struct State {
    /// Whose request it is.
    pub directory: Directory,
    /// `/metrics`.
    pub metrics: MetricsPage,
    /// What the doors count.
    pub doors: DoorMetrics,
    /// `/api/tenants`.
    pub admin: Admin,
    /// `/ready`.
    pub readiness: Readiness,
    /// What is served beside the API.
    pub pages: Pages,
    /// Times and sizes.
    pub config: Config,
}

/// What is served beside the API.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    /// What the inspector is told.
    pub inspector: Arc<Page>,
    /// Signs anybody in; `None` except in development.
    pub tokens: Option<dev::Tokens>,
    /// The chat's application, at `/chat/`.
    pub chat: Option<Site>,
    /// A site at `/`, in the inspector's place.
    pub site: Option<Site>,
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
    /// Pages that may call.
    pub origins: Origins,
}

/// All routes, for one port.
pub fn router(state: Arc<State>) -> Router {
    let routes = clients(&state).merge(operators(&state));
    finish(with_pages(routes, &state.pages), state)
}

/// The routes of clients and those of operators, for a port each.
pub fn routers(state: Arc<State>) -> [Router; 2] {
    let clients = finish(with_pages(clients(&state), &state.pages), Arc::clone(&state));
    let operators =
        operators(&state).merge(signs_of_life()).fallback(|| async { ApiError::NotFound });
    [clients, finish(operators, state)]
}

fn finish(routes: Router<Arc<State>>, state: Arc<State>) -> Router {
    routes
        .layer(from_fn(origin::guard_pages))
        .layer(from_fn_with_state(state.config.origins.clone(), origin::check))
        .with_state(state)
}

fn operators(state: &Arc<State>) -> Router<Arc<State>> {
    Router::new()
        .nest("/api", tenants::routes(Arc::clone(state)))
        .route("/metrics", get(metrics::page))
}

fn signs_of_life() -> Router<Arc<State>> {
    Router::new()
        .route("/healthcheck", get(health::healthcheck))
        .route("/ready", get(health::ready))
}

fn clients(state: &Arc<State>) -> Router<Arc<State>> {
    let socket = Router::new().route("/websocket", any(websocket::upgrade));
    let api = calls(state).route("/openapi", get(openapi::document));
    let gateway =
        Router::new().route("/websocket", any(websocket::upgrade)).nest("/api", api.clone());
    Router::new()
        .nest("/socket", socket)
        .nest("/api", api)
        .nest("/realtime/v1", gateway)
        .nest("/chat/v1", chat::routes(state))
        .merge(signs_of_life())
        .route("/swaggerui", get(openapi::to_page))
        .route("/swaggerui/", get(openapi::page))
        .route("/swaggerui/{*file}", get(openapi::page_file))
}

fn with_pages<S: Clone + Send + Sync + 'static>(routes: Router<S>, pages: &Pages) -> Router<S> {
    let inspector = inspector::routes(Arc::clone(&pages.inspector), pages.site.is_none());
    let mut routes = routes.merge(inspector);
    if let Some(tokens) = &pages.tokens {
        routes = routes.merge(dev::routes(tokens.clone()));
    }
    if let Some(site) = &pages.chat {
        let (home, files) = (site.clone(), site.clone());
        routes = routes
            .route("/chat", get(|| async { Redirect::permanent("/chat/") }))
            .route("/chat/", get(move |method, uri, headers| home.answer(method, uri, headers)))
            .route(
                "/chat/{*file}",
                get(move |method, uri, headers| files.answer(method, uri, headers)),
            );
    }
    match pages.site.clone() {
        Some(site) => {
            routes.fallback(move |method, uri, headers| site.answer(method, uri, headers))
        }
        None => routes.fallback(|| async { ApiError::NotFound }),
    }
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
