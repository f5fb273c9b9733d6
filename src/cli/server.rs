//! The one place where the command line starts the server in this process.

use crate::settings::Settings;
use anyhow::{Context as _, Result};

pub(super) use crate::app::Running;

/// Starts everything and returns when both ports are bound.
///
/// # Errors
/// Why the server refuses to start; nothing is left running then.
pub(super) fn start(settings: Settings) -> Result<Running> {
    crate::app::start(settings).context("the server does not start")
}
