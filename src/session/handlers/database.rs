//! What broadcasts have to do with the database: replay, readiness, storing.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    broadcast::{
        Message,
        persist::PersistError,
        replay::{self, Found, ReplayError},
    },
    error_code::ErrorCode,
    protocol::{
        message::{Payload, Ref},
        persist::Persist,
        reply,
        system::{Extension, Status},
    },
    session::{
        channel::{Channel, Step},
        context::Context,
        handlers::chat,
        tasks::{Done, Task, Tasks},
    },
    telemetry::reason,
    tenants::Caller,
};

/// How long a channel waits for the stream that it asked about.
const READY_WITHIN: Duration = Duration::from_secs(60);

const READY: &str = "Replication connection established";

/// What a channel is told that waited in vain.
pub const NOT_READY: &str = "Replication connection was not established in time";

/// Slow work with the database that has ended.
#[derive(Debug)]
pub enum FromDatabase {
    /// A replay.
    Replayed(Result<Found, ReplayError>),
    /// Whether the stream runs.
    Ready(bool),
    /// A message that was to be stored, and the reference of its push.
    Stored(Ref, Result<(), PersistError>),
    /// What became of a verb of the chat.
    Chat(chat::Outcome),
}

/// Begins a replay for a channel that is about to enter its topic. What
/// commits meanwhile comes live, and nothing comes twice.
pub fn replay(context: &Context, channel: &Channel, wanted: replay::Request, tasks: &mut Tasks) {
    channel.subscriber.seen.replay_begins();
    let replays = context.services.messages.replays.clone();
    let (topic, id) = (channel.key.topic.clone(), channel.id);
    tasks.push(Box::pin(async move {
        let found = replays.fetch(topic.sub_topic(), wanted).await;
        Done::Database { topic, channel: id, result: FromDatabase::Replayed(found) }
    }));
}

/// Pushes what was read. False if it could not be read: the channel is then
/// to end as if it had crashed, since its client comes back after that.
pub fn replayed(context: &Context, channel: &Channel, found: Result<Found, ReplayError>) -> bool {
    let topic = channel.key.topic.as_str();
    match found {
        Ok(mut found) => {
            let broadcasts = &context.services.broadcasts;
            found.messages.retain(|message| !broadcasts.reserves(&channel.key, message.event()));
            let frames = replay::frames(found, &channel.subscriber, &channel.reply_ref, topic);
            context.outbox.answer(frames);
            true
        }
        Err(error) => {
            let error = reason(&error);
            tracing::warn!(code = %ErrorCode::UnableToReplayMessages, error, "replay failed");
            context.services.metrics.error(ErrorCode::UnableToReplayMessages);
            false
        }
    }
}

/// Says when broadcasts of the database flow, at once if they do.
pub fn await_readiness(context: &Context, channel: &Channel, tasks: &mut Tasks) {
    // Where they are switched off no join that asks gets this far.
    let Some(mut readiness) = context.services.messages.readiness.clone() else { return };
    if readiness.is_live() {
        ready(context, channel);
        return;
    }
    let (topic, id) = (channel.key.topic.clone(), channel.id);
    tasks.push(Box::pin(async move {
        let live = timeout(READY_WITHIN, readiness.live()).await.is_ok();
        Done::Database { topic, channel: id, result: FromDatabase::Ready(live) }
    }));
}

/// Tells a channel that broadcasts of the database flow.
pub fn ready(context: &Context, channel: &Channel) {
    let frame = channel.system(context.vsn, Extension::System, Status::Ok, READY);
    context.outbox.push(frame);
}

/// Has a broadcast stored; from there it reaches its receivers. The answer, if
/// one is wanted, comes when it is committed, with [`FromDatabase::Stored`].
pub fn store(
    context: &Context,
    channel: &Channel,
    reference: &Ref,
    payload: &Payload,
    persist: Persist,
) -> Step {
    let services = &context.services;
    let Payload::User(broadcast) = payload.clone() else { return Step::Stay };
    let message = Message::Pushed(payload.clone());
    if let Err(error) = services.broadcasts.check(&channel.key, &message) {
        if channel.ack {
            let response = super::broadcast::refusal(error);
            context.outbox.push(channel.error(context.vsn, reference, response));
        }
        return Step::Stay;
    }
    if !channel.key.private {
        stored(context, channel, reference, Err(PersistError::Public));
        return Step::Stay;
    }
    if !services.broadcasts.count(&channel.key) {
        return Step::Stay;
    }
    let store = services.messages.store.clone();
    let subscriber = (!channel.own).then(|| Arc::clone(&channel.subscriber));
    let (claims, headers) = (channel.claims.clone(), context.headers.clone());
    let (topic, id, reference) = (channel.key.topic.clone(), channel.id, reference.clone());
    Step::Storing(Task::new(async move {
        let name = topic.sub_topic();
        let sender = Caller { topic: name, claims: &claims, headers: &headers };
        let result = store.store(sender, &broadcast, persist, subscriber.as_deref()).await;
        let result = FromDatabase::Stored(reference, result.map(|_id| ()));
        Done::Database { topic, channel: id, result }
    }))
}

/// Answers a push whose message was to be stored.
pub fn stored(
    context: &Context,
    channel: &Channel,
    reference: &Ref,
    result: Result<(), PersistError>,
) {
    if let Err(error) = &result {
        let (code, reason) = (ErrorCode::UnableToHandleBroadcast, reason(error));
        // What a client can bring about at will must not fill the log.
        if matches!(error, PersistError::Unavailable(_)) {
            tracing::warn!(%code, error = reason, "message not stored");
        } else {
            tracing::debug!(%code, error = reason, "message not stored");
        }
        context.services.metrics.error(ErrorCode::UnableToHandleBroadcast);
        if matches!(error, PersistError::MissingPartition) {
            context.services.messages.janitor.partition_is_missing();
        }
    }
    if !channel.ack {
        return;
    }
    let topic = channel.key.topic.as_str();
    context.outbox.push(match result {
        Ok(()) => channel.ok(context.vsn, reference),
        Err(error) => {
            let response = serde_json::json!({ "error": error.to_string() }).to_string();
            reply::error(context.vsn, &channel.reply_ref, reference, topic, &response)
        }
    });
}
