//! What sockets count.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use crate::{
    error_code::ErrorCode,
    telemetry::{Counts, Registry, TenantLabel, tenant_label},
};

/// Counters of sockets and channels, by tenant.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    connections: Family<TenantLabel, Gauge>,
    joins: Family<TenantLabel, Counter>,
    events: Family<TenantLabel, Counter>,
    presence_events: Family<TenantLabel, Counter>,
    input_bytes: Family<TenantLabel, Counter>,
    output_bytes: Family<TenantLabel, Counter>,
    errors: Counts<Code>,
    slow: Family<TenantLabel, Counter>,
    dropped: Family<TenantLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    tenant: String,
    code: &'static str,
}

/// One tenant's counters, looked up once.
#[derive(Debug, Clone)]
pub struct TenantMetrics {
    /// Open sockets.
    pub connections: Gauge,
    /// Successful joins.
    pub joins: Counter,
    /// Broadcasts accepted and delivered.
    pub events: Counter,
    /// Presence messages accepted and delivered.
    pub presence_events: Counter,
    /// Bytes received.
    pub input_bytes: Counter,
    /// Bytes sent.
    pub output_bytes: Counter,
    /// Sockets closed because their client read too slowly.
    pub slow: Counter,
    /// Messages of clients dropped because too many waited for the database.
    pub dropped: Counter,
    errors: Counts<Code>,
    tenant: String,
}

impl Metrics {
    /// Metrics that `registry` exposes.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let mut add = |name: &str, help: &str, family: &Family<TenantLabel, Counter>| {
            registry.register(format!("realtime_channel_{name}"), help, family.clone());
        };
        add("joins", "Successful joins", &metrics.joins);
        add("events", "Broadcasts accepted and delivered", &metrics.events);
        add(
            "presence_events",
            "Presence messages accepted and delivered",
            &metrics.presence_events,
        );
        add("input_bytes", "Bytes received from sockets", &metrics.input_bytes);
        add("output_bytes", "Bytes sent to sockets", &metrics.output_bytes);
        add("slow_closes", "Sockets closed because their client read too slowly", &metrics.slow);
        let help = "Messages of clients dropped because too many waited for the database";
        add("dropped", help, &metrics.dropped);
        registry.register("realtime_channel_error", "Refusals, by code", metrics.errors.family());
        registry.register(
            "realtime_connections_connected",
            "Open sockets",
            metrics.connections.clone(),
        );
        metrics
    }

    /// The counters of one tenant.
    pub fn tenant(&self, name: &str) -> TenantMetrics {
        let label = tenant_label(name);
        TenantMetrics {
            connections: self.connections.get_or_create_owned(&label),
            joins: self.joins.get_or_create_owned(&label),
            events: self.events.get_or_create_owned(&label),
            presence_events: self.presence_events.get_or_create_owned(&label),
            input_bytes: self.input_bytes.get_or_create_owned(&label),
            output_bytes: self.output_bytes.get_or_create_owned(&label),
            slow: self.slow.get_or_create_owned(&label),
            dropped: self.dropped.get_or_create_owned(&label),
            errors: self.errors.clone(),
            tenant: name.to_owned(),
        }
    }

    /// Removes the series of a tenant that is served no more.
    pub fn remove(&self, name: &str) {
        let label = tenant_label(name);
        self.connections.remove(&label);
        for family in [
            &self.joins,
            &self.events,
            &self.presence_events,
            &self.input_bytes,
            &self.output_bytes,
            &self.slow,
            &self.dropped,
        ] {
            family.remove(&label);
        }
        self.errors.remove(name);
    }
}

impl TenantMetrics {
    /// Counts a refusal.
    pub fn error(&self, code: ErrorCode) {
        let label = Code { tenant: self.tenant.clone(), code: code.as_str() };
        self.errors.add(&self.tenant, label, 1);
    }
}
