//! The command line: what the commands are, and how they end.
//!
//! Each command is a file. A command that cannot do its work says so in one
//! plain sentence with a next step and ends with code 1, or with 2 for wrong
//! arguments; there are no backtraces for what a user can cause.

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::tables;

mod chat;
mod config;
mod connect;
mod dev;
mod doctor;
mod failure;
mod migrate;
mod screen;
mod serve;
mod shell;
mod signals;
mod socket;
mod sql;
mod tail;
mod token;

pub use self::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  rowcast dev                                   try it: server and database in one go
  DATABASE_URL=postgres://… API_JWT_SECRET=… rowcast serve
  rowcast token --role authenticated --sub 5f0c… --exp 1h

Supabase clients connect to http://HOST:PORT with a key made by rowcast token.";

/// Realtime for PostgreSQL: row changes, broadcast and presence over WebSockets.
#[derive(Debug, Parser)]
#[command(name = "rowcast", version, after_help = EXAMPLES, max_term_width = 110)]
#[command(
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server with a private database, for development
    Dev(dev::Args),
    /// Run the server, set up by environment variables
    Serve(serve::Args),
    /// Look whether the database, Redis and the settings are as they should be
    Doctor(doctor::Args),
    /// Install the SQL objects in the database and say what was done
    Migrate(migrate::Args),
    /// Look at the chat's shards, and move rooms between them
    Chat(chat::Args),
    /// Watch the changes of a table, as a user sees them
    Tail(tail::Args),
    /// Make a key for a client
    Token(token::Args),
    /// Run SQL in the database of rowcast dev, for want of psql
    Sql(sql::Args),
    /// Look at the settings
    Config(config::Args),
    /// Print what a shell needs to complete commands
    Completions(shell::Completions),
    /// Print the manual page
    Man(shell::Man),
}

/// The whole command line, with the settings in the help of `serve`.
fn line() -> clap::Command {
    let help = tables::help();
    Cli::command()
        .mut_subcommand("serve", |serve| serve.after_long_help(help))
        .mut_subcommand("dev", |dev| {
            dev.after_help("The variables of rowcast serve --help apply as well.")
        })
}

/// Runs the command of this process's arguments.
pub fn main() -> ExitCode {
    let parsed = line().try_get_matches().and_then(|found| Cli::from_arg_matches(&found));
    let command = match parsed {
        Ok(cli) => cli.command,
        Err(error) => {
            // Help and version are "errors" that print to standard output.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            screen::error(&failure, failure.next());
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Token(args) => token::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Completions(args) => {
            shell::completions(&args, line());
            Ok(())
        }
        Command::Man(args) => shell::man(&args, line()),
        Command::Tail(args) => block_on(tail::run(args)),
        Command::Serve(args) => block_on(serve::run(args)),
        Command::Doctor(args) => block_on(doctor::run(args)),
        Command::Chat(args) => block_on(chat::run(args)),
        Command::Migrate(args) => block_on(migrate::run(args)),
        Command::Sql(args) => block_on(sql::run(args)),
        Command::Dev(args) => block_on(dev::run(args)),
    }
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
            Failure::new(
                format!("The system gives no threads: {error}."),
                "end other programs, or raise the limit that ulimit -u shows.",
            )
        })?;
    let outcome = runtime.block_on(work);
    // Whatever the system has not answered yet, such as a name, is of no use any more.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
