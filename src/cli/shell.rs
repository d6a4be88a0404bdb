//! `rowcast completions` and `rowcast man`: what a shell and `man` want to know.

use clap::Command;
use clap_complete::Shell;

use super::{Failure, screen};

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// The command to tell of, rather than of all
    command: Option<String>,
}

pub(super) fn completions(args: &Completions, mut command: Command) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "rowcast", &mut script);
    screen::line(String::from_utf8_lossy(&script).trim_end());
}

pub(super) fn man(args: &Man, mut command: Command) -> Result<(), Failure> {
    command.build();
    let found = match &args.command {
        None => Some(&command),
        Some(name) => command.find_subcommand(name),
    };
    let found = found.ok_or_else(|| {
        Failure::new("There is no such command.", "rowcast --help lists the commands.")
    })?;
    let mut page = Vec::new();
    clap_mangen::Man::new(found.clone()).render(&mut page).map_err(|error| {
        Failure::new(format!("The page could not be made: {error}."), "try again.")
    })?;
    screen::line(String::from_utf8_lossy(&page).trim_end());
    Ok(())
}
