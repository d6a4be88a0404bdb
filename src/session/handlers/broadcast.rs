//! `broadcast`: a message to everybody on the topic.

use crate::{
    broadcast::PublishError,
    error_code::ErrorCode,
    protocol::{
        message::{Payload, Ref},
        persist::Persist,
    },
    session::{
        channel::{Channel, Step},
        socket::Context,
    },
};

/// Hands the message on and answers if the channel asked for answers. What the
/// client may not send is dropped without an answer, as clients know it.
pub fn handle(
    context: &Context,
    channel: &Channel,
    reference: &Ref,
    payload: &Payload,
    persist: Option<Persist>,
) -> Step {
    // The insert itself finds out whether it is allowed.
    if let Some(persist) = persist {
        return super::messages::store(context, channel, reference, payload, persist);
    }
    match channel.permissions.write {
        None => return Step::AskWrite,
        Some(rights) if !rights.broadcast => return Step::Stay,
        Some(_) => {}
    }
    let skip = (!channel.own).then_some(channel.id);
    let services = &context.services;
    match services.broadcasts.publish(&channel.key, payload.clone(), skip) {
        Ok(delivered) => {
            services.metrics.events.inc_by(1 + delivered);
            if channel.ack {
                context.outbox.push(channel.ok(context.vsn, reference));
            }
        }
        Err(error) => not_sent(context, channel, reference, error),
    }
    Step::Stay
}

/// Tells the sender, if it wants answers.
pub fn not_sent(context: &Context, channel: &Channel, reference: &Ref, error: PublishError) {
    tracing::debug!(code = %ErrorCode::UnknownErrorOnChannel, %error, "broadcast not sent");
    if channel.ack {
        let response = r#""payload_size_exceeded""#;
        context.outbox.push(channel.error(context.vsn, reference, response));
    }
}
