//! The composition root: builds every component, wires them, and tells all at
//! once when to stop.

mod chat;
mod cluster;
mod database;
mod doors;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use thiserror::Error;

pub use self::database::DatabaseError;
use self::{cluster::Nodes, doors::Doors};
use crate::{
    auth::{
        JwksSource, Keys, Roles,
        jwks_fetch::{Address, AddressError},
        jwks_source,
    },
    authorization::{self, Authorizer},
    broadcast::{Broadcasts, DatabaseBroadcasts, DatabaseMetrics, Messages, Replays, Store},
    chat::{Mode, State},
    cluster::redis::Unusable,
    config::{self, Settings},
    http::{
        self, Pages,
        directory::Directory,
        health::Readiness,
        metrics::{DoorMetrics, Guard, MetricsPage},
        origin::Origins,
        tenants::Admin,
        tls::TlsError,
    },
    postgres::{
        connect::ConnectConfig,
        pool::{Pool, PoolConfig},
        session::SessionConfig,
    },
    postgres_changes::{self, DeleteVisibility, PostgresChanges, RowSecurity, Surplus},
    replication::{self, Publication},
    runtime::{Drain, Stages},
    secret::Secret,
    session::{self, Services},
    telemetry::{Registry, process::Process, series::Payloads},
    tenants::{self, Limits, Tenant, Terms, janitor},
};

/// How long the start waits to learn whether there is a chat.
const LOOK: Duration = Duration::from_secs(3);

/// Longest statement that sets itself no limit, such as a look at the catalog.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Tells that the server accepts connections.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it listens for operators, if not there.
    pub admin: Option<SocketAddr>,
}

/// Why the server could not run.
#[derive(Debug, Error)]
pub enum AppError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error("TLS cannot be used")]
    Tls(#[from] TlsError),
    /// The address of the keys cannot be used.
    #[error("the key set cannot be fetched: its URL {0}")]
    KeySetUrl(#[from] AddressError),
    /// Other servers cannot be met there.
    #[error("ROWCAST_REDIS_URL cannot be used")]
    RedisUrl(#[from] Unusable),
    /// A chat was asked for, and the database has none.
    #[error("ROWCAST_CHAT is on, but the database has no chat: run `rowcast migrate --chat`")]
    NoChat,
    /// The database needs an operator.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Runs until `stop` completes, then drains. `pages` is what is served beside the API.
///
/// # Errors
///
/// See [`AppError`].
pub async fn serve(
    settings: Settings,
    pages: Pages,
    ready: impl FnOnce(Ready),
    stop: impl Future<Output = ()>,
) -> Result<(), AppError> {
    // First of all, so that a taken port is told before anything is touched.
    let doors = Doors::open(&settings.listen).await?;

    let stages = Stages::new();
    let Stages { work, ground, .. } = &stages;
    let mut registry = Registry::default();
    Process::register(&mut registry);
    let counts = DoorMetrics::register(&mut registry);
    let payloads = Payloads::register(&mut registry);
    let metrics = session::Metrics::register(&mut registry, &payloads);
    let tenants = tenants::metrics::Metrics::register(&mut registry);
    let tenant = Arc::new(tenant(&settings, ground)?);
    tenants.serves(&tenant);
    let metrics = metrics.tenant(&tenant.name);
    let nodes = cluster::nodes(&settings.cluster, &settings.chat, &tenant, &mut registry, &stages)?;
    let Nodes { hub, presence, status, streams } = nodes;
    let pool = pool(&settings, settings.database.pool_size);
    let authorizer = Authorizer::new(pool.clone(), authorization::Config::default());
    let changed = postgres_changes::Metrics::register(&mut registry, &payloads);
    let changes = changes(&settings, pool.clone(), &tenant, changed);
    database::prepare(&settings, work, &tenants).await?;
    let series = DatabaseMetrics::register(&mut registry).tenant(&tenant.name);
    let replays = Replays::new(pool.clone(), series.clone());
    let from_database = DatabaseBroadcasts::new(
        Arc::clone(&tenant),
        Arc::clone(&hub),
        settings.messages.retention,
        series,
    );
    let flows = settings.messages.broadcasts;
    let readiness = flows.then(|| from_database.readiness());
    let store = if flows { Store::new(pool.clone()) } else { Store::off() };
    let rooms = chat::Rooms::open(&settings, &hub, &tenant, ground, &mut registry, &pool, status);
    // A database that is away is asked again when the stream starts.
    let found = tokio::time::timeout(LOOK, Box::pin(rooms.chat.look())).await;
    if let Ok(Ok(State::Off)) = found
        && settings.chat.mode == Mode::On
    {
        return Err(AppError::NoChat);
    }
    rooms.chat.run();
    // Broadcasts first: they wait for nothing, changes may wait for a lookup.
    let sinks = ((from_database, rooms.pushes()), changes.pipeline());
    let stream = streams.spawn(stream(&settings), sinks);
    let janitor_metrics = janitor::Metrics::register(&mut registry);
    rooms.stream(&settings, work, &streams, &janitor_metrics);
    let janitor = match janitor(&settings) {
        Some(config) => janitor::spawn(config, work, &janitor_metrics),
        None => janitor::Handle::default(),
    };
    let terms = tenant.terms();
    ground.spawn("publication", changes.clone().watch(ground.clone()));
    let services = Arc::new(Services {
        broadcasts: Broadcasts::new(Arc::clone(&tenant), Arc::clone(&hub)),
        messages: Messages { readiness, replays, store, janitor },
        presence,
        config: sockets(&settings.sockets),
        drain: work.clone(),
        waves: Arc::new(waves(&settings.listen)),
        policies: rooms.policies(authorizer, metrics.clone()),
        metrics,
        changes,
        chat: rooms.chat,
        hub: Arc::clone(&hub),
        tenant,
    });
    let state = http::State {
        directory: Directory::single(services, settings.tenant.strict_host),
        metrics: MetricsPage::new(registry, guard(&settings.metrics)),
        doors: counts.clone(),
        admin: Admin::new(guard(&settings.admin), terms, pool, stream),
        readiness: Readiness::new(hub, work.clone()),
        pages,
        config: http::Config {
            connect_error_backoff: settings.sockets.connect_error_backoff,
            max_frame_bytes: settings.sockets.max_frame_bytes,
            max_body_bytes: settings.listen.max_body_bytes,
            baggage_key: settings.listen.baggage_key.clone(),
            origins: Origins::new(&settings.listen.origins),
        },
    };
    ready(doors.serve(&settings.listen, Arc::new(state), counts, &stages));
    stop.await;
    let left = stages.finish(settings.listen.drain_timeout).await;
    if left > 0 {
        tracing::warn!(left, "some connections or tasks did not end in time");
    }
    Ok(())
}

fn pool(settings: &Settings, size: usize) -> Pool {
    pool_of(settings, &settings.database.connect, size)
}

fn pool_of(settings: &Settings, connect: &ConnectConfig, size: usize) -> Pool {
    Pool::new(PoolConfig {
        connect: connect.clone(),
        size,
        wait: settings.database.pool_wait,
        session: SessionConfig {
            statement_timeout: Some(STATEMENT_TIMEOUT),
            ..SessionConfig::new("rowcast")
        },
    })
}

fn changes(
    settings: &Settings,
    pool: Pool,
    tenant: &Arc<Tenant>,
    metrics: postgres_changes::Metrics,
) -> PostgresChanges {
    let wanted = &settings.changes;
    let config = postgres_changes::Config {
        publication: settings.replication.publication.as_str().into(),
        max_record_bytes: settings.replication.max_record_bytes,
        tenant: Some(Arc::clone(tenant)),
        surplus: match wanted.drops_surplus {
            true => Surplus::Drop,
            false => Surplus::Keep,
        },
        max_bindings: wanted.max_bindings,
        max_filters: wanted.max_filters,
        keeps_partial: wanted.keeps_partial,
        publication_check: wanted.publication_check,
        metrics,
        row_security: RowSecurity {
            timeout: settings.replication.policy_timeout,
            connections: settings.replication.policy_connections,
            deletes: match settings.replication.strict_deletes {
                true => DeleteVisibility::Strict,
                false => DeleteVisibility::Compatible,
            },
        },
    };
    // Their own sessions, in which only what policies should find is ever set.
    let judges = self::pool(settings, settings.replication.policy_connections);
    PostgresChanges::new(config, pool, judges)
}

fn stream(settings: &Settings) -> replication::Config {
    let wanted = &settings.replication;
    let mut publications = vec![Publication::of_the_user(wanted.publication.as_str())];
    if settings.messages.broadcasts {
        publications.push(Publication::messages());
    }
    replication::Config {
        tenant: settings.tenant.name.clone(),
        slot_name: wanted.slot_name.clone(),
        temporary: wanted.slot_temporary,
        publications,
        wal_budget_bytes: Some(wanted.wal_budget_bytes),
        ..replication::Config::new(settings.database.connect.clone())
    }
}

fn janitor(settings: &Settings) -> Option<janitor::Config> {
    let wanted = settings.messages.janitor?;
    Some(janitor::Config {
        connect: settings.database.connect.clone(),
        tenant: settings.tenant.name.clone(),
        retention: settings.messages.retention,
        first: wanted.first,
        interval: wanted.interval,
        jitter: wanted.jitter,
    })
}

/// The keys as set up; those at a URL are fetched from now on.
fn keys(settings: &config::TenantSettings, login: &str, drain: &Drain) -> Result<Keys, AppError> {
    let jwks = settings.jwt_jwks.clone();
    if let Some(jwks) = &jwks {
        jwks.warn_of_skipped();
    }
    let secret = settings.jwt_secret.as_ref().map(Secret::expose);
    let keys = Keys::new(secret, jwks, settings.claim_validators.clone())
        .with_roles(Roles::new(&settings.roles, login));
    let Some(published) = &settings.jwks_url else { return Ok(keys) };
    let address = Address::new(&published.url, published.allow_http)?;
    let config = jwks_source::Config::every(published.refresh);
    let source = Arc::new(JwksSource::new(address, config));
    drain.spawn("jwks", Arc::clone(&source).run(drain.clone()));
    Ok(keys.with_source(source))
}

fn tenant(settings: &Settings, drain: &Drain) -> Result<Tenant, AppError> {
    let (login, settings) = (&settings.database.connect.user, &settings.tenant);
    let wanted = &settings.limits;
    let limits = Limits {
        max_concurrent_users: usize::try_from(wanted.max_concurrent_users).unwrap_or(usize::MAX),
        max_events_per_second: wanted.max_events_per_second,
        max_joins_per_second: wanted.max_joins_per_second,
        max_channels_per_client: usize::try_from(wanted.max_channels_per_client)
            .unwrap_or(usize::MAX),
        max_presence_events_per_second: wanted.max_presence_events_per_second,
        max_payload_size_in_kb: usize::try_from(wanted.max_payload_kb).unwrap_or(usize::MAX),
        client_presence_max_calls: u32::try_from(wanted.client_presence_max_calls)
            .unwrap_or(u32::MAX),
        client_presence_window: wanted.client_presence_window,
    };
    let terms = Terms {
        limits,
        private_only: wanted.private_only,
        presence_enabled: wanted.presence_enabled,
        suspended: false,
    };
    Ok(Tenant::new(&settings.name, keys(settings, login, drain)?, terms))
}

fn sockets(settings: &config::SocketSettings) -> session::Config {
    session::Config {
        idle_timeout: settings.idle_timeout,
        no_channel_timeout: settings.no_channel_timeout,
        channel_error_backoff: settings.channel_error_backoff,
        outbox_bytes: settings.outbox_bytes,
        waiting_bytes: settings.waiting_bytes,
        ..session::Config::default()
    }
}

/// Sockets close early enough for what follows to end in time.
fn waves(settings: &config::ListenSettings) -> session::Waves {
    session::Waves::new(settings.drain_window.min(settings.drain_timeout / 2))
}

fn guard(settings: &config::Guard) -> Guard {
    let secrets: Vec<&str> = settings.secrets.iter().map(Secret::expose).collect();
    let refused: Vec<&str> = settings.blocklist.iter().map(Secret::expose).collect();
    Guard::new(&secrets, &refused)
}
