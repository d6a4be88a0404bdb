//! Signs of life.

use std::sync::Arc;

use axum::{extract, http::StatusCode, response::Response};

use super::{State, error};
use crate::{hub::topics::Hub, runtime::Drain};

/// Whether new clients are better off here than on another server.
#[derive(Debug)]
pub struct Readiness {
    hub: Arc<Hub>,
    drain: Drain,
}

impl Readiness {
    /// Of a server with this hub and drain.
    pub fn new(hub: Arc<Hub>, drain: Drain) -> Self {
        Self { hub, drain }
    }

    /// True once the server stops.
    pub fn is_stopping(&self) -> bool {
        self.drain.is_draining()
    }
}

/// `GET /healthcheck`: the process answers.
pub async fn healthcheck() -> &'static str {
    "ok"
}

/// `GET /ready`: 503 while the server stops or cannot reach other servers.
pub async fn ready(
    extract::State(state): extract::State<Arc<State>>,
) -> (StatusCode, &'static str) {
    let readiness = &state.readiness;
    match (readiness.is_stopping(), readiness.hub.is_connected()) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "other servers are out of reach"),
        (false, true) => (StatusCode::OK, "ok"),
    }
}

/// `GET /api/ping`: the process knows the tenant, or the limiter had refused.
#[utoipa::path(
    get, path = "/api/ping", tag = "health", operation_id = "ping", summary = "Whether the tenant is served",
    responses(
        (status = 200, description = "It is", body = crate::http::openapi::Message),
        (status = 401, description = "No such tenant", body = crate::http::openapi::Message),
        (status = 429, description = "Too many requests", body = crate::http::openapi::Message),
    ),
)]
pub async fn ping() -> Response {
    error::message(StatusCode::OK, "message", "Success")
}
