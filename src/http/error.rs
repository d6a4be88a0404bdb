//! Answers to requests that are not met.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde_json::Value;

/// Why a request is not met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No such route.
    #[error("not found")]
    NotFound,
    /// No such tenant, said to its clients.
    #[error("tenant not found")]
    TenantNotFound,
    /// The tenant is suspended.
    #[error("the tenant is suspended")]
    TenantSuspended,
    /// What is needed for an answer is away.
    #[error("there is no answer now")]
    Unavailable,
    /// Something went wrong that nobody asked for.
    #[error("internal error")]
    Internal,
    /// No such thing, said to operators.
    #[error("nothing has this id")]
    NoSuchResource,
    /// Too many requests a second.
    #[error("too many requests")]
    TooManyRequests,
    /// No token of the tenant's.
    #[error("unauthorized")]
    Unauthorized,
    /// Not a token we accept from operators.
    #[error("forbidden")]
    Forbidden,
    /// The client takes no JSON.
    #[error("the answer would be JSON")]
    NotAcceptable,
    /// A body that is not what its type says.
    #[error("the body cannot be read")]
    BadRequest,
    /// A body above the limit.
    #[error("the body is too large")]
    BodyTooLarge,
    /// A body that took too long.
    #[error("the body took too long")]
    BodyTooSlow,
    /// Fields with wrong values: what `errors` shows.
    #[error("some fields are wrong")]
    Fields(Value),
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let says = |status, text| message(status, "message", text);
        // Some clients show the body as it is, so it is the phrase of the status.
        let phrase = |status: StatusCode| {
            (status, status.canonical_reason().unwrap_or_default()).into_response()
        };
        match self {
            Self::NotFound => phrase(StatusCode::NOT_FOUND),
            Self::NotAcceptable => phrase(StatusCode::NOT_ACCEPTABLE),
            Self::BadRequest => phrase(StatusCode::BAD_REQUEST),
            Self::BodyTooLarge => phrase(StatusCode::PAYLOAD_TOO_LARGE),
            Self::BodyTooSlow => phrase(StatusCode::REQUEST_TIMEOUT),
            Self::Forbidden => StatusCode::FORBIDDEN.into_response(),
            Self::TenantNotFound => says(StatusCode::UNAUTHORIZED, "Tenant not found in database"),
            Self::TenantSuspended => says(StatusCode::FORBIDDEN, "Tenant is suspended"),
            Self::Unavailable => {
                says(StatusCode::SERVICE_UNAVAILABLE, "Unavailable, please try again")
            }
            Self::Internal => phrase(StatusCode::INTERNAL_SERVER_ERROR),
            Self::NoSuchResource => says(StatusCode::NOT_FOUND, "not found"),
            Self::TooManyRequests => says(StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            Self::Unauthorized => says(StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::Fields(errors) => {
                // Moved, not copied: there may be thousands.
                let mut body = serde_json::Map::new();
                body.insert("errors".to_owned(), errors);
                json(StatusCode::UNPROCESSABLE_ENTITY, &Value::Object(body))
            }
        }
    }
}

/// `{"<member>":"<text>"}` with the content type clients know.
pub fn message(status: StatusCode, member: &str, text: &str) -> Response {
    let mut body = serde_json::Map::new();
    body.insert(member.to_owned(), text.into());
    json(status, &Value::Object(body))
}

/// A JSON body with the content type clients know.
pub fn json(status: StatusCode, body: &Value) -> Response {
    json_text(status, body.to_string())
}

/// The same of JSON text.
pub fn json_text(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
