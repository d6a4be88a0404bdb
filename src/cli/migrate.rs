//! `rowcast migrate`: installs the SQL objects and says what it did.

use super::{Failure, connect::connect, screen};
use crate::{
    config::{Overrides, Resolved, env::Env},
    tenants::migrations::{self, Options, Report},
};

/// Flags of `migrate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The database [DATABASE_URL, or DB_HOST and so on]
    #[arg(long, value_name = "URL")]
    db_url: Option<String>,
    /// Also create the roles anon, authenticated and service_role and the
    /// functions auth.uid(), auth.role() and auth.jwt(), where missing
    #[arg(long)]
    create_roles: bool,
}

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let mut overrides = Overrides::default();
    if let Some(url) = args.db_url {
        overrides.flag("DATABASE_URL", &url);
    }
    if args.create_roles {
        overrides.flag("ROWCAST_CREATE_ROLES", &true);
    }
    let resolved = Resolved::read(&Env, &overrides)?;
    let create_roles = resolved.flag("ROWCAST_CREATE_ROLES")?;
    let mut client = connect(&resolved.database()?).await?;
    let report = migrations::run(&mut client, &Options { create_roles }).await?;
    screen::line(describe(&report));
    Ok(())
}

/// One line for each thing, what was done now standing out.
fn describe(report: &Report) -> String {
    let mut lines = Vec::new();
    let mut done = |what: &str, names: &[String]| {
        for name in names {
            lines.push(format!("  {}  {what} {name}", screen::paint(screen::GOOD, "done ")));
        }
    };
    done("role", &report.roles);
    done("use of the schema granted to", &report.granted);
    done("partition", &report.partitions);
    for step in &report.steps {
        let state = if step.applied {
            screen::paint(screen::GOOD, "done ")
        } else {
            screen::paint(screen::FAINT, "there")
        };
        lines.push(format!("  {state}  migration {}", step.name));
    }
    if report.adopted {
        lines
            .push("  The objects of Supabase Realtime were found and left as they are.".to_owned());
    }
    lines.push(if report.is_unchanged() {
        "The schema realtime was up to date.".to_owned()
    } else {
        "The schema realtime is up to date now.".to_owned()
    });
    lines.join("\n")
}
