//! `serin serve`: the server, until it is told to stop.

use super::{client::Server, output, server};
use crate::{
    settings::{self, Settings},
    telemetry,
};
use anyhow::{Context as _, Result, anyhow};
use std::path::Path;

/// Runs the server of a settings file until SIGTERM or Ctrl-C, and drains it.
///
/// # Errors
/// Every mistake in the settings, or why the server does not start or stop.
pub(super) fn run(config: &Path) -> Result<()> {
    telemetry::init_logging(settings::log_filter().as_deref());
    let settings = Settings::load(config).map_err(|mistakes| {
        let count = mistakes.0.len();
        let noun = if count == 1 { "mistake" } else { "mistakes" };
        anyhow!("{count} {noun} in the settings\n{mistakes}")
    })?;
    let running = server::start_from(settings, config)?;
    let [data_plane, control_plane] =
        [running.data_plane, running.control_plane].map(|address| Server::listening_on(address).url());
    // Serving goes on when nobody reads this line.
    let _ = output::print(&format!(
        "serin {}: decisions and outcomes on {data_plane}, control plane on {control_plane}\n",
        env!("CARGO_PKG_VERSION")
    ));
    running.wait().context("the server did not stop cleanly")
}
