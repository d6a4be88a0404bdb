//! TLS for the listener: a certificate that can be renewed while the server runs.
//!
//! The files are read every few seconds, and at once on SIGHUP. What cannot be
//! used is logged and changes nothing: the certificate in force stays, also for
//! connections that are open.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    net::TcpStream,
    signal::unix::{SignalKind, signal},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{error_code::ErrorCode, runtime::Drain, telemetry::reason};

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(5);

/// Where the certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate, followed by those between it and its authority, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

/// Why there is no certificate to use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("{} cannot be read", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file that holds nothing of the kind.
    #[error("{} holds no {}", .0.display(), .1)]
    Empty(PathBuf, &'static str),
    /// A certificate and a key that do not go together, or are of no use.
    #[error("certificate and key cannot be used")]
    Unusable(#[source] rustls::Error),
}

/// What accepts connections with TLS. Clones share the certificate in force.
#[derive(Debug, Clone)]
pub struct Tls {
    files: Arc<Files>,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

/// The contents of the files.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`TlsError`].
    pub async fn read(files: Files) -> Result<Self, TlsError> {
        let config = config(&files, &contents(&files).await?)?;
        Ok(Self { files: Arc::new(files), current: Arc::new(RwLock::new(config)) })
    }

    /// Greets a client.
    ///
    /// # Errors
    ///
    /// What the client did wrong.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(config).accept(stream).await
    }

    /// Takes renewed files over until the drain begins.
    pub async fn watch(self, drain: Drain) {
        let mut hangups = signal(SignalKind::hangup()).ok();
        let mut seen = contents(&self.files).await.ok();
        loop {
            let asked = async {
                match &mut hangups {
                    Some(hangups) => hangups.recv().await,
                    None => std::future::pending().await,
                }
            };
            let is_asked = tokio::select! {
                () = tokio::time::sleep(LOOK) => false,
                _ = asked => true,
                () = drain.started() => return,
            };
            let found = contents(&self.files).await;
            if !is_asked && found.as_ref().ok() == seen.as_ref() {
                continue;
            }
            let outcome = found.and_then(|found| {
                let config = config(&self.files, &found);
                seen = Some(found);
                config
            });
            match outcome {
                Ok(config) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
                    tracing::info!("the certificate was read again");
                }
                Err(error) => {
                    let error = reason(&error);
                    tracing::error!(
                        code = %ErrorCode::HttpServerError, error,
                        "the certificate cannot be used: the old one stays"
                    );
                }
            }
        }
    }
}

async fn contents(files: &Files) -> Result<Contents, TlsError> {
    let read = async |path: &Path| {
        tokio::fs::read(path).await.map_err(|error| TlsError::Read(path.to_owned(), error))
    };
    Ok(Contents { certificate: read(&files.certificate).await?, key: read(&files.key).await? })
}

fn config(files: &Files, contents: &Contents) -> Result<Arc<ServerConfig>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&contents.certificate).collect();
    let chain = chain
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or_else(|| TlsError::Empty(files.certificate.clone(), "certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(&contents.key)
        .map_err(|_| TlsError::Empty(files.key.clone(), "key"))?;
    // rustls would pick a process-wide provider; naming ours keeps it the same everywhere.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(certificate: &str, key: &str) -> Files {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/auth/fixtures"));
        Files { certificate: folder.join(certificate), key: folder.join(key) }
    }

    #[tokio::test]
    async fn files_that_do_not_go_together_are_refused() {
        assert!(Tls::read(files("localhost.pem", "localhost.key.pem")).await.is_ok());
        let refused =
            async |certificate, key| reason(&Tls::read(files(certificate, key)).await.unwrap_err());
        let wrong = refused("localhost.pem", "p384.pem").await;
        assert!(wrong.starts_with("certificate and key cannot be used"), "{wrong}");
        assert!(refused("jwks.json", "p256.pem").await.ends_with("holds no certificate"));
        assert!(refused("localhost.pem", "jwks.json").await.ends_with("holds no key"));
        assert!(refused("localhost.pem", "absent").await.contains("cannot be read"));
    }
}
