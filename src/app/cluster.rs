//! The bus to other nodes, where there may be any, and who reads the database.

use std::sync::Arc;

use crate::{
    broadcast::{Remote, RemoteMetrics},
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
    runtime::Stages,
    telemetry::Registry,
    tenants::{Tenant, census::Census},
};

/// What connects this node to others.
pub(super) struct Nodes {
    pub(super) hub: Arc<Hub>,
    pub(super) presence: Arc<Tracker>,
    pub(super) status: Arc<Status>,
    pub(super) streams: Streams,
}

/// How databases are read: by this node for itself, or by one node for all.
#[derive(Debug)]
pub(super) struct Streams {
    shared: Option<(Arc<Redis>, relay::Config)>,
    stages: Stages,
    metrics: replication::Metrics,
}

impl Streams {
    /// Starts to read a database into a sink.
    pub(super) fn spawn<S: ChangeSink>(&self, config: replication::Config, sink: S) -> Handle {
        let Self { shared, stages, metrics } = self;
        match shared {
            None => Worker::spawn(config, sink, &stages.ground, metrics),
            Some((bus, relay)) => {
                let log = bus.log(&format!("{}/{}", config.tenant, config.slot_name));
                relay::spawn(config, relay.clone(), Arc::new(log), sink, stages, metrics)
            }
        }
    }
}

/// The hub and the presence on it, connected to other nodes.
pub(super) fn nodes(
    settings: &ClusterSettings,
    chat: &chat::Config,
    tenant: &Arc<Tenant>,
    registry: &mut Registry,
    stages: &Stages,
) -> Result<Nodes, Unusable> {
    let metrics = replication::Metrics::register(registry);
    let mut streams = Streams { shared: None, stages: stages.clone(), metrics };
    let Some(url) = &settings.redis_url else {
        let hub = Arc::new(Hub::new());
        let presence = Arc::new(Tracker::new(Arc::clone(&hub)));
        let status = Arc::new(Status::new(chat, Arc::clone(&tenant.name), None));
        return Ok(Nodes { hub, presence, status, streams });
    };
    let config = cluster::redis::Config {
        prefix: settings.redis_prefix.clone(),
        tls: Tls { ca: settings.redis_ca.clone(), own: settings.redis_certificate.clone() },
        ..Default::default()
    };
    let bus = Redis::new(url.expose(), config, Metrics::register(registry))?;
    let hub = Arc::new(Hub::with_bus(Arc::clone(&bus) as _));
    let presence = Arc::new(Tracker::new(Arc::clone(&hub)));
    let broadcasts =
        Remote::new(Arc::clone(tenant), Arc::clone(&hub), &RemoteMetrics::register(registry));
    let census = Arc::new(Census::new(Arc::clone(tenant), Arc::clone(&bus) as _));
    let status = Status::new(chat, Arc::clone(&tenant.name), Some(Arc::clone(&bus) as _));
    let status = Arc::new(status);
    let incoming = Incoming {
        tenant: Arc::clone(tenant),
        broadcasts,
        presence: Arc::clone(&presence),
        census: Arc::clone(&census),
        status: Arc::clone(&status),
    };
    bus.start(Arc::new(incoming), &stages.ground);
    presence.start(&stages.ground);
    census.start(&stages.ground);
    if settings.shares_changes {
        streams.shared = Some((bus, relay::Config { log_bytes: settings.log_bytes }));
    }
    Ok(Nodes { hub, presence, status, streams })
}

/// Takes what other nodes say to whom it concerns.
#[derive(Debug)]
struct Incoming {
    tenant: Arc<Tenant>,
    broadcasts: Remote,
    presence: Arc<Tracker>,
    census: Arc<Census>,
    status: Arc<Status>,
}

impl Handler for Incoming {
    fn receive(&self, envelope: Envelope) {
        match envelope.kind {
            Kind::Json | Kind::UserJson | Kind::UserBytes | Kind::Raw => {
                self.broadcasts.receive(envelope);
            }
            Kind::Users => self.census.receive(envelope),
            Kind::Status => self.status.receive(envelope),
            Kind::Presence | Kind::Alive => {
                let told = self.presence.receive(&envelope).told;
                self.tenant.meters.presence_events.record(told);
            }
        }
    }
}
