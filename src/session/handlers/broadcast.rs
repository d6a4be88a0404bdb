//! `broadcast`: a message to everybody on the topic.

use crate::{
    broadcast::{Message, PublishError},
    error_code::ErrorCode,
    protocol::message::Inbound,
    session::{
        channel::{Channel, Step},
        context::Context,
        handlers::{chat, database},
        tasks::Tasks,
    },
};

/// What a sender is told whose message only clients of this node receive.
const NOT_EVERYWHERE: &str = r#"{"reason":"other servers are out of reach"}"#;

/// Hands the message on and answers if the channel asked for answers. What the
/// client may not send is dropped without an answer, as clients know it.
pub fn handle(context: &Context, channel: &Channel, tasks: &mut Tasks, message: &Inbound) -> Step {
    let (reference, payload) = (&message.reference, &message.payload);
    if let Some(call) = chat::Call::of(context, channel, payload) {
        return chat::handle(context, channel, tasks, reference, &call);
    }
    match channel.permissions.write {
        None => return Step::AskWrite,
        Some(rights) if !rights.broadcast => return Step::Stay,
        Some(_) => {}
    }
    if let Some(persist) = message.persist {
        return database::store(context, channel, reference, payload, persist);
    }
    let skip = (!channel.own).then_some(channel.id);
    let services = &context.services;
    let message = Message::from(payload.clone());
    let bytes = message.bytes();
    match services.broadcasts.publish(&channel.key, message, skip) {
        Ok(spread) => {
            services.metrics.broadcasts.observe(bytes);
            services.metrics.events.inc_by(1 + spread.delivered);
            if channel.ack {
                context.outbox.push(match spread.handed_on {
                    true => channel.ok(context.vsn, reference),
                    false => channel.error(context.vsn, reference, NOT_EVERYWHERE),
                });
            }
        }
        Err(error) => {
            tracing::debug!(code = %ErrorCode::UnknownErrorOnChannel, %error, "broadcast not sent");
            if channel.ack {
                context.outbox.push(channel.error(context.vsn, reference, refusal(error)));
            }
        }
    }
    Step::Stay
}

/// What a sender is told whose message is not sent, as JSON text.
pub fn refusal(error: PublishError) -> &'static str {
    match error {
        PublishError::TooLarge => r#""payload_size_exceeded""#,
        PublishError::Reserved => r#"{"reason":"chat: events come from the server alone"}"#,
    }
}
