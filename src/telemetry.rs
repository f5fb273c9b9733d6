//! Where logs go.
//!
//! Owns the process's one subscriber; what is counted for monitoring lives with the API, which shows it. Called once
//! by the command line, before anything is started. Lines go to standard error: standard output belongs to what a
//! command prints.

use std::io::{self, IsTerminal as _};
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt as _};

/// What is logged when nobody says otherwise.
const DEFAULT_FILTER: &str = "info";

/// Starts logging, at level `info` or as `filter` says, such as `debug` or `serin::guardrails=trace,warn`. On a
/// terminal one line of text per event with its fields behind it, otherwise one JSON object per line, because then
/// a program reads it: a freeze carries its whole evidence in fields.
///
/// A filter that cannot be read is named in a warning and replaced by the default. A second call changes nothing.
pub fn init_logging(filter: Option<&str>) {
    let wanted = filter.unwrap_or(DEFAULT_FILTER);
    let parsed = EnvFilter::try_new(wanted);
    let problem = parsed.as_ref().err().map(ToString::to_string);
    let filter = parsed.unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let started = if io::stderr().is_terminal() {
        builder.compact().finish().try_init()
    } else {
        builder.json().flatten_event(true).finish().try_init()
    };
    if let (Ok(()), Some(problem)) = (started, problem) {
        tracing::warn!(
            filter = wanted,
            problem,
            "the log filter cannot be read, using `{DEFAULT_FILTER}`"
        );
    }
}
