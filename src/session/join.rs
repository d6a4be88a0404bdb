//! `phx_join`: the ordered steps from a request to a channel.
//!
//! The first step that fails is the refusal; clients know the order, so a new
//! rule is a new step in its place. No step waits: [`evaluate`] does what needs
//! no database; a private topic's policies are asked by a task of the socket,
//! and [`Candidate::admit`] goes on when their answer is there.

use std::{sync::Arc, time::Duration};

use crate::{
    auth::Claims,
    authorization::{AuthorizeError, Caller, Rights},
    broadcast::replay,
    chat,
    error_code::ErrorCode,
    hub::{Interest, Key, Subscriber},
    protocol::{
        join::{Join, JoinError},
        message::{Payload, Ref},
        prepared::Frame,
        system::{Extension, Status},
    },
    secret::Secret,
    tenants::limits::Seat,
    topic::{Topic, TopicError},
};

use super::{
    channel::{Channel, Permissions, Presence},
    context::{Context, token_due},
    entrance::Entrance,
    handlers::postgres_changes::{self, Changes},
    permission,
    refusal::Refusal,
    tasks::Tasks,
    token,
};

/// A join as the socket hands it over.
#[derive(Debug)]
pub struct Request {
    /// The topic as sent; starts with `realtime:`.
    pub topic: String,
    /// The message's `join_ref`.
    pub join_ref: Ref,
    /// The message's `ref`.
    pub reference: Ref,
    /// `phx_close` of the channel that this join replaces.
    pub closing: Option<Frame>,
}

/// A join that failed at a step.
#[derive(Debug)]
pub struct Refused {
    /// The join.
    pub request: Request,
    /// Why.
    pub refusal: Refusal,
}

/// A join that passed every step that needs no database.
#[derive(Debug)]
pub struct Candidate {
    request: Request,
    topic: Topic,
    join: Join,
    token: Secret,
    claims: Claims,
    replay: Option<replay::Request>,
    ticket: chat::Ticket,
}

/// A join that passed every step.
#[derive(Debug)]
pub struct Admitted {
    channel: Channel,
    entrance: Entrance,
    /// The reply waits so long at most for the channel's changes.
    wait: Option<Duration>,
}

/// Takes a request through the steps that need no database. `joined` counts
/// the socket's other channels and those that wait to be let in; `seat` is the
/// socket's among the tenant's users, taken here unless it has one.
///
/// # Errors
///
/// The first step that failed.
pub fn evaluate(
    context: &Context,
    request: Request,
    payload: &Payload,
    joined: usize,
    seat: &mut Option<Seat>,
) -> Result<Candidate, Box<Refused>> {
    // Refused joins cost as much: they count, and too many end the socket as well.
    let too_many = context.services.tenant.meters.joins.record(1);
    context.services.tenant.want_stream(true);
    let mut steps = || -> Result<_, Refusal> {
        let topic = topic_name(&request.topic)?;
        running(context)?;
        let join = read_payload(payload)?;
        public_allowed(context, &join)?;
        take_seat(context, seat)?;
        join_rate(too_many)?;
        channel_count(context, joined)?;
        let (token, claims) = token(context, &join)?;
        let replay = replay(&join)?;
        readiness(context, &join)?;
        Ok((topic, join, token, claims, replay))
    };
    match steps() {
        Ok((topic, join, token, claims, replay)) => {
            let ticket = context.services.chat.ticket();
            Ok(Candidate { request, topic, join, token, claims, replay, ticket })
        }
        Err(refusal) => {
            let refusal = if too_many { refusal.closing(1001) } else { refusal };
            Err(Box::new(Refused { request, refusal }))
        }
    }
}

impl Candidate {
    /// What the policies must be asked; `None` for a public topic.
    pub fn caller(&self, context: &Context) -> Option<Caller> {
        self.join.private.then(|| context.caller(&self.topic, &self.claims))
    }

    /// The topic in the hub.
    pub fn key(&self, context: &Context) -> Key {
        let tenant = Arc::clone(&context.services.tenant.name);
        Key { tenant, private: self.join.private, topic: self.topic.clone() }
    }

    /// Whether the topic's presence is to be shown.
    pub fn wants_presence(&self, context: &Context) -> bool {
        self.join.presence.enabled || context.services.tenant.terms().presence_enabled
    }

    /// The last steps, with the answer of the policies.
    ///
    /// # Errors
    ///
    /// The first step that failed.
    pub fn admit(
        self,
        context: &Context,
        read: Result<Rights, AuthorizeError>,
    ) -> Result<Admitted, Box<Refused>> {
        let wants_presence = self.wants_presence(context);
        let checked =
            read.map_err(|error| permission::refusal(&error, &self.topic)).and_then(|read| {
                let replay = self.replay.is_some();
                may_read(read, wants_presence, replay, &self.topic).map(|()| read)
            });
        let read = match checked {
            Ok(read) => read,
            Err(refusal) => return Err(Box::new(Refused { request: self.request, refusal })),
        };
        let topic_key = self.key(context);
        let Self { request, topic, join, token, claims, replay, ticket } = self;
        let (changes, entries) = Changes::of(&join, &topic, &context.services.changes);
        let key = join.presence.key.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let permissions = match join.private {
            true => Permissions::private(read),
            false => Permissions::public(),
        };
        // Diffs of a public topic come whether presence was asked for or not.
        let interest = permissions.interest(wants_presence || !join.private);
        let subscriber = Subscriber::new(context.vsn, Arc::clone(&context.outbox), interest);
        let channel = Channel {
            id: subscriber.id,
            key: topic_key,
            reply_ref: request.join_ref.or(&request.reference).clone(),
            join_ref: request.join_ref.clone(),
            subscriber,
            permissions,
            ack: join.broadcast.ack,
            own: join.broadcast.own,
            presence: Presence::new(wants_presence, &key),
            token,
            token_due: token_due(&claims),
            claims,
            changes,
        };
        let reply = format!(r#"{{"postgres_changes":{entries}}}"#);
        let shows_presence = wants_presence && interest.has(Interest::PRESENCE);
        let says_ready = join.broadcast.replication_ready;
        let entrance = Entrance { request, shows_presence, reply, replay, says_ready, ticket };
        Ok(Admitted { channel, entrance, wait: join.changes_wait })
    }
}

impl Admitted {
    /// Answers the join and enters the topic, or has the reply wait for the
    /// changes.
    pub fn enter(self, context: &Context, tasks: &mut Tasks) -> Channel {
        let Self { mut channel, entrance, wait } = self;
        let wait = wait.filter(|_| channel.changes.are_wanted());
        if let Some(limit) = wait {
            channel.changes.hold(entrance, limit);
        } else {
            context.outbox.answer(entrance.frames(context));
            entrance.open(context, &channel, tasks);
        }
        postgres_changes::subscribe(context, &mut channel, tasks);
        channel
    }
}

fn topic_name(text: &str) -> Result<Topic, Refusal> {
    Topic::parse(text).map_err(|error| {
        let message = match error {
            TopicError::NoPrefix | TopicError::Empty => "You must provide a topic name".into(),
            TopicError::TooLong | TopicError::ZeroByte => error.to_string(),
        };
        Refusal::new(ErrorCode::TopicNameRequired, message)
    })
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

fn read_payload(payload: &Payload) -> Result<Join, Refusal> {
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

fn take_seat(context: &Context, seat: &mut Option<Seat>) -> Result<(), Refusal> {
    if seat.is_none() {
        let tenant = &context.services.tenant;
        *seat = tenant.meters.try_seat(tenant.terms().limits.max_concurrent_users);
    }
    if seat.is_some() {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::ConnectionRateLimitReached, "Too many connected users"))
}

fn join_rate(too_many: bool) -> Result<(), Refusal> {
    match too_many {
        true => {
            let message = "Too many joins per second";
            Err(Refusal::new(ErrorCode::ClientJoinRateLimitReached, message))
        }
        false => Ok(()),
    }
}

fn channel_count(context: &Context, joined: usize) -> Result<(), Refusal> {
    if joined >= context.services.tenant.terms().limits.max_channels_per_client {
        return Err(Refusal::new(ErrorCode::ChannelRateLimitReached, "Too many channels"));
    }
    Ok(())
}

fn token(context: &Context, join: &Join) -> Result<(Secret, Claims), Refusal> {
    let token = match &join.token {
        Some(token) if *token != context.token => token.clone(),
        // Verified at the upgrade, but it may have expired, or its key been
        // withdrawn. The channel shares its memory.
        _ => context.token.clone(),
    };
    let claims = context.services.tenant.verify(token.expose());
    claims.map(|claims| (token, claims)).map_err(|error| token::join_refusal(&error))
}

/// Only private topics keep their messages.
fn replay(join: &Join) -> Result<Option<replay::Request>, Refusal> {
    let Some(wanted) = &join.broadcast.replay else { return Ok(None) };
    let refusal = |refused: replay::Refused| {
        Refusal::new(ErrorCode::UnableToReplayMessages, refused.to_string())
    };
    replay::Request::parse(join.private, wanted).map(Some).map_err(refusal)
}

/// Who waits for broadcasts of the database must be able to get them.
fn readiness(context: &Context, join: &Join) -> Result<(), Refusal> {
    if join.broadcast.replication_ready && context.services.messages.readiness.is_none() {
        let message = "Broadcasts of the database are switched off";
        return Err(Refusal::new(ErrorCode::RealtimeDisabledForConfiguration, message));
    }
    Ok(())
}

/// Presence counts only where it is wanted, and a replay needs broadcasts.
fn may_read(read: Rights, presence: bool, replay: bool, topic: &Topic) -> Result<(), Refusal> {
    match read.broadcast || (presence && read.presence && !replay) {
        true => Ok(()),
        false => Err(Refusal::new(ErrorCode::Unauthorized, permission::denied(topic))),
    }
}

/// The `system` message that ends a channel; `phx_close` follows it.
pub fn farewell(context: &Context, channel: &Channel, message: &str) {
    let frame = channel.system(context.vsn, Extension::System, Status::Error, message);
    context.outbox.push(frame);
}
