//! `x-request-id`: the caller's own, if its baggage has one, or a fresh one.

use std::sync::Arc;

use axum::{
    extract::{self, Request},
    http::{HeaderMap, HeaderValue},
    middleware::Next,
    response::Response,
};
use uuid::Uuid;

use super::State;

/// Puts the id in the answer.
pub async fn tag(
    extract::State(state): extract::State<Arc<State>>,
    request: Request,
    next: Next,
) -> Response {
    let id = from_baggage(request.headers(), &state.config.baggage_key).or_else(fresh);
    let mut response = next.run(request).await;
    if let Some(id) = id {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

fn fresh() -> Option<HeaderValue> {
    HeaderValue::from_str(&Uuid::new_v4().simple().to_string()).ok()
}

/// The entry `key` of the W3C header `baggage`, if it is 10 to 200 printable
/// characters of ASCII: it goes back to the caller.
fn from_baggage(headers: &HeaderMap, key: &str) -> Option<HeaderValue> {
    let lists = headers.get_all("baggage").iter().filter_map(|value| value.to_str().ok());
    let entry = lists
        .flat_map(|list| list.split(','))
        .filter_map(|entry| entry.split(';').next()?.split_once('='))
        .find(|(name, _)| name.trim() == key);
    let value = entry?.1.trim();
    let is_printable = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let is_fit = is_printable && (10..=200).contains(&value.len());
    HeaderValue::from_str(value).ok().filter(|_| is_fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(baggage: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("baggage", HeaderValue::from_str(baggage).unwrap());
        let value = from_baggage(&headers, "request-id")?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn an_entry_of_a_fit_length_is_taken_over() {
        assert_eq!(id("request-id=0123456789").as_deref(), Some("0123456789"));
        assert_eq!(id("a=b, request-id = 0123456789 ;p=1,c=d").as_deref(), Some("0123456789"));
        assert_eq!(id("other=0123456789"), None);
        assert_eq!(id("request-id=012345678"), None);
        assert_eq!(id(&format!("request-id={}", "x".repeat(201))), None);
    }
}
