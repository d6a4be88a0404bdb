//! Chat over HTTP, under `/chat/v1`: rooms, their messages, and who is there.
//!
//! Each route is one call of the same methods that sockets end in, as the
//! bearer of the request's token. Answers are what the database's functions
//! return; refusals are `{code, message}`.

pub(super) mod messages;
pub mod refused;
pub(super) mod rooms;
pub(super) mod users;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRequestParts},
    http::{StatusCode, request::Parts},
    middleware::{from_fn, from_fn_with_state},
    response::Response,
    routing::{get, patch, post, put},
};
use serde::de::DeserializeOwned;

use crate::{
    auth::Claims,
    chat::{Chat, ChatError},
    secret::Secret,
    session::Services,
    tenants::Caller,
};

use self::refused::Refused;
use super::{State, auth, cors, handshake::parameter, rate, request_id};

/// The routes. The last layer is the first to see a request.
pub fn routes(state: &Arc<State>) -> Router<Arc<State>> {
    let room = Router::new()
        .route("/", get(rooms::show))
        .route("/join", post(rooms::join))
        .route("/leave", post(rooms::leave))
        .route("/members", get(rooms::members).post(rooms::invite))
        .route("/members/{user}", axum::routing::delete(rooms::remove))
        .route("/messages", get(messages::page).post(messages::send))
        .route("/messages/{message}", patch(messages::edit).delete(messages::delete))
        .route(
            "/messages/{message}/reactions/{emoji}",
            put(messages::react).delete(messages::unreact),
        )
        .route("/messages/{message}/receipts", get(messages::receipts))
        .route("/read", post(messages::mark))
        .route("/resume", get(messages::resume));
    Router::new()
        .route("/rooms", get(rooms::list).post(rooms::create))
        .nest("/rooms/{room}", room)
        .route("/users/status", get(users::statuses))
        .fallback(|| async { Refused::NoRoute })
        .layer(DefaultBodyLimit::max(state.config.max_body_bytes))
        .layer(from_fn_with_state(Arc::clone(state), rate::limit))
        .layer(from_fn(refused::with_codes))
        .layer(from_fn_with_state(Arc::clone(state), request_id::tag))
        .layer(from_fn(cors::allow))
}

/// Who asks: the bearer of a token that the tenant accepts.
pub(super) struct Who {
    services: Arc<Services>,
    claims: Claims,
    headers: Secret,
    query: String,
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refused> {
        let services = parts.extensions.get::<Arc<Services>>().ok_or(Refused::Unauthorized)?;
        let services = Arc::clone(services);
        let token = auth::authenticate(&services.tenant, &parts.headers, &parts.uri);
        let claims = Box::pin(token).await.map_err(|_| Refused::Unauthorized)?;
        if services.tenant.terms().suspended {
            return Err(Refused::Suspended);
        }
        // What changes something counts as a message does.
        if !parts.method.is_safe() && services.tenant.meters.events.record(1) {
            return Err(ChatError::rate_limited().into());
        }
        let headers = Secret::new(auth::as_object(&parts.headers));
        let query = parts.uri.query().unwrap_or_default().to_owned();
        Ok(Self { services, claims, headers, query })
    }
}

impl Who {
    fn chat(&self) -> &Chat {
        &self.services.chat
    }

    /// The caller, to the database; `topic` is the room's or empty.
    fn caller<'a>(&'a self, topic: &'a str) -> Caller<'a> {
        Caller { topic, claims: &self.claims, headers: &self.headers }
    }

    /// A parameter of the query, if it is there.
    fn parameter<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Refused> {
        let Some(text) = parameter(&self.query, name).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let wrong = |_| ChatError::bad_request(format!("The parameter {name} has the wrong form."));
        Ok(Some(text.parse().map_err(wrong)?))
    }
}

/// The topic of a room, for policies.
fn topic_of(room: uuid::Uuid) -> String {
    format!("room:{room}")
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    // A list would be read as the fields in their order.
    let object = body.trim_ascii_start().starts_with(b"{").then_some(body);
    object.and_then(|body| serde_json::from_slice(body).ok()).ok_or_else(|| {
        ChatError::bad_request("The body is not an object with these fields.").into()
    })
}

/// JSON text as an answer.
fn answer(status: StatusCode, json: String) -> Response {
    super::error::json_text(status, json)
}

fn ok(json: String) -> Result<Response, Refused> {
    Ok(answer(StatusCode::OK, json))
}
