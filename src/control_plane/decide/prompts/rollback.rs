//! Going back to what was served before: at once, without a gate, and with everybody.

use super::{existing_prompt, find_version};
use crate::{
    control_plane::{catalog::Catalog, decide::Rejection},
    domain::{
        event::Event,
        experiment::{FreezeCause, State},
        id::{Environment, PromptName},
        prompt::{Basis, Deployment, VersionRef, before_last},
    },
};

pub(in super::super) fn roll_back(
    catalog: &Catalog,
    name: &PromptName,
    environment: &Environment,
    target: Option<&VersionRef>,
) -> Result<Vec<Event>, Rejection> {
    let prompt = existing_prompt(catalog, name)?;
    let history: Vec<&Deployment> = prompt.history(environment).collect();
    let restored = match target {
        None => before_last(&history).ok_or_else(|| Rejection::NoPreviousVersion {
            prompt: name.clone(),
            environment: environment.clone(),
            deployed: history.last().map(|deployment| deployment.version),
        })?,
        Some(reference) => {
            let version = find_version(catalog, name, reference)?.number;
            let of_it =
                |deployment: &&&Deployment| deployment.version == version && !deployment.is_rollback();
            let found = history.iter().rev().find(of_it);
            // Without this a rollback would be a deployment that no gate ever saw.
            found.copied().ok_or_else(|| {
                let mut known: Vec<_> = history.iter().map(|deployment| deployment.version).collect();
                known.sort_unstable();
                known.dedup();
                Rejection::NeverDeployed {
                    prompt: name.clone(),
                    environment: environment.clone(),
                    version,
                    known,
                }
            })?
        }
    };
    let now = history.last();
    if now.is_some_and(|now| now.version == restored.version && now.digest == restored.digest) {
        return Ok(Vec::new());
    }
    let here = catalog.experiments.values().filter(|experiment| {
        experiment.spec.prompt == *name
            && experiment.spec.environment == *environment
            && matches!(
                experiment.state,
                State::Scheduled | State::Running | State::Holding
            )
    });
    // The experiments first: from then on what is deployed is what everyone gets.
    let mut events: Vec<Event> = here
        .map(|experiment| Event::ExperimentFrozen {
            id: experiment.spec.id.clone(),
            cause: FreezeCause::RolledBack {
                version: restored.version,
            },
        })
        .collect();
    events.push(Event::PromptDeployed {
        prompt: name.clone(),
        environment: environment.clone(),
        version: restored.version,
        previous: now.map(|now| now.version),
        wish: false,
        basis: Box::new(Basis {
            digest: Some(restored.digest.clone()),
            chosen: restored.basis.chosen.clone(),
            accepted: Vec::new(),
            experiment: None,
            restores: Some(restored.revision),
        }),
    });
    Ok(events)
}
