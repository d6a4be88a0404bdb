//! Runs the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    rowcast::cli::main()
}
