//! The admin API: tenants are listed, read, made, changed, deleted, and asked how
//! they are.
//!
//! What it does depends on where tenants come from: see [`Operator`]. Here is
//! only HTTP: who may call, and what is answered.

mod one;
mod record;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::{self, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header::LOCATION},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};

pub use self::one::{One, answers};
use super::{
    State,
    error::{self, ApiError},
    metrics::Guard,
};
use crate::tenants::Tenant;

/// What operators may do, and who they are.
#[derive(Debug)]
pub struct Admin {
    guard: Guard,
    operator: Arc<dyn Operator>,
}

/// Does what operators ask for. [`One`] does it for the tenant of the settings;
/// where there are many it is implemented above.
pub trait Operator: fmt::Debug + Send + Sync {
    /// The tenant of that name, if it is served now.
    fn tenant(&self, id: &str) -> Option<Arc<Tenant>>;
    /// All tenants.
    fn list(&self) -> Doing<'_, Vec<Value>>;
    /// The tenant of that name; [`Trouble::Unknown`] if there is none.
    fn show<'a>(&'a self, id: &'a str) -> Doing<'a, Value>;
    /// Makes a tenant or changes it, as the body of a request says; `id` is the
    /// one that the path names.
    fn put<'a>(&'a self, id: Option<&'a str>, body: &'a Value) -> Doing<'a, Stored>;
    /// Deletes a tenant, if it is there.
    fn delete<'a>(&'a self, id: &'a str) -> Doing<'a, ()>;
    /// Sends all sockets of a tenant away and begins anew with everything.
    fn reload<'a>(&'a self, id: &'a str) -> Doing<'a, ()>;
    /// Closes the connections to a tenant's database until somebody joins.
    fn shutdown<'a>(&'a self, id: &'a str) -> Doing<'a, ()>;
    /// How a tenant is.
    fn health<'a>(&'a self, id: &'a str) -> Doing<'a, Health>;
}

/// Something that is being done.
pub type Doing<'a, T> = BoxFuture<'a, Result<T, Trouble>>;

/// Why it is not done.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// There is no such tenant.
    #[error("no such tenant")]
    Unknown,
    /// This server does not do that.
    #[error("not where there is one tenant")]
    NotHere,
    /// Some fields are wrong; nothing was changed.
    #[error("some fields are wrong")]
    Invalid(Map<String, Value>),
    /// It was stored, but its database is not ready.
    #[error("{0}")]
    NotReady(String),
    /// Tenants cannot be looked up now.
    #[error("tenants cannot be looked up now")]
    Unavailable,
    /// Something else went wrong, and is in the log.
    #[error("it failed")]
    Failed,
}

/// A tenant that was stored.
#[derive(Debug)]
pub struct Stored {
    /// As operators see it.
    pub resource: Value,
    /// It is new.
    pub created: bool,
}

/// How a tenant is.
#[derive(Debug, Clone, Copy)]
pub struct Health {
    /// Nothing is wrong that anybody would notice.
    pub healthy: bool,
    /// Its database answers.
    pub connected: bool,
    /// Changes of the database flow.
    pub streaming: bool,
    /// Users on all servers.
    pub users: usize,
}

impl Admin {
    /// The API for those whom `guard` admits.
    pub fn new(guard: Guard, operator: Arc<dyn Operator>) -> Self {
        Self { guard, operator }
    }
}

impl From<Trouble> for ApiError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unknown => Self::NoSuchResource,
            Trouble::NotHere => Self::NotFound,
            Trouble::Invalid(fields) => Self::Fields(Value::Object(fields)),
            Trouble::NotReady(why) => Self::Fields(json!({ "database": [why] })),
            Trouble::Unavailable => Self::Unavailable,
            Trouble::Failed => Self::Internal,
        }
    }
}

/// The routes below `/api/tenants`.
pub(super) fn routes(state: Arc<State>) -> Router<Arc<State>> {
    Router::new()
        .route("/tenants", get(list).post(create))
        .route("/tenants/{id}", get(show).put(change).patch(change).delete(delete))
        .route("/tenants/{id}/reload", post(reload))
        .route("/tenants/{id}/shutdown", post(shutdown))
        .layer(middleware::from_fn_with_state(state, admit))
        .route("/tenants/{id}/health", get(health))
        .method_not_allowed_fallback(|| async { ApiError::NotFound })
}

/// Operators only.
async fn admit(
    extract::State(state): extract::State<Arc<State>>,
    request: Request,
    next: Next,
) -> Response {
    if state.admin.guard.admits(request.headers()) {
        next.run(request).await
    } else {
        ApiError::Forbidden.into_response()
    }
}

type Answer = Result<Response, ApiError>;
type Id = extract::Path<String>;

/// `GET /api/tenants`: all of them.
#[utoipa::path(
    get, path = "/api/tenants", tag = "tenants", summary = "List the tenants",
    responses((status = 200, description = "All tenants"), (status = 403, description = "No operator's token")),
    security(("operator" = [])),
)]
pub(super) async fn list(extract::State(state): extract::State<Arc<State>>) -> Answer {
    let all = state.admin.operator.list().await?;
    Ok(error::json(StatusCode::OK, &json!({ "data": all })))
}

/// `GET /api/tenants/{id}`.
#[utoipa::path(
    get, path = "/api/tenants/{id}", tag = "tenants", summary = "Read a tenant",
    params(("id" = String, Path, description = "The tenant's `external_id`")),
    responses(
        (status = 200, description = "The tenant", body = crate::http::openapi::TenantAnswer),
        (status = 403, description = "No operator's token"),
        (status = 404, description = "No such tenant", body = crate::http::openapi::Message),
    ),
    security(("operator" = [])),
)]
pub(super) async fn show(
    extract::State(state): extract::State<Arc<State>>,
    extract::Path(id): Id,
) -> Answer {
    let resource = state.admin.operator.show(&id).await?;
    Ok(error::json(StatusCode::OK, &json!({ "data": resource })))
}

/// `POST /api/tenants`: makes a tenant, or changes the one of that `external_id`.
#[utoipa::path(
    post, path = "/api/tenants", tag = "tenants", summary = "Make a tenant",
    description = "Where tenants come from a database; changes the tenant if there is one of that `external_id`.",
    request_body = crate::http::openapi::TenantChange,
    responses(
        (status = 200, description = "The tenant afterwards", body = crate::http::openapi::TenantAnswer),
        (status = 201, description = "The new tenant", body = crate::http::openapi::TenantAnswer),
        (status = 403, description = "No operator's token"),
        (status = 404, description = "This server has one tenant"),
        (status = 422, description = "Some fields are wrong, or the tenant was stored and its database is not ready", body = crate::http::openapi::Errors),
    ),
    security(("operator" = [])),
)]
pub(super) async fn create(
    extract::State(state): extract::State<Arc<State>>,
    body: Bytes,
) -> Answer {
    put(&state, None, &body).await
}

/// `PUT` or `PATCH /api/tenants/{id}`: changes what is sent and nothing else.
#[utoipa::path(
    put, path = "/api/tenants/{id}", tag = "tenants", summary = "Change a tenant",
    description = "Fields that are not sent stay; null goes back to the server's settings. Where tenants come from a database the tenant is made if it is not there; otherwise changes last until the server restarts.",
    params(("id" = String, Path, description = "The tenant's `external_id`")),
    request_body = crate::http::openapi::TenantChange,
    responses(
        (status = 200, description = "The tenant afterwards", body = crate::http::openapi::TenantAnswer),
        (status = 201, description = "The new tenant", body = crate::http::openapi::TenantAnswer),
        (status = 403, description = "No operator's token"),
        (status = 404, description = "No such tenant", body = crate::http::openapi::Message),
        (status = 422, description = "Some fields are wrong; nothing was changed", body = crate::http::openapi::Errors),
    ),
    security(("operator" = [])),
)]
pub(super) async fn change(
    extract::State(state): extract::State<Arc<State>>,
    extract::Path(id): Id,
    body: Bytes,
) -> Answer {
    put(&state, Some(&id), &body).await
}

async fn put(state: &State, id: Option<&str>, body: &Bytes) -> Answer {
    let body: Value = serde_json::from_slice(body).map_err(|_| ApiError::BadRequest)?;
    let Stored { resource, created } = state.admin.operator.put(id, &body).await?;
    let location = resource.get("id").and_then(Value::as_str).unwrap_or_default();
    let location = HeaderValue::from_str(&format!("/api/tenants/{location}"));
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = error::json(status, &json!({ "data": resource }));
    response.headers_mut().extend(location.ok().map(|location| (LOCATION, location)));
    Ok(response)
}

/// `DELETE /api/tenants/{id}`.
#[utoipa::path(
    delete, path = "/api/tenants/{id}", tag = "tenants", summary = "Delete a tenant",
    description = "Where tenants come from a database. Its sockets are closed and its replication slot is dropped; what is in its database stays.",
    params(("id" = String, Path, description = "The tenant's `external_id`")),
    responses(
        (status = 204, description = "It is not there any more"),
        (status = 403, description = "No operator's token"),
        (status = 404, description = "This server has one tenant"),
    ),
    security(("operator" = [])),
)]
pub(super) async fn delete(
    extract::State(state): extract::State<Arc<State>>,
    extract::Path(id): Id,
) -> Result<StatusCode, ApiError> {
    state.admin.operator.delete(&id).await?;
    tracing::info!(tenant = %id, "tenant deleted");
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/tenants/{id}/reload`: sockets go and come back.
#[utoipa::path(
    post, path = "/api/tenants/{id}/reload", tag = "tenants", summary = "Disconnect all sockets",
    params(("id" = String, Path, description = "The tenant's `external_id`")),
    responses(
        (status = 204, description = "Done"),
        (status = 403, description = "No operator's token"),
        (status = 404, description = "No such tenant", body = crate::http::openapi::Message),
    ),
    security(("operator" = [])),
)]
pub(super) async fn reload(
    extract::State(state): extract::State<Arc<State>>,
    extract::Path(id): Id,
) -> Result<StatusCode, ApiError> {
    state.admin.operator.reload(&id).await?;
    tracing::info!(tenant = %id, "tenant reloaded");
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/tenants/{id}/shutdown`: the database is left alone until somebody joins.
#[utoipa::path(
    post, path = "/api/tenants/{id}/shutdown", tag = "tenants", summary = "Disconnect from the database",
    description = "Sockets stay; the next join connects again. Changes that commit meanwhile are not delivered.",
    params(("id" = String, Path, description = "The tenant's `external_id`")),
    responses(
        (status = 204, description = "Done"),
        (status = 403, description = "No operator's token"),
        (status = 404, description = "No such tenant", body = crate::http::openapi::Message),
    ),
    security(("operator" = [])),
)]
pub(super) async fn shutdown(
    extract::State(state): extract::State<Arc<State>>,
    extract::Path(id): Id,
) -> Result<StatusCode, ApiError> {
    state.admin.operator.shutdown(&id).await?;
    tracing::info!(tenant = %id, "tenant disconnected from its database");
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/tenants/{id}/health`. The clients of a tenant that is served may ask
/// too: health checks of containers come with their public key.
#[utoipa::path(
    get, path = "/api/tenants/{id}/health", tag = "tenants", summary = "Whether a tenant is served",
    params(("id" = String, Path, description = "The tenant's `external_id`")),
    responses(
        (status = 200, description = "How it is"),
        (status = 403, description = "Neither an operator's token nor one of the tenant's clients"),
        (status = 404, description = "No such tenant", body = crate::http::openapi::Message),
    ),
    security(("operator" = [])),
)]
pub(super) async fn health(
    extract::State(state): extract::State<Arc<State>>,
    extract::Path(id): Id,
    headers: HeaderMap,
) -> Answer {
    let guard = &state.admin.guard;
    let may = match state.admin.operator.tenant(&id) {
        Some(tenant) => guard.admits_client(&headers, &tenant),
        None => guard.admits(&headers),
    };
    if !may {
        return Err(ApiError::Forbidden);
    }
    let Health { healthy, connected, streaming, users } = state.admin.operator.health(&id).await?;
    let body = json!({ "data": {
        "healthy": healthy,
        "db_connected": connected,
        "replication_connected": streaming,
        "connected_cluster": users,
        "region": "local",
        "node": "local",
    }});
    Ok(error::json(StatusCode::OK, &body))
}
