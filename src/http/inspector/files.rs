//! The files of the page, in the binary, and how they are answered.
//!
//! They lie in `page/` as the browser gets them: nothing is built or bundled.

use std::hash::BuildHasher as _;

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
            REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
        },
    },
    response::{IntoResponse as _, Response},
};
use foldhash::quality::FixedState;

/// A file in the binary.
pub(super) struct File {
    /// Its path below `page/`, and below `/inspector/assets/`.
    path: &'static str,
    body: &'static [u8],
}

macro_rules! file {
    ($path:literal) => {
        File { path: $path, body: include_bytes!(concat!("page/", $path)) }
    };
}

macro_rules! files {
    ($($path:literal)*) => { &[$(file!($path)),*] };
}

/// The page itself.
pub(super) const INDEX: File = file!("index.html");

const ASSETS: &[File] = files! {
    "icon.svg"
    "base.css" "layout.css" "panels.css"
    "theme.js" "inspector.js"
    "state.js" "dom.js" "json.js" "format.js"
    "wire.js" "words.js" "connection.js" "token.js"
    "channels.js" "join.js" "conditions.js" "filter.js" "snippet.js"
    "rows.js" "frames.js" "frame.js" "activity.js"
    "broadcast.js" "presence.js" "keys.js"
    "vendor/supabase.js" "vendor/LICENSE"
};

/// Scripts and styles from here only; sockets to anywhere, since the page may
/// inspect another server; nothing inline, nothing that parses strings as HTML.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'";

/// Browsers ask each time whether a file changed: after an upgrade of the
/// server, page and script must not be of different versions.
const REVALIDATE: &str = "no-cache";

/// The file at a path below `/inspector/assets/`.
pub(super) fn asset(path: &str) -> Option<&'static File> {
    ASSETS.iter().find(|file| file.path == path)
}

impl File {
    /// The file, or that the browser has it already.
    pub(super) fn answer(&self, headers: &HeaderMap) -> Response {
        let tag = self.tag();
        let known = headers
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|known| known.trim().trim_start_matches("W/") == tag);
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            Response::new(Body::from(Bytes::from_static(self.body)))
        };
        let fixed: [(HeaderName, &'static str); 6] = [
            (CONTENT_TYPE, self.kind()),
            (CACHE_CONTROL, REVALIDATE),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            // The address may carry a key.
            (REFERRER_POLICY, "no-referrer"),
            (X_FRAME_OPTIONS, "DENY"),
        ];
        let headers = response.headers_mut();
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Ok(tag) = HeaderValue::try_from(tag) {
            headers.insert(ETAG, tag);
        }
        response
    }

    fn kind(&self) -> &'static str {
        match self.path.rsplit_once('.') {
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "text/plain; charset=utf-8",
        }
    }

    /// Changes whenever the file does.
    fn tag(&self) -> String {
        format!("\"{:016x}\"", FixedState::default().hash_one(self.body))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_in_the_binary() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/inspector/page");
        let names = |folder: &str| -> Vec<String> {
            fs::read_dir(page.join(folder))
                .unwrap()
                .map(|entry| entry.unwrap())
                .filter(|entry| entry.file_type().unwrap().is_file())
                .map(|entry| format!("{folder}{}", entry.file_name().to_str().unwrap()))
                .collect()
        };
        let there: BTreeSet<String> = [names(""), names("vendor/")].concat().into_iter().collect();
        let served = ASSETS.iter().map(|file| file.path).chain(["index.html", "vendor/README.md"]);
        assert_eq!(there, served.map(str::to_owned).collect());
    }

    #[test]
    fn every_module_that_a_script_imports_is_served() {
        for file in ASSETS.iter().filter(|file| !file.path.starts_with("vendor/")) {
            let text = str::from_utf8(file.body).unwrap();
            for line in text.lines().filter(|line| line.starts_with("import ")) {
                let name = line.rsplit('"').nth(1).unwrap().trim_start_matches("./");
                assert!(asset(name).is_some(), "{} imports {name}", file.path);
            }
        }
    }
}
