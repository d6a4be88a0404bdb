//! `GET /dev/token?name=…`: signs anybody in, by name. For development only.
//!
//! The route exists where [`Tokens`] do, and only `rowcast dev` makes them. It
//! answers a browser or a program on the same machine that asked for this
//! machine by name, and lets pages of this machine alone read the answer.

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::{self, Request},
    http::{
        HeaderMap, HeaderValue, StatusCode, Uri,
        header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, ORIGIN, VARY},
    },
    response::Response,
    routing::get,
};
use serde_json::{Map, Value, json};
use uuid::Builder;

use crate::{auth::jwt, runtime::clock};

use super::{
    error::{self, ApiError},
    handshake::parameter,
    inspector::{from_here, is_here, names_here},
};

/// Seconds that a token is good for.
const LIFE: i64 = 24 * 3600;

/// Characters of a name.
const LONGEST_NAME: usize = 100;

/// What makes tokens.
#[derive(Clone)]
pub struct Tokens {
    /// The secret that signs clients' tokens.
    pub secret: String,
    /// Key of the role `anon`, told beside each token.
    pub anon_key: String,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

/// The route.
pub fn routes<S: Clone + Send + Sync + 'static>(tokens: Tokens) -> Router<S> {
    Router::new().route("/dev/token", get(token)).with_state(Arc::new(tokens))
}

async fn token(
    extract::State(tokens): extract::State<Arc<Tokens>>,
    request: Request,
) -> Result<Response, ApiError> {
    if !(from_here(request.extensions()) && names_here(request.headers())) {
        return Err(ApiError::NotFound);
    }
    let name = parameter(request.uri().query().unwrap_or_default(), "name").unwrap_or_default();
    let name = name.trim();
    let mut response = if name.is_empty() || name.chars().count() > LONGEST_NAME {
        let text = format!("give a name of 1 to {LONGEST_NAME} characters: /dev/token?name=Ada");
        error::message(StatusCode::BAD_REQUEST, "message", &text)
    } else {
        error::json(StatusCode::OK, &tokens.sign(name).ok_or(ApiError::NotFound)?)
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin_here(request.headers()) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    Ok(response)
}

/// The page that asks, if it is of this machine: an application under
/// development is served on another port.
fn origin_here(headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    let uri: Uri = origin.to_str().ok()?.parse().ok()?;
    is_here(uri.authority()?.as_str()).then(|| origin.clone())
}

impl Tokens {
    fn sign(&self, name: &str) -> Option<Value> {
        // In the form of an id made from a name.
        let user = Builder::from_sha1_bytes(jwt::digest(&name.to_lowercase())?).into_uuid();
        let now = clock::unix_seconds();
        let mut claims = Map::new();
        for (claim, value) in [
            ("sub", json!(user)),
            ("role", json!("authenticated")),
            ("aud", json!("authenticated")),
            ("user_metadata", json!({ "name": name })),
            ("iat", json!(now)),
            ("exp", json!(now + LIFE)),
        ] {
            claims.insert(claim.to_owned(), value);
        }
        Some(json!({
            "token": jwt::sign(&claims, &self.secret).ok()?,
            "user_id": user,
            "name": name,
            "anon_key": self.anon_key,
            "expires_at": now + LIFE,
        }))
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::header::HOST};
    use tower_service::Service as _;

    use super::*;
    use crate::http::listener::Peer;

    async fn ask(path: &str, peer: &str, host: &str, origin: Option<&str>) -> Response {
        let tokens = Tokens { secret: "s".to_owned(), anon_key: "a".to_owned() };
        let mut request = Request::get(path).header(HOST, host).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer(peer.parse().unwrap()));
        if let Some(origin) = origin {
            request.headers_mut().insert(ORIGIN, origin.parse().unwrap());
        }
        routes::<()>(tokens).call(request).await.unwrap()
    }

    async fn body(response: Response) -> Value {
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn a_name_is_always_the_same_user_however_it_is_written() {
        let here = "127.0.0.1:5000";
        let one = body(ask("/dev/token?name=Ada", here, "localhost:4000", None).await).await;
        let two = body(ask("/dev/token?name=%20ADA", here, "localhost:4000", None).await).await;
        assert_eq!(one["user_id"], two["user_id"]);
        assert_eq!((&one["name"], &two["name"]), (&json!("Ada"), &json!("ADA")));
        let claims = one["token"].as_str().unwrap();
        assert_eq!(claims.split('.').count(), 3);
    }

    #[tokio::test]
    async fn only_this_machine_gets_tokens() {
        let path = "/dev/token?name=Ada";
        let status = |answer: Response| answer.status().as_u16();
        assert_eq!(status(ask(path, "10.0.0.7:1", "localhost", None).await), 404);
        assert_eq!(status(ask(path, "127.0.0.1:1", "evil.example", None).await), 404);
        assert_eq!(status(ask("/dev/token", "127.0.0.1:1", "localhost", None).await), 400);
        let answer = ask(path, "127.0.0.1:1", "localhost", Some("http://localhost:3000")).await;
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "http://localhost:3000");
        let answer = ask(path, "127.0.0.1:1", "localhost", Some("https://evil.example")).await;
        assert!(!answer.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    }
}
