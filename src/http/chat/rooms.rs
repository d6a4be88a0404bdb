//! Rooms: the caller's own, and who is in them.

use axum::{body::Bytes, extract::Path, http::StatusCode, response::Response};
use uuid::Uuid;

use crate::chat::{Invitation, Members, NewRoom};

use super::{Refused, Who, answer, ok, parse, topic_of};

/// The caller's rooms, newest message first.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    get, path = "/chat/v1/rooms", tag = "chat", operation_id = "chat_list", summary = "The caller's rooms, newest message first",
    params(
        ("before" = Option<String>, Query, description = "The `next` of the page before"),
        ("limit" = Option<i32>, Query, description = "At most this many, up to 100"),
    ),
    responses(
        (status = 200, description = "Done", body = Object),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn list(who: Who) -> Result<Response, Refused> {
    let (before, limit) = (who.parameter::<String>("before")?, who.parameter("limit")?);
    ok(who.chat().rooms(who.caller(""), before.as_deref(), limit).await?)
}

/// Make a room.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    post, path = "/chat/v1/rooms", tag = "chat", operation_id = "chat_create", summary = "Make a room",
    request_body(content = crate::http::openapi::ChatRoom, content_type = "application/json"),
    responses(
        (status = 201, description = "The room", body = Object),
        (status = 409, description = "The id is taken", body = crate::http::openapi::ChatRefusal),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn create(who: Who, body: Bytes) -> Result<Response, Refused> {
    let room: NewRoom = parse(&body)?;
    Ok(answer(StatusCode::CREATED, who.chat().create_room(who.caller(""), &room).await?))
}

/// One room.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    get, path = "/chat/v1/rooms/{room}", tag = "chat", operation_id = "chat_show", summary = "One room",
    params(
        ("room" = Uuid, Path, description = "The room"),
    ),
    responses(
        (status = 200, description = "The room", body = Object),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn show(who: Who, Path(room): Path<Uuid>) -> Result<Response, Refused> {
    ok(who.chat().room(who.caller(&topic_of(room)), room).await?)
}

/// Become a member of a public room.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    post, path = "/chat/v1/rooms/{room}/join", tag = "chat", operation_id = "chat_join", summary = "Become a member of a public room",
    params(
        ("room" = Uuid, Path, description = "The room"),
    ),
    responses(
        (status = 200, description = "Done", body = Object),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn join(who: Who, Path(room): Path<Uuid>) -> Result<Response, Refused> {
    ok(who.chat().join_room(who.caller(&topic_of(room)), room).await?)
}

/// Stop being a member.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    post, path = "/chat/v1/rooms/{room}/leave", tag = "chat", operation_id = "chat_leave", summary = "Stop being a member",
    params(
        ("room" = Uuid, Path, description = "The room"),
    ),
    responses(
        (status = 200, description = "Done", body = Object),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn leave(who: Who, Path(room): Path<Uuid>) -> Result<Response, Refused> {
    ok(who.chat().leave_room(who.caller(&topic_of(room)), room).await?)
}

/// Bring somebody into a room.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    post, path = "/chat/v1/rooms/{room}/members", tag = "chat", operation_id = "chat_invite", summary = "Bring somebody into a room",
    params(
        ("room" = Uuid, Path, description = "The room"),
    ),
    request_body(content = crate::http::openapi::ChatInvitation, content_type = "application/json"),
    responses(
        (status = 201, description = "The member", body = Object),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn invite(
    who: Who,
    Path(room): Path<Uuid>,
    body: Bytes,
) -> Result<Response, Refused> {
    let invitation: Invitation = parse(&body)?;
    let topic = topic_of(room);
    let member = who.chat().invite(who.caller(&topic), room, &invitation).await?;
    Ok(answer(StatusCode::CREATED, member))
}

/// Send somebody away.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    delete, path = "/chat/v1/rooms/{room}/members/{user}", tag = "chat", operation_id = "chat_remove", summary = "Send somebody away",
    params(
        ("room" = Uuid, Path, description = "The room"),
        ("user" = Uuid, Path, description = "The member"),
    ),
    responses(
        (status = 200, description = "Done", body = Object),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn remove(
    who: Who,
    Path((room, user)): Path<(Uuid, Uuid)>,
) -> Result<Response, Refused> {
    ok(who.chat().remove_member(who.caller(&topic_of(room)), room, user).await?)
}

/// Who is in a room.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    get, path = "/chat/v1/rooms/{room}/members", tag = "chat", operation_id = "chat_members", summary = "Who is in a room",
    params(
        ("room" = Uuid, Path, description = "The room"),
        ("prefix" = Option<String>, Query, description = "Only names that begin so"),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
        ("limit" = Option<i32>, Query, description = "At most this many, up to 100"),
    ),
    responses(
        (status = 200, description = "The members", body = Object),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn members(who: Who, Path(room): Path<Uuid>) -> Result<Response, Refused> {
    let (prefix, after) = (who.parameter::<String>("prefix")?, who.parameter::<String>("after")?);
    let wanted = Members {
        prefix: prefix.as_deref(),
        after: after.as_deref(),
        limit: who.parameter("limit")?,
    };
    ok(who.chat().members(who.caller(&topic_of(room)), room, wanted).await?)
}
