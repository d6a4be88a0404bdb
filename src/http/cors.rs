//! Browsers may call the API from anywhere: the token decides, not the page.
//!
//! Only what comes from a page (it has an `Origin`) gets these headers, and
//! only a preflight gets an answer of its own; other callers see neither.

use axum::{
    extract::Request,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
            ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
        },
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};

/// What scripts may read of an answer beside the few that are always readable.
const READABLE: &str = "x-rate-rolling, x-rate-limit, x-rate-limit-remaining, x-request-id";

/// Answers preflights and marks other answers as readable.
pub(super) async fn allow(request: Request, next: Next) -> Response {
    let asked = request.headers();
    if !asked.contains_key(ORIGIN) {
        return next.run(request).await;
    }
    let is_preflight =
        request.method() == Method::OPTIONS && asked.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight { preflight(asked) } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(READABLE));
    response
}

/// Allows whatever was asked for.
fn preflight(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let mut echo = |question: HeaderName, answer: HeaderName| {
        if let Some(value) = asked.get(question) {
            headers.insert(answer, value.clone());
        }
    };
    echo(ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_ALLOW_METHODS);
    echo(ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_ALLOW_HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}
