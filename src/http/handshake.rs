//! Who may open a WebSocket: the checks before the upgrade, in their order.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use axum::http::{HeaderMap, StatusCode, Uri};

use crate::{
    error_code::ErrorCode,
    protocol::Vsn,
    secret::Secret,
    session::{Credentials, Services, token},
};

use super::directory::{Absent, Directory};

/// An upgrade that may go ahead.
#[derive(Debug)]
pub struct Accepted {
    /// The tenant's services.
    pub services: Arc<Services>,
    /// The serializer.
    pub vsn: Vsn,
    /// Who opens it.
    pub credentials: Credentials,
}

/// An upgrade that may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Nobody speaks the version: 403 with an empty body.
    Version,
    /// Anything else: `{"error": text}`, after a pause.
    Because {
        /// HTTP status.
        status: StatusCode,
        /// What the client is told.
        text: Cow<'static, str>,
        /// For logs and metrics.
        code: ErrorCode,
    },
}

/// Checks a request: version, tenant, token, limits. Waits only for the keys of
/// a token that names one not seen before.
///
/// # Errors
///
/// [`Refused`] at the first check that fails.
pub async fn check(
    directory: &Directory,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Accepted, Refused> {
    let query = uri.query().unwrap_or_default();
    let vsn = Vsn::parse(parameter(query, "vsn").as_deref()).ok_or(Refused::Version)?;
    let services = Box::pin(directory.find(headers)).await.map_err(absent)?;
    let terms = services.tenant.terms();
    if terms.suspended {
        return Err(absent(Absent::Suspended));
    }
    let token = token(query, headers).ok_or(because(
        StatusCode::UNAUTHORIZED,
        "API key is missing",
        ErrorCode::MissingAPIKey,
    ))?;
    let tenant = &services.tenant;
    tenant.verify_or_refresh(&token).await.map_err(|error| {
        let (status, text, code) = token::upgrade_refusal(&error);
        because(StatusCode::from_u16(status).unwrap_or(StatusCode::UNAUTHORIZED), text, code)
    })?;
    if tenant.meters.all_users() >= terms.limits.max_concurrent_users {
        let (text, code) = ("Too many connected users", ErrorCode::ConnectionRateLimitReached);
        return Err(because(StatusCode::TOO_MANY_REQUESTS, text, code));
    }
    if tenant.meters.joins.is_tripped() {
        let (text, code) = ("Too many joins per second", ErrorCode::JoinsRateLimitReached);
        return Err(because(StatusCode::TOO_MANY_REQUESTS, text, code));
    }
    let credentials =
        Credentials { token: Secret::new(token), headers: Secret::new(extra(headers)) };
    Ok(Accepted { services, vsn, credentials })
}

/// The `x-*` headers as a JSON object: all that policies see of the upgrade.
fn extra(headers: &HeaderMap) -> Arc<str> {
    let mut object = serde_json::Map::new();
    for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with("x-")) {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        object.insert(name.as_str().to_owned(), value.into());
    }
    if object.is_empty() {
        // Nearly every socket: share one.
        static NONE: LazyLock<Arc<str>> = LazyLock::new(|| "{}".into());
        return Arc::clone(&NONE);
    }
    serde_json::Value::Object(object).to_string().into()
}

fn absent(absent: Absent) -> Refused {
    let (status, text, code) = match absent {
        Absent::Unknown => (StatusCode::NOT_FOUND, "Tenant not found", ErrorCode::TenantNotFound),
        Absent::Suspended => (
            StatusCode::FORBIDDEN,
            "Realtime was disabled for this tenant",
            ErrorCode::RealtimeDisabledForTenant,
        ),
        Absent::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The tenant cannot be served now, please try again",
            ErrorCode::UnableToConnectToProject,
        ),
    };
    because(status, text, code)
}

fn because(status: StatusCode, text: impl Into<Cow<'static, str>>, code: ErrorCode) -> Refused {
    Refused::Because { status, text: text.into(), code }
}

/// The token: the header wins, even if it is useless.
fn token(query: &str, headers: &HeaderMap) -> Option<String> {
    match headers.get("x-api-key") {
        Some(value) => Some(String::from_utf8_lossy(value.as_bytes()).into_owned()),
        None => parameter(query, "apikey"),
    }
}

/// The first value of a parameter of a query.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_wins_over_the_query() {
        let mut headers = HeaderMap::new();
        assert_eq!(token("apikey=q&vsn=2.0.0", &headers).as_deref(), Some("q"));
        assert_eq!(token("apikey=", &headers).as_deref(), Some(""));
        assert_eq!(token("vsn=2.0.0", &headers), None);
        headers.insert("x-api-key", "h".parse().unwrap());
        assert_eq!(token("apikey=q", &headers).as_deref(), Some("h"));
    }
}
