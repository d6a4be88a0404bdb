//! Signs of life.

use std::sync::Arc;

use axum::{
    extract,
    http::{HeaderMap, StatusCode},
    response::Response,
};

use super::{
    State,
    error::{self, ApiError},
};

/// `GET /healthcheck`: the process answers.
pub async fn healthcheck() -> &'static str {
    "ok"
}

/// `GET /api/ping`: the process knows the tenant.
///
/// # Errors
///
/// [`ApiError::TenantNotFound`].
pub async fn ping(
    extract::State(state): extract::State<Arc<State>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    state.directory.find(&headers).ok_or(ApiError::TenantNotFound)?;
    Ok(error::message(StatusCode::OK, "message", "Success"))
}
