//! Media types of requests and answers.

use axum::{
    extract::Request,
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::error::ApiError;

/// The type of a request's body, without parameters and in lower case; `None`
/// if the request does not say.
pub(super) fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or("unreadable");
    Some(essence(value))
}

/// Passes calls that can take JSON for an answer.
pub(super) async fn answers_json(request: Request, next: Next) -> Response {
    if takes_json(request.headers()) {
        next.run(request).await
    } else {
        ApiError::NotAcceptable.into_response()
    }
}

fn takes_json(headers: &HeaderMap) -> bool {
    let mut lists = headers.get_all(header::ACCEPT).iter().peekable();
    if lists.peek().is_none() {
        return true;
    }
    lists.filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(',')).any(|kind| {
        let kind = essence(kind);
        matches!(kind.as_str(), "*/*" | "application/*" | "application/json" | "")
    })
}

fn essence(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_taken_unless_only_other_types_are() {
        assert!(takes_json(&HeaderMap::new()));
        for (accept, taken) in [
            ("*/*", true),
            ("text/html, application/xhtml+xml, */*;q=0.8", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/*", true),
            ("text/html", false),
            ("text/plain, image/png", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(takes_json(&headers), taken, "{accept}");
        }
    }

    #[test]
    fn a_content_type_is_its_essence() {
        let mut headers = HeaderMap::new();
        assert_eq!(content_type(&headers), None);
        headers.insert(header::CONTENT_TYPE, "Application/JSON; charset=utf-8".parse().unwrap());
        assert_eq!(content_type(&headers).as_deref(), Some("application/json"));
    }
}
