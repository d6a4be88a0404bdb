//! The API's description, at `/api/openapi`, and a page that shows it, at
//! `/swaggerui/`. Both are part of the program: nothing is loaded from elsewhere.
//!
//! The types here exist for the description alone; what is sent is read and
//! written where it is handled.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use axum::{
    extract,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Redirect, Response},
};
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::{
        Components,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_swagger_ui::Config;

use crate::error_code::ErrorCode;

use super::{
    broadcast::{batch, single},
    chat,
    error::ApiError,
    health, tenants,
};

/// Everything described.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Realtime API",
        description = "Broadcasts over HTTP, and the administration of a tenant. Sockets are at `/socket/websocket`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/"), (url = "/realtime/v1", description = "As through a gateway; without `/api/tenants`")),
    paths(
        batch::send_all, single::send_one, health::ping,
        tenants::list, tenants::show, tenants::create, tenants::change, tenants::delete,
        tenants::reload, tenants::shutdown, tenants::health,
        chat::rooms::list,
        chat::rooms::create,
        chat::rooms::show,
        chat::rooms::join,
        chat::rooms::leave,
        chat::rooms::invite,
        chat::rooms::remove,
        chat::rooms::members,
        chat::messages::page,
        chat::messages::send,
        chat::messages::edit,
        chat::messages::delete,
        chat::messages::react,
        chat::messages::unreact,
        chat::messages::receipts,
        chat::messages::mark,
        chat::messages::resume,
        chat::users::statuses,
    ),
    modifiers(&Tokens),
)]
struct Api;

struct Tokens;

impl Modify for Tokens {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let components = api.components.get_or_insert_with(Components::new);
        let bearer = |text| {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
            SecurityScheme::Http(scheme.description(Some(text)).build())
        };
        let apikey = ApiKeyValue::with_description("apikey", "The same token in another header");
        let apikey = SecurityScheme::ApiKey(ApiKey::Header(apikey));
        components.add_security_scheme("token", bearer("A token of the tenant's"));
        components.add_security_scheme("apikey", apikey);
        components.add_security_scheme("operator", bearer("A token signed with `API_JWT_SECRET`"));
    }
}

/// Messages to send.
#[derive(Debug, ToSchema)]
pub struct Batch {
    /// At least one.
    pub messages: Vec<BatchMessage>,
}

/// One message of a batch.
#[derive(Debug, ToSchema)]
pub struct BatchMessage {
    /// The topic without `realtime:`.
    pub topic: String,
    /// The event's name.
    pub event: String,
    /// What receivers get.
    #[schema(value_type = Object)]
    pub payload: serde_json::Value,
    /// Send to the private topic of that name.
    #[schema(default = false)]
    pub private: Option<bool>,
    /// Receivers get it as `meta.id`.
    pub id: Option<String>,
}

/// A sentence.
#[derive(Debug, ToSchema)]
pub struct Message {
    /// The sentence.
    pub message: String,
}

/// What is wrong, by field.
#[derive(Debug, ToSchema)]
pub struct Errors {
    /// Each field with its faults.
    #[schema(value_type = Object)]
    pub errors: BTreeMap<String, Vec<String>>,
}

/// Why a call of the chat was not met.
#[derive(Debug, ToSchema)]
pub struct ChatRefusal {
    /// For programs: `bad_request`, `unauthorized`, `forbidden`, `not_found`, `conflict`,
    /// `deleted`, `too_large`, `rate_limited` or `unavailable`.
    pub code: String,
    /// For people.
    pub message: String,
    /// The message's version, with `conflict`.
    pub current_version: Option<i64>,
}

/// A room to make.
#[derive(Debug, ToSchema)]
pub struct ChatRoom {
    /// Made, if it is not given.
    pub id: Option<uuid::Uuid>,
    /// What it is called.
    pub name: String,
    /// `private` or `public`.
    #[schema(default = "private")]
    pub visibility: Option<String>,
    /// Who is in it from the start, beside the caller.
    pub members: Option<Vec<uuid::Uuid>>,
}

/// Somebody to bring into a room.
#[derive(Debug, ToSchema)]
pub struct ChatInvitation {
    /// Who.
    pub user_id: uuid::Uuid,
    /// How others see them.
    pub name: Option<String>,
    /// `admin` or `member`.
    #[schema(default = "member")]
    pub role: Option<String>,
}

/// A message to send.
#[derive(Debug, ToSchema)]
pub struct ChatMessage {
    /// Chosen by the caller.
    pub id: uuid::Uuid,
    /// What it says.
    pub content: String,
    /// The message it answers.
    pub reply_to: Option<uuid::Uuid>,
}

/// Another content of a message.
#[derive(Debug, ToSchema)]
pub struct ChatEdit {
    /// What it is to say.
    pub content: String,
    /// The version that is replaced.
    pub version: i32,
}

/// How far the caller has come; at least one of them.
#[derive(Debug, ToSchema)]
pub struct ChatCursors {
    /// The last seq that a client has.
    pub delivered_seq: Option<i64>,
    /// The last seq that was seen.
    pub read_seq: Option<i64>,
}

/// A change of a tenant.
#[derive(Debug, ToSchema)]
pub struct TenantChange {
    /// The fields to change.
    pub tenant: TenantFields,
}

/// What can be changed; null means the server's setting.
#[derive(Debug, ToSchema)]
pub struct TenantFields {
    /// Sockets that have joined a channel, counted until they close.
    pub max_concurrent_users: Option<u64>,
    /// Broadcasts, changes and requests, each counted for itself.
    pub max_events_per_second: Option<u64>,
    /// Joins of all clients.
    pub max_joins_per_second: Option<u64>,
    /// Channels of one socket.
    pub max_channels_per_client: Option<u64>,
    /// Presence messages of all clients.
    pub max_presence_events_per_second: Option<u64>,
    /// Largest payload, in units of 1000 bytes.
    pub max_payload_size_in_kb: Option<u64>,
    /// Presence messages of one channel in each window.
    pub max_client_presence_events_per_window: Option<u32>,
    /// Length of that window.
    pub client_presence_window_ms: Option<u64>,
    /// Presence in channels that did not ask for it.
    pub presence_enabled: Option<bool>,
    /// Refuse public channels; a change disconnects all sockets.
    pub private_only: Option<bool>,
    /// Refuse everything; a change disconnects all sockets.
    pub suspend: Option<bool>,
}

/// A tenant.
#[derive(Debug, ToSchema)]
pub struct TenantAnswer {
    /// Its fields.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}

/// `GET /api/openapi`.
pub async fn document() -> Response {
    static JSON: LazyLock<String> = LazyLock::new(|| Api::openapi().to_json().unwrap_or_default());
    let mut response = JSON.as_str().into_response();
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// `GET /swaggerui`: its files are relative to a folder.
pub async fn to_page() -> Redirect {
    Redirect::permanent("/swaggerui/")
}

/// `GET /swaggerui/`.
pub async fn page() -> Response {
    file("")
}

/// `GET /swaggerui/{*file}`.
pub async fn page_file(extract::Path(path): extract::Path<String>) -> Response {
    file(&path)
}

fn file(path: &str) -> Response {
    static CONFIG: LazyLock<Arc<Config<'_>>> =
        LazyLock::new(|| Arc::new(Config::from("/api/openapi").validator_url("none")));
    let found = utoipa_swagger_ui::serve(path, Arc::clone(&CONFIG));
    match found {
        Ok(Some(file)) => {
            let kind = HeaderValue::from_str(&file.content_type).ok();
            let mut response = file.bytes.into_owned().into_response();
            if let Some(kind) = kind {
                response.headers_mut().insert(CONTENT_TYPE, kind);
            }
            response
        }
        Ok(None) => ApiError::NotFound.into_response(),
        Err(error) => {
            tracing::warn!(
                code = %ErrorCode::HttpServerError, %error,
                "cannot show the API's description"
            );
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_has_every_route_and_the_page_its_files() {
        let api = Api::openapi();
        let paths: Vec<&str> = api.paths.paths.keys().map(String::as_str).collect();
        let (chat, paths): (Vec<&str>, Vec<&str>) =
            paths.into_iter().partition(|path| path.starts_with("/chat/v1/"));
        assert_eq!(chat.len(), 13, "{chat:?}");
        assert_eq!(
            paths,
            [
                "/api/broadcast",
                "/api/broadcast/{topic}/events/{event}",
                "/api/ping",
                "/api/tenants",
                "/api/tenants/{id}",
                "/api/tenants/{id}/health",
                "/api/tenants/{id}/reload",
                "/api/tenants/{id}/shutdown",
            ]
        );
        for path in ["", "swagger-ui.css", "swagger-ui-bundle.js", "swagger-initializer.js"] {
            assert_eq!(file(path).status(), StatusCode::OK, "{path}");
        }
        assert_eq!(file("none").status(), StatusCode::NOT_FOUND);
    }
}
