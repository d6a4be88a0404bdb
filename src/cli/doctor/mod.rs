//! `rowcast doctor`: looks whether everything is as the server needs it.
//!
//! It connects with the settings of `serve`, reads catalogs and asks others
//! how they are. Nothing is changed: the session is read-only. What is wrong
//! comes with the statement or the setting that mends it.

mod checks;
mod report;

use self::report::Report;
use super::{Failure, connect::connect, screen};
use crate::{
    config::{Overrides, Resolved, Settings, env::Env},
    telemetry,
};

/// Flags of `doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The database [DATABASE_URL, or DB_HOST and so on]
    #[arg(long, value_name = "URL")]
    db_url: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let mut overrides = Overrides::default();
    if let Some(url) = &args.db_url {
        overrides.flag("DATABASE_URL", url);
    }
    let settings = settings(&mut overrides)?;
    let mut report = Report::default();
    database(&settings, &mut report).await;
    checks::beside(&settings, &mut report).await;
    screen::line(if args.json { report.json().to_string() } else { report.text() });
    let (what, them) = match report.errors() {
        0 => return Ok(()),
        1 => ("There is an error.".to_owned(), "it"),
        errors => (format!("There are {errors} errors."), "them"),
    };
    Err(Failure::new(what, format!("mend {them} as said with {them} and ask again.")))
}

/// The settings of `serve`. A missing secret is something to be found, and no
/// reason to look no further.
fn settings(overrides: &mut Overrides) -> Result<Settings, Failure> {
    let secret = Resolved::read(&Env, overrides)?.jwt_secret().ok();
    overrides.suggest("API_JWT_SECRET", "none");
    let mut settings = Resolved::read(&Env, overrides)?.settings()?;
    settings.tenant.jwt_secret = secret;
    Ok(settings)
}

async fn database(settings: &Settings, report: &mut Report) {
    let client = match connect(&settings.database.connect).await {
        Ok(client) => client,
        Err(failure) => {
            report.error("database_unreachable", failure.to_string()).by(failure.next());
            return;
        }
    };
    if let Err(error) = Box::pin(checks::database(&client, settings, report)).await {
        let reason = telemetry::reason(&error);
        let what =
            format!("The database does not say how it is, so not all was checked: {reason}.");
        report.error("database_silent", what).by("mend what the message names and ask again");
    }
}
