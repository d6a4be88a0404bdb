//! `/metrics`: Prometheus text, for holders of the metrics token. And what the
//! doors count.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    extract,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

use crate::{
    auth::{Keys, jwt},
    protocol::Vsn,
    runtime::clock,
    session::metrics::ENDPOINT,
    telemetry::Registry,
    tenants::Tenant,
};

use super::{State, error::ApiError};

/// What the doors count, under the names that Supabase Realtime has from its
/// own framework. Clones share the numbers.
#[derive(Debug, Clone)]
pub struct DoorMetrics {
    /// Connections that were ever open.
    pub(super) accepted: Counter,
    /// Connections open now.
    pub(super) active: Gauge,
    /// Most connections.
    pub(super) most: Gauge,
    upgrades: Family<Upgrade, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Upgrade {
    result: &'static str,
    transport: &'static str,
    endpoint: &'static str,
    serializer: &'static str,
}

impl Default for DoorMetrics {
    fn default() -> Self {
        let bounds = || Histogram::new([1.0, 10.0, 100.0, 500.0, 1000.0, 5000.0, 10_000.0]);
        Self {
            accepted: Counter::default(),
            active: Gauge::default(),
            most: Gauge::default(),
            upgrades: Family::new_with_constructor(bounds as fn() -> Histogram),
        }
    }
}

impl DoorMetrics {
    /// Adds the numbers to a registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let (accepted, active) = (metrics.accepted.clone(), metrics.active.clone());
        registry.register("phoenix_connections", "Connections that were accepted", accepted);
        registry.register("phoenix_connections_active", "Open connections", active);
        let most = metrics.most.clone();
        registry.register("phoenix_connections_max", "Most connections at a time", most);
        registry.register(
            "phoenix_socket_connected_duration_milliseconds",
            "Milliseconds until a socket was accepted or refused, without the pause after a refusal",
            metrics.upgrades.clone(),
        );
        metrics
    }

    /// Counts an upgrade that was answered; `vsn` is known if it was accepted.
    pub(super) fn upgraded(&self, vsn: Option<Vsn>, took: Duration) {
        let [(_, endpoint)] = ENDPOINT;
        let (result, serializer) = match vsn {
            Some(Vsn::V1) => ("ok", "1.0.0"),
            Some(Vsn::V2) => ("ok", "2.0.0"),
            None => ("error", "unknown"),
        };
        let upgrade = Upgrade { result, transport: "websocket", endpoint, serializer };
        self.upgrades.get_or_create(&upgrade).observe(took.as_secs_f64() * 1000.0);
    }
}

/// The page and who may read it.
pub struct MetricsPage {
    registry: Registry,
    guard: Guard,
}

/// Accepts operators' tokens.
pub struct Guard {
    keys: Vec<Keys>,
    refused: Vec<String>,
}

impl Guard {
    /// Accepts tokens signed with any of `secrets`, except those `refused`.
    pub fn new(secrets: &[&str], refused: &[&str]) -> Self {
        let keys =
            secrets.iter().map(|secret| Keys::new(Some(secret), None, serde_json::Map::new()));
        let refused = refused.iter().map(|token| jwt::clean(token)).collect();
        Self { keys: keys.collect(), refused }
    }

    /// Whether a request may pass.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let now = clock::unix_seconds();
        self.token(headers).is_some_and(|token| {
            self.keys.iter().any(|keys| keys.verify_operator(&token, now).is_ok())
        })
    }

    /// Whether a request may pass that clients of `tenant` may make too.
    pub fn admits_client(&self, headers: &HeaderMap, tenant: &Tenant) -> bool {
        self.admits(headers)
            || self.token(headers).is_some_and(|token| tenant.verify(&token).is_ok())
    }

    /// A request's token, unless it is refused.
    fn token(&self, headers: &HeaderMap) -> Option<String> {
        let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let token = jwt::clean(authorization.strip_prefix("Bearer ")?);
        (!self.refused.contains(&token)).then_some(token)
    }
}

impl fmt::Debug for Guard {
    // Even refused tokens stay out of logs: another server may accept them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("refused", &self.refused.len()).finish_non_exhaustive()
    }
}

impl MetricsPage {
    /// A page of everything in `registry`.
    pub fn new(registry: Registry, guard: Guard) -> Self {
        Self { registry, guard }
    }
}

impl fmt::Debug for MetricsPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsPage").field("guard", &self.guard).finish_non_exhaustive()
    }
}

/// Counters that Supabase Realtime gives no `_total`; dashboards know them so.
const BARE: [&str; 7] =
    ["joins", "events", "presence_events", "db_events", "input_bytes", "output_bytes", "error"];

/// The page with the names that dashboards know: the library appends `_total`
/// to every counter.
fn as_named(page: &str) -> String {
    let mut named = String::with_capacity(page.len());
    for line in page.split_inclusive('\n') {
        let parts =
            line.strip_prefix("realtime_channel_").and_then(|rest| rest.split_once("_total"));
        match parts {
            Some((name, rest)) if BARE.contains(&name.trim_start_matches("global_")) => {
                named.extend(["realtime_channel_", name, rest]);
            }
            _ => named.push_str(line),
        }
    }
    named
}

/// `GET /metrics`.
///
/// # Errors
///
/// [`ApiError::Forbidden`] without an accepted token.
pub async fn page(
    extract::State(state): extract::State<Arc<State>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if !state.metrics.guard.admits(&headers) {
        return Err(ApiError::Forbidden);
    }
    let mut body = String::new();
    // Writing to a string cannot fail.
    let _ = text::encode(&mut body, &state.metrics.registry);
    let mut response = as_named(&body).into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_the_names_that_dashboards_know() {
        let page = "# TYPE realtime_channel_joins counter\n\
                    realtime_channel_joins_total{tenant=\"a_total\"} 1\n\
                    realtime_channel_global_error_total{code=\"x\"} 2\n\
                    realtime_channel_slow_closes_total{tenant=\"t\"} 3\n";
        let named = "# TYPE realtime_channel_joins counter\n\
                     realtime_channel_joins{tenant=\"a_total\"} 1\n\
                     realtime_channel_global_error{code=\"x\"} 2\n\
                     realtime_channel_slow_closes_total{tenant=\"t\"} 3\n";
        assert_eq!(as_named(page), named);
    }
}
