//! Numbers about streams, one series per tenant.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::change::Batch;
use crate::telemetry::{TenantLabel, tenant_label};

/// The metric families. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    up: Family<TenantLabel, Gauge>,
    lag: Family<TenantLabel, Gauge>,
    behind: Family<TenantLabel, Gauge<f64, AtomicU64>>,
    last_commit: Family<TenantLabel, Gauge>,
    transactions: Family<TenantLabel, Counter>,
    changes: Family<TenantLabel, Counter>,
    reconnects: Family<TenantLabel, Counter>,
    gaps: Family<TenantLabel, Counter>,
}

/// One tenant's series.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) up: Gauge,
    pub(super) lag: Gauge,
    pub(super) behind: Gauge<f64, AtomicU64>,
    pub(super) last_commit: Gauge,
    pub(super) transactions: Counter,
    pub(super) changes: Counter,
    pub(super) reconnects: Counter,
    pub(super) gaps: Counter,
}

impl Metrics {
    /// Adds the families to a registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "realtime_replication_up",
            "1 while changes stream from the database, otherwise 0",
            metrics.up.clone(),
        );
        registry.register_with_unit(
            "realtime_replication_lag",
            "Log written by the server and not yet confirmed",
            Unit::Bytes,
            metrics.lag.clone(),
        );
        registry.register_with_unit(
            "realtime_replication_lag",
            "How long the oldest log not yet confirmed has waited",
            Unit::Seconds,
            metrics.behind.clone(),
        );
        registry.register_with_unit(
            "realtime_replication_last_commit_timestamp",
            "When the last transaction committed that was handed on, since 1970",
            Unit::Seconds,
            metrics.last_commit.clone(),
        );
        registry.register(
            "realtime_replication_transactions",
            "Transactions handed on, with or without subscribers",
            metrics.transactions.clone(),
        );
        registry.register(
            "realtime_replication_changes",
            "Row changes handed on, with or without subscribers",
            metrics.changes.clone(),
        );
        registry.register(
            "realtime_replication_reconnects",
            "Streams that broke and were started again",
            metrics.reconnects.clone(),
        );
        registry.register(
            "realtime_replication_gaps",
            "Streams that started after changes may have been lost",
            metrics.gaps.clone(),
        );
        metrics
    }

    /// For a stream whose changes are counted where they arrive.
    pub(super) fn without_counts(&self) -> Self {
        let (last_commit, transactions) = (Family::default(), Family::default());
        let (changes, gaps) = (Family::default(), Family::default());
        Self { last_commit, transactions, changes, gaps, ..self.clone() }
    }

    pub(super) fn series(&self, tenant: &str) -> Series {
        let labels = tenant_label(tenant);
        Series {
            up: self.up.get_or_create_owned(&labels),
            lag: self.lag.get_or_create_owned(&labels),
            behind: self.behind.get_or_create_owned(&labels),
            last_commit: self.last_commit.get_or_create_owned(&labels),
            transactions: self.transactions.get_or_create_owned(&labels),
            changes: self.changes.get_or_create_owned(&labels),
            reconnects: self.reconnects.get_or_create_owned(&labels),
            gaps: self.gaps.get_or_create_owned(&labels),
        }
    }

    /// Removes the series of a tenant that is served no more.
    pub fn remove(&self, tenant: &str) {
        let labels = tenant_label(tenant);
        for family in [&self.up, &self.lag, &self.last_commit] {
            family.remove(&labels);
        }
        self.behind.remove(&labels);
        for family in [&self.transactions, &self.changes, &self.reconnects, &self.gaps] {
            family.remove(&labels);
        }
    }
}

impl Series {
    /// Counts what a sink has taken.
    pub(super) fn handed_on(&self, batches: &[Batch]) {
        for batch in batches {
            self.changes.inc_by(batch.changes.len() as u64);
            if batch.is_last {
                self.transactions.inc();
                self.last_commit.set(batch.committed_at / 1_000_000);
            }
        }
    }
}
