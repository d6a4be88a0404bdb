//! `POST /api/broadcast`: many messages in one call.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{self, Request},
    http::StatusCode,
};
use bytes::Bytes;
use serde_json::{Map, Value, json, value::RawValue};

use crate::{
    broadcast::{Message, PublishError},
    error_code::ErrorCode,
    hub::Key,
    session::Services,
    topic::Topic,
};

use super::{
    Call,
    cast::{self, BLANK, INVALID, RESERVED},
    rejected::Rejected,
    send,
};
use crate::http::{State, error::ApiError, media};

const TOO_LARGE: &str = "Payload size exceeds tenant limit";

/// Says why a message to a topic, private or not, may not be sent, if so.
type Refuses<'a> = &'a dyn Fn(&Topic, bool, &Message) -> Option<PublishError>;

/// One message of a batch, checked.
#[derive(Debug)]
struct Item {
    topic: Topic,
    private: bool,
    message: Message,
}

/// Sends a batch: all of it is well-formed, or nothing is sent. Private
/// messages that the caller may not send are skipped without a word.
///
/// # Errors
///
/// [`Rejected`].
#[utoipa::path(
    post, path = "/api/broadcast", tag = "broadcast", operation_id = "broadcast",
    summary = "Send a batch of messages",
    description = "Private messages need a policy for `insert` on `realtime.messages` that lets \
        the caller send to the topic; what no policy allows is skipped, and the answer is 202 all the same.",
    request_body = crate::http::openapi::Batch,
    responses(
        (status = 202, description = "Accepted; no body"),
        (status = 401, description = "No valid token", body = crate::http::openapi::Message),
        (status = 403, description = "The tenant is suspended", body = crate::http::openapi::Message),
        (status = 413, description = "The body is too large"),
        (status = 422, description = "Some fields are wrong; nothing was sent", body = crate::http::openapi::Errors),
        (status = 429, description = "Too many requests or messages", body = crate::http::openapi::Message),
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub async fn send_all(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(services): extract::Extension<Arc<Services>>,
    request: Request,
) -> Result<StatusCode, Rejected> {
    let call = Call::open(&services, request, state.config.max_body_bytes).await?;
    let kind = media::content_type(&call.head.headers).unwrap_or_default();
    let is_json =
        kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"));
    // A body of another type holds no fields.
    let body = if is_json { call.body.clone() } else { Bytes::new() };
    let list = List::of(&body)?;
    if list.count as u64 > services.tenant.meters.events.limit() {
        // Above the rate whatever it says: it is not worth the memory to read it.
        check_rate(&services, list.count)?;
    }
    let items = list.parse(&body, &|topic, private, message| {
        let key = Key { tenant: Arc::clone(&services.tenant.name), private, topic: topic.clone() };
        services.broadcasts.check(&key, message).err()
    })?;
    check_rate(&services, items.len())?;

    let (private, public): (Vec<Item>, Vec<Item>) =
        items.into_iter().partition(|item| item.private);
    for item in public {
        send(&services, false, item.topic, item.message);
    }
    let groups = by_topic(private);
    let topics: Vec<Topic> = groups.iter().map(|(topic, _)| topic.clone()).collect();
    let rights = Box::pin(call.rights(&services, &topics)).await;
    for ((topic, messages), rights) in groups.into_iter().zip(rights) {
        match rights {
            Ok(rights) if rights.broadcast => {
                for message in messages {
                    send(&services, true, topic.clone(), message);
                }
            }
            Ok(_) => {
                let topic = topic.as_str();
                tracing::debug!(topic, "private messages skipped: no permission");
            }
            Err(error) => {
                let tenant = &*services.tenant.name;
                let code = ErrorCode::UnableToHandleBroadcast;
                tracing::info!(%code, tenant, %error, "private messages skipped: no answer");
                tracing::debug!(topic = topic.as_str(), "private messages skipped: no answer");
            }
        }
    }
    Ok(StatusCode::ACCEPTED)
}

fn check_rate(services: &Services, count: usize) -> Result<(), Rejected> {
    let events = &services.tenant.meters.events;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (average, limit, count) = (events.average(), events.limit() as f64, count as f64);
    if average > limit {
        return Err(Rejected::RateLimit);
    }
    if average + count > limit {
        return Err(Rejected::BatchSize);
    }
    Ok(())
}

/// Messages by topic, topics in the order of their first message.
fn by_topic(items: Vec<Item>) -> Vec<(Topic, Vec<Message>)> {
    let mut places = BTreeMap::new();
    let mut groups: Vec<(Topic, Vec<Message>)> = Vec::new();
    for item in items {
        let place = *places.entry(item.topic.as_str().to_owned()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, messages)) => messages.push(item.message),
            None => groups.push((item.topic, vec![item.message])),
        }
    }
    groups
}

/// The messages of a body, counted and not read yet.
struct List<'a> {
    messages: &'a RawValue,
    count: usize,
}

impl<'a> List<'a> {
    fn of(body: &'a [u8]) -> Result<Self, ApiError> {
        if body.trim_ascii().is_empty() {
            return Err(whole(BLANK));
        }
        let json: &RawValue = serde_json::from_slice(body).map_err(|_| ApiError::BadRequest)?;
        // A body that is no object has no field `messages`.
        let [messages] = cast::pick(json, ["messages"]).unwrap_or_default();
        let messages = messages.ok_or_else(|| whole(BLANK))?;
        match cast::count(messages) {
            None => Err(whole(INVALID)),
            Some(0) => Err(whole(BLANK)),
            Some(count) => Ok(Self { messages, count }),
        }
    }

    /// Reads all of them. Payloads share the memory of `body`.
    fn parse(&self, body: &Bytes, refuses: Refuses<'_>) -> Result<Vec<Item>, ApiError> {
        let messages: Vec<&RawValue> =
            serde_json::from_str(self.messages.get()).map_err(|_| whole(INVALID))?;
        let mut items = Vec::with_capacity(messages.len());
        let mut faults = Vec::with_capacity(messages.len());
        for message in messages {
            let fields = cast::pick(message, FIELDS).ok_or_else(|| whole(INVALID))?;
            match item(body, fields, refuses) {
                Ok(item) => {
                    items.push(item);
                    faults.push(Value::Object(Map::new()));
                }
                Err(fault) => faults.push(Value::Object(fault)),
            }
        }
        if items.len() < faults.len() {
            return Err(in_messages(Value::Array(faults)));
        }
        Ok(items)
    }
}

fn whole(text: &str) -> ApiError {
    in_messages(json!([text]))
}

fn in_messages(faults: Value) -> ApiError {
    ApiError::Fields(Value::Object(Map::from_iter([("messages".to_owned(), faults)])))
}

const FIELDS: [&str; 5] = ["topic", "event", "payload", "private", "id"];

/// One message, or what is wrong with each of its fields.
fn item(
    body: &Bytes,
    [topic, event, payload, private, id]: [Option<&RawValue>; 5],
    refuses: Refuses<'_>,
) -> Result<Item, Map<String, Value>> {
    let mut faults = Map::new();
    let mut fault = |name: &str, text: &str| {
        faults.insert(name.to_owned(), json!([text]));
    };
    let topic = cast::text(topic)
        .and_then(|topic| Topic::from_sub_topic(&topic).map_err(|_| INVALID))
        .map_err(|text| fault("topic", text));
    let event = cast::text(event).map_err(|text| fault("event", text));
    let payload = cast::object(payload).map_err(|text| fault("payload", text));
    let private = cast::flag(private).map_err(|text| fault("private", text));
    let id = cast::optional_text(id).map_err(|text| fault("id", text));
    let payload = payload.map(|payload| body.slice_ref(payload.as_bytes()));
    if let (Ok(topic), Ok(event), Ok(payload), Ok(private), Ok(id)) =
        (topic, event, payload, private, id)
    {
        let message = Message::Text { event, payload, id };
        match refuses(&topic, private, &message) {
            None => return Ok(Item { topic, private, message }),
            Some(PublishError::TooLarge) => fault("payload", TOO_LARGE),
            Some(PublishError::Reserved) => fault("event", RESERVED),
        }
    }
    Err(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &Bytes, is_large: bool) -> Result<Vec<Item>, ApiError> {
        List::of(body)?.parse(body, &|_, _, _| is_large.then_some(PublishError::TooLarge))
    }

    fn errors(body: &str) -> Value {
        match parse(&Bytes::copy_from_slice(body.as_bytes()), false) {
            Err(ApiError::Fields(errors)) => errors["messages"].clone(),
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn a_batch_that_is_none() {
        for blank in ["", " ", "{}", "[]", "5", r#"{"messages":[]}"#] {
            assert_eq!(errors(blank), json!(["can't be blank"]), "{blank}");
        }
        for invalid in ["null", "\"x\"", "[\"x\"]", "[null]", "5"] {
            let body = format!(r#"{{"messages":{invalid}}}"#);
            assert_eq!(errors(&body), json!(["is invalid"]), "{body}");
        }
        let broken = Bytes::from_static(b"{");
        assert_eq!(parse(&broken, false).unwrap_err(), ApiError::BadRequest);
    }

    #[test]
    fn each_message_has_its_own_errors() {
        let body = r#"{"messages":[{"topic":"t"},{"topic":"t","event":"e","payload":{}},
            {"topic":5,"event":true,"payload":[],"private":"maybe","id":7}]}"#;
        let (blank, invalid) = (json!(["can't be blank"]), json!(["is invalid"]));
        assert_eq!(
            errors(body),
            json!([
                {"event": blank, "payload": blank},
                {},
                {"topic": invalid, "event": invalid, "payload": invalid, "private": invalid, "id": invalid},
            ])
        );
        let body = Bytes::from_static(br#"{"messages":[{"topic":"t","event":"e","payload":{}}]}"#);
        let error = parse(&body, true).unwrap_err();
        assert_eq!(error, ApiError::Fields(json!({"messages": [{"payload": [TOO_LARGE]}]})));
    }

    #[test]
    fn private_messages_are_grouped_by_topic() {
        let message = |topic, n| {
            format!(r#"{{"topic":"{topic}","event":"{n}","payload":{{}},"private":true}}"#)
        };
        let list = [message("b", 1), message("a", 2), message("b", 3)].join(",");
        let body = Bytes::from(format!(r#"{{"messages":[{list}]}}"#));
        let groups = by_topic(parse(&body, false).unwrap());
        let shape: Vec<_> = groups.iter().map(|(t, list)| (t.sub_topic(), list.len())).collect();
        assert_eq!(shape, [("b", 2), ("a", 1)]);
    }
}
