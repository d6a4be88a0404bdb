//! The one function every broadcast goes through, whatever door it came in by.

use std::sync::Arc;

use crate::{
    hub::{ChannelId, Interest, Key, remote::Spread, topics::Hub},
    protocol::prepared::Fanout,
    tenants::Tenant,
};

use super::{message::Message, reserved};

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
    /// Such an event on this topic comes from the server alone.
    #[error("the event is reserved for the server")]
    Reserved,
}

impl Broadcasts {
    /// Broadcasts within `tenant`.
    pub fn new(tenant: Arc<Tenant>, hub: Arc<Hub>) -> Self {
        Self { tenant, hub }
    }

    /// Whether a message may be sent to a topic as far as the server is asked,
    /// for doors that must know before they send anything.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    pub fn check(&self, key: &Key, message: &Message) -> Result<(), PublishError> {
        if message.exceeds(self.tenant.max_payload_bytes()) {
            return Err(PublishError::TooLarge);
        }
        match reserved::claims(&self.tenant, key, message) {
            true => Err(PublishError::Reserved),
            false => Ok(()),
        }
    }

    /// Whether an event on a topic comes from the server alone.
    pub fn reserves(&self, key: &Key, event: &str) -> bool {
        reserved::is_reserved(&self.tenant, key, event)
    }

    /// Hands a message to everybody on the topic, on all nodes, but `skip`.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; nobody receives anything then.
    pub fn publish(
        &self,
        key: &Key,
        message: impl Into<Message>,
        skip: Option<ChannelId>,
    ) -> Result<Spread, PublishError> {
        let message = message.into();
        self.check(key, &message)?;
        Ok(self.deliver(key, &message.into_fanout(), skip))
    }

    /// Counts a message of a client, also one that goes by way of the database.
    /// False if there are too many: whoever listens to the topic is told so and
    /// leaves it, and the message is dropped.
    pub fn count(&self, key: &Key) -> bool {
        let too_many = self.tenant.meters.events.record(1);
        if too_many {
            self.hub.shut_down(key, Interest::BROADCAST, TOO_MANY);
        }
        !too_many
    }

    fn deliver(&self, key: &Key, message: &Fanout, skip: Option<ChannelId>) -> Spread {
        if !self.count(key) {
            return Spread { delivered: 0, handed_on: true };
        }
        let spread = self.hub.broadcast(key, message, skip);
        self.tenant.meters.events.record(spread.delivered);
        spread
    }
}
