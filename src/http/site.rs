//! A folder of files as a site: for pages that were built beforehand.
//!
//! What is served is a regular file within the folder, wherever its links
//! point; nothing else can be named. Files whose names hold a hash of their
//! content are kept by browsers for good, all others are asked for each time.

use std::{
    hash::BuildHasher as _,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri,
        header::{
            CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse as _, Response},
};
use foldhash::quality::FixedState;
use percent_encoding::percent_decode_str;

use super::error::ApiError;

/// Where a Next.js build puts files with a hash in their names.
const HASHED: &str = "_next/static/";

/// Such a file never changes.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// Larger files are for other servers.
const LARGEST: u64 = 64 * 1024 * 1024;

/// A folder, and the path under which it is served.
#[derive(Debug, Clone)]
pub struct Site {
    root: Arc<Path>,
    prefix: &'static str,
}

impl Site {
    /// The files of `folder` under `prefix`, which is empty or begins with a
    /// slash and ends without one.
    ///
    /// # Errors
    ///
    /// The system's, if there is no such folder.
    pub fn new(folder: &Path, prefix: &'static str) -> io::Result<Self> {
        let root = folder.canonicalize()?;
        match root.is_dir() {
            true => Ok(Self { root: root.into(), prefix }),
            false => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        }
    }

    /// Answers `GET` and `HEAD` for any address under the prefix.
    pub async fn answer(self, method: Method, uri: Uri, headers: HeaderMap) -> Response {
        if method != Method::GET && method != Method::HEAD {
            return ApiError::NotFound.into_response();
        }
        let Some(name) = uri.path().strip_prefix(self.prefix).and_then(relative) else {
            return ApiError::NotFound.into_response();
        };
        match self.find(&name).await {
            Some(Found::File(file)) => file.answer(StatusCode::OK, &name, &headers),
            Some(Found::Folder) => {
                let mut response = StatusCode::PERMANENT_REDIRECT.into_response();
                if let Ok(to) = HeaderValue::try_from(format!("{}/", uri.path())) {
                    response.headers_mut().insert(LOCATION, to);
                }
                response
            }
            None => match self.read(Path::new("404.html")).await {
                Some(page) => page.answer(StatusCode::NOT_FOUND, "404.html", &headers),
                None => ApiError::NotFound.into_response(),
            },
        }
    }

    /// A file of that name, or a folder's page, or a page without its ending.
    async fn find(&self, name: &str) -> Option<Found> {
        if name.is_empty() || name.ends_with('/') {
            return self.read(&Path::new(name).join("index.html")).await.map(Found::File);
        }
        if let Some(file) = self.read(Path::new(name)).await {
            return Some(Found::File(file));
        }
        if let Some(page) = self.read(Path::new(&format!("{name}.html"))).await {
            return Some(Found::File(page));
        }
        let index = self.read(&Path::new(name).join("index.html")).await;
        index.map(|_| Found::Folder)
    }

    async fn read(&self, name: &Path) -> Option<File> {
        let path = tokio::fs::canonicalize(self.root.join(name)).await.ok()?;
        // A link may lead out of the folder.
        if !path.starts_with(&self.root) {
            return None;
        }
        let meta = tokio::fs::metadata(&path).await.ok()?;
        if !meta.is_file() || meta.len() > LARGEST {
            return None;
        }
        let body = tokio::fs::read(&path).await.ok()?;
        Some(File { path, body })
    }
}

enum Found {
    File(File),
    Folder,
}

struct File {
    path: PathBuf,
    body: Vec<u8>,
}

impl File {
    fn answer(self, status: StatusCode, name: &str, asked: &HeaderMap) -> Response {
        let tag = format!("\"{:016x}\"", FixedState::default().hash_one(&self.body));
        let known = asked
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|known| known.trim().trim_start_matches("W/") == tag);
        let kind = media_type(&self.path);
        let mut response = match known && status == StatusCode::OK {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => (status, Body::from(self.body)).into_response(),
        };
        let caching = match name.starts_with(HASHED) && status == StatusCode::OK {
            true => FOR_GOOD,
            false => "no-cache",
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Ok(tag) = HeaderValue::try_from(tag) {
            headers.insert(ETAG, tag);
        }
        response
    }
}

/// The name below the folder that a path means; `None` for one that no file of
/// a site has. A name is made of plain segments only.
fn relative(path: &str) -> Option<String> {
    let path = percent_decode_str(path).decode_utf8().ok()?;
    let name = path.strip_prefix('/')?;
    let plain = |segment: &str| {
        !segment.starts_with('.') && !segment.contains(['\\', '\0', ':']) && !segment.is_empty()
    };
    let (folders, last) =
        name.rsplit_once('/').map_or(("", name), |(folders, last)| (folders, last));
    let is_plain = (folders.is_empty() || folders.split('/').all(plain))
        && (last.is_empty() || plain(last))
        && !name.starts_with('/');
    is_plain.then(|| name.to_owned())
}

fn media_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn site(folder: &Path) -> Site {
        let file = |name: &str, text: &str| {
            let path = folder.join("out").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        file("index.html", "home");
        file("room.html", "room");
        file("deep/index.html", "deep");
        file("404.html", "nothing");
        file("_next/static/a1b2.js", "script");
        file(".env", "hidden");
        fs::write(folder.join("secret.txt"), "secret").unwrap();
        symlink(folder.join("secret.txt"), folder.join("out/link.txt")).unwrap();
        Site::new(&folder.join("out"), "/chat").unwrap()
    }

    async fn ask(site: &Site, path: &str, headers: &[(axum::http::HeaderName, &str)]) -> Response {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(name, value.parse().unwrap());
        }
        site.clone().answer(Method::GET, path.parse().unwrap(), map).await
    }

    async fn text(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn pages_are_found_by_the_names_that_links_use() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        for (path, body) in [
            ("/chat/", "home"),
            ("/chat/room", "room"),
            ("/chat/deep/", "deep"),
            ("/chat/deep/index.html", "deep"),
        ] {
            let answer = ask(&site, path, &[]).await;
            assert_eq!(answer.status(), 200, "{path}");
            assert_eq!(text(answer).await, body, "{path}");
        }
        let answer = ask(&site, "/chat/deep", &[]).await;
        assert_eq!(answer.headers()[LOCATION], "/chat/deep/");
        let answer = ask(&site, "/chat/nowhere", &[]).await;
        assert_eq!((answer.status().as_u16(), text(answer).await.as_str()), (404, "nothing"));
    }

    #[tokio::test]
    async fn nothing_outside_the_folder_can_be_named() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        for path in [
            "/chat/../secret.txt",
            "/chat/%2e%2e/secret.txt",
            "/chat/..%2fsecret.txt",
            "/chat/deep/..%5c..%5csecret.txt",
            "/chat//etc/passwd",
            "/chat/%2fetc/passwd",
            "/chat/link.txt",
            "/chat/.env",
            "/chat/room.html%00",
            "/chat/%ff",
            "/other",
        ] {
            let answer = ask(&site, path, &[]).await;
            assert_eq!(answer.status(), 404, "{path}");
            assert!(!text(answer).await.contains("secret"), "{path}");
        }
    }

    #[tokio::test]
    async fn hashed_files_are_kept_and_pages_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path());
        let script = ask(&site, "/chat/_next/static/a1b2.js", &[]).await;
        assert_eq!(script.headers()[CACHE_CONTROL], FOR_GOOD);
        assert_eq!(script.headers()[CONTENT_TYPE], "text/javascript; charset=utf-8");
        let page = ask(&site, "/chat/", &[]).await;
        assert_eq!(page.headers()[CACHE_CONTROL], "no-cache");
        let tag = page.headers()[ETAG].to_str().unwrap().to_owned();
        let again = ask(&site, "/chat/", &[(IF_NONE_MATCH, &tag)]).await;
        assert_eq!((again.status().as_u16(), text(again).await.as_str()), (304, ""));
        fs::write(folder.path().join("out/index.html"), "new").unwrap();
        assert_eq!(ask(&site, "/chat/", &[(IF_NONE_MATCH, &tag)]).await.status(), 200);
    }
}
