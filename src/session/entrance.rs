//! What follows once a join has passed every step: its reply, then the topic.
//!
//! A join may ask that its reply waits until its changes are live. Until then
//! its channel is there, to be left or replaced, but in no topic yet.

use tokio::time::{Duration, Instant};

use crate::{
    broadcast::replay,
    chat,
    protocol::{prepared::Frame, reply},
};

use super::{channel::Channel, context::Context, handlers::database, join::Request, tasks::Tasks};

/// A join that is still to be answered.
#[derive(Debug)]
pub struct Entrance {
    pub(super) request: Request,
    /// `presence_state` follows the reply.
    pub(super) shows_presence: bool,
    /// The reply's content.
    pub(super) reply: String,
    pub(super) replay: Option<replay::Request>,
    pub(super) says_ready: bool,
    /// From before the policies were asked.
    pub(super) ticket: chat::Ticket,
}

/// An entrance that waits for the channel's changes.
#[derive(Debug)]
pub struct Held {
    pub(super) entrance: Entrance,
    /// As the client asked for.
    pub(super) limit: Duration,
    /// When it ends.
    pub(super) until: Instant,
}

impl Entrance {
    /// The reply, and the farewell of the channel that this one replaces.
    pub fn frames(&self, context: &Context) -> Vec<Frame> {
        let Request { topic, join_ref, reference, closing } = &self.request;
        let reply = reply::ok(context.vsn, join_ref, reference, topic, &self.reply);
        std::iter::once(reply).chain(closing.clone()).collect()
    }

    /// Enters the topic and starts what follows the reply, which is queued
    /// already. Live messages may come right after it, but never before, and
    /// presence diffs never before the state.
    pub fn open(self, context: &Context, channel: &Channel, tasks: &mut Tasks) {
        let (vsn, outbox) = (context.vsn, &context.outbox);
        if let Some(wanted) = self.replay {
            database::replay(context, channel, wanted, tasks);
        }
        if self.says_ready {
            database::await_readiness(context, channel, tasks);
        }
        let (services, key, subscriber) = (&context.services, &channel.key, &channel.subscriber);
        services.chat.enter(key, &channel.claims, subscriber, self.ticket, || {
            if !self.shows_presence {
                return services.hub.join(key, subscriber);
            }
            services.presence.enter(key, |state| {
                outbox.answer([channel.push(vsn, "presence_state", state)]);
                services.hub.join(key, subscriber);
            });
            services.tenant.meters.presence_events.record(1);
            services.metrics.presence_events.inc();
        });
        context.services.metrics.joined();
    }
}
