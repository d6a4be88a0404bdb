//! Everything of one tenant: its database, its streams, what its sockets need.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    AppError,
    build::{changes, keys, pool_of, sockets, stream, terms},
    chat::Rooms,
    database,
    shared::Shared,
    stream::Stream,
};
use crate::{
    auth::Roles,
    authorization::{self, Authorizer},
    broadcast::{Broadcasts, DatabaseBroadcasts, Messages, Replays, Store},
    chat::{Mode, State},
    config::Settings,
    postgres::pool::Pool,
    replication::{self, status::Handle},
    runtime::Stages,
    session::Services,
    tenants::{Record, Tenant, record::Defaults},
};

/// How long the start waits to learn whether there is a chat.
const LOOK: Duration = Duration::from_secs(3);

/// Stopping may take so long twice.
const END: Duration = Duration::from_secs(10);

/// Connections that were not used for so long are closed.
const UNUSED: Duration = Duration::from_secs(60);

/// A tenant that is served.
#[derive(Debug)]
pub(super) struct Project {
    /// What sockets and requests work with.
    pub(super) services: Arc<Services>,
    /// The connections for queries.
    pub(super) pool: Pool,
    /// Those that judge rows.
    judges: Pool,
    stream: Arc<Stream>,
    stages: Stages,
    /// Not yet started parts.
    parts: Mutex<Option<Parts>>,
    /// When somebody last asked for it.
    used: Mutex<Instant>,
    /// What it was made of; none if it is the only one.
    record: Mutex<Option<Arc<Record>>>,
}

/// What a project needs for its start.
#[derive(Debug)]
struct Parts {
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
        let login = &settings.database.connect.user;
        let keys = keys(&settings.tenant, login, &stages.ground)?;
        let tenant = Tenant::new(&settings.tenant.name, keys, terms(&settings.tenant));
        let project = Self::build(settings, shared, stages, tenant);
        database::prepare(settings, &shared.stages.work, &shared.families.tenants).await?;
        // A database that is away is asked again when the stream starts.
        let look = Box::pin(project.services.chat.look());
        if let Ok(Ok(State::Off)) = tokio::time::timeout(LOOK, look).await
            && settings.chat.mode == Mode::On
        {
            return Err(AppError::NoChat);
        }
        project.start(shared);
        Ok(project)
    }

    /// A tenant of many, made of its record; `installing` runs beside it. It is
    /// to be started, and ends with the server or by [`Project::stop`].
    pub(super) fn one_of_many(
        settings: &Settings,
        shared: &Arc<Shared>,
        record: Arc<Record>,
        defaults: &Defaults,
        installing: Option<impl Future<Output = ()> + Send + 'static>,
    ) -> Self {
        let stages = shared.stages.child();
        let login = &settings.database.connect.user;
        let keys = record
            .keys(settings.tenant.claim_validators.clone())
            .with_roles(Roles::new(&settings.tenant.roles, login));
        let tenant = Tenant::new(&record.external_id, keys, record.terms(defaults));
        if let Some(installing) = installing {
            let signal = stages.work.clone();
            stages.work.spawn("migrations", async move {
                tokio::select! {
                    () = installing => {}
                    () = signal.started() => {}
                }
            });
        }
        let project = Self::build(settings, shared, stages, tenant);
        *lock(&project.record) = Some(record);
        project
    }

    /// Whether it runs what this record says.
    pub(super) fn is_of(&self, record: &Arc<Record>) -> bool {
        lock(&self.record).as_ref().is_some_and(|ours| Arc::ptr_eq(ours, record))
    }

    /// Runs what the record says from now on, if it can while it runs: then
    /// sockets stay, unless they are to ask anew for admission.
    pub(super) fn become_of(&self, record: &Arc<Record>, defaults: &Defaults) -> bool {
        let mut ours = lock(&self.record);
        let Some(before) = &*ours else { return true };
        let effects = record.effects(before);
        if record.suspend || effects.restart || record.id != before.id {
            return false;
        }
        if effects.any {
            self.services.tenant.change(record.terms(defaults));
        }
        *ours = Some(Arc::clone(record));
        true
    }

    /// Somebody asked for it.
    pub(super) fn touch(&self) {
        *lock(&self.used) = Instant::now();
    }

    /// For how long nobody has asked for it.
    pub(super) fn idle(&self) -> Duration {
        lock(&self.used).elapsed()
    }

    /// Whether it has no sockets, and nobody has asked for it for so long.
    pub(super) fn is_idle(&self, limit: Duration) -> bool {
        self.services.sockets.tasks() == 0 && self.idle() >= limit
    }

    /// Closes the connections that are not used.
    pub(super) fn close_idle(&self) {
        self.pool.close_idle(UNUSED);
        self.judges.close_idle(UNUSED);
    }

    /// Leaves the database alone until somebody joins.
    pub(super) fn rest(&self) {
        self.services.tenant.want_stream(false);
        self.pool.close_idle(Duration::ZERO);
        self.judges.close_idle(Duration::ZERO);
    }

    /// Whether the database is left alone.
    pub(super) fn rests(&self) -> bool {
        !*self.services.tenant.wants_stream().borrow()
    }

    /// Ends it: sockets are sent away, the database is left, and nothing of it
    /// is heard or counted any more.
    pub(super) async fn stop(&self, shared: &Arc<Shared>) {
        let tenant = &self.services.tenant;
        // Users of other servers still need the slot.
        let leaves_slot = tenant.meters.all_users() > tenant.meters.users();
        tenant.end();
        self.stages.work.finish(END).await;
        self.stages.ground.finish(END).await;
        self.pool.close_idle(Duration::ZERO);
        self.judges.close_idle(Duration::ZERO);
        shared.nodes.dismiss(&tenant.name);
        shared.families.remove(&tenant.name);
        let work = &shared.stages.work;
        if !leaves_slot && !work.is_draining() {
            let (config, signal) = (stream(self.stream.settings()), work.clone());
            work.spawn("slot", async move {
                tokio::select! {
                    _ = replication::give_up(&config) => {}
                    () = signal.started() => {}
                }
            });
        }
    }

    /// How its stream is doing.
    pub(super) fn stream(&self) -> Handle {
        self.stream.handle()
    }

    fn build(settings: &Settings, shared: &Shared, stages: Stages, tenant: Tenant) -> Self {
        let Shared { nodes, families, waves, .. } = shared;
        let ground = &stages.ground;
        let tenant = Arc::new(tenant);
        families.tenants.serves(&tenant);
        let name = &*tenant.name;
        let metrics = families.sockets.tenant(name);
        let hub = &nodes.hub;
        let status = nodes.admit(&tenant, &settings.chat, ground);
        let connect = &settings.database.connect;
        let pool = pool_of(settings, connect, settings.database.pool_size);
        // Their own sessions, in which only what policies should find is ever set.
        let judges = pool_of(settings, connect, settings.replication.policy_connections);
        let authorizer = Authorizer::new(pool.clone(), authorization::Config::default());
        let changes = changes(settings, pool.clone(), judges.clone(), &tenant, &families.changes);
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
            config: sockets(&settings.sockets),
            drain: shared.stages.work.clone(),
            sockets: stages.work.child(),
            waves: Arc::clone(waves),
            policies: rooms.policies(authorizer, metrics.clone()),
            metrics,
            changes,
            chat: rooms.chat.clone(),
            hub: Arc::clone(hub),
            tenant,
        });
        Self {
            services,
            pool,
            judges,
            stream,
            stages,
            parts: Mutex::new(Some(Parts { rooms, from_database })),
            used: Mutex::new(Instant::now()),
            record: Mutex::default(),
        }
    }

    /// Starts what runs by itself. Does nothing the second time.
    pub(super) fn start(&self, shared: &Arc<Shared>) {
        let Some(Parts { rooms, from_database }) = lock(&self.parts).take() else { return };
        let Services { tenant, changes, .. } = &*self.services;
        let (settings, ground) = (self.stream.settings(), &self.stages.ground);
        rooms.chat.run();
        rooms.stream(settings, shared, &self.stages);
        ground.spawn("publication", changes.clone().watch(ground.clone()));
        // Broadcasts first: they wait for nothing, changes may wait for a lookup.
        let sinks = ((from_database, rooms.pushes()), changes.pipeline());
        let stream = Arc::clone(&self.stream);
        let (shared, tenant) = (Arc::clone(shared), Arc::clone(tenant));
        ground.spawn("stream", stream.run(shared, tenant, sinks, self.stages.clone()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each is only ever replaced as a whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
