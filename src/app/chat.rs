//! The chat's databases: the tenant's alone, or shards, each with its own pool,
//! stream and janitor.

use std::sync::Arc;

use super::{
    build::{janitor as upkeep, pool_of, stream},
    shared::Shared,
};
use crate::{
    authorization::{self, Authorizer},
    chat::{self, Chat, Pushes, Shards, Status},
    config::Settings,
    hub::topics::Hub,
    postgres::pool::Pool,
    replication::{self, Publication},
    runtime::{Drain, Stages},
    session::{Policies, TenantMetrics},
    tenants::{Tenant, janitor},
};

/// The chat and who is asked about its rooms.
#[derive(Debug)]
pub(super) struct Rooms {
    pub(super) chat: Chat,
    /// By shard; empty for the tenant's database alone.
    authorizers: Vec<Authorizer>,
}

impl Rooms {
    pub(super) fn open(
        settings: &Settings,
        hub: &Arc<Hub>,
        tenant: &Arc<Tenant>,
        drain: &Drain,
        metrics: &chat::Metrics,
        pool: &Pool,
        status: Arc<Status>,
    ) -> Self {
        let size = settings.database.pool_size;
        let pools: Vec<Pool> =
            settings.chat_shards.iter().map(|connect| pool_of(settings, connect, size)).collect();
        let authorizers = pools
            .iter()
            .map(|pool| Authorizer::new(pool.clone(), authorization::Config::default()))
            .collect();
        let shards = match pools.is_empty() {
            true => Shards::one(pool.clone()),
            false => Shards::spread(pools),
        };
        let series = metrics.tenant(&tenant.name);
        let (hub, tenant) = (Arc::clone(hub), Arc::clone(tenant));
        let chat = Chat::new(settings.chat, shards, hub, tenant, drain.clone(), series, status);
        Self { chat, authorizers }
    }

    /// What the tenant's stream tells of rooms, if they are there.
    pub(super) fn pushes(&self) -> Option<Pushes> {
        self.authorizers.is_empty().then(|| Pushes::new(self.chat.clone(), 0))
    }

    /// Starts what each shard has of its own.
    pub(super) fn stream(&self, settings: &Settings, shared: &Shared, stages: &Stages) {
        if settings.chat.mode == chat::Mode::Off {
            return;
        }
        for (shard, connect) in settings.chat_shards.iter().enumerate() {
            let whose = format!("{}/chat-{shard}", settings.tenant.name);
            let slot_name = chat::slot_name(&settings.replication.slot_name, shard);
            let publication = settings.replication.publication.as_str();
            let config = replication::Config {
                tenant: whose.clone(),
                connect: connect.clone(),
                slot_name,
                publications: vec![Publication::of_the_user(publication)],
                ..stream(settings)
            };
            let sink = Pushes::new(self.chat.clone(), shard);
            shared.nodes.read(config, sink, stages, &shared.families.streams);
            if let Some(config) = upkeep(settings) {
                let config = janitor::Config { connect: connect.clone(), tenant: whose, ..config };
                let handle = janitor::Handle::default();
                janitor::spawn(config, &handle, &stages.work, &shared.families.janitors);
            }
        }
    }

    pub(super) fn policies(&self, tenant: Authorizer, metrics: TenantMetrics) -> Policies {
        Policies::new(tenant, self.authorizers.clone(), self.chat.clone(), metrics)
    }
}
