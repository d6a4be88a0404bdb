//! `rowcast serve`: the server, set up by the environment.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::{Failure, screen, signals};
use crate::{
    app,
    config::{LogFormat, LogSettings, Overrides, Resolved, env::Env},
    http::{Pages, site::Site},
    telemetry::logging::{self, Format},
};

/// Flags of `serve`; each wins over its variable.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Port to listen on [PORT, 4000]
    #[arg(long)]
    port: Option<u16>,
    /// Address to listen on [ROWCAST_BIND, 0.0.0.0]
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// The database [DATABASE_URL, or DB_HOST and so on]
    #[arg(long, value_name = "URL")]
    db_url: Option<String>,
    /// Serve the files of this folder at /, in the inspector's place
    #[arg(long = "static", value_name = "FOLDER")]
    site: Option<PathBuf>,
}

impl Args {
    /// The flags that were given.
    pub(super) fn overrides(&self) -> Overrides {
        let mut overrides = Overrides::default();
        if let Some(port) = self.port {
            overrides.flag("PORT", &port);
        }
        if let Some(address) = self.bind {
            overrides.flag("ROWCAST_BIND", &address);
        }
        if let Some(url) = &self.db_url {
            overrides.flag("DATABASE_URL", url);
        }
        overrides
    }
}

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let resolved = Resolved::read(&Env, &args.overrides())?;
    let settings = resolved.settings()?;
    if !resolved.ignored().is_empty() {
        screen::progress(format!("No meaning here: {}", resolved.ignored().join(", ")));
    }
    let site = args.site.as_deref().map(site).transpose()?;
    start_logging(&settings.log);
    let pages = Pages { site, ..Pages::default() };
    let ready = |ready: app::Ready| {
        if let Some(admin) = ready.admin {
            screen::progress(format!("Operators are served on {admin}"));
        }
        screen::progress(format!("Listening on {}", ready.address));
    };
    tokio::select! {
        served = Box::pin(app::serve(settings, pages, ready, signals::first())) => Ok(served?),
        () = signals::second() => Err(signals::cut_short()),
    }
}

fn site(folder: &Path) -> Result<Site, Failure> {
    Site::new(folder, "").map_err(|error| {
        Failure::new(
            format!("The folder {} cannot be served: {error}.", folder.display()),
            "name a folder with files, such as the output of a build.",
        )
    })
}

/// Logs to standard error, in the form asked for or the one that suits it.
pub(super) fn start_logging(settings: &LogSettings) {
    let format = match settings.format {
        Some(LogFormat::Pretty) => Format::Pretty,
        Some(LogFormat::Json) => Format::Json,
        None => Format::detect(),
    };
    logging::init(&settings.level, format);
}
