//! The tenants of a control database, each served while somebody needs it.
//!
//! A project starts when a request names it and stops when it had neither
//! sockets nor requests for a while, is deleted, suspended or another now. What
//! starts or stops one has its turn ([`Projects::turn`]), so of many requests
//! one starts it, and the next start begins when the stop has ended.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::{
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};

use super::{
    AppError, build::terms, database, many::settings_of, project::Project, shared::Shared,
};
use crate::{
    config::{ControlSettings, Settings},
    error_code::ErrorCode,
    http::directory::{Absent, Tenants},
    runtime::{
        backoff::Backoff,
        turn::{Turn, Turned},
    },
    session::Services,
    telemetry::reason,
    tenants::{Record, Store, cache::Cache, record::Defaults, store::StoreConfig},
};

/// A start waits so long for the tenant's database.
const PATIENCE: Duration = Duration::from_secs(3);

/// Projects that start at a time.
const STARTS: usize = 8;

/// The projects that run, and where the others are found.
pub(super) struct Projects {
    pub(super) shared: Arc<Shared>,
    pub(super) cache: Cache,
    /// Of which each project has its own.
    settings: Settings,
    pub(super) running: RwLock<HashMap<Arc<str>, Arc<Project>>>,
    turns: Mutex<HashMap<String, Turn>>,
    starts: Semaphore,
    /// Most tenants that are served at a time.
    pub(super) most: usize,
    /// Who had neither sockets nor requests for so long is not served any more.
    pub(super) idle: Duration,
    me: Weak<Self>,
}

impl Projects {
    /// Opens the control database: its tables are installed if the settings say
    /// so, and the tenant of the settings is made.
    ///
    /// # Errors
    ///
    /// What an operator has to mend.
    pub(super) async fn open(
        settings: &Settings,
        control: &ControlSettings,
        shared: &Arc<Shared>,
    ) -> Result<Arc<Self>, AppError> {
        let store = Store::new(StoreConfig {
            connect: settings.database.connect.clone(),
            pool_size: settings.database.pool_size,
            pool_wait: settings.database.pool_wait,
            after_connect: control.after_connect.clone(),
            vault: Arc::clone(&control.vault),
            defaults: Defaults::from(terms(&settings.tenant)),
        });
        if settings.database.auto_migrate {
            store.install().await?;
        }
        let projects = Arc::new_cyclic(|me| Self {
            shared: Arc::clone(shared),
            cache: Cache::new(store, control.cache_ttl),
            settings: settings.clone(),
            running: RwLock::default(),
            turns: Mutex::default(),
            starts: Semaphore::new(STARTS),
            most: control.max_tenants,
            idle: control.idle,
            me: Weak::clone(me),
        });
        if let Some(seed) = &control.seed {
            let record = projects.cache.store().seed(seed).await?;
            if let Err(error) = projects.install(&record).await {
                let error = reason(&error);
                tracing::warn!(code = %ErrorCode::MigrationsFailedToRun, error, "the database of the tenant that was made is not ready");
            }
        }
        let work = &shared.stages.work;
        work.spawn("projects", Arc::clone(&projects).look_after(work.clone()));
        if let Some((news, up)) = shared.nodes.news() {
            work.spawn("news of tenants", Arc::clone(&projects).hear(news, up, work.clone()));
        }
        Ok(projects)
    }

    /// Installs the SQL objects in a tenant's database and notes that they are there.
    pub(super) async fn install(&self, record: &Record) -> Result<(), database::DatabaseError> {
        let Some(settings) = settings_of(&self.settings, record) else { return Ok(()) };
        let metrics = &self.shared.families.tenants;
        let count = Box::pin(database::install(&settings, metrics)).await?;
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        if count > record.migrations_ran {
            let noted = self.cache.store().set_migrations_ran(&record.external_id, count).await;
            if let Err(error) = noted {
                tracing::warn!(code = %ErrorCode::ErrorRunningQuery, error = reason(&error), "the count of migrations is not noted");
            }
        }
        Ok(())
    }

    /// Installs them until that succeeds; says so after the first attempt.
    async fn keep_installing(&self, record: &Record, first: oneshot::Sender<()>) {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let mut first = Some(first);
        while let Err(error) = self.install(record).await {
            let (tenant, error) = (&record.external_id, reason(&error));
            tracing::warn!(code = %ErrorCode::MigrationsFailedToRun, tenant, error, "the tenant's database is not ready, trying again");
            first.take();
            sleep(backoff.pause()).await;
        }
    }

    /// The project of that name, if it runs.
    pub(super) fn running(&self, name: &str) -> Option<Arc<Project>> {
        self.running.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// One after the other for each tenant.
    pub(super) async fn turn(&self, name: &str) -> Turned {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody has or waits for are not kept.
            turns.retain(|_, turn| turn.is_shared());
            turns.entry(name.to_owned()).or_default().clone()
        };
        turn.take().await
    }

    /// The tenant's project, started if need be. The start goes on if nobody
    /// waits for it any more.
    async fn project(self: &Arc<Self>, record: Arc<Record>) -> Result<Arc<Project>, Absent> {
        if let Some(project) = self.running(&record.external_id)
            && project.is_of(&record)
        {
            project.touch();
            return Ok(project);
        }
        let (sender, receiver) = oneshot::channel();
        let projects = Arc::clone(self);
        self.shared.stages.work.spawn("project", async move {
            let _ = sender.send(projects.begin(record).await);
        });
        receiver.await.unwrap_or(Err(Absent::Unavailable))
    }

    async fn begin(&self, record: Arc<Record>) -> Result<Arc<Project>, Absent> {
        let name = record.external_id.clone();
        let _turn = self.turn(&name).await;
        // It may be another by now.
        let record = self.record(&name).await?;
        if let Some(project) = self.bring_up_to_date(&name, Some(&record)).await {
            project.touch();
            return Ok(project);
        }
        let Ok(_permit) = self.starts.acquire().await else { return Err(Absent::Unavailable) };
        if !self.make_room().await {
            tracing::warn!(code = %ErrorCode::UnableToConnectToTenantDatabase, tenant = name, "too many tenants are served: not one more");
            return Err(Absent::Unavailable);
        }
        let Some(settings) = settings_of(&self.settings, &record) else {
            tracing::warn!(code = %ErrorCode::UnableToConnectToTenantDatabase, tenant = name, "the tenant has no database that can be used");
            return Err(Absent::Unavailable);
        };
        let defaults = self.cache.store().defaults();
        let me = Weak::clone(&self.me);
        let (installed, first) = oneshot::channel();
        let wanted = settings.database.auto_migrate.then(|| {
            let record = Arc::clone(&record);
            async move {
                if let Some(projects) = me.upgrade() {
                    projects.keep_installing(&record, installed).await;
                }
            }
        });
        let project = Project::one_of_many(&settings, &self.shared, record, defaults, wanted);
        let project = Arc::new(project);
        // A database that is away keeps nobody from what needs none.
        let _ = timeout(PATIENCE, first).await;
        project.start(&self.shared);
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        running.insert(Arc::clone(&project.services.tenant.name), Arc::clone(&project));
        tracing::info!(tenant = name, running = running.len(), "tenant is served");
        Ok(project)
    }

    /// The tenant's record, unless it is suspended.
    async fn record(&self, name: &str) -> Result<Arc<Record>, Absent> {
        match Box::pin(self.cache.find(name)).await {
            Ok(Some(record)) if record.suspend => Err(Absent::Suspended),
            Ok(Some(record)) => Ok(record),
            Ok(None) => Err(Absent::Unknown),
            Err(_) => Err(Absent::Unavailable),
        }
    }

    /// Makes a project that runs what the record says now, or stops it. To be
    /// called in the tenant's turn. Returns it if it goes on.
    async fn bring_up_to_date(
        &self,
        name: &str,
        record: Option<&Arc<Record>>,
    ) -> Option<Arc<Project>> {
        let project = self.running(name)?;
        let defaults = self.cache.store().defaults();
        let goes_on = record.is_some_and(|record| project.become_of(record, defaults));
        if goes_on {
            return Some(project);
        }
        self.end(&project).await;
        None
    }

    /// Stops a project in its tenant's turn.
    async fn end(&self, project: &Arc<Project>) {
        let name = &project.services.tenant.name;
        self.running.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        project.stop(&self.shared).await;
        tracing::info!(tenant = &**name, "tenant is served no more");
    }

    /// What is stored of a tenant is another now: the project follows.
    pub(super) async fn follow(&self, name: &str) {
        if self.running(name).is_none() {
            return;
        }
        let _turn = self.turn(name).await;
        match Box::pin(self.cache.find(name)).await {
            Ok(record) => {
                self.bring_up_to_date(name, record.as_ref()).await;
            }
            // What is known goes on.
            Err(error) => tracing::debug!(error = reason(&*error), "no record of a tenant"),
        }
    }

    /// Everything of a tenant begins anew.
    pub(super) async fn reload(&self, name: &str) {
        let _turn = self.turn(name).await;
        if let Some(project) = self.running(name) {
            self.end(&project).await;
        }
    }

    /// A tenant's database is left alone until somebody joins.
    pub(super) fn rest(&self, name: &str) {
        if let Some(project) = self.running(name) {
            project.rest();
        }
    }
}

impl Tenants for Projects {
    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<Services>, Absent>> {
        async move {
            let record = self.record(name).await?;
            let projects = self.me.upgrade().ok_or(Absent::Unavailable)?;
            let project = projects.project(record).await?;
            Ok(Arc::clone(&project.services))
        }
        .boxed()
    }
}

impl fmt::Debug for Projects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projects").finish_non_exhaustive()
    }
}
