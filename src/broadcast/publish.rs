//! The one function every broadcast goes through, whatever door it came in by.

use std::sync::Arc;

use crate::{
    hub::{ChannelId, Interest, Key, topics::Hub},
    protocol::{
        message::{Encoding, Payload, UserBroadcast},
        prepared::Fanout,
        size,
    },
    tenants::Tenant,
};

/// What receivers are told when the tenant sends too much.
const TOO_MANY: &str = "Too many messages per second";

/// Sends broadcasts of one tenant.
#[derive(Debug, Clone)]
pub struct Broadcasts {
    tenant: Arc<Tenant>,
    hub: Arc<Hub>,
}

/// Why a broadcast was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Above `max_payload_size_in_kb`.
    #[error("the payload exceeds the tenant's limit")]
    TooLarge,
}

impl Broadcasts {
    /// Broadcasts within `tenant`.
    pub fn new(tenant: Arc<Tenant>, hub: Arc<Hub>) -> Self {
        Self { tenant, hub }
    }

    /// Hands a client's message to everybody on the topic but `skip`.
    /// Returns the number of receivers on this node.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; nobody receives anything then.
    pub fn publish(
        &self,
        key: &Key,
        payload: Payload,
        skip: Option<ChannelId>,
    ) -> Result<u64, PublishError> {
        let limit = self.tenant.limits.max_payload_bytes();
        let too_large = match &payload {
            Payload::Json(json) => size::exceeds(json, limit),
            Payload::Raw(bytes) => bytes.len() > limit,
            Payload::User(user) => {
                let is_json = user.encoding == Encoding::Json;
                size::user_broadcast(&user.event, &user.payload, is_json) > limit
            }
        };
        if too_large {
            return Err(PublishError::TooLarge);
        }
        Ok(self.deliver(key, &fanout(payload), skip))
    }

    /// Whether a user broadcast is within the tenant's limit, for one that is
    /// stored instead of sent.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    pub fn check_user(&self, user: &UserBroadcast) -> Result<(), PublishError> {
        let is_json = user.encoding == Encoding::Json;
        let size = size::user_broadcast(&user.event, &user.payload, is_json);
        match size > self.tenant.limits.max_payload_bytes() {
            true => Err(PublishError::TooLarge),
            false => Ok(()),
        }
    }

    fn deliver(&self, key: &Key, message: &Fanout, skip: Option<ChannelId>) -> u64 {
        if self.tenant.meters.events.record(1) {
            self.hub.shut_down(key, Interest::BROADCAST, TOO_MANY);
            return 0;
        }
        let delivered = self.hub.publish(key, message, Interest::BROADCAST, skip);
        self.tenant.meters.events.record(delivered);
        delivered
    }
}

fn fanout(payload: Payload) -> Fanout {
    match payload {
        Payload::Json(payload) => Fanout::Json { event: "broadcast", payload },
        Payload::Raw(data) => Fanout::Raw { event: "broadcast", data },
        Payload::User(broadcast) => Fanout::User { broadcast, meta: String::new() },
    }
}
