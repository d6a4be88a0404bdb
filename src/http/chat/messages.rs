//! Messages of a room: pages, changes, reactions, receipts.

use axum::{body::Bytes, extract::Path, http::StatusCode, response::Response};
use serde::Deserialize;
use uuid::Uuid;

use crate::chat::{Act, ChatError, Mark, Marker, Page};

use super::{Refused, Who, answer, ok, parse, topic_of};

#[derive(Deserialize)]
struct Sent {
    id: Uuid,
    content: String,
    #[serde(default)]
    reply_to: Option<Uuid>,
}

#[derive(Deserialize)]
struct Edited {
    content: String,
    version: i32,
}

#[derive(Deserialize)]
struct Marked {
    #[serde(default)]
    delivered_seq: i64,
    #[serde(default)]
    read_seq: i64,
}

async fn act(who: &Who, room: Uuid, act: Act) -> Result<String, Refused> {
    Ok(who.chat().act(who.caller(&topic_of(room)), room, &act, None).await?)
}

/// A page of a room's messages, oldest first.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    get, path = "/chat/v1/rooms/{room}/messages", tag = "chat", operation_id = "chat_page", summary = "A page of a room's messages, oldest first",
    params(
        ("room" = Uuid, Path, description = "The room"),
        ("before" = Option<i64>, Query, description = "Only messages below this seq"),
        ("after" = Option<i64>, Query, description = "Only messages above this seq"),
        ("limit" = Option<i32>, Query, description = "At most this many, up to 100"),
    ),
    responses(
        (status = 200, description = "The messages", body = Object),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn page(who: Who, Path(room): Path<Uuid>) -> Result<Response, Refused> {
    let page = Page {
        before: who.parameter("before")?,
        after: who.parameter("after")?,
        limit: who.parameter("limit")?,
    };
    ok(who.chat().history(who.caller(&topic_of(room)), room, page).await?)
}

/// Send a message; the same id again sends nothing.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    post, path = "/chat/v1/rooms/{room}/messages", tag = "chat", operation_id = "chat_send", summary = "Send a message; the same id again sends nothing",
    params(
        ("room" = Uuid, Path, description = "The room"),
    ),
    request_body(content = crate::http::openapi::ChatMessage, content_type = "application/json"),
    responses(
        (status = 201, description = "The message, or the first one of that id with `duplicate`", body = Object),
        (status = 409, description = "The id is somebody else's message", body = crate::http::openapi::ChatRefusal),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn send(
    who: Who,
    Path(room): Path<Uuid>,
    body: Bytes,
) -> Result<Response, Refused> {
    let Sent { id, content, reply_to } = parse(&body)?;
    let message = act(&who, room, Act::Send { id, content, reply_to }).await?;
    Ok(answer(StatusCode::CREATED, message))
}

/// Change a message's content.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    patch, path = "/chat/v1/rooms/{room}/messages/{message}", tag = "chat", operation_id = "chat_edit", summary = "Change a message's content",
    params(
        ("room" = Uuid, Path, description = "The room"),
        ("message" = Uuid, Path, description = "The message"),
    ),
    request_body(content = crate::http::openapi::ChatEdit, content_type = "application/json"),
    responses(
        (status = 200, description = "The message", body = Object),
        (status = 409, description = "It has another version: `current_version`", body = crate::http::openapi::ChatRefusal),
        (status = 410, description = "The message is deleted", body = crate::http::openapi::ChatRefusal),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn edit(
    who: Who,
    Path((room, id)): Path<(Uuid, Uuid)>,
    body: Bytes,
) -> Result<Response, Refused> {
    let Edited { content, version } = parse(&body)?;
    ok(act(&who, room, Act::Edit { id, content, version }).await?)
}

/// Delete a message; its place stays.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    delete, path = "/chat/v1/rooms/{room}/messages/{message}", tag = "chat", operation_id = "chat_delete", summary = "Delete a message; its place stays",
    params(
        ("room" = Uuid, Path, description = "The room"),
        ("message" = Uuid, Path, description = "The message"),
        ("version" = Option<i32>, Query, description = "Only if it has this version"),
    ),
    responses(
        (status = 200, description = "The message", body = Object),
        (status = 409, description = "It has another version: `current_version`", body = crate::http::openapi::ChatRefusal),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn delete(
    who: Who,
    Path((room, id)): Path<(Uuid, Uuid)>,
) -> Result<Response, Refused> {
    let version = who.parameter("version")?;
    ok(act(&who, room, Act::Delete { id, version }).await?)
}

/// React to a message.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    put, path = "/chat/v1/rooms/{room}/messages/{message}/reactions/{emoji}", tag = "chat", operation_id = "chat_react", summary = "React to a message",
    params(
        ("room" = Uuid, Path, description = "The room"),
        ("message" = Uuid, Path, description = "The message"),
        ("emoji" = String, Path, description = "The reaction"),
    ),
    responses(
        (status = 200, description = "Done", body = Object),
        (status = 410, description = "The message is deleted", body = crate::http::openapi::ChatRefusal),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn react(
    who: Who,
    Path((room, id, emoji)): Path<(Uuid, Uuid, String)>,
) -> Result<Response, Refused> {
    ok(act(&who, room, Act::React { id, emoji }).await?)
}

/// Take a reaction back.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    delete, path = "/chat/v1/rooms/{room}/messages/{message}/reactions/{emoji}", tag = "chat", operation_id = "chat_unreact", summary = "Take a reaction back",
    params(
        ("room" = Uuid, Path, description = "The room"),
        ("message" = Uuid, Path, description = "The message"),
        ("emoji" = String, Path, description = "The reaction"),
    ),
    responses(
        (status = 200, description = "Done", body = Object),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn unreact(
    who: Who,
    Path((room, id, emoji)): Path<(Uuid, Uuid, String)>,
) -> Result<Response, Refused> {
    ok(act(&who, room, Act::Unreact { id, emoji }).await?)
}

/// Who has and who has seen a message.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    get, path = "/chat/v1/rooms/{room}/messages/{message}/receipts", tag = "chat", operation_id = "chat_receipts", summary = "Who has and who has seen a message",
    params(
        ("room" = Uuid, Path, description = "The room"),
        ("message" = Uuid, Path, description = "The message"),
    ),
    responses(
        (status = 200, description = "The receipts", body = Object),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn receipts(
    who: Who,
    Path((room, message)): Path<(Uuid, Uuid)>,
) -> Result<Response, Refused> {
    ok(who.chat().receipts_of(who.caller(&topic_of(room)), room, message).await?)
}

/// Say how far the caller has come; written with others after a moment.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    post, path = "/chat/v1/rooms/{room}/read", tag = "chat", operation_id = "chat_mark", summary = "Say how far the caller has come; written with others after a moment",
    params(
        ("room" = Uuid, Path, description = "The room"),
    ),
    request_body(content = crate::http::openapi::ChatCursors, content_type = "application/json"),
    responses(
        (status = 200, description = "Both cursors as they are now", body = Object),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn mark(
    who: Who,
    Path(room): Path<Uuid>,
    body: Bytes,
) -> Result<Response, Refused> {
    let Marked { delivered_seq, read_seq } = parse(&body)?;
    if (delivered_seq, read_seq) == (0, 0) {
        return Err(ChatError::bad_request("Give delivered_seq, read_seq or both.").into());
    }
    let mark = Mark { delivered: delivered_seq, read: read_seq }.checked()?;
    let marker = Marker { claims: who.claims.clone(), headers: who.headers.clone() };
    ok(who.chat().mark(room, mark, marker, None).await?.to_string())
}

/// What changed in a room since a seq and a rev.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    get, path = "/chat/v1/rooms/{room}/resume", tag = "chat", operation_id = "chat_resume", summary = "What changed in a room since a seq and a rev",
    params(
        ("room" = Uuid, Path, description = "The room"),
        ("seq" = Option<i64>, Query, description = "The last seq that the caller has"),
        ("rev" = Option<i64>, Query, description = "The last rev that the caller has"),
        ("limit" = Option<i32>, Query, description = "At most this many, up to 1000"),
    ),
    responses(
        (status = 200, description = "The messages that changed; `limited` if there are more", body = Object),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn resume(who: Who, Path(room): Path<Uuid>) -> Result<Response, Refused> {
    let since = (who.parameter("seq")?, who.parameter("rev")?);
    let limit = who.parameter("limit")?;
    ok(who.chat().resume(who.caller(&topic_of(room)), room, since, limit).await?)
}
