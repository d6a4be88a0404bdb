//! `phx_join`: the ordered steps from a request to a channel.
//!
//! The first step that fails is the refusal; clients know the order, so a new
//! rule is a new step in its place. No step waits: what takes time happens
//! after the reply and comes back as an event.

use std::sync::Arc;

use crate::{
    auth::Claims,
    error_code::ErrorCode,
    hub::{Interest, Key, Subscriber},
    protocol::{
        join::{Join, JoinError},
        message::{Payload, Ref},
        reply,
        system::{Extension, Status},
    },
    tenants::limits::Seat,
    topic::Topic,
};

use super::{
    channel::{Channel, Presence},
    handlers::postgres_changes::{self, Changes},
    refusal::Refusal,
    socket::{Context, Tasks, token_due},
    token,
};

/// A join as the socket hands it over.
#[derive(Debug)]
pub struct Request<'a> {
    /// The topic as sent; starts with `realtime:`.
    pub topic: &'a str,
    /// The message's `join_ref`.
    pub join_ref: Ref,
    /// The message's `ref`.
    pub reference: Ref,
    /// The message's payload.
    pub payload: &'a Payload,
    /// Channels the socket has joined, this one not counted.
    pub joined: usize,
    /// The socket counts as a user already.
    pub seated: bool,
}

/// A join that passed every step.
#[derive(Debug)]
pub struct Admitted {
    channel: Channel,
    presence_wanted: bool,
    reply: String,
    /// The socket's seat among the tenant's users, if this join took it.
    pub seat: Option<Seat>,
}

/// Takes a request through the steps.
///
/// # Errors
///
/// The [`Refusal`] of the first step that failed.
pub fn evaluate(context: &Context, request: &Request<'_>) -> Result<Admitted, Refusal> {
    let topic = topic_name(request.topic)?;
    running(context)?;
    let join = payload(request.payload)?;
    public_allowed(context, &join)?;
    let seat = seat(context, request.seated)?;
    join_rate(context)?;
    channel_count(context, request.joined)?;
    let (token, claims) = token(context, &join)?;
    read_permission(&join, &topic)?;

    let (changes, entries) = Changes::of(&join, &topic);
    let presence_wanted = join.presence.enabled || context.services.tenant.terms().presence_enabled;
    let key = join.presence.key.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let tenant = Arc::clone(&context.services.tenant.name);
    let outbox = Arc::clone(&context.outbox);
    let subscriber = Subscriber::new(context.vsn, outbox, Interest::ALL);
    let channel = Channel {
        id: subscriber.id,
        key: Key { tenant, private: join.private, topic },
        reply_ref: request.join_ref.or(&request.reference).clone(),
        join_ref: request.join_ref.clone(),
        subscriber,
        ack: join.broadcast.ack,
        own: join.broadcast.own,
        presence: Presence::new(presence_wanted, &key),
        token,
        token_due: token_due(&claims),
        claims,
        changes,
    };
    let reply = format!(r#"{{"postgres_changes":{entries}}}"#);
    Ok(Admitted { channel, presence_wanted, reply, seat })
}

impl Admitted {
    /// Answers the join, enters the topic and starts what follows. Live
    /// messages may come right after the reply, but never before it, and
    /// presence diffs never before the state. `closing` is the `phx_close` of
    /// the channel that this one replaces.
    pub fn enter(
        mut self,
        context: &Context,
        request: &Request<'_>,
        closing: Option<crate::protocol::prepared::Frame>,
        tasks: &mut Tasks,
    ) -> Channel {
        let (vsn, outbox) = (context.vsn, &context.outbox);
        let (join_ref, reference) = (&request.join_ref, &request.reference);
        outbox.push(reply::ok(vsn, join_ref, reference, request.topic, &self.reply));
        if let Some(frame) = closing {
            outbox.push(frame);
        }
        let (hub, channel) = (&context.services.hub, &self.channel);
        if self.presence_wanted {
            context.services.presence.enter(&channel.key, |state| {
                outbox.push(channel.push(vsn, "presence_state", state));
                hub.join(&channel.key, &channel.subscriber);
            });
            context.services.tenant.meters.presence_events.record(1);
            context.services.metrics.presence_events.inc();
        } else {
            hub.join(&channel.key, &channel.subscriber);
        }
        postgres_changes::subscribe(context, &mut self.channel, tasks);
        context.services.metrics.joins.inc();
        self.channel
    }
}

fn topic_name(text: &str) -> Result<Topic, Refusal> {
    let refusal = || Refusal::new(ErrorCode::TopicNameRequired, "You must provide a topic name");
    Topic::parse(text).map_err(|_| refusal())
}

fn running(context: &Context) -> Result<(), Refusal> {
    if context.services.drain.is_draining() {
        let message = "Realtime is restarting, please standby";
        return Err(Refusal::new(ErrorCode::RealtimeRestarting, message));
    }
    if context.services.tenant.terms().suspended {
        let message = "Realtime disabled for this tenant";
        return Err(Refusal::new(ErrorCode::RealtimeDisabledForTenant, message));
    }
    Ok(())
}

fn payload(payload: &Payload) -> Result<Join, Refusal> {
    let join = match payload {
        Payload::Json(json) => Join::parse(json),
        Payload::Raw(_) | Payload::User(_) => Err(JoinError::Payload),
    };
    let refusal =
        |error: JoinError| Refusal::new(ErrorCode::UnknownErrorOnChannel, error.to_string());
    let join = join.map_err(refusal)?;
    if !join.ignored.is_empty() {
        tracing::info!(code = %ErrorCode::InvalidJoinPayload, fields = ?join.ignored, "fields ignored");
    }
    Ok(join)
}

fn public_allowed(context: &Context, join: &Join) -> Result<(), Refusal> {
    if context.services.tenant.terms().private_only && !join.private {
        let message = "This project only allows private channels";
        return Err(Refusal::new(ErrorCode::PrivateOnly, message));
    }
    Ok(())
}

fn seat(context: &Context, seated: bool) -> Result<Option<Seat>, Refusal> {
    if seated {
        return Ok(None);
    }
    let tenant = &context.services.tenant;
    if tenant.meters.users() >= tenant.terms().limits.max_concurrent_users {
        let message = "Too many connected users";
        return Err(Refusal::new(ErrorCode::ConnectionRateLimitReached, message));
    }
    Ok(Some(tenant.meters.take_seat()))
}

fn join_rate(context: &Context) -> Result<(), Refusal> {
    if context.services.tenant.meters.joins.record(1) {
        let message = "Too many joins per second";
        return Err(Refusal::new(ErrorCode::ClientJoinRateLimitReached, message).closing(1001));
    }
    Ok(())
}

fn channel_count(context: &Context, joined: usize) -> Result<(), Refusal> {
    if joined >= context.services.tenant.terms().limits.max_channels_per_client {
        return Err(Refusal::new(ErrorCode::ChannelRateLimitReached, "Too many channels"));
    }
    Ok(())
}

fn token(context: &Context, join: &Join) -> Result<(Arc<str>, Claims), Refusal> {
    let now = crate::runtime::clock::unix_seconds();
    let checked = match &join.token {
        Some(token) if **token != *context.token => {
            context.services.tenant.verify(token).map(|claims| (Arc::from(token.as_str()), claims))
        }
        // The connection's own token was verified at the upgrade; only time has passed.
        _ => {
            let claims = context.claims.clone();
            claims.check_expiry(now).map(|()| (Arc::clone(&context.token), claims))
        }
    };
    checked.map_err(|error| token::join_refusal(&error))
}

/// Private channels need policies, which this version does not evaluate: nobody may read.
fn read_permission(join: &Join, topic: &Topic) -> Result<(), Refusal> {
    if join.private {
        let name = topic.sub_topic();
        let message =
            format!("You do not have permissions to read from this Channel topic: {name}");
        return Err(Refusal::new(ErrorCode::Unauthorized, message));
    }
    if join.broadcast.replay.is_some() {
        let message = "Replay is not allowed for public channels";
        return Err(Refusal::new(ErrorCode::UnableToReplayMessages, message));
    }
    Ok(())
}

/// The `system` message that ends a channel; `phx_close` follows it.
pub fn farewell(context: &Context, channel: &Channel, message: &str) {
    let frame = channel.system(context.vsn, Extension::System, Status::Error, message);
    context.outbox.push(frame);
}
