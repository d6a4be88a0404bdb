//! The bus to other nodes, where there may be any.

use std::sync::Arc;

use crate::{
    broadcast::Remote,
    cluster::{
        self, Envelope, Handler, Metrics,
        envelope::Kind,
        redis::{Redis, UrlError},
    },
    config::ClusterSettings,
    hub::topics::Hub,
    presence::Tracker,
    runtime::Drain,
    telemetry::Registry,
    tenants::Tenant,
};

/// The hub and the presence on it, connected to other nodes.
pub(super) fn hub(
    settings: &ClusterSettings,
    tenant: &Arc<Tenant>,
    registry: &mut Registry,
    drain: &Drain,
) -> Result<(Arc<Hub>, Arc<Tracker>), UrlError> {
    let Some(url) = &settings.redis_url else {
        let hub = Arc::new(Hub::new());
        return Ok((Arc::clone(&hub), Arc::new(Tracker::new(hub))));
    };
    let config =
        cluster::redis::Config { prefix: settings.redis_prefix.clone(), ..Default::default() };
    let bus = Redis::new(url.expose(), config, Metrics::register(registry))?;
    let hub = Arc::new(Hub::with_bus(Arc::clone(&bus) as _));
    let presence = Arc::new(Tracker::new(Arc::clone(&hub)));
    let broadcasts = Remote::new(Arc::clone(tenant), Arc::clone(&hub));
    let incoming =
        Incoming { tenant: Arc::clone(tenant), broadcasts, presence: Arc::clone(&presence) };
    bus.start(Arc::new(incoming), drain);
    presence.start(drain);
    Ok((hub, presence))
}

/// Takes what other nodes say to whom it concerns.
#[derive(Debug)]
struct Incoming {
    tenant: Arc<Tenant>,
    broadcasts: Remote,
    presence: Arc<Tracker>,
}

impl Handler for Incoming {
    fn receive(&self, envelope: Envelope) {
        match envelope.kind {
            Kind::Json | Kind::UserJson | Kind::UserBytes | Kind::Raw => {
                self.broadcasts.receive(envelope);
            }
            Kind::Presence | Kind::Alive => {
                let told = self.presence.receive(&envelope).told;
                self.tenant.meters.presence_events.record(told);
            }
        }
    }
}
