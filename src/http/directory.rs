//! From the host a request names to the tenant it means.

use std::{fmt, sync::Arc};

use axum::http::{HeaderMap, header::HOST};
use futures_util::future::BoxFuture;

use crate::session::Services;

/// The tenants this server knows.
#[derive(Debug)]
pub enum Directory {
    /// There is one.
    One {
        /// It.
        services: Arc<Services>,
        /// Other hosts are refused instead of meaning the one tenant.
        strict: bool,
    },
    /// There are many, and each is served when somebody asks for it.
    Many(Arc<dyn Tenants>),
}

/// Serves many tenants. Owned here, implemented above.
pub trait Tenants: fmt::Debug + Send + Sync {
    /// The tenant of that name, which is served from now on. Waits for the
    /// start of one that was not served before.
    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<Services>, Absent>>;
}

/// Why a tenant is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    /// There is none of that name.
    #[error("no such tenant")]
    Unknown,
    /// An operator wants it so.
    #[error("the tenant is suspended")]
    Suspended,
    /// It cannot be looked up, or there are too many tenants already.
    #[error("the tenant cannot be served now")]
    Unavailable,
}

impl Directory {
    /// The tenant that a request's host names.
    ///
    /// # Errors
    ///
    /// [`Absent`].
    pub async fn find(&self, headers: &HeaderMap) -> Result<Arc<Services>, Absent> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        match self {
            Self::One { services, strict: false } => Ok(Arc::clone(services)),
            Self::One { services, strict: true } => host
                .filter(|host| label(host).eq_ignore_ascii_case(&services.tenant.name))
                .map(|_| Arc::clone(services))
                .ok_or(Absent::Unknown),
            Self::Many(tenants) => {
                let label = label(host.ok_or(Absent::Unknown)?);
                let small = label.to_ascii_lowercase();
                match tenants.find(&small).await {
                    // Clients send small letters, whatever the tenant is called.
                    Err(Absent::Unknown) if small != label => tenants.find(label).await,
                    found => found,
                }
            }
        }
    }
}

/// The first label of a host: the tenant's name.
fn label(host: &str) -> &str {
    let host = host.split_once(':').map_or(host, |(name, _port)| name);
    host.split_once('.').map_or(host, |(label, _rest)| label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_label_is_the_tenant() {
        for host in ["proj", "proj:4000", "proj.localhost", "proj.a.b.c:1"] {
            assert_eq!(label(host), "proj", "{host}");
        }
    }
}
