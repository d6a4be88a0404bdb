//! `rowcast migrate`: installs the SQL objects and says what it did.

use super::{Failure, connect::connect, screen};
use crate::{
    config::{Overrides, Resolved, env::Env},
    tenants::{
        chat_schema::Chat,
        chat_shards,
        migrations::{self, Options, Report},
    },
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
    /// Also install the tables and functions of the chat, see docs/chat.md
    #[arg(long)]
    chat: bool,
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
    let publication = resolved.value("ROWCAST_PUBLICATION").unwrap_or_default().to_owned();
    let chat = args.chat.then_some(Chat { publication, general_room: false });
    let shards = if args.chat { resolved.chat_shards()? } else { Vec::new() };
    let mut client = connect(&resolved.database()?).await?;
    // With shards, the chat is there and not in the tenant's database.
    let own = chat.clone().filter(|_| shards.is_empty());
    let has_chat = own.is_some();
    let report = migrations::run(&mut client, &Options { create_roles, chat: own }).await?;
    screen::line(describe(&report, has_chat));
    let told = |shard, report: &Report| {
        screen::line(format!("Shard {shard} of the chat:\n{}", describe(report, true)));
    };
    Ok(chat_shards::set_up(&shards, &Options { create_roles, chat }, told).await?)
}

/// One line for each thing, what was done now standing out.
fn describe(report: &Report, chat: bool) -> String {
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
    let what = if chat { "The schemas realtime and chat" } else { "The schema realtime" };
    lines.push(match (report.is_unchanged(), chat) {
        (true, false) => format!("{what} was up to date."),
        (true, true) => format!("{what} were up to date."),
        (false, false) => format!("{what} is up to date now."),
        (false, true) => format!("{what} are up to date now."),
    });
    lines.join("\n")
}
