//! A tenant: whose sockets, topics and database these are.

use std::sync::Arc;

use crate::{
    auth::{Claims, Keys, TokenError},
    runtime::clock,
};

use super::limits::{Limits, Meters};

/// One tenant. Shared by everything that works for it.
#[derive(Debug)]
pub struct Tenant {
    /// Its name: the first label of the host its clients use.
    pub name: Arc<str>,
    /// What its tokens are verified with.
    pub keys: Keys,
    /// What it may use.
    pub limits: Limits,
    /// What it uses.
    pub meters: Meters,
    /// Refuse public channels.
    pub private_only: bool,
    /// Presence is on for every channel, asked for or not.
    pub presence_enabled: bool,
}

impl Tenant {
    /// Verifies a token of one of the tenant's clients. Never waits.
    ///
    /// # Errors
    ///
    /// [`TokenError`], the first check that failed.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self.keys.verify(token, clock::unix_seconds())
    }

    /// Verifies a token and, if its key is unknown, waits a few seconds for the
    /// published keys to be fetched again. For whoever may wait: an upgrade, a
    /// request. A joined socket does not: it is told, and tries again.
    ///
    /// # Errors
    ///
    /// [`TokenError`], the first check that failed.
    pub async fn verify_or_refresh(&self, token: &str) -> Result<Claims, TokenError> {
        match self.verify(token) {
            Err(error) if self.keys.refreshed(&error).await => self.verify(token),
            outcome => outcome,
        }
    }
}
