//! What sockets count.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Unit,
};

use super::policies::Access;
use crate::{
    error_code::ErrorCode,
    telemetry::{
        Counts, Registry, TenantLabel,
        series::{Kind, Payloads, Sizes, Summed, Twin, milliseconds},
        tenant_label,
    },
};

/// What Supabase Realtime calls its listener; there is one here.
pub const ENDPOINT: Endpoint = [("endpoint", "rowcast")];

type Endpoint = [(&'static str, &'static str); 1];

/// From a frame to what is lost when a slow client is closed.
const QUEUES: [f64; 9] = [256.0, 1e3, 4e3, 16e3, 64e3, 256e3, 1e6, 4e6, 16e6];

/// Milliseconds, as Supabase Realtime has them, with finer ones below.
const HANDLED: [f64; 9] = [0.01, 0.1, 1.0, 10.0, 100.0, 500.0, 1000.0, 5000.0, 10_000.0];

/// Counters of sockets and channels, by tenant.
#[derive(Debug, Clone)]
pub struct Metrics {
    connections: Family<TenantLabel, Gauge>,
    all_connections: Gauge,
    joins: Summed,
    events: Summed,
    presence_events: Summed,
    input_bytes: Summed,
    output_bytes: Summed,
    errors: Counts<Code>,
    all_errors: Family<AnyCode, Counter>,
    slow: Family<TenantLabel, Counter>,
    dropped: Family<TenantLabel, Counter>,
    read_checks: Family<TenantLabel, Histogram, fn() -> Histogram>,
    write_checks: Family<TenantLabel, Histogram, fn() -> Histogram>,
    joined: Family<Joined, Counter>,
    handled: Family<Endpoint, Histogram, fn() -> Histogram>,
    waited: Family<TenantLabel, Histogram, fn() -> Histogram>,
    payloads: Payloads,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    tenant: String,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnyCode {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Joined {
    result: &'static str,
    transport: &'static str,
    endpoint: &'static str,
}

impl Joined {
    fn of(result: &'static str) -> Self {
        let [(_, endpoint)] = ENDPOINT;
        Self { result, transport: "websocket", endpoint }
    }
}

/// One tenant's counters, looked up once.
#[derive(Debug, Clone)]
pub struct TenantMetrics {
    connections: Gauge,
    all_connections: Gauge,
    joins: Twin,
    /// Broadcasts accepted and delivered.
    pub events: Twin,
    /// Presence messages accepted and delivered.
    pub presence_events: Twin,
    /// Bytes received.
    pub input_bytes: Twin,
    /// Bytes sent.
    pub output_bytes: Twin,
    /// Sockets closed because their client read too slowly.
    pub slow: Counter,
    /// Messages of clients dropped because too many waited for the database.
    pub dropped: Counter,
    /// Payloads of broadcasts, in bytes.
    pub broadcasts: Sizes,
    /// What clients say about themselves, in bytes.
    pub presences: Sizes,
    joined: Counter,
    refused: Counter,
    read_checks: Histogram,
    write_checks: Histogram,
    handled: Histogram,
    waited: Histogram,
    errors: Counts<Code>,
    all_errors: Family<AnyCode, Counter>,
    tenant: String,
}

impl Metrics {
    /// Metrics that `registry` exposes.
    pub fn register(registry: &mut Registry, payloads: &Payloads) -> Self {
        let metrics = Self::new(payloads.clone());
        metrics.register_counters(registry);
        metrics.register_histograms(registry);
        metrics
    }

    fn new(payloads: Payloads) -> Self {
        let queues: fn() -> Histogram = || Histogram::new(QUEUES);
        let handled: fn() -> Histogram = || Histogram::new(HANDLED);
        Self {
            connections: Family::default(),
            all_connections: Gauge::default(),
            joins: Summed::default(),
            events: Summed::default(),
            presence_events: Summed::default(),
            input_bytes: Summed::default(),
            output_bytes: Summed::default(),
            errors: Counts::default(),
            all_errors: Family::default(),
            slow: Family::default(),
            dropped: Family::default(),
            read_checks: Family::new_with_constructor(milliseconds),
            write_checks: Family::new_with_constructor(milliseconds),
            joined: Family::default(),
            handled: Family::new_with_constructor(handled),
            waited: Family::new_with_constructor(queues),
            payloads,
        }
    }

    fn register_counters(&self, registry: &mut Registry) {
        let mut add =
            |name: &str, help: &str, family: &Summed| family.register(registry, name, help);
        add("joins", "Successful joins", &self.joins);
        add("events", "Broadcasts accepted and delivered", &self.events);
        add("presence_events", "Presence messages accepted and delivered", &self.presence_events);
        add("input_bytes", "Bytes received from sockets", &self.input_bytes);
        add("output_bytes", "Bytes sent to sockets", &self.output_bytes);
        let mut add = |name: &str, help: &str, family: &Family<TenantLabel, Counter>| {
            registry.register(format!("realtime_channel_{name}"), help, family.clone());
        };
        add("slow_closes", "Sockets closed because their client read too slowly", &self.slow);
        let help = "Messages of clients dropped because too many waited for the database";
        add("dropped", help, &self.dropped);
        let help = "Refusals, by code";
        registry.register("realtime_channel_error", help, self.errors.family());
        let help = "Refusals of all tenants, by code";
        registry.register("realtime_channel_global_error", help, self.all_errors.clone());
        let help = "Open sockets";
        registry.register("realtime_connections_connected", help, self.connections.clone());
        let help = "Open sockets of all tenants";
        let all = self.all_connections.clone();
        registry.register("realtime_connections_global_connected", help, all);
        let help = "Joins that were answered, by result";
        registry.register("phoenix_channel_joined", help, self.joined.clone());
    }

    fn register_histograms(&self, registry: &mut Registry) {
        let help = "Milliseconds until the policies said who may read a topic";
        let name = "realtime_tenants_read_authorization_check";
        registry.register(name, help, self.read_checks.clone());
        let help = "Milliseconds until the policies said who may write to a topic";
        let name = "realtime_tenants_write_authorization_check";
        registry.register(name, help, self.write_checks.clone());
        let help = "Milliseconds of work for a message of a client";
        let name = "phoenix_channel_handled_in_duration_milliseconds";
        registry.register(name, help, self.handled.clone());
        let help = "What had waited in a socket's queue at each write to it";
        let unit = Unit::Bytes;
        registry.register_with_unit("realtime_channel_outbox", help, unit, self.waited.clone());
    }

    /// The counters of one tenant.
    pub fn tenant(&self, name: &str) -> TenantMetrics {
        let label = tenant_label(name);
        TenantMetrics {
            connections: self.connections.get_or_create_owned(&label),
            all_connections: self.all_connections.clone(),
            joins: self.joins.tenant(name),
            events: self.events.tenant(name),
            presence_events: self.presence_events.tenant(name),
            input_bytes: self.input_bytes.tenant(name),
            output_bytes: self.output_bytes.tenant(name),
            slow: self.slow.get_or_create_owned(&label),
            dropped: self.dropped.get_or_create_owned(&label),
            broadcasts: self.payloads.of(name, Kind::Broadcast),
            presences: self.payloads.of(name, Kind::Presence),
            joined: self.joined.get_or_create_owned(&Joined::of("ok")),
            refused: self.joined.get_or_create_owned(&Joined::of("error")),
            read_checks: self.read_checks.get_or_create_owned(&label),
            write_checks: self.write_checks.get_or_create_owned(&label),
            handled: self.handled.get_or_create_owned(&ENDPOINT),
            waited: self.waited.get_or_create_owned(&label),
            errors: self.errors.clone(),
            all_errors: self.all_errors.clone(),
            tenant: name.to_owned(),
        }
    }

    /// Removes the series of a tenant that is served no more; sums stay.
    pub fn remove(&self, name: &str) {
        let label = tenant_label(name);
        self.connections.remove(&label);
        for family in [
            &self.joins,
            &self.events,
            &self.presence_events,
            &self.input_bytes,
            &self.output_bytes,
        ] {
            family.remove(name);
        }
        for family in [&self.slow, &self.dropped] {
            family.remove(&label);
        }
        for family in [&self.read_checks, &self.write_checks, &self.waited] {
            family.remove(&label);
        }
        self.errors.remove(name);
        self.payloads.remove(name);
    }
}

impl TenantMetrics {
    /// Counts a refusal.
    pub fn error(&self, code: ErrorCode) {
        let code = code.as_str();
        self.errors.add(&self.tenant, Code { tenant: self.tenant.clone(), code }, 1);
        self.all_errors.get_or_create(&AnyCode { code }).inc();
    }

    /// Counts a socket that opened.
    pub(super) fn opened(&self) {
        self.connections.inc();
        self.all_connections.inc();
    }

    /// Counts it no longer.
    pub(super) fn closed(&self) {
        self.connections.dec();
        self.all_connections.dec();
    }

    /// Counts a join that succeeded.
    pub(super) fn joined(&self) {
        self.joins.inc();
        self.joined.inc();
    }

    /// Counts a join that did not.
    pub(super) fn refused(&self, code: ErrorCode) {
        self.refused.inc();
        self.error(code);
    }

    /// Counts a question to the policies that was answered.
    pub(super) fn checked(&self, access: Access, took: Duration) {
        let checks = match access {
            Access::Read => &self.read_checks,
            Access::Write => &self.write_checks,
        };
        checks.observe(took.as_secs_f64() * 1000.0);
    }

    /// Counts a message that was handled.
    pub(super) fn handled(&self, took: Duration) {
        self.handled.observe(took.as_secs_f64() * 1000.0);
    }

    /// Counts a batch of so many bytes that is about to be written.
    pub(super) fn sending(&self, bytes: u64) {
        self.output_bytes.inc_by(bytes);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        self.waited.observe(bytes as f64);
    }
}
