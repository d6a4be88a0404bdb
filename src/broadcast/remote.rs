//! Broadcasts of other nodes.
//!
//! They were checked and counted where they came in; here each receiver counts.

use std::sync::Arc;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};

use crate::{
    cluster::{Envelope, Handler},
    hub::topics::Hub,
    telemetry::Registry,
    tenants::Tenant,
};

/// Counts broadcasts of other nodes by whether anybody here heard them. Clones
/// share the families.
#[derive(Debug, Clone, Default)]
pub struct RemoteMetrics {
    by_tenant: Family<TenantHit, Counter>,
    all: Family<Hit, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantHit {
    tenant: String,
    hit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Hit {
    hit: &'static str,
}

impl RemoteMetrics {
    /// Adds the families to a registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "realtime_broadcast_fanout_node_delivery",
            "Broadcasts of other servers, by whether anybody here heard them",
            metrics.by_tenant.clone(),
        );
        registry.register(
            "realtime_broadcast_global_fanout_node_delivery",
            "Broadcasts of other servers to all tenants, by whether anybody here heard them",
            metrics.all.clone(),
        );
        metrics
    }

    /// Removes the series of a tenant that is served no more; sums stay.
    pub fn remove(&self, tenant: &str) {
        for hit in ["true", "false"] {
            self.by_tenant.remove(&TenantHit { tenant: tenant.to_owned(), hit });
        }
    }

    fn counters(&self, tenant: &str, is_hit: bool) -> [Counter; 2] {
        let hit = if is_hit { "true" } else { "false" };
        let own = TenantHit { tenant: tenant.to_owned(), hit };
        [self.by_tenant.get_or_create_owned(&own), self.all.get_or_create_owned(&Hit { hit })]
    }
}

/// Hands on what other nodes broadcast within one tenant.
#[derive(Debug)]
pub struct Remote {
    tenant: Arc<Tenant>,
    hub: Arc<Hub>,
    hits: [Counter; 2],
    misses: [Counter; 2],
}

impl Remote {
    /// Broadcasts within `tenant`.
    pub fn new(tenant: Arc<Tenant>, hub: Arc<Hub>, metrics: &RemoteMetrics) -> Self {
        let [hits, misses] = [true, false].map(|hit| metrics.counters(&tenant.name, hit));
        Self { tenant, hub, hits, misses }
    }
}

impl Handler for Remote {
    fn receive(&self, envelope: Envelope) {
        if envelope.key.tenant == self.tenant.name {
            let delivered = self.hub.receive(envelope);
            self.tenant.meters.events.record(delivered);
            let counters = if delivered > 0 { &self.hits } else { &self.misses };
            for counter in counters {
                counter.inc();
            }
        }
    }
}
