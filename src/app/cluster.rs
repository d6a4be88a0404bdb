//! The bus to other nodes, where there may be any, and who hears what of it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::{
    broadcast::{Remote, RemoteMetrics},
    chat::{self, Status},
    cluster::{
        self, Bus as _, Envelope, Handler, Metrics,
        envelope::Kind,
        redis::{Redis, Tls, Unusable},
    },
    config::ClusterSettings,
    error_code::ErrorCode,
    hub::topics::Hub,
    presence::Tracker,
    replication::{self, Handle, Worker, relay, sink::ChangeSink},
    runtime::{Drain, Stages},
    telemetry::Registry,
    tenants::{Tenant, census::Census},
    topic::{Key, Topic},
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
    news: Mutex<Option<mpsc::Receiver<News>>>,
    remotes: RemoteMetrics,
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
            let (sender, news) = news();
            let incoming = Arc::new(Incoming::new(Arc::clone(&presence), sender));
            let remotes = RemoteMetrics::default();
            return Ok(Self { hub, presence, bus: None, relay: None, incoming, news, remotes });
        };
        let config = cluster::redis::Config {
            prefix: settings.redis_prefix.clone(),
            tls: Tls { ca: settings.redis_ca.clone(), own: settings.redis_certificate.clone() },
            ..Default::default()
        };
        let bus = Redis::new(url.expose(), config, Metrics::register(registry))?;
        let hub = Arc::new(Hub::with_bus(Arc::clone(&bus) as _));
        let presence = Arc::new(Tracker::new(Arc::clone(&hub)));
        let (sender, news) = news();
        let incoming = Arc::new(Incoming::new(Arc::clone(&presence), sender));
        bus.start(Arc::clone(&incoming) as _, &stages.ground);
        presence.start(&stages.ground);
        let relay =
            settings.shares_changes.then_some(relay::Config { log_bytes: settings.log_bytes });
        let remotes = RemoteMetrics::register(registry);
        Ok(Self { hub, presence, bus: Some(bus), relay, incoming, news, remotes })
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
            broadcasts: Remote::new(Arc::clone(tenant), Arc::clone(&self.hub), &self.remotes),
            census: Arc::clone(&census),
            status: Arc::clone(&status),
        };
        self.incoming.admit(ears);
        census.start(ground);
        status
    }

    /// What other nodes say has become of tenants, and whether the bus is up;
    /// for the first who asks, and only where there are other nodes.
    pub(super) fn news(&self) -> Option<(mpsc::Receiver<News>, watch::Receiver<bool>)> {
        let bus = self.bus.as_ref()?;
        let news = self.news.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        bus.interest().enter(&tenants()?);
        Some((news, bus.interest().link()))
    }

    /// Says what has become of a tenant.
    pub(super) fn tell(&self, tenant: &str, word: &str) {
        let (Some(bus), Some(key)) = (&self.bus, tenants()) else { return };
        let (event, meta) = (tenant.to_owned(), word.to_owned());
        let payload = Bytes::new();
        let node = bus.node();
        let envelope = Envelope { node, key, kind: Kind::Tenant, event, meta, payload };
        if let Err(error) = bus.publish(&envelope) {
            tracing::warn!(code = %ErrorCode::RealtimeNodeDisconnected, %error, tenant, word, "other servers were not told of a tenant");
        }
    }

    /// Nothing of this tenant is heard any more.
    pub(super) fn dismiss(&self, tenant: &str) {
        self.incoming.dismiss(tenant);
        self.remotes.remove(tenant);
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

/// News that wait to be taken.
const MOST_NEWS: usize = 1024;

fn news() -> (mpsc::Sender<News>, Mutex<Option<mpsc::Receiver<News>>>) {
    let (sender, receiver) = mpsc::channel(MOST_NEWS);
    (sender, Mutex::new(Some(receiver)))
}

/// Where news of tenants are told. No tenant has an empty name.
fn tenants() -> Option<Key> {
    let topic = Topic::from_sub_topic("tenants").ok()?;
    Some(Key { tenant: Arc::from(""), private: true, topic })
}

/// Takes what other nodes say to whom it concerns.
#[derive(Debug)]
struct Incoming {
    presence: Arc<Tracker>,
    /// By the tenant's name.
    tenants: RwLock<HashMap<Arc<str>, Arc<Ears>>>,
    news: mpsc::Sender<News>,
}

/// A tenant and what other nodes say has become of it.
pub(super) type News = (Arc<str>, String);

/// Who hears what other nodes say of one tenant.
#[derive(Debug)]
struct Ears {
    tenant: Arc<Tenant>,
    broadcasts: Remote,
    census: Arc<Census>,
    status: Arc<Status>,
}

impl Incoming {
    fn new(presence: Arc<Tracker>, news: mpsc::Sender<News>) -> Self {
        Self { presence, tenants: RwLock::default(), news }
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
            Kind::Tenant => {
                let news = (Arc::from(envelope.event), envelope.meta);
                // Whoever is too late finds out when a record is looked up again.
                let _ = self.news.try_send(news);
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
