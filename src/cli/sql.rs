//! `rowcast sql`: runs SQL in the database of `rowcast dev`.
//!
//! For machines without psql, which the fetched PostgreSQL may lack. It shows
//! what came back and is no more than that.

use std::path::PathBuf;

use super::{
    Failure,
    connect::{
        connect,
        pg::{SimpleColumn, SimpleQueryMessage as Message},
    },
    dev, screen,
};
use crate::config::{Overrides, Resolved, env::Env};

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
    let mut overrides = Overrides::default();
    overrides.flag("DATABASE_URL", url.expose());
    let database = Resolved::read(&Env, &overrides)?.database()?;
    let client = connect(&database).await.map_err(|_| {
        Failure::new("The database of rowcast dev does not answer.", "start rowcast dev first.")
    })?;
    let messages = client.simple_query(&args.statements).await.map_err(|error| {
        Failure::plain(error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string))
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
