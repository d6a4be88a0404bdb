//! Which pages may call: the allow-list of origins, and what pages of ours are
//! sent with.
//!
//! Only browsers say where a request comes from. Whoever does not say so is let
//! through: the token decides there, as it does everywhere.

use std::sync::Arc;

use axum::{
    extract::{self, Request},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, ORIGIN, REFERRER_POLICY, VARY,
            X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
        },
    },
    middleware::Next,
    response::Response,
};

use super::error;

/// Pages that may call. Empty means any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Arc<[String]>);

impl Origins {
    /// Origins such as `https://app.example.com`, or `https://*.example.com` for
    /// all hosts below that one.
    pub fn new(allowed: &[String]) -> Self {
        Self(allowed.iter().map(|origin| origin.to_ascii_lowercase()).collect())
    }

    fn allows(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else { return true };
        let Ok(origin) = origin.to_str() else { return self.0.is_empty() };
        let origin = origin.to_ascii_lowercase();
        self.0.is_empty() || self.0.iter().any(|allowed| covers(allowed, &origin))
    }
}

fn covers(allowed: &str, origin: &str) -> bool {
    match allowed.split_once("*.") {
        Some((scheme, domain)) => origin
            .strip_prefix(scheme)
            .and_then(|host| host.strip_suffix(domain))
            .is_some_and(|name| name.len() > 1 && name.ends_with('.')),
        None => allowed == origin,
    }
}

/// Refuses what comes from other pages, sockets included, and tells browsers
/// whom the answer is for.
pub(super) async fn check(
    extract::State(origins): extract::State<Origins>,
    request: Request,
    next: Next,
) -> Response {
    if origins.0.is_empty() {
        return next.run(request).await;
    }
    if !origins.allows(request.headers()) {
        return error::message(StatusCode::FORBIDDEN, "error", "Origin not allowed");
    }
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Some(origin) = origin
        && headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN)
    {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    headers.append(VARY, HeaderValue::from_static("origin"));
    response
}

/// Pages are not to be framed by others, taken for something else, or told on.
pub(super) async fn guard_pages(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let is_page =
        headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page {
        let mut add = |name: HeaderName, value| {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        };
        add(X_CONTENT_TYPE_OPTIONS, "nosniff");
        add(X_FRAME_OPTIONS, "SAMEORIGIN");
        add(REFERRER_POLICY, "same-origin");
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(allowed: &[&str], origin: &str) -> bool {
        let allowed: Vec<String> = allowed.iter().map(|text| (*text).to_owned()).collect();
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().unwrap());
        Origins::new(&allowed).allows(&headers)
    }

    #[test]
    fn an_origin_is_allowed_as_it_is_or_below_a_domain() {
        let list = ["https://App.example.com", "https://*.example.org", "http://localhost:3000"];
        for good in [
            "https://app.example.com",
            "https://APP.example.com",
            "https://a.example.org",
            "https://a.b.example.org",
            "http://localhost:3000",
        ] {
            assert!(allows(&list, good), "{good}");
            assert!(allows(&[], good), "{good}");
        }
        for bad in [
            "http://app.example.com",
            "https://app.example.com:444",
            "https://app.example.com.evil.test",
            "https://example.org",
            "https://.example.org",
            "https://evilexample.org",
            "http://a.example.org",
            "http://localhost",
            "null",
        ] {
            assert!(!allows(&list, bad), "{bad}");
        }
        assert!(Origins::new(&["https://a.test".to_owned()]).allows(&HeaderMap::new()));
    }
}
