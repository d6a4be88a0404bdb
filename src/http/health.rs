//! Signs of life.

use axum::{http::StatusCode, response::Response};

use super::error;

/// `GET /healthcheck`: the process answers.
pub async fn healthcheck() -> &'static str {
    "ok"
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
