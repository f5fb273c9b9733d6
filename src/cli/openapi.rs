//! `serin openapi`: what the control plane can do, for programs that make clients.

use super::output;
use crate::api::control_plane::document_json;
use anyhow::{Context as _, Result};

/// Prints the document.
///
/// # Errors
/// When standard output is closed.
pub(super) fn run() -> Result<()> {
    let document = document_json().context("the document cannot be written")?;
    output::print(&format!("{document}\n"))
}
