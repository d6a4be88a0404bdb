//! `presence`: track and untrack.

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::{
    error_code::ErrorCode,
    presence::state::Meta,
    protocol::{message::Ref, size},
    session::{
        channel::{Channel, Step},
        context::Context,
    },
};

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

/// Tracks or untracks and always answers, unless the channel is shut down.
pub fn handle(context: &Context, channel: &mut Channel, reference: &Ref, payload: &[u8]) -> Step {
    let call: Call<'_> =
        serde_json::from_slice(payload).unwrap_or(Call { event: None, payload: None });
    // Some clients announce themselves without an event; that is no call.
    let Some(event) = call.event else {
        context.outbox.push(channel.ok(context.vsn, reference));
        return Step::Stay;
    };
    let event: String = serde_json::from_str(event.get()).unwrap_or_default();
    let event = event.to_ascii_lowercase();
    if event == "track" && channel.permissions.write.is_none() {
        return Step::AskWrite;
    }
    let tenant = &context.services.tenant;
    if !channel.presence.may_call(&tenant.terms().limits, Instant::now()) {
        context.services.metrics.error(ErrorCode::ClientPresenceRateLimitReached);
        return Step::Shutdown("Client presence rate limit exceeded".to_owned());
    }
    match event.as_str() {
        "track" => track(context, channel, reference, call.payload),
        "untrack" => {
            let tracked = context.services.presence.untrack(&channel.key, channel.id);
            count(context, tracked.told);
            context.outbox.push(channel.ok(context.vsn, reference));
            Step::Stay
        }
        _ => {
            context.services.metrics.error(ErrorCode::UnknownPresenceEvent);
            context.outbox.push(channel.error(context.vsn, reference, "{}"));
            Step::Stay
        }
    }
}

fn track(
    context: &Context,
    channel: &mut Channel,
    reference: &Ref,
    payload: Option<&RawValue>,
) -> Step {
    let json = payload.map_or("{}", RawValue::get).as_bytes();
    let Some(meta) = Meta::parse(json) else {
        let response = r#"{"reason":"Presence track payload must be a map"}"#;
        context.outbox.push(channel.error(context.vsn, reference, response));
        return Step::Stay;
    };
    context.services.metrics.presences.observe(json.len());
    let tenant = &context.services.tenant;
    if size::exceeds(json, tenant.max_payload_bytes()) {
        return Step::Shutdown("Track message size exceeded".to_owned());
    }
    if tenant.meters.presence_events.record(1) {
        context.services.metrics.error(ErrorCode::PresenceRateLimitReached);
        return Step::Shutdown("Too many presence messages per second".to_owned());
    }
    if !channel.permissions.write.is_some_and(|rights| rights.presence) {
        context.outbox.push(channel.error(context.vsn, reference, "{}"));
        return Step::Stay;
    }
    channel.presence.enabled = true;
    channel.update_interest();
    let presence = &context.services.presence;
    let tracked = presence.track(&channel.key, channel.id, &channel.presence.key, meta);
    count(context, tracked.told);
    context.services.metrics.presence_events.inc();
    context.outbox.push(channel.ok(context.vsn, reference));
    Step::Stay
}

fn count(context: &Context, told: u64) {
    context.services.tenant.meters.presence_events.record(told);
    context.services.metrics.presence_events.inc_by(told);
}
