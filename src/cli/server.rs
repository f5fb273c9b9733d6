//! The one place where the command line starts the server in this process.

use crate::settings::Settings;
use anyhow::{Context as _, Result};
use std::path::Path;

pub(super) use crate::app::Running;

/// Starts everything and returns when both ports are bound.
///
/// # Errors
/// Why the server refuses to start; nothing is left running then.
pub(super) fn start(settings: Settings) -> Result<Running> {
    crate::app::start(settings).context("the server does not start")
}

/// The same with the file that the settings are from, whose tokens are followed.
///
/// # Errors
/// As [`start`].
pub(super) fn start_from(settings: Settings, file: &Path) -> Result<Running> {
    crate::app::start_from(settings, file).context("the server does not start")
}
