//! The definition files against the log: at the start, and whenever they change.

use super::StartError;
use crate::{
    api::metrics::{ReloadMetrics, ReloadResult},
    clock::Clock,
    control_plane::{ControlPlane, SubmitAllError, SubmitError},
    definitions::{
        load::{DefinitionDirs, read},
        mistake::Mistakes,
        reconcile::{Reconciliation, review},
        watch::Watcher,
    },
    domain::{
        command::{Command, Origin},
        id::Environment,
    },
    settings::Settings,
    store::error::StoreError,
};
use std::{io, sync::Arc, time::Duration};

/// The pause before files are applied again after the store refused them.
const RELOAD_RETRY: Duration = Duration::from_secs(2);

/// Brings the log up to the files: the last good state stands in for bad ones, but never on a first start.
pub(super) fn prepare(
    settings: &Settings,
    plane: &ControlPlane,
    clock: &Clock,
    reloads: &ReloadMetrics,
) -> Result<(), StartError> {
    let first = plane.view().catalog.prompts.is_empty();
    let store = |error| StartError::Store {
        path: settings.store.path.clone(),
        error,
    };
    // Before the files: what they ask for is decided by the gates in force.
    let gates = Command::SetGates(settings.gates.clone());
    match plane.submit(Origin::new("settings", "environments"), gates) {
        Ok(_) => {}
        Err(SubmitError::Store(error)) if first => return Err(store(error)),
        Err(error) => tracing::error!(%error, "the gates of environments stay as they were"),
    }
    match reload(&settings.definitions, &settings.environment, plane, clock) {
        Ok(applied) => {
            reloads.record(if applied {
                ReloadResult::Applied
            } else {
                ReloadResult::Unchanged
            });
        }
        Err(ReloadError::Mistakes(mistakes)) if first => return Err(StartError::Definitions(mistakes)),
        Err(ReloadError::Mistakes(mistakes)) => {
            reloads.record(ReloadResult::Rejected);
            tell(
                &mistakes,
                "the files have mistakes: starting with the last good state",
            );
        }
        // A full disk must not keep decisions from being made.
        Err(ReloadError::Store(error)) if !first => tracing::error!(%error, "the files could not be applied"),
        Err(ReloadError::Store(error)) => return Err(store(error)),
    }
    let mut commands = vec![(
        Origin::new("settings", "holdout"),
        Command::SetHoldout(settings.holdout.clone()),
    )];
    if plane.view().catalog.receipt_keys.is_empty() {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
        commands.push((
            Origin::new("system", "the first start"),
            Command::RotateReceiptKey { secret },
        ));
    }
    match plane.submit_all(&commands) {
        Ok(_) | Err(SubmitAllError::Rejected(_)) => Ok(()),
        Err(SubmitAllError::Store(error)) if first => Err(store(error)),
        Err(SubmitAllError::Store(error)) => {
            tracing::error!(%error, "the settings could not be applied");
            Ok(())
        }
    }
}

enum ReloadError {
    Mistakes(Mistakes),
    Store(StoreError),
}

/// Reads all files and applies what differs; true when something did.
fn reload(
    dirs: &DefinitionDirs,
    environment: &Environment,
    plane: &ControlPlane,
    clock: &Clock,
) -> Result<bool, ReloadError> {
    let loaded = read(dirs, environment);
    let view = plane.view();
    if !loaded.mistakes.is_empty() {
        return Err(ReloadError::Mistakes(review(
            &view.catalog,
            &loaded,
            environment,
            clock.now(),
        )));
    }
    let reconciliation = Reconciliation::new(&view.catalog, &loaded.definitions, environment);
    match plane.submit_all(&reconciliation.commands) {
        Ok(submitted) => {
            if !submitted.events.is_empty() {
                let (events, revision) = (submitted.events.len(), submitted.revision);
                tracing::info!(events, %revision, "definition files applied");
            }
            Ok(!submitted.events.is_empty())
        }
        Err(SubmitAllError::Rejected(refused)) => {
            Err(ReloadError::Mistakes(reconciliation.mistakes(&refused)))
        }
        Err(SubmitAllError::Store(error)) => Err(ReloadError::Store(error)),
    }
}

fn tell(mistakes: &Mistakes, what: &str) {
    for mistake in &mistakes.0 {
        tracing::error!("{mistake}");
    }
    tracing::error!(mistakes = mistakes.0.len(), "{what}");
}

/// Applies changed files until the process ends.
pub(super) async fn follow(
    dirs: DefinitionDirs,
    environment: Environment,
    plane: Arc<ControlPlane>,
    clock: Clock,
    reloads: ReloadMetrics,
) {
    let mut watcher = Watcher::start(dirs.clone());
    // What changed between the first reading and the watcher's first look.
    let mut fresh = true;
    // Whether there is something to apply that no new change will announce.
    let mut owing = true;
    loop {
        if !owing && watcher.changed().await.is_none() {
            return;
        }
        owing = false;
        let outcome = {
            let (dirs, environment) = (dirs.clone(), environment.clone());
            let (plane, clock) = (Arc::clone(&plane), clock.clone());
            tokio::task::spawn_blocking(move || reload(&dirs, &environment, &plane, &clock)).await
        };
        match outcome {
            Ok(Ok(true)) => reloads.record(ReloadResult::Applied),
            Ok(Ok(false)) if fresh => {}
            Ok(Ok(false)) => reloads.record(ReloadResult::Unchanged),
            // The start has told these already.
            Ok(Err(ReloadError::Mistakes(_))) if fresh => {}
            Ok(Err(ReloadError::Mistakes(mistakes))) => {
                reloads.record(ReloadResult::Rejected);
                tell(
                    &mistakes,
                    "changed files have mistakes: nothing was changed, the last good set stays",
                );
            }
            Ok(Err(ReloadError::Store(error))) => {
                tracing::error!(%error, "changed files could not be applied; trying again");
                tokio::time::sleep(RELOAD_RETRY).await;
                owing = true;
                continue;
            }
            Err(error) => tracing::error!(%error, "applying changed files failed"),
        }
        fresh = false;
    }
}
