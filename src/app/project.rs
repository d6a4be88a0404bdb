//! Everything of one tenant: its database, its streams, what its sockets need.

use std::{sync::Arc, time::Duration};

use super::{
    AppError,
    build::{changes, pool_of, sockets, tenant},
    chat::Rooms,
    database,
    shared::Shared,
    stream::Stream,
};
use crate::{
    authorization::{self, Authorizer},
    broadcast::{Broadcasts, DatabaseBroadcasts, Messages, Replays, Store},
    chat::{Mode, State},
    config::Settings,
    postgres::pool::Pool,
    replication::status::Handle,
    runtime::Stages,
    session::Services,
};

/// How long the start waits to learn whether there is a chat.
const LOOK: Duration = Duration::from_secs(3);

/// A tenant that is served.
#[derive(Debug)]
pub(super) struct Project {
    /// What sockets and requests work with.
    pub(super) services: Arc<Services>,
    /// The connections for queries.
    pub(super) pool: Pool,
    stream: Arc<Stream>,
}

/// A project whose tasks do not run yet.
struct Parts {
    project: Project,
    rooms: Rooms,
    from_database: DatabaseBroadcasts,
}

impl Project {
    /// The tenant of a server that has only this one, with everything that
    /// the settings say of it. Ends with the server.
    ///
    /// # Errors
    ///
    /// What an operator has to mend.
    pub(super) async fn only(settings: &Settings, shared: &Arc<Shared>) -> Result<Self, AppError> {
        let stages = shared.stages.clone();
        let parts = Parts::build(settings, shared, &stages)?;
        database::prepare(settings, &stages.work).await?;
        // A database that is away is asked again when the stream starts.
        let found = tokio::time::timeout(LOOK, Box::pin(parts.rooms.chat.look())).await;
        if let Ok(Ok(State::Off)) = found
            && settings.chat.mode == Mode::On
        {
            return Err(AppError::NoChat);
        }
        Ok(parts.start(settings, shared, &stages))
    }

    /// How its stream is doing.
    pub(super) fn stream(&self) -> Handle {
        self.stream.handle()
    }
}

impl Parts {
    fn build(settings: &Settings, shared: &Shared, stages: &Stages) -> Result<Self, AppError> {
        let Shared { nodes, families, waves, .. } = shared;
        let Stages { work, ground, .. } = stages;
        let tenant = Arc::new(tenant(&settings.tenant, ground)?);
        let name = &*tenant.name;
        let hub = &nodes.hub;
        let status = nodes.admit(&tenant, &settings.chat, ground);
        let connect = &settings.database.connect;
        let pool = pool_of(settings, connect, settings.database.pool_size);
        // Their own sessions, in which only what policies should find is ever set.
        let judges = pool_of(settings, connect, settings.replication.policy_connections);
        let authorizer = Authorizer::new(pool.clone(), authorization::Config::default());
        let changes = changes(settings, pool.clone(), judges, &tenant, &families.changes);
        let series = families.broadcasts.tenant(name);
        let replays = Replays::new(pool.clone(), series.clone());
        let retention = settings.messages.retention;
        let from_database =
            DatabaseBroadcasts::new(Arc::clone(&tenant), Arc::clone(hub), retention, series);
        let flows = settings.messages.broadcasts;
        let readiness = flows.then(|| from_database.readiness());
        let store = if flows { Store::new(pool.clone()) } else { Store::off() };
        let rooms = Rooms::open(settings, hub, &tenant, ground, &families.chat, &pool, status);
        let stream = Arc::new(Stream::new(Arc::new(settings.clone())));
        let services = Arc::new(Services {
            broadcasts: Broadcasts::new(Arc::clone(&tenant), Arc::clone(hub)),
            messages: Messages { readiness, replays, store, janitor: stream.janitor() },
            presence: Arc::clone(&nodes.presence),
            metrics: families.sockets.tenant(name),
            config: sockets(&settings.sockets),
            drain: shared.stages.work.clone(),
            sockets: work.child(),
            waves: Arc::clone(waves),
            policies: rooms.policies(authorizer),
            changes,
            chat: rooms.chat.clone(),
            hub: Arc::clone(hub),
            tenant,
        });
        Ok(Self { project: Project { services, pool, stream }, rooms, from_database })
    }

    fn start(self, settings: &Settings, shared: &Arc<Shared>, stages: &Stages) -> Project {
        let Self { project, rooms, from_database } = self;
        let Services { tenant, changes, .. } = &*project.services;
        rooms.chat.run();
        // Broadcasts first: they wait for nothing, changes may wait for a lookup.
        let sinks = ((from_database, rooms.pushes()), changes.pipeline());
        let stream = Arc::clone(&project.stream);
        let (shared, tenant) = (Arc::clone(shared), Arc::clone(tenant));
        rooms.stream(settings, &shared, stages);
        stages.ground.spawn("publication", changes.clone().watch(stages.ground.clone()));
        let run = stream.run(shared, tenant, sinks, stages.clone());
        stages.ground.spawn("stream", run);
        project
    }
}
