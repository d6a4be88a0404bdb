//! `rowcast config check`: what is in force, and where it came from.

use super::{Failure, screen, serve};
use crate::config::{InForce, Origin, Resolved, env::Env, tables};

/// Arguments of `config`.
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show every setting and where it comes from; secrets are masked
    Check(serve::Args),
    /// Print the table of the documentation
    #[command(hide = true)]
    Docs,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match &args.action {
        Action::Docs => {
            screen::line(tables::markdown().trim_end());
            Ok(())
        }
        Action::Check(flags) => {
            let resolved = Resolved::read(&Env, &flags.overrides())?;
            show(&resolved);
            // Whatever only shows when all is put together comes after the
            // list, so that both can be seen.
            resolved.settings()?;
            screen::line(screen::paint(screen::GOOD, "All settings are valid."));
            Ok(())
        }
    }
}

fn show(resolved: &Resolved) {
    for section in resolved.entries().chunk_by(|a, b| a.knob.section == b.knob.section) {
        if let Some(first) = section.first() {
            screen::line(screen::paint(screen::STRONG, first.knob.section.title()));
        }
        section.iter().for_each(entry);
        screen::line("");
    }
    if !resolved.ignored().is_empty() {
        screen::line(screen::paint(screen::STRONG, "Set, but without meaning here"));
        screen::line(format!("  {}\n", resolved.ignored().join(", ")));
    }
}

fn entry(entry: &InForce) {
    let value = format!("{:<38}", tables::shown(entry));
    let style = match entry.origin {
        Origin::Default => screen::FAINT,
        _ => screen::VALUE,
    };
    let origin = screen::paint(screen::FAINT, entry.origin.describe());
    screen::line(format!("  {:<40}{}  {origin}", entry.knob.name, screen::paint(style, value)));
}
