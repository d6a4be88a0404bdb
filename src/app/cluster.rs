//! The bus to other nodes, where there may be any.

use std::sync::Arc;

use crate::{
    broadcast::Remote,
    cluster::{
        self, Metrics,
        redis::{Redis, UrlError},
    },
    config::ClusterSettings,
    hub::topics::Hub,
    runtime::Drain,
    telemetry::Registry,
    tenants::Tenant,
};

/// The hub, and what connects it to other nodes.
pub(super) fn hub(
    settings: &ClusterSettings,
    tenant: &Arc<Tenant>,
    registry: &mut Registry,
    drain: &Drain,
) -> Result<Arc<Hub>, UrlError> {
    let Some(url) = &settings.redis_url else { return Ok(Arc::new(Hub::new())) };
    let config =
        cluster::redis::Config { prefix: settings.redis_prefix.clone(), ..Default::default() };
    let bus = Redis::new(url.expose(), config, Metrics::register(registry))?;
    let hub = Arc::new(Hub::with_bus(Arc::clone(&bus) as _));
    bus.start(Arc::new(Remote::new(Arc::clone(tenant), Arc::clone(&hub))), drain);
    Ok(hub)
}
