//! The `serin` program: parses the command line, runs it, and ends with its exit code.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    serin::cli::run(serin::cli::Arguments::parse())
}
