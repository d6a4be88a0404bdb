//! One joined topic of one socket.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    auth::Claims,
    authorization::Rights,
    chat::Ticket,
    hub::{ChannelId, Interest, Key, Subscriber},
    protocol::{
        Vsn,
        message::Ref,
        prepared::Frame,
        reply,
        system::{self, Extension, Status},
    },
    secret::Secret,
    tenants::Limits,
};

use super::{handlers::postgres_changes::Changes, tasks::Task};

/// What the socket's task knows about a joined topic.
#[derive(Debug)]
pub struct Channel {
    /// Unique for this instance: a rejoin of the topic gets another.
    pub id: ChannelId,
    /// The topic in the hub.
    pub key: Key,
    /// `join_ref` as the join sent it; null in some clients.
    pub join_ref: Ref,
    /// What replies carry: the join's `join_ref`, or its `ref` in its place.
    pub reply_ref: Ref,
    /// Its entry in the hub.
    pub subscriber: Arc<Subscriber>,
    /// What its client may do.
    pub permissions: Permissions,
    /// Reply to each broadcast.
    pub ack: bool,
    /// Deliver own broadcasts back.
    pub own: bool,
    /// Presence of this channel.
    pub presence: Presence,
    /// The token in force, to recognize a refresh with the same.
    pub token: Secret,
    /// Its claims.
    pub claims: Claims,
    /// When the token is looked at again.
    pub token_due: Instant,
    /// Its database subscriptions.
    pub changes: Changes,
}

/// What a channel's client may do on its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// What it may receive.
    pub read: Rights,
    /// What it may send; `None` until it sends for the first time.
    pub write: Option<Rights>,
}

/// A channel's presence settings and its call budget.
#[derive(Debug)]
pub struct Presence {
    /// `presence_state` was wanted, or something was tracked since.
    pub enabled: bool,
    /// The key chosen at the join.
    pub key: Box<str>,
    window_ends: Option<Instant>,
    calls: u32,
}

/// What becomes of a channel after a message.
#[derive(Debug)]
pub enum Step {
    /// It goes on.
    Stay,
    /// It is shut down, in order, and its client told why.
    Shutdown(String),
    /// A message is to be stored by this task; the next ones on the topic wait,
    /// so that a sender's order is kept.
    Storing(Task),
    /// It must be known first whether the client may send here.
    AskWrite,
    /// It must be known first what the bearer of this new token may receive.
    AskRead {
        /// The token.
        token: Secret,
        /// Its claims.
        claims: Claims,
        /// From before the policies are asked.
        ticket: Ticket,
    },
}

impl Permissions {
    /// Everything: a public topic has no policies.
    pub fn public() -> Self {
        let all = Rights { broadcast: true, presence: true };
        Self { read: all, write: Some(all) }
    }

    /// A private topic, before anything was sent.
    pub fn private(read: Rights) -> Self {
        Self { read, write: None }
    }

    /// What the topic's messages are for a channel with these permissions.
    pub fn interest(&self, presence_enabled: bool) -> Interest {
        match (self.read.broadcast, self.read.presence && presence_enabled) {
            (true, true) => Interest::ALL,
            (true, false) => Interest::BROADCAST,
            (false, true) => Interest::PRESENCE,
            (false, false) => Interest::NONE,
        }
    }
}

impl Channel {
    /// `phx_reply` with status ok and no content.
    pub fn ok(&self, vsn: Vsn, reference: &Ref) -> Frame {
        reply::ok(vsn, &self.reply_ref, reference, self.key.topic.as_str(), "{}")
    }

    /// `phx_reply` with status error; `response` is JSON text.
    pub fn error(&self, vsn: Vsn, reference: &Ref, response: &str) -> Frame {
        reply::error(vsn, &self.reply_ref, reference, self.key.topic.as_str(), response)
    }

    /// Receives what the permissions and the presence setting allow from now on.
    pub fn update_interest(&self) {
        // Diffs of a public topic come whether presence was asked for or not.
        let presence = self.presence.enabled || !self.key.private;
        self.subscriber.set_interest(self.permissions.interest(presence));
    }

    /// A message of the channel's own.
    pub fn push(&self, vsn: Vsn, event: &str, payload: &[u8]) -> Frame {
        reply::push(vsn, &self.reply_ref, self.key.topic.as_str(), event, payload)
    }

    /// A `system` message.
    pub fn system(&self, vsn: Vsn, who: Extension, status: Status, message: &str) -> Frame {
        let payload = system::payload(who, status, message, self.key.topic.sub_topic());
        self.push(vsn, "system", &payload)
    }

    /// `phx_close` of this instance.
    pub fn closed(&self, vsn: Vsn) -> Frame {
        reply::close(vsn, &self.join_ref, self.key.topic.as_str())
    }

    /// `phx_error` of this instance: unlike after a close, its client comes back.
    pub fn crashed(&self, vsn: Vsn) -> Frame {
        reply::crash(vsn, &self.join_ref, self.key.topic.as_str())
    }
}

impl Presence {
    /// Presence as asked for at the join.
    pub fn new(enabled: bool, key: &str) -> Self {
        Self { enabled, key: key.into(), window_ends: None, calls: 0 }
    }

    /// Counts a call; false if the channel has made too many.
    pub fn may_call(&mut self, limits: &Limits, now: Instant) -> bool {
        if self.window_ends.is_none_or(|end| end <= now) {
            self.window_ends = Some(now + limits.client_presence_window);
            self.calls = 0;
        }
        self.calls += 1;
        self.calls <= limits.client_presence_max_calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn presence_calls_are_counted_in_a_window_that_the_first_one_opens() {
        let limits = Limits::default();
        let mut presence = Presence::new(true, "k");
        for _ in 0..5 {
            assert!(presence.may_call(&limits, Instant::now()));
        }
        assert!(!presence.may_call(&limits, Instant::now()));
        tokio::time::advance(limits.client_presence_window).await;
        assert!(presence.may_call(&limits, Instant::now()));
    }
}
