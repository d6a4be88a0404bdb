//! How to reach a database: what libpq calls connection parameters.

use std::{fmt, path::PathBuf};

/// Connection parameters of one database. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectConfig {
    /// Host name, address, or the folder of a Unix socket (starts with `/`).
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User.
    pub user: String,
    /// Password, if the server asks for one.
    pub password: Option<String>,
    /// Database.
    pub database: String,
    /// How much TLS is wanted.
    pub ssl_mode: SslMode,
    /// PEM file of the authorities that `verify-ca` and `verify-full` trust;
    /// without it the system's.
    pub ssl_root_cert: Option<PathBuf>,
}

/// `sslmode` as libpq means it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Never.
    Disable,
    /// Plain first; TLS only if the server insists.
    Allow,
    /// TLS if the server offers it.
    #[default]
    Prefer,
    /// TLS, any certificate (checked like `verify-ca` when a root file is given).
    Require,
    /// TLS, certificate of a trusted authority.
    VerifyCa,
    /// TLS, trusted certificate for this host name.
    VerifyFull,
}

impl fmt::Debug for ConnectConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("database", &self.database)
            .field("ssl_mode", &self.ssl_mode)
            .field("ssl_root_cert", &self.ssl_root_cert)
            .finish()
    }
}
