//! The composition root: builds every component, wires them, stops them in order.

mod database;

use std::{io, net::SocketAddr, sync::Arc};

use thiserror::Error;

use self::database::DatabaseError;
pub use self::database::reason;
use crate::{
    auth::jwt::Keys,
    broadcast::{Broadcasts, DatabaseBroadcasts, DatabaseMetrics},
    config::{self, Settings},
    http::{
        self,
        directory::Directory,
        listener,
        metrics::{Guard, MetricsPage},
    },
    hub::topics::Hub,
    postgres::{
        pool::{Pool, PoolConfig},
        session::SessionConfig,
    },
    postgres_changes::{self, PostgresChanges},
    presence::Tracker,
    replication::{self, Publication, worker::Worker},
    runtime::Drain,
    session::{self, Services},
    telemetry::Registry,
    tenants::{
        Tenant, janitor,
        limits::{Limits, Meters},
    },
};

/// Tells that the server accepts connections.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
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
    /// The database needs an operator.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Runs until `stop` completes, then drains.
///
/// # Errors
///
/// See [`AppError`].
pub async fn serve(
    settings: Settings,
    ready: impl FnOnce(Ready),
    stop: impl Future<Output = ()>,
) -> Result<(), AppError> {
    let address = settings.listen.address;
    let listen = |source| AppError::Listen { address, source };
    // First of all, so that a taken port is told before anything is touched.
    let listener = listener::bind(address).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;

    let drain = Drain::new();
    let mut registry = Registry::default();
    let metrics = session::Metrics::register(&mut registry);
    let tenant = Arc::new(tenant(&settings.tenant));
    let hub = Arc::new(Hub::new());
    let changes = changes(&settings);
    database::prepare(&settings.database, &drain).await?;
    let stream_metrics = replication::metrics::Metrics::register(&mut registry);
    let series = DatabaseMetrics::register(&mut registry).tenant(&tenant.name);
    let from_database = DatabaseBroadcasts::new(
        Arc::clone(&tenant),
        Arc::clone(&hub),
        settings.messages.retention,
        series,
    );
    // Broadcasts first: they wait for nothing, changes may wait for a lookup.
    let sinks = (from_database, changes.pipeline());
    Worker::spawn(stream(&settings), sinks, &drain, &stream_metrics);
    let janitor_metrics = janitor::Metrics::register(&mut registry);
    if let Some(config) = janitor(&settings) {
        janitor::spawn(config, &drain, &janitor_metrics);
    }
    let services = Arc::new(Services {
        broadcasts: Broadcasts::new(Arc::clone(&tenant), Arc::clone(&hub)),
        presence: Arc::new(Tracker::new(Arc::clone(&hub))),
        metrics: metrics.tenant(&tenant.name),
        config: sockets(&settings.sockets),
        drain: drain.clone(),
        changes,
        hub,
        tenant,
    });
    let state = http::State {
        directory: Directory::single(services, settings.tenant.strict_host),
        metrics: MetricsPage::new(registry, guard(&settings.metrics)),
        config: http::Config {
            connect_error_backoff: settings.sockets.connect_error_backoff,
            max_frame_bytes: settings.sockets.max_frame_bytes,
        },
    };
    let bounds = listener::Config {
        max_connections: settings.listen.max_connections,
        max_header_bytes: settings.listen.max_header_bytes,
        handshake_timeout: settings.listen.handshake_timeout,
    };
    let router = http::router(Arc::new(state));
    drain.spawn("listener", listener::serve(listener, router, bounds, drain.clone()));
    ready(Ready { address });
    stop.await;
    let left = drain.finish(settings.listen.drain_timeout).await;
    if left > 0 {
        tracing::warn!(left, "some connections did not end in time");
    }
    Ok(())
}

fn changes(settings: &Settings) -> PostgresChanges {
    let pool = Pool::new(PoolConfig {
        connect: settings.database.connect.clone(),
        size: settings.database.pool_size,
        wait: settings.database.pool_wait,
        session: SessionConfig::new("rowcast"),
    });
    let config = postgres_changes::Config {
        publication: settings.replication.publication.as_str().into(),
        max_record_bytes: settings.replication.max_record_bytes,
    };
    PostgresChanges::new(config, pool)
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

fn tenant(settings: &config::TenantSettings) -> Tenant {
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
    Tenant {
        name: settings.name.as_str().into(),
        keys: Keys::new(settings.jwt_secret.expose(), settings.claim_validators.clone()),
        meters: Meters::new(&limits),
        limits,
        private_only: wanted.private_only,
        presence_enabled: wanted.presence_enabled,
    }
}

fn sockets(settings: &config::SocketSettings) -> session::Config {
    session::Config {
        idle_timeout: settings.idle_timeout,
        no_channel_timeout: settings.no_channel_timeout,
        channel_error_backoff: settings.channel_error_backoff,
        outbox_bytes: settings.outbox_bytes,
        ..session::Config::default()
    }
}

fn guard(settings: &config::Guard) -> Guard {
    let secrets: Vec<&str> = settings.secrets.iter().map(|secret| secret.expose()).collect();
    let refused = settings.blocklist.iter().map(|token| token.expose().to_owned()).collect();
    Guard::new(&secrets, refused)
}
