//! TLS to Redis: whose certificates are trusted, and our own.

use std::{fs, io, path::PathBuf};

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, RedisResult, TlsCertificates,
};

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
                Some(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
            }
            None => None,
        };
        Ok(TlsCertificates { client_tls, root_cert: self.ca.as_ref().map(read).transpose()? })
    }
}

fn read(path: &PathBuf) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}
