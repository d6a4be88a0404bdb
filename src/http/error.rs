//! Answers to requests that are not met.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};

/// Why a request is not met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No such route.
    #[error("not found")]
    NotFound,
    /// No such tenant.
    #[error("tenant not found")]
    TenantNotFound,
    /// Too many requests a second.
    #[error("too many requests")]
    TooManyRequests,
    /// Not a token we accept.
    #[error("forbidden")]
    Forbidden,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "Not Found").into_response(),
            Self::TenantNotFound => {
                message(StatusCode::UNAUTHORIZED, "message", "Tenant not found in database")
            }
            Self::TooManyRequests => {
                message(StatusCode::TOO_MANY_REQUESTS, "message", "Too many requests")
            }
            Self::Forbidden => StatusCode::FORBIDDEN.into_response(),
        }
    }
}

/// `{"<member>":"<text>"}` with the content type clients know.
pub fn message(status: StatusCode, member: &str, text: &str) -> Response {
    let mut body = serde_json::Map::new();
    body.insert(member.to_owned(), text.into());
    let mut response = Response::new(Body::from(serde_json::Value::Object(body).to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
