//! Numbers about broadcasts of the database and the table they are kept in.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, histogram::Histogram},
};

use crate::telemetry::{Counts, Registry, TenantLabel, tenant_label};

/// The metric families. Clones share them.
#[derive(Debug, Clone)]
pub struct DatabaseMetrics {
    latency: Family<TenantLabel, Histogram>,
    since_insert: Family<TenantLabel, Histogram>,
    replay: Family<TenantLabel, Histogram>,
    dropped: Counts<Reason>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    tenant: String,
    reason: &'static str,
}

/// One tenant's series.
#[derive(Debug, Clone)]
pub struct DatabaseSeries {
    tenant: String,
    latency: Histogram,
    since_insert: Histogram,
    replay: Histogram,
    dropped: Counts<Reason>,
}

impl DatabaseMetrics {
    /// Adds the families to a registry.
    pub fn register(registry: &mut Registry) -> Self {
        let latency =
            || Histogram::new([2.0, 5.0, 10.0, 25.0, 100.0, 250.0, 1000.0, 5000.0, 15_000.0]);
        let metrics = Self {
            latency: Family::new_with_constructor(latency as fn() -> Histogram),
            since_insert: Family::new_with_constructor(latency as fn() -> Histogram),
            replay: Family::new_with_constructor(latency as fn() -> Histogram),
            dropped: Counts::default(),
        };
        registry.register(
            "realtime_tenants_broadcast_from_database_latency_committed_at",
            "Milliseconds from the commit of a message to its delivery",
            metrics.latency.clone(),
        );
        registry.register(
            "realtime_tenants_broadcast_from_database_latency_inserted_at",
            "Milliseconds from the insertion of a message to its delivery",
            metrics.since_insert.clone(),
        );
        registry.register(
            "realtime_tenants_replay",
            "Milliseconds to read the messages of a replay",
            metrics.replay.clone(),
        );
        registry.register(
            "realtime_broadcast_from_database_dropped",
            "Messages of the database that were not delivered, by reason",
            metrics.dropped.family(),
        );
        metrics
    }

    /// The series of one tenant.
    pub fn tenant(&self, name: &str) -> DatabaseSeries {
        let label = tenant_label(name);
        DatabaseSeries {
            latency: self.latency.get_or_create_owned(&label),
            since_insert: self.since_insert.get_or_create_owned(&label),
            replay: self.replay.get_or_create_owned(&label),
            dropped: self.dropped.clone(),
            tenant: name.to_owned(),
        }
    }

    /// Removes the series of a tenant that is served no more.
    pub fn remove(&self, name: &str) {
        let label = tenant_label(name);
        self.latency.remove(&label);
        self.since_insert.remove(&label);
        self.replay.remove(&label);
        self.dropped.remove(name);
    }
}

impl DatabaseSeries {
    /// Counts a message that committed so long ago, and was inserted so long ago.
    pub(super) fn sent(&self, age: Duration, since_insert: Option<Duration>) {
        self.latency.observe(age.as_secs_f64() * 1000.0);
        if let Some(since) = since_insert {
            self.since_insert.observe(since.as_secs_f64() * 1000.0);
        }
    }

    pub(super) fn replayed(&self, took: Duration) {
        self.replay.observe(took.as_secs_f64() * 1000.0);
    }

    pub(super) fn dropped(&self, reason: &'static str, rows: u64) {
        let label = Reason { tenant: self.tenant.clone(), reason };
        self.dropped.add(&self.tenant, label, rows);
    }
}
