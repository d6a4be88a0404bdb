//! The bus to other nodes, where there may be any, and who hears what of it.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    broadcast::Remote,
    chat::{self, Status},
    cluster::{
        self, Envelope, Handler, Metrics,
        envelope::Kind,
        redis::{Redis, Tls, Unusable},
    },
    config::ClusterSettings,
    hub::topics::Hub,
    presence::Tracker,
    replication::{self, Handle, Worker, relay, sink::ChangeSink},
    runtime::{Drain, Stages},
    telemetry::Registry,
    tenants::{Tenant, census::Census},
};

/// What connects this node to others.
#[derive(Debug)]
pub(super) struct Nodes {
    pub(super) hub: Arc<Hub>,
    pub(super) presence: Arc<Tracker>,
    bus: Option<Arc<Redis>>,
    /// How one node reads databases for all; absent if each reads for itself.
    relay: Option<relay::Config>,
    incoming: Arc<Incoming>,
}

impl Nodes {
    /// The hub and the presence on it, connected to other nodes.
    pub(super) fn connect(
        settings: &ClusterSettings,
        registry: &mut Registry,
        stages: &Stages,
    ) -> Result<Self, Unusable> {
        let Some(url) = &settings.redis_url else {
            let hub = Arc::new(Hub::new());
            let presence = Arc::new(Tracker::new(Arc::clone(&hub)));
            let incoming = Arc::new(Incoming::new(Arc::clone(&presence)));
            return Ok(Self { hub, presence, bus: None, relay: None, incoming });
        };
        let config = cluster::redis::Config {
            prefix: settings.redis_prefix.clone(),
            tls: Tls { ca: settings.redis_ca.clone(), own: settings.redis_certificate.clone() },
            ..Default::default()
        };
        let bus = Redis::new(url.expose(), config, Metrics::register(registry))?;
        let hub = Arc::new(Hub::with_bus(Arc::clone(&bus) as _));
        let presence = Arc::new(Tracker::new(Arc::clone(&hub)));
        let incoming = Arc::new(Incoming::new(Arc::clone(&presence)));
        bus.start(Arc::clone(&incoming) as _, &stages.ground);
        presence.start(&stages.ground);
        let relay =
            settings.shares_changes.then_some(relay::Config { log_bytes: settings.log_bytes });
        Ok(Self { hub, presence, bus: Some(bus), relay, incoming })
    }

    /// What other nodes say of a tenant is heard from now on. Returns the
    /// statuses of its chat.
    pub(super) fn admit(
        &self,
        tenant: &Arc<Tenant>,
        chat: &chat::Config,
        ground: &Drain,
    ) -> Arc<Status> {
        let Some(bus) = &self.bus else {
            return Arc::new(Status::new(chat, Arc::clone(&tenant.name), None));
        };
        let status = Status::new(chat, Arc::clone(&tenant.name), Some(Arc::clone(bus) as _));
        let status = Arc::new(status);
        let census = Arc::new(Census::new(Arc::clone(tenant), Arc::clone(bus) as _));
        let ears = Ears {
            tenant: Arc::clone(tenant),
            broadcasts: Remote::new(Arc::clone(tenant), Arc::clone(&self.hub)),
            census: Arc::clone(&census),
            status: Arc::clone(&status),
        };
        self.incoming.admit(ears);
        census.start(ground);
        status
    }

    /// Nothing of this tenant is heard any more.
    #[expect(dead_code, reason = "for servers of many tenants")]
    pub(super) fn dismiss(&self, tenant: &str) {
        self.incoming.dismiss(tenant);
    }

    /// Starts to read a database into a sink, by this node for itself or by
    /// one node for all.
    pub(super) fn read<S: ChangeSink>(
        &self,
        config: replication::Config,
        sink: S,
        stages: &Stages,
        metrics: &replication::Metrics,
    ) -> Handle {
        match (&self.bus, &self.relay) {
            (Some(bus), Some(relay)) => {
                let log = bus.log(&format!("{}/{}", config.tenant, config.slot_name));
                relay::spawn(config, relay.clone(), Arc::new(log), sink, stages, metrics)
            }
            _ => Worker::spawn(config, sink, &stages.ground, metrics),
        }
    }
}

/// Takes what other nodes say to whom it concerns.
#[derive(Debug)]
struct Incoming {
    presence: Arc<Tracker>,
    /// By the tenant's name.
    tenants: RwLock<HashMap<Arc<str>, Arc<Ears>>>,
}

/// Who hears what other nodes say of one tenant.
#[derive(Debug)]
struct Ears {
    tenant: Arc<Tenant>,
    broadcasts: Remote,
    census: Arc<Census>,
    status: Arc<Status>,
}

impl Incoming {
    fn new(presence: Arc<Tracker>) -> Self {
        Self { presence, tenants: RwLock::default() }
    }

    fn admit(&self, ears: Ears) {
        let name = Arc::clone(&ears.tenant.name);
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        tenants.insert(name, Arc::new(ears));
    }

    fn dismiss(&self, tenant: &str) {
        self.tenants.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    fn ears(&self, tenant: &str) -> Option<Arc<Ears>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }
}

impl Handler for Incoming {
    fn receive(&self, envelope: Envelope) {
        match envelope.kind {
            Kind::Json | Kind::UserJson | Kind::UserBytes | Kind::Raw => {
                if let Some(ears) = self.ears(&envelope.key.tenant) {
                    ears.broadcasts.receive(envelope);
                }
            }
            Kind::Users => {
                if let Some(ears) = self.ears(&envelope.event) {
                    ears.census.receive(envelope);
                }
            }
            Kind::Status => {
                if let Some(ears) = self.ears(&envelope.event) {
                    ears.status.receive(envelope);
                }
            }
            Kind::Presence | Kind::Alive => {
                let told = self.presence.receive(&envelope).told;
                if told > 0
                    && let Some(ears) = self.ears(&envelope.key.tenant)
                {
                    ears.tenant.meters.presence_events.record(told);
                }
            }
        }
    }
}
