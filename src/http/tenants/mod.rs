//! The admin API, as far as one tenant needs it: read it, change its limits,
//! ask how it is, send its sockets away.
//!
//! Changes are kept in memory: a restart goes back to the settings. Tenants are
//! neither made nor deleted here, and secrets and the database come from the
//! settings alone.

mod record;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::{self, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header::LOCATION},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    postgres::pool::Pool, replication::status::Handle, runtime::clock, session::Services,
    tenants::Terms,
};

use self::record::Record;
use super::{
    State,
    error::{self, ApiError},
    metrics::Guard,
};

/// The database may take this long to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// What operators may ask about and change.
#[derive(Debug)]
pub struct Admin {
    guard: Guard,
    pool: Pool,
    stream: Handle,
    id: Uuid,
    since: String,
    defaults: Terms,
    record: Mutex<Record>,
}

impl Admin {
    /// The API of one tenant for those whom `guard` admits. `terms` are those
    /// of the settings; `pool` and `stream` lead to its database.
    pub fn new(guard: Guard, terms: Terms, pool: Pool, stream: Handle) -> Self {
        let (id, since) = (Uuid::new_v4(), clock::iso8601(clock::unix_time()));
        Self {
            guard,
            pool,
            stream,
            id,
            since,
            defaults: terms,
            record: Mutex::new(Record::new(terms)),
        }
    }

    fn resource(&self, name: &str, record: &Record) -> Value {
        let mut fields = record.resource();
        fields.insert("id".to_owned(), json!(self.id));
        fields.insert("external_id".to_owned(), json!(name));
        fields.insert("name".to_owned(), json!(name));
        fields.insert("inserted_at".to_owned(), json!(self.since));
        fields.insert("extensions".to_owned(), json!([]));
        Value::Object(fields)
    }

    fn record(&self) -> Record {
        *self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn database_answers(&self) -> bool {
        let lease = tokio::time::timeout(PATIENCE, Box::pin(self.pool.checkout())).await;
        match lease {
            Ok(Ok(lease)) => lease.simple_query("").await.is_ok(),
            // Busy is alive.
            Ok(Err(_)) | Err(_) => self.pool.in_use() > 0,
        }
    }
}

/// The routes below `/api/tenants`.
pub(super) fn routes(state: Arc<State>) -> Router<Arc<State>> {
    Router::new()
        .route("/tenants", get(list))
        .route("/tenants/{id}", get(show).put(change).patch(change))
        .route("/tenants/{id}/reload", post(reload))
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

fn find<'a>(state: &'a State, id: &str) -> Result<&'a Arc<Services>, ApiError> {
    state.directory.named(id).ok_or(ApiError::NoSuchResource)
}

/// `GET /api/tenants`: all of them.
#[utoipa::path(
    get, path = "/api/tenants", tag = "tenants", summary = "List the tenants",
    responses((status = 200, description = "All tenants"), (status = 403, description = "No operator's token")),
    security(("operator" = [])),
)]
pub(super) async fn list(extract::State(state): extract::State<Arc<State>>) -> Response {
    let (admin, name) = (&state.admin, state.directory.name());
    let all = json!({ "data": [admin.resource(name, &admin.record())] });
    error::json(StatusCode::OK, &all)
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
    let name = &find(&state, &id)?.tenant.name;
    let body = json!({ "data": state.admin.resource(name, &state.admin.record()) });
    Ok(error::json(StatusCode::OK, &body))
}

/// `PUT` or `PATCH /api/tenants/{id}`: changes what is sent and nothing else.
#[utoipa::path(
    put, path = "/api/tenants/{id}", tag = "tenants", summary = "Change a tenant",
    description = "Fields that are not sent stay; null goes back to the server's settings. Changes last until the server restarts.",
    params(("id" = String, Path, description = "The tenant's `external_id`")),
    request_body = crate::http::openapi::TenantChange,
    responses(
        (status = 200, description = "The tenant afterwards", body = crate::http::openapi::TenantAnswer),
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
    let (services, admin) = (find(&state, &id)?, &state.admin);
    let body: Value = serde_json::from_slice(&body).map_err(|_| ApiError::BadRequest)?;
    let changes = body
        .get("tenant")
        .and_then(Value::as_object)
        .ok_or_else(|| ApiError::Fields(json!({ "tenant": ["can't be blank"] })))?;
    let record = {
        let mut record = admin.record.lock().unwrap_or_else(PoisonError::into_inner);
        *record = record
            .changed(changes, &admin.defaults)
            .map_err(|faults| ApiError::Fields(Value::Object(faults)))?;
        // Under the lock, so that of two changes the last one is in force.
        services.tenant.change(record.terms);
        *record
    };
    tracing::info!(tenant = %id, fields = ?changes.keys().collect::<Vec<_>>(), "tenant changed");
    let body = json!({ "data": admin.resource(&services.tenant.name, &record) });
    let mut response = error::json(StatusCode::OK, &body);
    let location = HeaderValue::from_str(&format!("/api/tenants/{}", admin.id));
    response.headers_mut().extend(location.ok().map(|location| (LOCATION, location)));
    Ok(response)
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
    find(&state, &id)?.tenant.disconnect_all();
    tracing::info!(tenant = %id, "tenant reloaded");
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/tenants/{id}/health`. The tenant's own clients may ask too: health
/// checks of containers come with their public key.
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
    let services = match state.directory.named(&id) {
        Some(services) if guard.admits_client(&headers, &services.tenant) => services,
        None if guard.admits(&headers) => return Err(ApiError::NoSuchResource),
        _ => return Err(ApiError::Forbidden),
    };
    let connected = state.admin.database_answers().await;
    let body = json!({ "data": {
        "healthy": connected,
        "db_connected": connected,
        "replication_connected": connected && state.admin.stream.is_live(),
        "connected_cluster": services.tenant.meters.all_users(),
        "region": "local",
        "node": "local",
    }});
    Ok(error::json(StatusCode::OK, &body))
}
