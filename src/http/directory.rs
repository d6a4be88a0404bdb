//! From the host a request names to the tenant it means.

use std::sync::Arc;

use axum::http::{HeaderMap, header::HOST};

use crate::session::Services;

/// The tenants this server knows.
#[derive(Debug)]
pub struct Directory {
    only: Arc<Services>,
    /// Other hosts are refused instead of meaning the one tenant.
    strict: bool,
}

impl Directory {
    /// A server of one tenant. Unless `strict`, every host means it.
    pub fn single(services: Arc<Services>, strict: bool) -> Self {
        Self { only: services, strict }
    }

    /// The tenant of that name.
    pub fn named(&self, name: &str) -> Option<&Arc<Services>> {
        (*self.only.tenant.name == *name).then_some(&self.only)
    }

    /// The name of the one tenant.
    pub fn name(&self) -> &str {
        &self.only.tenant.name
    }

    /// The tenant that a request's host names; `None` if there is no such tenant.
    pub fn find(&self, headers: &HeaderMap) -> Option<&Arc<Services>> {
        let matches = !self.strict
            || headers
                .get(HOST)
                .and_then(|host| host.to_str().ok())
                .is_some_and(|host| label(host).eq_ignore_ascii_case(&self.only.tenant.name));
        matches.then_some(&self.only)
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
