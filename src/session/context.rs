//! What every handler of a socket knows about it.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    auth::Claims, authorization::Caller, hub::outbox::Outbox, protocol::Vsn, runtime::clock,
    secret::Secret, topic::Topic,
};

use super::Services;

/// A token is verified again at least this often.
const TOKEN_CHECK: Duration = Duration::from_secs(300);

/// Who opened a socket.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The token of the upgrade, verified there and again at each join.
    pub token: Secret,
    /// The upgrade's `x-*` headers as a JSON object, for policies.
    pub headers: Secret,
}

/// What every handler needs to know about its socket.
#[derive(Debug)]
pub struct Context {
    /// What it works with.
    pub services: Arc<Services>,
    /// Its serializer.
    pub vsn: Vsn,
    /// Where its frames go.
    pub outbox: Arc<Outbox>,
    /// The token of the upgrade.
    pub token: Secret,
    /// Its headers.
    pub headers: Secret,
}

impl Context {
    /// Whom the policies of a topic are asked about: the bearer of these claims.
    pub fn caller(&self, topic: &Topic, claims: &Claims) -> Caller {
        Caller {
            topic: topic.sub_topic().into(),
            claims: claims.clone(),
            headers: self.headers.clone(),
        }
    }
}

/// When a token with these claims is to be looked at again.
pub fn token_due(claims: &Claims) -> Instant {
    let now = clock::unix_time();
    let expires = Duration::from_secs(u64::try_from(claims.expires_at()).unwrap_or(0));
    Instant::now() + expires.saturating_sub(now).min(TOKEN_CHECK)
}
