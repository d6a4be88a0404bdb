//! `rowcast dev`: the server with a private database, from nothing.
//!
//! In order: the port must be free, the data folder is opened and locked, a
//! PostgreSQL is found or fetched, the cluster is made or reused and started,
//! the SQL is installed, the server starts, the first screen is shown. What a
//! step started is undone when a later one fails or the user stops it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use serde_json::Map;

use self::{
    binaries::Binaries, cluster::Cluster, folder::Folder, owner::Owner, place::Place, ready::Screen,
};
use super::{
    Failure, screen,
    serve::start_logging,
    signals,
    token::{Expiry, KEY_LIFE, mint},
};
use crate::{
    app,
    config::{
        Overrides, Resolved, Settings,
        env::{Env, Strings as _},
    },
    postgres::connect::ConnectConfig,
    secret::Secret,
};

mod binaries;
mod chat;
mod cluster;
mod download;
mod folder;
mod owner;
mod place;
mod postmaster;
mod ready;
mod version;

/// The folder unless another is named.
pub(super) const DATA_DIR: &str = ".rowcast";

/// Where the private database listens.
pub(super) const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Flags of `dev`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Port to listen on [PORT, 4000]
    #[arg(long)]
    port: Option<u16>,
    /// Folder for the database and the secrets
    #[arg(long, value_name = "FOLDER", default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// Make the private database anew; its data is lost
    #[arg(long)]
    reset: bool,
    /// Use this database instead of a private one. The SQL objects, the roles
    /// anon, authenticated and service_role, and the tables of the chat are made in it
    #[arg(long, value_name = "URL", conflicts_with_all = ["reset", "pg_bin", "fetch"])]
    db_url: Option<String>,
    /// Folder with PostgreSQL's server programs [from ROWCAST_PG_BIN]
    #[arg(long, value_name = "FOLDER", conflicts_with = "fetch")]
    pg_bin: Option<PathBuf>,
    /// Fetch PostgreSQL even if there is one on this machine
    #[arg(long)]
    fetch: bool,
}

/// The secret of the data folder in this directory, for `rowcast token`.
pub(super) fn stored_secret() -> Option<Secret> {
    folder::stored(Path::new(DATA_DIR), folder::SECRET)
}

/// The database that a data folder's last start used.
pub(super) fn stored_url(home: &Path) -> Option<Secret> {
    folder::stored(home, folder::URL)
}

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let (mut stop, again) = (Box::pin(signals::first()), signals::second());
    let prepared = tokio::select! {
        prepared = Box::pin(prepare(&args)) => prepared?,
        () = &mut stop => return Ok(()),
    };
    let Prepared { settings, screen, mut cluster, folder } = prepared;
    start_logging(&settings.log);
    let pages = screen.pages();
    let show = |ready: app::Ready| {
        screen::line(Screen { address: ready.address, ..screen }.render());
    };
    let served = tokio::select! {
        served = Box::pin(app::serve(settings, pages, show, stop)) => served.map_err(Failure::from),
        failure = ended(cluster.as_mut()) => Err(failure),
        () = again => Err(signals::cut_short()),
    };
    let stopped = match cluster {
        Some(cluster) => cluster.stop().await,
        None => Ok(()),
    };
    drop(folder);
    // Why the server ended says more than that its database did not stop.
    served.and(stopped)
}

async fn ended(cluster: Option<&mut Cluster>) -> Failure {
    match cluster {
        Some(cluster) => cluster.ended().await,
        None => std::future::pending().await,
    }
}

/// All that is needed before the server starts.
struct Prepared {
    settings: Settings,
    screen: Screen,
    cluster: Option<Cluster>,
    folder: Folder,
}

async fn prepare(args: &Args) -> Result<Prepared, Failure> {
    let mut overrides = overrides(args);
    let resolved = Resolved::read(&Env, &overrides)?;
    let address = listen_address(&resolved)?;
    let folder = Folder::open(&args.data_dir)?;
    overrides.suggest("API_JWT_SECRET", folder.jwt_secret()?.expose());

    let mut cluster = None;
    let mut psql = on_path("psql").then(|| "psql".to_owned());
    if args.db_url.is_none() {
        let (started, programs) = start(args, &resolved, &folder).await?;
        insist_on(&mut overrides, &started.connect);
        let beside = programs.program("psql");
        if psql.is_none() && beside.is_file() {
            psql = Some(beside.display().to_string());
        }
        cluster = Some(started);
    }

    let resolved = Resolved::read(&Env, &overrides)?;
    let settings = resolved.settings()?;
    chat::install(&settings.database.connect, settings.replication.publication.clone()).await?;
    let database_url = resolved.value("DATABASE_URL").unwrap_or_default().to_owned();
    folder.remember_url(&database_url)?;
    let secret = &resolved.jwt_secret()?;
    // As old as the secret, so that a restart shows the same keys.
    let born = folder.secret_made()?;
    let key = |role| mint(secret, role, born, Expiry::In(KEY_LIFE), Map::new());
    let screen = Screen {
        address,
        anon_key: key("anon")?,
        service_key: key("service_role")?,
        jwt_secret: secret.expose().to_owned(),
        database_url,
        database: cluster.as_ref().map_or_else(
            || format!("database {}", settings.database.connect.database),
            Cluster::describe,
        ),
        own: cluster.is_some(),
        psql,
        rowcast: program(),
    };
    Ok(Prepared { settings, screen, cluster, folder })
}

/// What differs from `serve`.
fn overrides(args: &Args) -> Overrides {
    let mut overrides = Overrides::default();
    if let Some(port) = args.port {
        overrides.flag("PORT", &port);
    }
    if let Some(url) = &args.db_url {
        overrides.flag("DATABASE_URL", url);
    }
    if let Some(folder) = &args.pg_bin {
        overrides.flag("ROWCAST_PG_BIN", &folder.display());
    }
    // The keys are on the screen, so the network has no business here.
    overrides.suggest("ROWCAST_BIND", &Ipv4Addr::LOCALHOST);
    overrides.suggest("LOG_LEVEL", "warn");
    overrides.insist("ROWCAST_CREATE_ROLES", &true);
    overrides
}

/// Points all settings of the database to the private one, whatever the
/// environment says about another.
fn insist_on(overrides: &mut Overrides, connect: &ConnectConfig) {
    let url = format!(
        "postgresql://{}:{}@{}:{}/{}",
        connect.user,
        connect.password.as_deref().unwrap_or_default(),
        connect.host,
        connect.port,
        connect.database
    );
    overrides.insist("DATABASE_URL", &url);
    overrides.insist("ROWCAST_DB_SSL_MODE", "disable");
    overrides.insist("DB_SSL_CA_CERT", "");
}

/// The address to listen on. It is tried now, because a database should not
/// be created and started only to find that the port is taken.
fn listen_address(resolved: &Resolved) -> Result<SocketAddr, Failure> {
    let ip = resolved.value("ROWCAST_BIND").and_then(|text| text.parse::<IpAddr>().ok());
    let port = resolved.value("PORT").and_then(|text| text.parse().ok()).unwrap_or(0);
    let address = SocketAddr::new(ip.unwrap_or(Ipv4Addr::LOCALHOST.into()), port);
    match TcpListener::bind(address) {
        Ok(_) => Ok(address),
        Err(source) => Err(app::AppError::Listen { address, source }.into()),
    }
}

/// Finds PostgreSQL and starts the private cluster with it.
async fn start(
    args: &Args,
    resolved: &Resolved,
    folder: &Folder,
) -> Result<(Cluster, Binaries), Failure> {
    let owner = Owner::choose().await?;
    let place = Place::new(folder.database(&owner).await?);
    let wanted = if args.reset { None } else { place.version()? };
    let named = resolved.value("ROWCAST_PG_BIN").map(PathBuf::from);
    let programs = match named {
        Some(named) if !args.fetch => binaries::named(&named, &owner).await?,
        _ => choose(args, folder, &owner, wanted).await?,
    };
    if wanted.is_some_and(|major| major != programs.version.major) {
        return Err(mismatch(wanted, Some(&programs)));
    }
    if args.reset {
        place.remove(&programs, &owner).await?;
    }
    let cluster = Cluster::start(programs.clone(), owner, place).await?;
    Ok((cluster, programs))
}

/// The newest PostgreSQL here that fits the cluster, or else a fetched one.
async fn choose(
    args: &Args,
    folder: &Folder,
    owner: &Owner,
    wanted: Option<u32>,
) -> Result<Binaries, Failure> {
    let fits = |major: u32| wanted.is_none_or(|wanted| wanted == major);
    let installed = if args.fetch { Vec::new() } else { binaries::installed(&Env, owner).await };
    if let Some(found) = installed.iter().find(|found| fits(found.version.major)) {
        return Ok(found.clone());
    }
    if !fits(download::MAJOR) {
        return Err(mismatch(wanted, installed.first()));
    }
    download::obtain(&folder.programs(owner).await?, owner).await
}

/// The cluster needs another PostgreSQL than there is.
fn mismatch(wanted: Option<u32>, found: Option<&Binaries>) -> Failure {
    let wanted = wanted.unwrap_or_default();
    let found = found.map_or(download::MAJOR, |found| found.version.major);
    Failure::new(
        format!("The database was made by PostgreSQL {wanted}, but only {found} is at hand."),
        format!(
            "name the folder of PostgreSQL {wanted} with --pg-bin, or make a new database with --reset."
        ),
    )
}

/// How this program is called from a shell.
fn program() -> String {
    if on_path("rowcast") {
        return "rowcast".to_owned();
    }
    std::env::current_exe().map_or_else(|_| "rowcast".to_owned(), |path| path.display().to_string())
}

fn on_path(program: &str) -> bool {
    let path = Env.value("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
