//! `decide`: (catalog, command, now) → events or a rejection. Synchronous, no IO; every rule lives here.

mod design;
mod prompts;
mod rejection;
mod steps;

pub use design::experiment_problems;
pub use rejection::Rejection;
pub use steps::allowed_steps;

use super::catalog::Catalog;
use crate::domain::{Timestamp, command::Command, event::Event, experiment::State};
use design::put;
use prompts::{deploy, register};
use steps::{existing, promote, resume, start, stop, wrong_state};

/// What follows from a command; no events when nothing would change.
///
/// # Errors
/// [`Rejection`] with what is wrong and what is allowed.
pub fn decide(catalog: &Catalog, command: &Command, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::RegisterPrompt {
            name,
            draft,
            environments,
        } => register(catalog, name, draft, environments, now),
        Command::DeployPrompt {
            name,
            environment,
            version,
            wish,
        } => deploy(catalog, name, environment, version, *wish),
        Command::PutExperiment(spec) => put(catalog, spec, now),
        Command::StartExperiment(id) => start(catalog, existing(catalog, id)?, now),
        Command::StopExperiment(id) => stop(existing(catalog, id)?),
        Command::HoldExperiment { id, breach } => {
            let experiment = existing(catalog, id)?;
            match experiment.state {
                State::Running => Ok(vec![Event::ExperimentHeld {
                    id: id.clone(),
                    breach: breach.clone(),
                }]),
                // A guardrail may ask again before it has seen its first hold.
                State::Holding if breach.is_some() => Ok(Vec::new()),
                _ => Err(wrong_state(experiment, "hold")),
            }
        }
        Command::FreezeExperiment { id, cause } => {
            let experiment = existing(catalog, id)?;
            match experiment.state {
                State::Scheduled | State::Running | State::Holding => Ok(vec![Event::ExperimentFrozen {
                    id: id.clone(),
                    cause: cause.clone(),
                }]),
                _ => Err(wrong_state(experiment, "freeze")),
            }
        }
        Command::ResumeExperiment(id) => resume(catalog, existing(catalog, id)?),
        Command::PromoteExperiment(id) => promote(catalog, existing(catalog, id)?),
        Command::RecordAlert { id, breach } => {
            let experiment = existing(catalog, id)?;
            if !experiment.state.splits() || experiment.alerted.contains(&breach.guardrail) {
                return Ok(Vec::new());
            }
            Ok(vec![Event::GuardrailAlerted {
                id: id.clone(),
                breach: breach.clone(),
            }])
        }
        Command::SetHoldout(holdout) => {
            if catalog.holdout == *holdout {
                return Ok(Vec::new());
            }
            Ok(vec![Event::HoldoutChanged {
                holdout: holdout.clone(),
            }])
        }
        Command::RotateReceiptKey { secret } => {
            let key_id = catalog
                .receipt_keys
                .last()
                .map_or(1, |(id, _)| id.wrapping_add(1));
            let secret = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            Ok(vec![Event::ReceiptKeyAdded { key_id, secret }])
        }
    }
}
