//! Numbers about tenants that are looked up when the page is asked for, and
//! about the installation of their schema.

use std::{
    fmt::Error,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _},
    metrics::{
        MetricType, counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram,
    },
};

use super::{Tenant, migrations::MigrateError};
use crate::telemetry::{Registry, tenant_label};

/// Milliseconds, as Supabase Realtime has them.
const INSTALLATIONS: [f64; 8] = [100.0, 250.0, 500.0, 1e3, 5e3, 15e3, 60e3, 120e3];

/// The numbers. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    served: Arc<Served>,
    migrations: Histogram,
    failures: Family<Failure, Counter>,
}

/// The tenants that are served as long as somebody works for them.
#[derive(Debug, Default)]
struct Served(Mutex<Vec<Weak<Tenant>>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    error_code: String,
}

impl Metrics {
    /// Adds the numbers to a registry.
    pub fn register(registry: &mut Registry) -> Self {
        let served = Arc::<Served>::default();
        registry.register_collector(Box::new(Arc::clone(&served)));
        let (migrations, failures) = (Histogram::new(INSTALLATIONS), Family::default());
        for error_code in ["42501", "55P03"] {
            // Privileges and locks; from 0, so that the first one is seen as an increase.
            failures.get_or_create_owned(&Failure { error_code: error_code.to_owned() });
        }
        registry.register(
            "realtime_tenants_migrations_duration_milliseconds",
            "Milliseconds to install the SQL objects of a tenant, or to see that they are there",
            migrations.clone(),
        );
        registry.register(
            "realtime_tenants_migrations_exceptions",
            "Installations of SQL objects that failed, by SQLSTATE",
            failures.clone(),
        );
        Self { served, migrations, failures }
    }

    /// Counts a tenant until it is dropped.
    pub fn serves(&self, tenant: &Arc<Tenant>) {
        self.served.lock().push(Arc::downgrade(tenant));
    }

    /// Counts an installation that succeeded.
    pub fn migrated(&self, took: Duration) {
        self.migrations.observe(took.as_secs_f64() * 1000.0);
    }

    /// Counts one that failed.
    pub fn not_migrated(&self, error: &MigrateError) {
        let error_code = error.sqlstate().to_owned();
        self.failures.get_or_create(&Failure { error_code }).inc();
    }
}

impl Served {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Tenant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tenants(&self) -> Vec<Arc<Tenant>> {
        let mut served = self.lock();
        served.retain(|tenant| tenant.strong_count() > 0);
        served.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Collector for Served {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let tenants = self.tenants();
        let mut gauge = |name: &str, help: &str, value: usize| {
            let metric = ConstGauge::new(number(value));
            let line = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            metric.encode(line)
        };
        gauge("realtime_tenants_connected", "Tenants served here", tenants.len())?;
        let all = tenants.iter().map(|tenant| tenant.meters.all_users()).sum();
        let help = "Sockets with a joined channel on all servers, of all tenants";
        gauge("realtime_connections_global_connected_cluster", help, all)?;
        if tenants.is_empty() {
            return Ok(());
        }
        let help = "Sockets with a joined channel on all servers";
        let name = "realtime_connections_connected_cluster";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for tenant in tenants {
            let users = ConstGauge::new(number(tenant.meters.all_users()));
            users.encode(family.encode_family(&tenant_label(&tenant.name))?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;
    use crate::{auth::Keys, tenants::Terms};

    #[test]
    fn a_tenant_counts_as_long_as_it_is_served() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let page = |registry: &Registry| {
            let mut page = String::new();
            text::encode(&mut page, registry).unwrap();
            page
        };
        let keys = Keys::new(Some("secret"), None, serde_json::Map::new());
        let tenant = Arc::new(Tenant::new("t", keys, Terms::default()));
        let _seat = tenant.meters.try_seat(5).unwrap();
        metrics.serves(&tenant);
        let before = page(&registry);
        assert!(before.contains("realtime_tenants_connected 1\n"), "{before}");
        let line = "realtime_connections_connected_cluster{tenant=\"t\"} 1\n";
        assert!(before.contains(line), "{before}");
        drop(tenant);
        let after = page(&registry);
        assert!(after.contains("realtime_tenants_connected 0\n"), "{after}");
        assert!(!after.contains("tenant=\"t\""), "{after}");
    }
}
