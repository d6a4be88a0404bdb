//! Users: who is online.

use axum::response::Response;
use uuid::Uuid;

use crate::chat::ChatError;

use super::{Refused, Who, ok};

/// Who is online, among those who share a room with the caller.
///
/// # Errors
///
/// [`Refused`].
#[utoipa::path(
    get, path = "/chat/v1/users/status", tag = "chat", operation_id = "chat_statuses", summary = "Who is online, among those who share a room with the caller",
    params(
        ("ids" = String, Query, description = "Up to 100 users, separated by commas"),
    ),
    responses(
        (status = 200, description = "Their statuses", body = Object),
        Refused,
    ),
    security(("token" = []), ("apikey" = [])),
)]
pub(crate) async fn statuses(who: Who) -> Result<Response, Refused> {
    let ids = who.parameter::<String>("ids")?.unwrap_or_default();
    let ids: Result<Vec<Uuid>, _> =
        ids.split(',').filter(|id| !id.is_empty()).map(str::parse).collect();
    let ids = ids.map_err(|_| ChatError::bad_request("ids are UUIDs separated by commas."))?;
    ok(who.chat().statuses(who.caller(""), &ids).await?)
}
