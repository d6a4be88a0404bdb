//! `chat:…`: what a client wants done in the room whose channel it has joined.
//!
//! Verbs are broadcasts that nobody but the server gets. What changes messages
//! waits for its commit, and what follows on the channel waits behind it.
//! Cursors are gathered and hold up nothing.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use uuid::Uuid;

use crate::{
    chat::{self, ChatError, Marker, Verb},
    protocol::{
        message::{Encoding, Payload, Ref, UserBroadcast},
        prepared, reply,
    },
    session::{
        channel::{Channel, Step},
        context::Context,
        handlers::database::FromDatabase,
        tasks::{Done, Task, Tasks},
    },
    tenants::Caller,
};

/// A verb as it was sent, to a room.
#[derive(Debug)]
pub struct Call<'a> {
    room: Uuid,
    event: String,
    /// JSON text.
    payload: &'a [u8],
}

/// What became of a verb.
#[derive(Debug)]
pub struct Outcome {
    /// What follows on the topic waits for this.
    pub is_waited_for: bool,
    reference: Ref,
    event: String,
    message: Option<Uuid>,
    /// JSON text for the reply.
    result: Result<Arc<str>, ChatError>,
}

#[derive(Deserialize)]
struct Broadcast<'a> {
    event: String,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

impl<'a> Call<'a> {
    /// The verb in a broadcast; `None` if it is an ordinary one.
    pub fn of(context: &Context, channel: &Channel, payload: &'a Payload) -> Option<Self> {
        let room = channel.key.topic.room()?;
        if !context.services.chat.keeps(&channel.key) {
            return None;
        }
        let (event, payload) = match payload {
            Payload::User(broadcast) if broadcast.encoding == Encoding::Json => {
                (broadcast.event.clone(), &*broadcast.payload)
            }
            Payload::Json(json) => {
                let Broadcast { event, payload } = serde_json::from_slice(json).ok()?;
                (event, payload.map_or("{}", RawValue::get).as_bytes())
            }
            Payload::User(_) | Payload::Raw(_) => return None,
        };
        Verb::is_meant(&event).then_some(Self { room, event, payload })
    }
}

/// Has a verb done, or says why not.
pub fn handle(
    context: &Context,
    channel: &Channel,
    tasks: &mut Tasks,
    reference: &Ref,
    call: &Call<'_>,
) -> Step {
    let services = &context.services;
    let verb = Verb::parse(&call.event, call.payload);
    if matches!(verb, Ok(Verb::Typing(_))) && channel.permissions.write.is_none() {
        return Step::AskWrite;
    }
    let verb = match services.tenant.meters.events.record(1) {
        true => Err(ChatError::rate_limited()),
        false => verb,
    };
    let outcome = |message, result| Outcome {
        is_waited_for: false,
        reference: reference.clone(),
        event: call.event.clone(),
        message,
        result,
    };
    match verb {
        Ok(Verb::Act(act)) => {
            act_on(context, channel, call, outcome(Some(act.id()), Ok("{}".into())), act)
        }
        Ok(Verb::Mark(mark)) => {
            let marker =
                Marker { claims: channel.claims.clone(), headers: context.headers.clone() };
            let own = (!channel.own).then(|| Arc::clone(&channel.subscriber));
            let answer = services.chat.mark(call.room, mark, marker, own);
            let (topic, id) = (channel.key.topic.clone(), channel.id);
            let outcome = outcome(None, Ok("{}".into()));
            tasks.push(Box::pin(async move {
                let outcome = Outcome { result: answer.await, ..outcome };
                Done::Database { topic, channel: id, result: FromDatabase::Chat(outcome) }
            }));
            Step::Stay
        }
        Ok(Verb::Typing(typing)) => {
            let rights = channel.permissions.write.unwrap_or_default();
            let user = chat::user(&channel.claims).filter(|_| rights.broadcast);
            let result = user.ok_or_else(ChatError::not_a_member).map(|user| {
                services.chat.typing(call.room, user, channel.id, channel.own, typing);
                Arc::from("{}")
            });
            finish(context, channel, &outcome(None, result));
            Step::Stay
        }
        Err(error) => {
            services.chat.series().verb("refused", Some(&error));
            finish(context, channel, &outcome(message_id(call.payload), Err(error)));
            Step::Stay
        }
    }
}

fn act_on(
    context: &Context,
    channel: &Channel,
    call: &Call<'_>,
    outcome: Outcome,
    act: chat::Act,
) -> Step {
    let chat = context.services.chat.clone();
    let own = (!channel.own).then(|| Arc::clone(&channel.subscriber));
    let (claims, headers) = (channel.claims.clone(), context.headers.clone());
    let (topic, id, room) = (channel.key.topic.clone(), channel.id, call.room);
    Step::Storing(Task::new(async move {
        let caller = Caller { topic: topic.sub_topic(), claims: &claims, headers: &headers };
        let result = chat.act(caller, room, &act, own.as_deref()).await.map(Arc::from);
        let outcome = Outcome { is_waited_for: true, result, ..outcome };
        Done::Database { topic, channel: id, result: FromDatabase::Chat(outcome) }
    }))
}

/// The id of the message that a refused verb was about, if it has one.
fn message_id(payload: &[u8]) -> Option<Uuid> {
    #[derive(Deserialize)]
    struct Id {
        id: Uuid,
    }
    serde_json::from_slice(payload).ok().map(|Id { id }| id)
}

/// Answers a verb. A refusal is told as an event first: official clients hide
/// what a reply holds.
pub fn finish(context: &Context, channel: &Channel, outcome: &Outcome) {
    let (vsn, topic) = (context.vsn, channel.key.topic.as_str());
    let Outcome { reference, event, message, result, .. } = outcome;
    if let Err(error) = result {
        tracing::debug!(event, code = error.code.as_str(), "verb refused");
        let payload = refusal(event, *message, error).into_bytes().into();
        let broadcast =
            UserBroadcast { event: "chat:error".to_owned(), encoding: Encoding::Json, payload };
        let frame = prepared::pushed(vsn, &channel.reply_ref, topic, &broadcast, "");
        frame.map(|frame| context.outbox.push(frame));
    }
    if !channel.ack {
        return;
    }
    context.outbox.push(match result {
        Ok(json) => reply::ok(vsn, &channel.reply_ref, reference, topic, json),
        Err(error) => {
            let json = refusal(event, *message, error);
            reply::error(vsn, &channel.reply_ref, reference, topic, &json)
        }
    });
}

/// JSON text.
fn refusal(event: &str, message: Option<Uuid>, error: &ChatError) -> String {
    let mut object = Map::new();
    object.insert("verb".to_owned(), event.into());
    if let Some(id) = message {
        object.insert("id".to_owned(), id.to_string().into());
    }
    object.insert("code".to_owned(), error.code.as_str().into());
    object.insert("message".to_owned(), error.message.as_ref().into());
    if let Some(version) = error.current {
        object.insert("current_version".to_owned(), version.into());
    }
    Value::Object(object).to_string()
}
