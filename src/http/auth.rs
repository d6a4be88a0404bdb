//! Whose request it is: the token of a REST call.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, Uri, header::AUTHORIZATION};

use crate::{auth::Claims, tenants::Tenant};

use super::{error::ApiError, handshake::parameter};

/// The claims of a request's token.
///
/// # Errors
///
/// [`ApiError::Unauthorized`] without a token that the tenant accepts.
pub async fn authenticate(
    tenant: &Tenant,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Claims, ApiError> {
    let token = token(headers, uri).ok_or(ApiError::Unauthorized)?;
    tenant.verify_or_refresh(&token).await.map_err(|error| {
        tracing::debug!(%error, "token of a request refused");
        ApiError::Unauthorized
    })
}

/// `Authorization: Bearer` wins, even if it is useless; then `apikey`, as a
/// header or in the query. `x-api-key` is for sockets only.
fn token(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(AUTHORIZATION.as_str())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match (bearer, text("apikey")) {
        (Some((_, token)), _) | (None, Some(token)) => Some(token.to_owned()),
        (None, None) => parameter(uri.query().unwrap_or_default(), "apikey"),
    }
}

/// The headers as policies read them in `request.headers`; of repeated ones the
/// last. They hold tokens and never reach a log.
pub(super) fn as_object(headers: &HeaderMap) -> String {
    let pairs: BTreeMap<&str, _> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
        .collect();
    // A map of strings always serializes.
    serde_json::to_string(&pairs).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_wins_over_an_api_key() {
        let uri: Uri = "/api/broadcast?vsn=2.0.0&apikey=q".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", "x".parse().unwrap());
        assert_eq!(token(&headers, &uri).as_deref(), Some("q"));
        headers.insert("apikey", "k".parse().unwrap());
        assert_eq!(token(&headers, &uri).as_deref(), Some("k"));
        headers.insert(AUTHORIZATION, "Basic b".parse().unwrap());
        assert_eq!(token(&headers, &uri).as_deref(), Some("k"));
        for scheme in ["Bearer", "bearer", "BEARER"] {
            headers.insert(AUTHORIZATION, format!("{scheme} t").parse().unwrap());
            assert_eq!(token(&headers, &uri).as_deref(), Some("t"));
        }
        assert_eq!(token(&HeaderMap::new(), &Uri::from_static("/api/broadcast")), None);
    }

    #[test]
    fn headers_are_an_object_of_strings() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", "1".parse().unwrap());
        headers.append("X-A", "2".parse().unwrap());
        headers.append("host", "h".parse().unwrap());
        assert_eq!(as_object(&headers), r#"{"host":"h","x-a":"2"}"#);
    }
}
