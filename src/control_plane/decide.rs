//! `decide`: (catalog, command, now) → events or a rejection. Synchronous, no IO; every rule lives here.

mod design;
mod prompts;
mod rejection;
mod rollout;
mod steps;

pub use design::experiment_problems;
pub use prompts::{deployability, find_version, is_environment, registered};
pub use rejection::Rejection;
pub use steps::allowed_steps;

use super::catalog::Catalog;
use crate::domain::{Timestamp, command::Command, event::Event};
use design::put;
use prompts::{Asked, deploy, evaluate, label, register, review, roll_back, tag};
use rollout::{advance, clear, complete};
use steps::{existing, freeze, hold, promote, resume, start, stop};

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
            accept,
        } => {
            let asked = if *wish {
                Asked::Label
            } else {
                Asked::Person(accept)
            };
            deploy(catalog, name, environment, version, &asked)
        }
        Command::RollBackPrompt {
            name,
            environment,
            target,
        } => roll_back(catalog, name, environment, target.as_ref()),
        Command::LabelPrompt {
            name,
            label: word,
            version,
        } => label(catalog, name, word, version.as_ref()),
        Command::TagPrompt { name, tags } => tag(catalog, name, tags),
        Command::EvaluatePrompt {
            name,
            version,
            bundle,
        } => evaluate(catalog, name, version, bundle),
        Command::ReviewPrompt {
            name,
            version,
            review: said,
        } => review(catalog, name, version, said),
        Command::SetGates(gates) => {
            if *catalog.gates == *gates {
                return Ok(Vec::new());
            }
            Ok(vec![Event::GatesChanged { gates: gates.clone() }])
        }
        Command::PutExperiment(spec) => put(catalog, spec, now),
        Command::StartExperiment(id) => start(catalog, existing(catalog, id)?, now),
        Command::StopExperiment(id) => stop(existing(catalog, id)?, None),
        Command::ConcludeExperiment { id, conclusion } => stop(existing(catalog, id)?, Some(*conclusion)),
        Command::HoldExperiment { id, cause, breach } => hold(existing(catalog, id)?, *cause, breach),
        Command::ClearHold { id, seen } => Ok(clear(existing(catalog, id)?, *seen)),
        Command::AdvanceExperiment { id, seen, evidence } => {
            Ok(advance(existing(catalog, id)?, *seen, evidence))
        }
        Command::CompleteExperiment { id, seen, evidence } => {
            complete(catalog, existing(catalog, id)?, *seen, evidence)
        }
        Command::FreezeExperiment { id, cause } => freeze(existing(catalog, id)?, cause),
        Command::ResumeExperiment(id) => resume(catalog, existing(catalog, id)?),
        Command::PromoteExperiment(id) => promote(catalog, existing(catalog, id)?, None),
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
