//! The tokens against the settings file: whoever loses theirs loses it at once, and nobody else notices.

use crate::{
    api::{
        access::Access,
        metrics::{ReloadMetrics, ReloadResult},
    },
    definitions::watch::Watcher,
    settings::auth::Auth,
};
use std::{path::PathBuf, sync::Arc};

/// Applies changed tokens until the process ends. Nothing else of the settings is read again.
pub(super) async fn follow(file: PathBuf, access: Arc<Access>, reloads: ReloadMetrics) {
    let mut watcher = Watcher::of_file(file.clone());
    // What changed between the first reading and the watcher's first look.
    let mut fresh = true;
    while fresh || watcher.changed().await.is_some() {
        let path = file.clone();
        match tokio::task::spawn_blocking(move || Auth::load(&path)).await {
            Ok(Ok(auth)) => {
                let count = auth.tokens.0.len();
                if access.replace(auth.tokens, auth.open_metrics) {
                    tracing::info!(tokens = count, "changed tokens applied");
                    reloads.record(ReloadResult::Applied);
                } else if !fresh {
                    reloads.record(ReloadResult::Unchanged);
                }
            }
            // The start has read the same file.
            Ok(Err(_)) if fresh => {}
            Ok(Err(mistakes)) => {
                for mistake in &mistakes.0 {
                    tracing::error!("{mistake}");
                }
                tracing::error!(
                    mistakes = mistakes.0.len(),
                    "the tokens in the settings have mistakes: those in force stay"
                );
                reloads.record(ReloadResult::Rejected);
            }
            Err(error) => tracing::error!(%error, "reading the tokens failed"),
        }
        fresh = false;
    }
}
