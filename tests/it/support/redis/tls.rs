//! Certificates for a Redis with TLS, and for its clients.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::Redis;

/// A folder with two authorities, `ca` and `stranger`, and what the first has
/// signed: `server`, for 127.0.0.1, and `client`.
pub struct Certificates(TempDir);

impl Certificates {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("rowcast-tls-").tempdir_in("/tmp").unwrap();
        let made = Self(dir);
        fs::write(made.0.path().join("san"), "subjectAltName=IP:127.0.0.1").unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        for name in ["ca", "stranger"] {
            let files = format!("-keyout {name}.key -out {name}.crt");
            made.openssl(&format!("req -x509 {key} -days 2 -subj /CN={name} {files}"));
        }
        for name in ["server", "client"] {
            made.openssl(&format!("req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
            made.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
                 -extfile san -out {name}.crt"
            ));
        }
        made
    }

    /// One of the files, such as `ca.crt` or `client.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A server that speaks TLS only, with these settings beside.
    pub async fn serve(&self, settings: &[&str]) -> Redis {
        let [ca, certificate, key] = ["ca.crt", "server.crt", "server.key"]
            .map(|name| self.file(name).to_str().unwrap().to_owned());
        let usual = [
            ["--port", "0"],
            ["--tls-port", "{port}"],
            ["--tls-ca-cert-file", &ca],
            ["--tls-cert-file", &certificate],
            ["--tls-key-file", &key],
        ];
        Redis::start(&[usual.as_flattened(), settings].concat()).await
    }

    fn openssl(&self, arguments: &str) {
        let dir: &Path = self.0.path();
        let arguments = arguments.split_whitespace();
        let done = Command::new("openssl").current_dir(dir).args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}
