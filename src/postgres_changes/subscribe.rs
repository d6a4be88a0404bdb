//! From a channel's bindings to an entry in the pipeline.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    catalog::{Catalog, Described, Scope},
    config::Config,
    members::GroupKey,
    pipeline::{Pipeline, Shared},
    prepare::{Prepared, prepare, refused, unavailable},
    row_security::Judge,
    state::{Entry, Moment},
    subscription::Binding,
};
use crate::{
    error_code::ErrorCode,
    hub::outbox::Outbox,
    postgres::pool::Pool,
    protocol::{Vsn, prepared::Frame},
    replication::position::Lsn,
    runtime::Drain,
    topic::Topic,
};

/// How long a description serves further joins. Rows never rely on it.
const DESCRIPTION_LIFE: Duration = Duration::from_secs(1);

/// Descriptions kept for joins.
const MAX_DESCRIPTIONS: usize = 1024;

/// Tables that change while somebody subscribes to them: tries before giving up.
/// Each try is a few milliseconds, and after a dozen there is a pause as well.
const MAX_TRIES: u32 = 100;

/// Tries without a pause: most collisions are over with the next one.
const QUICK_TRIES: u32 = 12;

/// The door for sessions. Clones share everything.
#[derive(Debug, Clone)]
pub struct PostgresChanges {
    shared: Arc<Shared>,
    descriptions: Arc<Mutex<Descriptions>>,
}

type Descriptions = HashMap<(Scope, Arc<str>), (Instant, Moment, Arc<[Described]>)>;

/// What a channel asks for.
#[derive(Debug, Clone)]
pub struct Subscribe {
    /// The channel.
    pub topic: Topic,
    /// How its socket speaks.
    pub vsn: Vsn,
    /// Joined without `config`: changes come under their own event names.
    pub legacy: bool,
    /// At least one binding, in the client's order.
    pub bindings: Arc<[Binding]>,
    /// The token's role.
    pub role: Arc<str>,
    /// The token's claims as JSON, as `request.jwt.claims` will have them.
    pub claims: Arc<str>,
    /// Where frames go.
    pub outbox: Arc<Outbox>,
    /// Queued the moment the subscription is in place, before any change: the
    /// system message that says so; before it the join's reply, if that waits.
    pub ready: Vec<Frame>,
    /// A subscription of the same channel that this one takes the place of,
    /// without missing or doubling a row. If there is an error it stays.
    pub replaces: Option<Place>,
}

/// Why there is no subscription.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SubscribeError {
    /// For logs, and for a join that waits: its reply is `code: message`.
    pub code: ErrorCode,
    /// What the client is told, word for word.
    pub message: String,
    /// Trying again later may help.
    pub retry: bool,
}

/// A live subscription; dropping it ends it.
pub struct Registration {
    shared: Arc<Shared>,
    place: Place,
    problems: Vec<String>,
}

/// Names a subscription without keeping it alive. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    group: u32,
    member: u64,
}

impl Registration {
    /// What is wrong with the bindings that were left out, in their order.
    /// Empty unless [`Config::keeps_partial`].
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// What to put into [`Subscribe::replaces`].
    pub fn place(&self) -> Place {
        self.place
    }
}

impl PostgresChanges {
    /// A pipeline that asks `pool` about tables and roles, and `judges`, whose
    /// sessions nobody else may use, about rows.
    pub fn new(config: Config, pool: Pool, judges: Pool) -> Self {
        let series = config.series();
        let catalog = Catalog::new(pool, Arc::clone(&config.publication), series.lookups.clone());
        let judge = Judge::new(config.row_security.clone(), judges);
        let shared = Arc::new(Shared::new(catalog, judge, config, series));
        Self { shared, descriptions: Arc::default() }
    }

    /// Whether one channel may ask for so many bindings, to be known before
    /// they are read.
    ///
    /// # Errors
    ///
    /// What the client is told.
    pub fn may_have(&self, bindings: usize) -> Result<(), String> {
        let most = self.shared.config.max_bindings;
        match bindings > most {
            true => Err(format!("Too many postgres_changes of one channel. Maximum {most}")),
            false => Ok(()),
        }
    }

    /// True if good bindings are kept where others of their channel are bad.
    pub fn keeps_partial(&self) -> bool {
        self.shared.config.keeps_partial
    }

    /// Looks now and then whether subscribed tables are still published, which
    /// the stream does not tell. Runs until the server drains.
    pub async fn watch(self, drain: Drain) {
        let mut due = tokio::time::interval(self.shared.config.publication_check);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = due.tick() => self.shared.check_publication().await,
                () = drain.started() => return,
            }
        }
    }

    /// The sink for the stream.
    pub fn pipeline(&self) -> Pipeline {
        Pipeline(Arc::clone(&self.shared))
    }

    /// Subscribes a channel. When this returns `Ok`, everything that commits
    /// from now on and that its bindings match will reach the outbox. Waits
    /// while the stream is down, as long as the caller cares to. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`]; one bad binding fails all unless partial sets are kept.
    pub async fn subscribe(&self, request: Subscribe) -> Result<Registration, SubscribeError> {
        self.within_bounds(&request.bindings)?;
        for attempt in 0..MAX_TRIES {
            if attempt > QUICK_TRIES {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            self.shared.until_live().await;
            let moment = self.shared.lock().moment();
            let (prepared, problems) = match self.prepare(&request, moment, attempt > 0).await {
                // What was remembered may be out of date: look again before refusing.
                Err(error) if attempt == 0 && !error.retry => continue,
                Ok((_, problems)) if attempt == 0 && !problems.is_empty() => continue,
                prepared => prepared?,
            };
            let from = self.shared.catalog.position().await.map_err(|error| unavailable(&error))?;
            let changed = match self.enter(&request, &prepared, from, moment) {
                Ok(mut registration) => {
                    registration.problems = problems;
                    return Ok(registration);
                }
                Err(changed) => changed,
            };
            for oid in changed {
                let relation = self.shared.lock().relation(oid);
                self.shared.refresh(oid, relation.as_ref()).await;
            }
        }
        let message = "Unable to subscribe to changes: the tables keep changing".to_owned();
        let code = ErrorCode::UnableToSubscribeToPostgres;
        Err(SubscribeError { code, message, retry: true })
    }

    /// A row is judged by every binding: their number is bounded.
    fn within_bounds(&self, bindings: &[Binding]) -> Result<(), SubscribeError> {
        self.may_have(bindings.len()).map_err(refused)?;
        let filters = self.shared.config.max_filters;
        if bindings.iter().any(|binding| binding.filters.len() > filters) {
            return Err(refused(format!("Too many conditions in one filter. Maximum {filters}")));
        }
        Ok(())
    }

    fn enter(
        &self,
        request: &Subscribe,
        prepared: &[Prepared],
        from: Lsn,
        moment: Moment,
    ) -> Result<Registration, Vec<u32>> {
        let key = GroupKey {
            topic: request.topic.clone(),
            vsn: request.vsn,
            legacy: request.legacy,
            role: Arc::clone(&request.role),
            bindings: match prepared.len() == request.bindings.len() {
                true => Arc::clone(&request.bindings),
                false => prepared.iter().map(|prepared| prepared.binding.clone()).collect(),
            },
        };
        let rules = prepared.iter().map(|p| (Arc::clone(&p.rule), Arc::clone(&p.casts))).collect();
        let tables = prepared.iter().flat_map(|prepared| prepared.tables.iter()).collect();
        let (outbox, claims) = (Arc::clone(&request.outbox), Arc::clone(&request.claims));
        let ready = request.ready.clone();
        let replaces = request.replaces.map(|place| (place.group, place.member));
        let entry = Entry { key, rules, tables, outbox, from, claims, moment, ready, replaces };
        let (group, member) = self.shared.lock().enter(entry)?;
        self.shared.series.subscribers.inc();
        let (shared, place) = (Arc::clone(&self.shared), Place { group, member });
        Ok(Registration { shared, place, problems: Vec::new() })
    }

    /// Everything about a request that PostgreSQL must be asked for, and what
    /// is wrong with the bindings that are left out.
    async fn prepare(
        &self,
        request: &Subscribe,
        moment: Moment,
        fresh: bool,
    ) -> Result<(Vec<Prepared>, Vec<String>), SubscribeError> {
        let mut prepared = Vec::with_capacity(request.bindings.len());
        let mut problems = Vec::new();
        for binding in &*request.bindings {
            let tables = self.describe(binding, &request.role, moment, fresh).await?;
            match prepare(&self.shared.catalog, binding, &request.role, tables).await {
                Ok(good) => prepared.push(good),
                Err(error) if self.keeps_partial() && !error.retry => problems.push(error.message),
                Err(error) => return Err(error),
            }
        }
        match problems.first() {
            // Nothing is left to keep.
            Some(first) if prepared.is_empty() => Err(refused(first.clone())),
            _ => Ok((prepared, problems)),
        }
    }

    async fn describe(
        &self,
        binding: &Binding,
        role: &Arc<str>,
        moment: Moment,
        fresh: bool,
    ) -> Result<Arc<[Described]>, SubscribeError> {
        let name = |name: Option<&str>| name.map(Arc::from);
        let (schema, table) = (name(binding.schema.exact()), name(binding.table.exact()));
        let key = (Scope::Names { schema, table }, Arc::clone(role));
        let started = Instant::now();
        if !fresh
            && let Some((at, seen, tables)) = self.descriptions().get(&key)
            && *seen == moment
            && started - *at < DESCRIPTION_LIFE
        {
            return Ok(Arc::clone(tables));
        }
        let tables = self.shared.catalog.tables(key.0.clone(), Arc::clone(role)).await;
        let tables = tables.map_err(|error| unavailable(&error))?;
        let mut descriptions = self.descriptions();
        if descriptions.len() >= MAX_DESCRIPTIONS {
            descriptions.clear();
        }
        descriptions.insert(key, (started, moment, Arc::clone(&tables)));
        Ok(tables)
    }

    fn descriptions(&self) -> std::sync::MutexGuard<'_, Descriptions> {
        self.descriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.series.subscribers.dec();
        self.shared.lock().leave(self.place.group, self.place.member);
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("place", &self.place).finish_non_exhaustive()
    }
}
