//! TLS to Redis: whose certificates are trusted, and our own.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, RedisResult, TlsCertificates,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::Unusable;

/// Files of TLS, in PEM. They are read again for each connection, so that
/// certificates can be renewed while the server runs.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// The authorities that may sign a server's certificate, in place of the
    /// system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate and its key, for servers that ask for one.
    pub own: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// What connects to a server: with TLS if its address says so.
    pub(super) fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        if !is_tls || (self.ca.is_none() && self.own.is_none()) {
            return Client::open(info);
        }
        Client::build_with_tls(info, self.read()?)
    }

    /// Whether the files can be used with these servers.
    pub(super) fn check(&self, hosts: &[ConnectionInfo]) -> Result<(), Unusable> {
        for host in hosts {
            self.client(host.clone()).map_err(Unusable::Certificates)?;
        }
        Ok(())
    }

    fn read(&self) -> io::Result<TlsCertificates> {
        let client_tls = match &self.own {
            Some((certificate, key)) => {
                let client_cert = certificates(certificate)?;
                Some(ClientTlsConfig { client_cert, client_key: read(key)? })
            }
            None => None,
        };
        Ok(TlsCertificates {
            client_tls,
            root_cert: self.ca.as_ref().map(certificates).transpose()?,
        })
    }
}

/// A file that holds one at least: the client takes it for nobody otherwise.
fn certificates(path: &PathBuf) -> io::Result<Vec<u8>> {
    let text = read(path)?;
    if !CertificateDer::pem_slice_iter(&text).any(|found| found.is_ok()) {
        return Err(fault(path, "no certificate in it"));
    }
    Ok(text)
}

fn read(path: &PathBuf) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| fault(path, error))
}

fn fault(path: &Path, what: impl fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {what}", path.display()))
}
