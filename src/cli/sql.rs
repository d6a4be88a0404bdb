//! `rowcast sql`: runs SQL in the database of `rowcast dev`.
//!
//! For machines without psql, which the fetched PostgreSQL may lack. It shows
//! what came back and is no more than that.

use std::path::PathBuf;

use super::{
    Failure,
    connect::{
        connect,
        pg::{SimpleColumn, SimpleQueryMessage as Message, words},
    },
    dev, screen,
};
use crate::{
    config::{ConfigError, Overrides, Resolved, env::Env},
    postgres::connect::ConnectConfig,
    secret::Secret,
};

/// Arguments of `sql`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// One or more statements
    statements: String,
    /// The folder of rowcast dev
    #[arg(long, value_name = "FOLDER", default_value = dev::DATA_DIR)]
    data_dir: PathBuf,
}

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let url = dev::stored_url(&args.data_dir).ok_or_else(|| {
        Failure::new(
            format!("There is no database in {}.", args.data_dir.display()),
            "start rowcast dev first, or name its folder with --data-dir.",
        )
    })?;
    let client = connect(&database(&url)?)
        .await
        .map_err(|failure| failure.advising("start rowcast dev, if it does not run."))?;
    let messages = client.simple_query(&args.statements).await.map_err(|error| {
        Failure::new(
            format!("PostgreSQL refuses: {}.", words(&error)),
            "correct the statement and try again.",
        )
    })?;
    for message in &messages {
        match message {
            Message::RowDescription(columns) => {
                let names: Vec<&str> = columns.iter().map(SimpleColumn::name).collect();
                screen::line(screen::paint(screen::FAINT, names.join("\t")));
            }
            Message::Row(row) => {
                let values: Vec<&str> =
                    (0..row.len()).map(|at| row.get(at).unwrap_or("null")).collect();
                screen::line(values.join("\t"));
            }
            Message::CommandComplete(count) => {
                screen::line(screen::paint(screen::FAINT, format!("{count} rows")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where the database of `rowcast dev` is.
fn database(url: &Secret) -> Result<ConnectConfig, ConfigError> {
    let mut overrides = Overrides::default();
    overrides.insist("DATABASE_URL", url.expose());
    let database = Resolved::read(&Env, &overrides)?.database();
    if database.as_ref().is_ok_and(|found| found.host.parse() != Ok(dev::HOST)) {
        return database;
    }
    // The private one has no TLS, whatever the environment asks of another.
    for name in ["ROWCAST_DB_SSL_MODE", "DB_SSL", "DB_SSL_CA_CERT"] {
        overrides.insist(name, "");
    }
    Resolved::read(&Env, &overrides)?.database()
}
