//! The `serin` program: parses the command line, runs it, and ends with its exit code.

use serin::cli::{self, Arguments};
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(Arguments::from_command_line())
}
