//! A tenant: whose sockets, topics and database these are.

use std::sync::Arc;

use crate::{
    auth::{Claims, TokenError, jwt::Keys},
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
    /// Verifies a token of one of the tenant's clients.
    ///
    /// # Errors
    ///
    /// [`TokenError`], the first check that failed.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self.keys.verify(token, clock::unix_seconds())
    }
}
