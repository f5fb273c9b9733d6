//! The way out: standard output and standard error, and what happens when nobody reads them any more.

use anyhow::{Context as _, Result};
use serde_json::Value;
use std::io::{self, Write as _};

/// Whoever read standard output went away, as `head` does. No failure: there is nobody left to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("standard output is closed")]
pub(super) struct Closed;

/// The command failed and has said so already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the command failed")]
pub(super) struct Told;

/// Writes text as it is to standard output.
///
/// # Errors
/// [`Closed`] when the reader is gone, otherwise the system's failure.
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// Writes indented JSON and a line's end to standard output.
///
/// # Errors
/// Those of [`print()`].
pub(super) fn print_json(value: &Value) -> Result<()> {
    print(&format!("{value:#}\n"))
}

/// Writes a line to standard error. Where that fails there is no better place to say so.
pub(super) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
