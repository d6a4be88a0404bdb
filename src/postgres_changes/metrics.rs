//! Numbers about changes, one series per tenant.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{
    runtime::clock,
    telemetry::{
        TenantLabel,
        series::{Kind, Payloads, Sizes, Summed, Twin},
        tenant_label,
    },
};

/// From a millisecond to over half a minute.
const LATENCIES: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// The metric families. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    db_events: Summed,
    subscribers: Family<TenantLabel, Gauge>,
    groups: Family<TenantLabel, Counter>,
    verdicts: Family<TenantLabel, Counter>,
    judging: Family<TenantLabel, Histogram, fn() -> Histogram>,
    payloads: Payloads,
    dropped: Family<TenantLabel, Counter>,
    rows: Family<TenantLabel, Counter>,
    lookups: Family<TenantLabel, Counter>,
    questions: Family<TenantLabel, Counter>,
    latency: Family<TenantLabel, Histogram, fn() -> Histogram>,
}

/// One tenant's series.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// One for each id of a subscription that a change went to.
    pub(super) db_events: Twin,
    /// Channels that are told of changes.
    pub(super) subscribers: Gauge,
    /// Roles with claims whose policies were asked, once for each stretch of rows.
    groups: Counter,
    /// Rows times those.
    verdicts: Counter,
    /// Time to judge the rows that wait together, in seconds.
    judging: Histogram,
    /// Changes as they are sent, in bytes.
    pub(super) sizes: Sizes,
    /// Rows over the tenant's rate that were dropped.
    pub(super) dropped: Counter,
    /// Rows that somebody got.
    pub(super) rows: Counter,
    pub(super) lookups: Counter,
    /// Rounds of questions to PostgreSQL.
    pub(super) questions: Counter,
    /// From the commit to the sockets' queues, in seconds.
    pub(super) latency: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            db_events: Summed::default(),
            subscribers: Family::default(),
            groups: Family::default(),
            verdicts: Family::default(),
            judging: Family::new_with_constructor(|| Histogram::new(LATENCIES)),
            payloads: Payloads::default(),
            dropped: Family::default(),
            rows: Family::default(),
            lookups: Family::default(),
            questions: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCIES)),
        }
    }
}

impl Metrics {
    /// Adds the families to a registry.
    pub fn register(registry: &mut Registry, payloads: &Payloads) -> Self {
        let metrics = Self { payloads: payloads.clone(), ..Self::default() };
        let help = "Database changes delivered, once for each subscription";
        metrics.db_events.register(registry, "db_events", help);
        registry.register(
            "realtime_subscriptions_manager_subscribers",
            "Channels that are told of database changes",
            metrics.subscribers.clone(),
        );
        let mut add = |name: &str, help: &str, family: &Family<TenantLabel, Counter>| {
            registry.register(name, help, family.clone());
        };
        add(
            "realtime_changes_dropped",
            "Rows dropped because the tenant had too many changes a second",
            &metrics.dropped,
        );
        add("realtime_changes_rows", "Rows that were delivered to somebody", &metrics.rows);
        add("realtime_changes_lookups", "Queries about tables and roles", &metrics.lookups);
        add(
            "realtime_changes_questions",
            "Queries for filters that only PostgreSQL can judge",
            &metrics.questions,
        );
        add(
            "realtime_row_security_groups",
            "Roles with claims that row security was asked about, once for rows that wait together",
            &metrics.groups,
        );
        add(
            "realtime_row_security_verdicts",
            "Rows judged by row security, once for each role with claims",
            &metrics.verdicts,
        );
        registry.register_with_unit(
            "realtime_row_security_duration",
            "Time in which row security judged rows that wait together",
            Unit::Seconds,
            metrics.judging.clone(),
        );
        registry.register_with_unit(
            "realtime_changes_latency",
            "From a commit to the queues of its subscribers",
            Unit::Seconds,
            metrics.latency.clone(),
        );
        metrics
    }

    pub(super) fn series(&self, tenant: &str) -> Series {
        let labels = tenant_label(tenant);
        Series {
            db_events: self.db_events.tenant(tenant),
            subscribers: self.subscribers.get_or_create_owned(&labels),
            groups: self.groups.get_or_create_owned(&labels),
            verdicts: self.verdicts.get_or_create_owned(&labels),
            judging: self.judging.get_or_create_owned(&labels),
            sizes: self.payloads.of(tenant, Kind::PostgresChanges),
            dropped: self.dropped.get_or_create_owned(&labels),
            rows: self.rows.get_or_create_owned(&labels),
            lookups: self.lookups.get_or_create_owned(&labels),
            questions: self.questions.get_or_create_owned(&labels),
            latency: self.latency.get_or_create_owned(&labels),
        }
    }

    /// Removes the series of a tenant that is served no more.
    pub fn remove(&self, tenant: &str) {
        let labels = tenant_label(tenant);
        self.db_events.remove(tenant);
        self.subscribers.remove(&labels);
        for family in [
            &self.groups,
            &self.verdicts,
            &self.dropped,
            &self.rows,
            &self.lookups,
            &self.questions,
        ] {
            family.remove(&labels);
        }
        for family in [&self.judging, &self.latency] {
            family.remove(&labels);
        }
        self.payloads.remove(tenant);
    }
}

impl Series {
    /// Counts what row security judged together.
    pub(super) fn judged(&self, (groups, verdicts): (usize, usize), took: Duration) {
        self.groups.inc_by(u64::try_from(groups).unwrap_or(u64::MAX));
        self.verdicts.inc_by(u64::try_from(verdicts).unwrap_or(u64::MAX));
        self.judging.observe(took.as_secs_f64());
    }

    /// Counts a row that went to `ids` subscriptions; it committed at this
    /// many microseconds since 1970.
    pub(super) fn delivered(&self, ids: usize, committed_at: i64) {
        self.rows.inc();
        self.db_events.inc_by(u64::try_from(ids).unwrap_or(u64::MAX));
        let committed = Duration::from_micros(u64::try_from(committed_at).unwrap_or_default());
        // The database's clock may run ahead of ours.
        let latency = clock::unix_time().saturating_sub(committed);
        self.latency.observe(latency.as_secs_f64());
    }
}
