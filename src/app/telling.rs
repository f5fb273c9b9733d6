//! Telling people, on a thread of its own: a receiver that is slow makes nobody else wait.

use super::{StartError, spawn};
use crate::{
    clock::Clock, control_plane::ControlPlane, notices::Notices, settings::Settings,
    store::sqlite::cursors::Cursors,
};
use std::{io, sync::Arc, thread::JoinHandle};
use tokio::{runtime, sync::watch};

/// Gets ready to tell, before anything is changed; none when nobody is to be told.
pub(super) fn prepare(
    settings: &Settings,
    plane: &Arc<ControlPlane>,
    clock: &Clock,
) -> Result<Option<Notices>, StartError> {
    let options = &settings.notifications;
    if options.webhooks.is_empty() && options.alertmanagers.is_empty() {
        return Ok(None);
    }
    let cursors = Cursors::path_beside(&settings.store.path);
    Ok(Some(Notices::prepare(options, plane, clock, cursors)?))
}

/// Tells until `end` says so.
pub(super) fn start(notices: Notices, end: watch::Receiver<bool>) -> io::Result<JoinHandle<()>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    spawn("serin-notices", move || {
        runtime.block_on(notices.run(end));
        // A name that does not resolve may take longer than anybody wants to wait.
        runtime.shutdown_background();
    })
}
