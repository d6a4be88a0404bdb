//! The live inspector at `/`: a page that shows what the server says.
//!
//! Everything it needs is in the binary, so it works without a network. It
//! uses the official client, vendored byte for byte. The page holds no key:
//! only a server started for development hands its own out, and only to a
//! browser on the same machine that asked for this machine by name (a foreign
//! site that rebinds its name to the loopback address is refused).

mod files;

use std::{fmt, net::IpAddr, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{self, Path},
    http::{
        Extensions, HeaderMap, HeaderValue, Request, Uri,
        header::{CACHE_CONTROL, HOST},
    },
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use serde::Serialize;

use super::{error::ApiError, listener::Peer};

/// What the page needs to know of the server.
#[derive(Debug, Default)]
pub struct Page {
    /// Keys for the page to fill in; `None` except in development.
    pub dev: Option<DevKeys>,
}

/// Keys of a development server, as `/inspector/config.json` tells them.
#[derive(Clone, Serialize)]
pub struct DevKeys {
    /// Key of the role `anon`.
    pub anon_key: String,
    /// Key of the role `service_role`.
    pub service_role_key: String,
    /// A shell line that inserts a row into `public.messages`, for the page to show.
    pub insert_line: Option<String>,
}

impl fmt::Debug for DevKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevKeys").finish_non_exhaustive()
    }
}

/// The page, its files and its settings. Where another site is at `/`, the page
/// is at `/inspector/`.
pub fn routes<S: Clone + Send + Sync + 'static>(page: Arc<Page>, at_root: bool) -> Router<S> {
    let pages = match at_root {
        true => Router::new()
            .route("/", get(index))
            .route("/inspector", get(home))
            .route("/inspector/new", get(home)),
        false => Router::new().route("/inspector/", get(index)),
    };
    pages
        .route("/inspector/config.json", get(config))
        .route("/inspector/assets/{*path}", get(asset))
        .with_state(page)
}

async fn index(headers: HeaderMap) -> Response {
    files::INDEX.answer(&headers)
}

async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    files::asset(&path).map(|file| file.answer(&headers)).ok_or(ApiError::NotFound)
}

/// The addresses of other inspectors lead here; what they ask for is kept.
async fn home(uri: Uri) -> Redirect {
    match uri.query() {
        Some(query) => Redirect::temporary(&format!("/?{query}")),
        None => Redirect::temporary("/"),
    }
}

async fn config(
    extract::State(page): extract::State<Arc<Page>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let keys = page.dev.as_ref().ok_or(ApiError::NotFound)?;
    if !(from_here(request.extensions()) && names_here(request.headers())) {
        return Err(ApiError::NotFound);
    }
    let mut response = Json(keys).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Whether the connection comes from this machine.
pub(super) fn from_here(extensions: &Extensions) -> bool {
    extensions.get::<Peer>().is_some_and(|Peer(address)| address.ip().to_canonical().is_loopback())
}

/// Whether the request names this machine.
pub(super) fn names_here(headers: &HeaderMap) -> bool {
    headers.get(HOST).and_then(|host| host.to_str().ok()).is_some_and(is_here)
}

/// Whether a host, with or without a port, is this machine.
pub(super) fn is_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.is_ok_and(|address| address.is_loopback())
        || name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use axum::{
        body,
        http::{
            HeaderName, StatusCode,
            header::{
                CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
            },
        },
    };
    use tower_service::Service as _;

    use super::*;

    const HERE: &str = "127.0.0.1:50000";

    fn dev() -> Page {
        Page {
            dev: Some(DevKeys {
                anon_key: "the-anon-key".to_owned(),
                service_role_key: "the-service-key".to_owned(),
                insert_line: None,
            }),
        }
    }

    async fn ask(page: Page, path: &str, peer: &str, headers: &[(HeaderName, &str)]) -> Response {
        let mut request = Request::get(path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer(peer.parse().unwrap()));
        for (name, value) in headers {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        routes::<()>(Arc::new(page), true).call(request).await.unwrap()
    }

    async fn text(response: Response) -> String {
        let bytes = body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn header(response: &Response, name: HeaderName) -> &str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[tokio::test]
    async fn every_file_has_its_type_and_the_policy() {
        for (path, kind) in [
            ("/", "text/html; charset=utf-8"),
            ("/?topic=room", "text/html; charset=utf-8"),
            ("/inspector/assets/base.css", "text/css; charset=utf-8"),
            ("/inspector/assets/inspector.js", "text/javascript; charset=utf-8"),
            ("/inspector/assets/vendor/supabase.js", "text/javascript; charset=utf-8"),
            ("/inspector/assets/icon.svg", "image/svg+xml"),
        ] {
            let response = ask(Page::default(), path, HERE, &[]).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(header(&response, CONTENT_TYPE), kind, "{path}");
            assert!(header(&response, CONTENT_SECURITY_POLICY).contains("script-src 'self';"));
            assert_eq!(header(&response, X_CONTENT_TYPE_OPTIONS), "nosniff");
        }
    }

    #[tokio::test]
    async fn every_file_the_page_names_is_served() {
        let page = text(ask(Page::default(), "/", HERE, &[]).await).await;
        let named: Vec<_> =
            page.split('"').filter(|word| word.starts_with("/inspector/")).collect();
        assert!(named.len() >= 4, "{named:?}");
        for path in named {
            let response = ask(Page::default(), path, HERE, &[]).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
        }
    }

    #[tokio::test]
    async fn an_unchanged_file_is_not_sent_again() {
        let path = "/inspector/assets/vendor/supabase.js";
        let first = ask(Page::default(), path, HERE, &[]).await;
        let tag = header(&first, ETAG).to_owned();
        assert_ne!(tag, "");
        let again = ask(Page::default(), path, HERE, &[(IF_NONE_MATCH, &tag)]).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(text(again).await, "");
        let other = ask(Page::default(), path, HERE, &[(IF_NONE_MATCH, "\"other\"")]).await;
        assert_eq!(other.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn unknown_files_are_not_found() {
        for path in ["/inspector/assets/nothing.js", "/inspector/assets/../mod.rs"] {
            let response = ask(Page::default(), path, HERE, &[]).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[tokio::test]
    async fn redirects_keep_the_query() {
        for (path, target) in [
            ("/inspector", "/"),
            ("/inspector/new", "/"),
            ("/inspector?topic=a%26b", "/?topic=a%26b"),
            ("/inspector/new?schema=public&table=messages", "/?schema=public&table=messages"),
        ] {
            let response = ask(Page::default(), path, HERE, &[]).await;
            assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT, "{path}");
            assert_eq!(header(&response, "location".parse().unwrap()), target, "{path}");
        }
    }

    #[tokio::test]
    async fn keys_are_told_in_development_only() {
        let path = "/inspector/config.json";
        let host = [(HOST, "localhost:4000")];
        let told = ask(dev(), path, HERE, &host).await;
        assert_eq!(header(&told, CACHE_CONTROL), "no-store");
        let told = text(told).await;
        assert!(told.contains("the-anon-key") && told.contains("the-service-key"), "{told}");
        let response = ask(Page::default(), path, HERE, &host).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert!(!text(response).await.contains("key"));
    }

    #[tokio::test]
    async fn keys_are_told_to_this_machine_only() {
        for (peer, host, status) in [
            (HERE, "127.0.0.1:4000", StatusCode::OK),
            (HERE, "proj.localhost:4000", StatusCode::OK),
            ("[::1]:50000", "[::1]:4000", StatusCode::OK),
            ("[::ffff:127.0.0.1]:50000", "localhost", StatusCode::OK),
            ("192.0.2.7:50000", "localhost:4000", StatusCode::NOT_FOUND),
            (HERE, "rebound.example:4000", StatusCode::NOT_FOUND),
            (HERE, "localhost.example:4000", StatusCode::NOT_FOUND),
        ] {
            let response = ask(dev(), "/inspector/config.json", peer, &[(HOST, host)]).await;
            assert_eq!(response.status(), status, "{peer} {host}");
        }
    }

    #[test]
    fn keys_are_not_written_to_logs() {
        assert!(!format!("{:?}", dev()).contains("the-"));
    }
}
