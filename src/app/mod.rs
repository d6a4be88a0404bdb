//! The composition root: builds every component, wires them, and tells all at
//! once when to stop.

mod build;
mod chat;
mod cluster;
mod database;
mod doors;
mod many;
mod operator;
mod project;
mod projects;
mod shared;
mod stream;
mod tending;

use std::{io, net::SocketAddr, sync::Arc};

use thiserror::Error;

pub use self::database::DatabaseError;
use self::{doors::Doors, project::Project, projects::Projects, shared::Shared};
use crate::{
    auth::jwks_fetch::AddressError,
    cluster::redis::Unusable,
    config::{self, ControlSettings, Settings},
    error_code::ErrorCode,
    http::{
        self, Pages,
        directory::Directory,
        health::Readiness,
        metrics::{DoorMetrics, Guard, MetricsPage},
        origin::Origins,
        tenants::{Admin, One, Operator},
        tls::TlsError,
    },
    runtime::Stages,
    secret::Secret,
    telemetry::{Registry, process::Process},
    tenants::store::{InstallError, PutError},
};

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
    /// The control database has no tables of tenants, or cannot be given them.
    #[error("the control database cannot be used")]
    Control(#[from] InstallError),
    /// The tenant of the settings cannot be stored.
    #[error("SEED_SELF_HOST: the tenant cannot be stored")]
    Seed(#[from] PutError),
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
    let mut registry = Registry::default();
    Process::register(&mut registry);
    let counts = DoorMetrics::register(&mut registry);
    let shared = Arc::new(Shared::build(&settings, &mut registry, &stages)?);
    let hub = Arc::clone(&shared.nodes.hub);
    let (directory, operator) = match &settings.control {
        None => one(&settings, &shared).await?,
        Some(control) => many(&settings, control, &shared).await?,
    };
    let state = http::State {
        directory,
        metrics: MetricsPage::new(registry, guard(&settings.metrics)),
        doors: counts.clone(),
        admin: Admin::new(guard(&settings.admin), operator),
        readiness: Readiness::new(hub, stages.work.clone()),
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
        tracing::warn!(
            code = %ErrorCode::UnhandledProcessMessage, left,
            "some connections or tasks did not end in time"
        );
    }
    Ok(())
}

type Served = (Directory, Arc<dyn Operator>);

/// Serves the tenant of the settings from now on.
async fn one(settings: &Settings, shared: &Arc<Shared>) -> Result<Served, AppError> {
    let project = Project::only(settings, shared).await?;
    let services = Arc::clone(&project.services);
    let operator = One::new(Arc::clone(&services), project.pool.clone(), project.stream());
    let directory = Directory::One { services, strict: settings.tenant.strict_host };
    Ok((directory, Arc::new(operator)))
}

/// Serves the tenants of the control database when somebody asks for them.
async fn many(
    settings: &Settings,
    control: &ControlSettings,
    shared: &Arc<Shared>,
) -> Result<Served, AppError> {
    let projects = Box::pin(Projects::open(settings, control, shared)).await?;
    Ok((Directory::Many(Arc::clone(&projects) as _), projects))
}

fn guard(settings: &config::Guard) -> Guard {
    let secrets: Vec<&str> = settings.secrets.iter().map(Secret::expose).collect();
    let refused: Vec<&str> = settings.blocklist.iter().map(Secret::expose).collect();
    Guard::new(&secrets, &refused)
}
