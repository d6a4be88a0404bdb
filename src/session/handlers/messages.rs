//! What a channel has to do with messages of the database: told when they
//! flow, replayed after the join, stored on their way.

use std::{error::Error, sync::Arc, time::Duration};

use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    broadcast::{
        Message,
        persist::{PersistError, Sender},
        replay::{self, ReplayError, Request, Stored},
    },
    error_code::ErrorCode,
    protocol::{
        self,
        message::{Payload, Ref, UserBroadcast},
        persist::Persist,
        system::{Extension, Status},
    },
    session::{
        channel::{Channel, Step},
        socket::{Context, Done, Tasks},
    },
};

/// How long a channel that asked waits for broadcasts of the database.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Tells the client when broadcasts of the database flow, once.
pub fn await_stream(context: &Context, channel: &Channel, tasks: &mut Tasks) {
    let mut readiness = context.services.messages.readiness.clone();
    if readiness.is_live() {
        tell_ready(context, channel);
        return;
    }
    let (topic, id) = (channel.key.topic.clone(), channel.id);
    tasks.push(Box::pin(async move {
        let in_time = timeout(READY_WITHIN, readiness.live()).await.is_ok();
        Done::Streaming { topic, channel: id, in_time }
    }));
}

/// The wait of [`await_stream`] has ended.
pub fn stream_awaited(context: &Context, channel: &Channel, in_time: bool) -> Step {
    if !in_time {
        return Step::Shutdown("Replication connection was not established in time".to_owned());
    }
    tell_ready(context, channel);
    Step::Stay
}

fn tell_ready(context: &Context, channel: &Channel) {
    let message = "Replication connection established";
    let frame = channel.system(context.vsn, Extension::System, Status::Ok, message);
    context.outbox.push(frame);
}

/// Reads what is to be replayed. The channel has entered its topic already, so
/// that nothing falls between what is stored and what comes live.
pub fn replay(context: &Context, channel: &Channel, request: Request, tasks: &mut Tasks) {
    let replays = context.services.messages.replays.clone();
    let (topic, id) = (channel.key.topic.clone(), channel.id);
    tasks.push(Box::pin(async move {
        let result = replays.fetch(topic.sub_topic(), request).await;
        Done::Replayed { topic, channel: id, result }
    }));
}

/// Pushes what was stored. Without an answer the client is told that the
/// channel failed, upon which it joins and asks again.
pub fn replayed(
    context: &Context,
    channel: &Channel,
    result: Result<Vec<Stored>, ReplayError>,
) -> Step {
    let stored = match result {
        Ok(stored) => stored,
        Err(error) => {
            let reason = reason(&error);
            tracing::warn!(code = %ErrorCode::UnableToReplayMessages, reason, "replay failed");
            context.services.metrics.error(ErrorCode::UnableToReplayMessages);
            let message = ReplayError::MESSAGE;
            context.outbox.push(channel.system(
                context.vsn,
                Extension::System,
                Status::Error,
                message,
            ));
            context.outbox.push(channel.push(context.vsn, "phx_error", b"{}"));
            return Step::Drop;
        }
    };
    let topic = channel.key.topic.as_str();
    for frame in replay::frames(&stored, &channel.subscriber, &channel.reply_ref, topic) {
        context.outbox.push(frame);
    }
    Step::Stay
}

/// A broadcast that its sender wants stored: what is to be done.
pub fn store(
    context: &Context,
    channel: &Channel,
    reference: &Ref,
    payload: &Payload,
    persist: Persist,
) -> Step {
    let Payload::User(broadcast) = payload else { return Step::Stay };
    let services = &context.services;
    if !channel.key.private {
        finish(context, channel, reference, &PersistError::Public);
        return Step::Stay;
    }
    if let Err(error) = services.broadcasts.check(&Message::from(payload.clone())) {
        super::broadcast::not_sent(context, channel, reference, error);
        return Step::Stay;
    }
    Step::Store { reference: reference.clone(), broadcast: broadcast.clone(), persist }
}

/// Stores a broadcast as the channel's user. The socket's later messages on
/// the topic wait, so a sender's order is kept.
pub fn storing(
    context: &Context,
    channel: &Channel,
    broadcast: UserBroadcast,
    persist: Persist,
) -> impl Future<Output = Result<Uuid, PersistError>> + Send + use<> {
    let caller = context.caller(&channel.key.topic, &channel.claims);
    let store = context.services.messages.store.clone();
    let skip = (!channel.own).then(|| Arc::clone(&channel.subscriber));
    async move {
        let sender =
            Sender { topic: &caller.topic, claims: &caller.claims, headers: &caller.headers };
        store.store(sender, &broadcast, persist, skip.as_deref()).await
    }
}

/// Answers for a broadcast that was to be stored, if answers are wanted.
pub fn stored(
    context: &Context,
    channel: &Channel,
    reference: &Ref,
    result: &Result<Uuid, PersistError>,
) {
    match result {
        Ok(id) => {
            context.services.metrics.events.inc();
            if channel.ack {
                let response = format!(r#"{{"id":"{id}"}}"#);
                context.outbox.push(channel.ok_with(context.vsn, reference, &response));
            }
        }
        Err(error) => finish(context, channel, reference, error),
    }
}

fn finish(context: &Context, channel: &Channel, reference: &Ref, error: &PersistError) {
    if matches!(error, PersistError::MissingPartition) {
        context.services.messages.janitor.partition_is_missing();
    }
    let reason = reason(error);
    tracing::info!(code = %ErrorCode::UnableToHandleBroadcast, reason, "broadcast not stored");
    context.services.metrics.error(ErrorCode::UnableToHandleBroadcast);
    if channel.ack {
        let mut response = br#"{"error":"#.to_vec();
        protocol::write_string(&mut response, &error.to_string());
        response.push(b'}');
        let response = String::from_utf8_lossy(&response);
        context.outbox.push(channel.error(context.vsn, reference, &response));
    }
}

/// An error with its causes, in one line.
fn reason(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
