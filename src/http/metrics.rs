//! `/metrics`: Prometheus text, for holders of the metrics token.

use std::{fmt, sync::Arc};

use axum::{
    extract,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use prometheus_client::encoding::text;

use crate::{
    auth::{Keys, jwt},
    runtime::clock,
    telemetry::Registry,
    tenants::Tenant,
};

use super::{State, error::ApiError};

/// The page and who may read it.
pub struct MetricsPage {
    registry: Registry,
    guard: Guard,
}

/// Accepts operators' tokens.
pub struct Guard {
    keys: Vec<Keys>,
    refused: Vec<String>,
}

impl Guard {
    /// Accepts tokens signed with any of `secrets`, except those `refused`.
    pub fn new(secrets: &[&str], refused: &[&str]) -> Self {
        let keys =
            secrets.iter().map(|secret| Keys::new(Some(secret), None, serde_json::Map::new()));
        let refused = refused.iter().map(|token| jwt::clean(token)).collect();
        Self { keys: keys.collect(), refused }
    }

    /// Whether a request may pass.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let now = clock::unix_seconds();
        self.token(headers).is_some_and(|token| {
            self.keys.iter().any(|keys| keys.verify_operator(&token, now).is_ok())
        })
    }

    /// Whether a request may pass that clients of `tenant` may make too.
    pub fn admits_client(&self, headers: &HeaderMap, tenant: &Tenant) -> bool {
        self.admits(headers)
            || self.token(headers).is_some_and(|token| tenant.verify(&token).is_ok())
    }

    /// A request's token, unless it is refused.
    fn token(&self, headers: &HeaderMap) -> Option<String> {
        let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let token = jwt::clean(authorization.strip_prefix("Bearer ")?);
        (!self.refused.contains(&token)).then_some(token)
    }
}

impl fmt::Debug for Guard {
    // Even refused tokens stay out of logs: another server may accept them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("refused", &self.refused.len()).finish_non_exhaustive()
    }
}

impl MetricsPage {
    /// A page of everything in `registry`.
    pub fn new(registry: Registry, guard: Guard) -> Self {
        Self { registry, guard }
    }
}

impl fmt::Debug for MetricsPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsPage").field("guard", &self.guard).finish_non_exhaustive()
    }
}

/// `GET /metrics`.
///
/// # Errors
///
/// [`ApiError::Forbidden`] without an accepted token.
pub async fn page(
    extract::State(state): extract::State<Arc<State>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if !state.metrics.guard.admits(&headers) {
        return Err(ApiError::Forbidden);
    }
    let mut body = String::new();
    // Writing to a string cannot fail.
    let _ = text::encode(&mut body, &state.metrics.registry);
    let mut response = body.into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
