//! `POST /api/broadcast/{topic}/events/{event}`: one message, and what became of it.

use std::sync::Arc;

use axum::{
    extract::{self, Request},
    http::{HeaderMap, StatusCode},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use crate::{
    broadcast::{Message, PublishError, persist::PersistError},
    hub::Key,
    protocol::{
        message::{Encoding, UserBroadcast},
        persist::Persist,
    },
    secret::Secret,
    session::Services,
    tenants::Caller,
    topic::Topic,
};

use super::{
    Call,
    cast::{BLANK, INVALID, RESERVED},
    rejected::Rejected,
    send,
};
use crate::http::{State, auth::as_object, error::ApiError, handshake::parameter, media};

/// Names in a binary frame have at most this many bytes.
const LONGEST_NAME: usize = 255;

/// Sends one message.
///
/// # Errors
///
/// [`Rejected`].
#[utoipa::path(
    post, path = "/api/broadcast/{topic}/events/{event}", tag = "broadcast", operation_id = "broadcast_event",
    summary = "Send one message",
    params(
        ("topic" = String, Path, description = "The topic without `realtime:`"),
        ("event" = String, Path, description = "The event's name"),
        ("private" = Option<bool>, Query, description = "Send to the private topic of that name"),
        ("persist" = Option<bool>, Query, description = "Store the message for replay; private topics only"),
        ("persist[ttl]" = Option<u32>, Query, description = "Store it for this many seconds"),
    ),
    request_body(content(
        (serde_json::Value = "application/json"),
        (Vec<u8> = "application/octet-stream"),
    ), description = "The payload. JSON that is no object is sent as `{\"_json\": …}`."),
    responses(
        (status = 202, description = "Accepted; no body"),
        (status = 401, description = "No valid token", body = crate::http::openapi::Message),
        (status = 403, description = "No policy allows it, or the tenant is suspended", body = crate::http::openapi::Message),
        (status = 413, description = "The body is too large"),
        (status = 415, description = "Neither JSON nor bytes"),
        (status = 422, description = "Some fields are wrong, or the policies could not be asked", body = crate::http::openapi::Errors),
        (status = 429, description = "Too many requests or messages", body = crate::http::openapi::Message),
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub async fn send_one(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(services): extract::Extension<Arc<Services>>,
    extract::Path((topic, event)): extract::Path<(String, String)>,
    request: Request,
) -> Result<StatusCode, Rejected> {
    let call = Call::open(&services, request, state.config.max_body_bytes).await?;
    let encoding = encoding(&call.head.headers)?;
    let topic = name("topic", &topic, LONGEST_NAME - crate::topic::PREFIX.len())
        .and_then(|topic| Topic::from_sub_topic(topic).map_err(|_| fault("topic", INVALID)))?;
    let event = name("event", &event, LONGEST_NAME)?.to_owned();
    let mut private = parameter(call.head.uri.query().unwrap_or_default(), "private")
        .is_some_and(|value| value == "true");
    let payload = match encoding {
        Encoding::Binary => call.body.clone(),
        Encoding::Json => {
            private = private_in(&call.body).unwrap_or(private);
            object(&call.body)?
        }
    };
    let broadcast = UserBroadcast { event, encoding, payload };
    let message = Message::User { broadcast: broadcast.clone(), id: None };
    let key = Key { tenant: Arc::clone(&services.tenant.name), private, topic: topic.clone() };
    services.broadcasts.check(&key, &message).map_err(|error| match error {
        PublishError::TooLarge => fault("payload", "Payload size exceeds tenant limit"),
        PublishError::Reserved => fault("event", RESERVED),
    })?;
    check_rate(&services)?;
    if private {
        let mut rights = Box::pin(call.rights(&services, std::slice::from_ref(&topic))).await;
        // One question, one answer.
        let rights = rights.pop().ok_or(Rejected::Denied)??;
        if !rights.broadcast {
            return Err(Rejected::Denied);
        }
    }
    match persist(call.head.uri.query().unwrap_or_default()) {
        None => send(&services, private, topic, message),
        Some(_) if !private => return Err(PersistError::Public.into()),
        Some(persist) => {
            let headers = Secret::new(as_object(&call.head.headers));
            let name = topic.sub_topic();
            let sender = Caller { topic: name, claims: &call.claims, headers: &headers };
            services.tenant.meters.events.record(1);
            let store = &services.messages.store;
            let stored = Box::pin(store.store(sender, &broadcast, persist, None)).await;
            if matches!(stored, Err(PersistError::MissingPartition)) {
                services.messages.janitor.partition_is_missing();
            }
            stored?;
        }
    }
    Ok(StatusCode::ACCEPTED)
}

/// What the query says about storing; the last word counts.
fn persist(query: &str) -> Option<Persist> {
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.filter_map(|(name, value)| Persist::from_query(&name, &value)).last()
}

fn check_rate(services: &Services) -> Result<(), Rejected> {
    let events = &services.tenant.meters.events;
    #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
    let is_spent = events.average() >= events.limit() as f64;
    if is_spent { Err(Rejected::RateLimit) } else { Ok(()) }
}

fn fault(field: &str, text: &str) -> ApiError {
    ApiError::Fields(json!({ field: [text] }))
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Rejected> {
    match media::content_type(headers).as_deref() {
        None | Some("application/json") => Ok(Encoding::Json),
        Some("application/octet-stream") => Ok(Encoding::Binary),
        Some(_) => Err(Rejected::MediaType),
    }
}

/// A name that a frame can carry.
fn name<'a>(field: &str, text: &'a str, longest: usize) -> Result<&'a str, ApiError> {
    if text.trim().is_empty() {
        return Err(fault(field, BLANK));
    }
    if text.len() > longest {
        return Err(fault(field, &format!("should be at most {longest} byte(s)")));
    }
    Ok(text)
}

/// The payload as JSON text of an object.
fn object(body: &Bytes) -> Result<Bytes, ApiError> {
    if body.trim_ascii().is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    let json: &RawValue = serde_json::from_slice(body).map_err(|_| ApiError::BadRequest)?;
    if json.get().starts_with('{') {
        return Ok(body.slice_ref(json.get().as_bytes()));
    }
    Ok(format!(r#"{{"_json":{}}}"#, json.get()).into())
}

/// What the payload itself says about privacy, which wins over the query.
/// Other values than yes and no are the user's own and mean nothing here.
fn private_in(body: &[u8]) -> Option<bool> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow, default)]
        private: Option<&'a RawValue>,
    }
    // A list would be read as the fields in their order.
    let body = body.trim_ascii_start();
    let fields: Fields<'_> =
        serde_json::from_slice(body).ok().filter(|_| body.starts_with(b"{"))?;
    match fields.private?.get() {
        "true" | r#""true""# => Some(true),
        "false" | r#""false""# => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &'static str) -> Result<Bytes, ApiError> {
        object(&Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn every_json_becomes_an_object() {
        for (body, payload) in [
            ("", "{}"),
            (r#" {"n": 1} "#, r#"{"n": 1}"#),
            ("[1, 2]", r#"{"_json":[1, 2]}"#),
            (r#""x""#, r#"{"_json":"x"}"#),
            ("null", r#"{"_json":null}"#),
        ] {
            assert_eq!(read(body).unwrap(), payload, "{body}");
        }
        assert_eq!(read("{"), Err(ApiError::BadRequest));
    }

    #[test]
    fn a_payload_may_say_whether_it_is_private() {
        for (body, private) in [
            (r#"{"private":true,"n":1}"#, Some(true)),
            (r#"{"private":"true"}"#, Some(true)),
            (r#"{"private":false}"#, Some(false)),
            (r#"{"private":{"mine":1}}"#, None),
            (r#"{"n":{"private":true}}"#, None),
            ("[true]", None),
        ] {
            assert_eq!(private_in(body.as_bytes()), private, "{body}");
        }
    }

    #[test]
    fn names_fit_a_frame() {
        assert_eq!(name("event", "a b", 255), Ok("a b"));
        assert_eq!(name("event", " ", 255), Err(fault("event", BLANK)));
        assert!(name("event", &"x".repeat(256), 255).is_err());
    }
}
