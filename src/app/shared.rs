//! What all tenants of a server have in common.

use std::sync::Arc;

use super::cluster::Nodes;
use crate::{
    broadcast::DatabaseMetrics,
    chat,
    cluster::redis::Unusable,
    config::{ListenSettings, Settings},
    postgres_changes, replication,
    runtime::Stages,
    session::{self, Waves},
    telemetry::{Registry, series::Payloads},
    tenants::{self, janitor},
};

/// The parts that there are once, whoever is served.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) nodes: Nodes,
    pub(super) families: Families,
    pub(super) waves: Arc<Waves>,
    pub(super) stages: Stages,
}

/// The metrics of everything that a tenant has.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) sockets: session::Metrics,
    pub(super) broadcasts: DatabaseMetrics,
    pub(super) changes: postgres_changes::Metrics,
    pub(super) chat: chat::Metrics,
    pub(super) streams: replication::Metrics,
    pub(super) janitors: janitor::Metrics,
    pub(super) tenants: tenants::metrics::Metrics,
}

impl Shared {
    /// Builds it, and connects to other servers if there may be any.
    pub(super) fn build(
        settings: &Settings,
        registry: &mut Registry,
        stages: &Stages,
    ) -> Result<Self, Unusable> {
        Ok(Self {
            nodes: Nodes::connect(&settings.cluster, registry, stages)?,
            families: Families::register(registry),
            waves: Arc::new(waves(&settings.listen)),
            stages: stages.clone(),
        })
    }
}

impl Families {
    fn register(registry: &mut Registry) -> Self {
        let payloads = Payloads::register(registry);
        Self {
            sockets: session::Metrics::register(registry, &payloads),
            broadcasts: DatabaseMetrics::register(registry),
            changes: postgres_changes::Metrics::register(registry, &payloads),
            chat: chat::Metrics::register(registry),
            streams: replication::Metrics::register(registry),
            janitors: janitor::Metrics::register(registry),
            tenants: tenants::metrics::Metrics::register(registry),
        }
    }

    /// Removes the series of a tenant that is served no more.
    pub(super) fn remove(&self, tenant: &str) {
        let Self { sockets, broadcasts, changes, chat, streams, janitors, .. } = self;
        sockets.remove(tenant);
        broadcasts.remove(tenant);
        changes.remove(tenant);
        chat.remove(tenant);
        streams.remove(tenant);
        janitors.remove(tenant);
    }
}

/// Sockets close early enough for what follows to end in time.
fn waves(settings: &ListenSettings) -> Waves {
    Waves::new(settings.drain_window.min(settings.drain_timeout / 2))
}
