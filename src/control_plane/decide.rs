//! `decide`: (catalog, command, now) → events or a rejection. Synchronous, no IO; every rule lives here.

use super::catalog::Catalog;
use crate::{
    domain::{
        Timestamp, check,
        command::Command,
        event::Event,
        experiment::{Experiment, ExperimentSpec, PinnedVersion, State, WantedStatus},
        id::{Environment, ExperimentId, PromptName, VersionNumber},
        problem::Problem,
        prompt::{PromptDraft, PromptType, PromptVersion, VersionRef},
    },
    routing::audience::CompiledAudience,
};
use std::sync::Arc;

/// Why a command was refused: for the caller, who can do something about it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// No such prompt.
    #[error("prompt `{0}` does not exist")]
    UnknownPrompt(PromptName),
    /// No such version.
    #[error("prompt `{prompt}` has no version {version}; it has {known}")]
    UnknownVersion {
        /// The prompt.
        prompt: PromptName,
        /// What was asked for.
        version: VersionRef,
        /// What there is.
        known: String,
    },
    /// No such experiment.
    #[error("experiment `{0}` does not exist")]
    UnknownExperiment(String),
    /// Versions are immutable.
    #[error(
        "version {semver} of prompt `{prompt}` is registered with other content: versions are immutable, use a new one"
    )]
    Immutable {
        /// The prompt.
        prompt: PromptName,
        /// The version.
        semver: semver::Version,
    },
    /// The type is fixed per name.
    #[error("prompt `{prompt}` is a {fixed} prompt and cannot have a {asked} version")]
    OtherType {
        /// The prompt.
        prompt: PromptName,
        /// What it is.
        fixed: PromptType,
        /// What was asked for.
        asked: PromptType,
    },
    /// The design has mistakes.
    #[error("experiment `{id}` has {} mistake(s): {}", .problems.len(), list(.problems))]
    Invalid {
        /// The experiment, or the prompt.
        id: String,
        /// All of them.
        problems: Vec<Problem>,
    },
    /// Not possible in this state.
    #[error("experiment `{id}` is {state}: cannot {step} it{}; allowed: {}", .why, .allowed.join(", "))]
    WrongState {
        /// The experiment.
        id: ExperimentId,
        /// Where it is.
        state: State,
        /// What was asked for.
        step: &'static str,
        /// More words, or none.
        why: &'static str,
        /// What is possible.
        allowed: Vec<&'static str>,
    },
}

fn list(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

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

fn existing<'a>(catalog: &'a Catalog, id: &ExperimentId) -> Result<&'a Experiment, Rejection> {
    catalog
        .experiments
        .get(id)
        .map(Arc::as_ref)
        .ok_or_else(|| Rejection::UnknownExperiment(id.to_string()))
}

fn wrong_state(experiment: &Experiment, step: &'static str) -> Rejection {
    Rejection::WrongState {
        id: experiment.spec.id.clone(),
        state: experiment.state,
        step,
        why: "",
        allowed: allowed_steps(experiment),
    }
}

/// The steps a person may take from here.
#[must_use]
pub fn allowed_steps(experiment: &Experiment) -> Vec<&'static str> {
    match experiment.state {
        State::Draft => vec!["start", "stop"],
        State::Scheduled => vec!["freeze", "stop"],
        State::Running => vec!["hold", "freeze", "promote", "stop"],
        State::Holding => vec!["resume", "freeze", "promote", "stop"],
        State::Frozen => vec!["resume", "stop"],
        State::Stopped if experiment.freeze.is_some() => vec!["resume"],
        State::Stopped | State::Promoted => vec!["start"],
    }
}

fn register(
    catalog: &Catalog,
    name: &PromptName,
    draft: &PromptDraft,
    environments: &[Environment],
    now: Timestamp,
) -> Result<Vec<Event>, Rejection> {
    let problems = check::draft_problems(draft);
    if !problems.is_empty() {
        return Err(Rejection::Invalid {
            id: name.to_string(),
            problems,
        });
    }
    let prompt = catalog.prompts.get(name);
    let digest = draft.digest();
    if let Some(prompt) = prompt {
        if let Some(first) = prompt.versions.first() {
            let (fixed, asked) = (first.draft.prompt.prompt_type(), draft.prompt.prompt_type());
            if fixed != asked {
                return Err(Rejection::OtherType {
                    prompt: name.clone(),
                    fixed,
                    asked,
                });
            }
        }
        if let Some(semver) = &draft.semver
            && let Some(version) = prompt.version(&VersionRef::Semver(semver.clone()))
        {
            return if version.digest == digest {
                Ok(Vec::new())
            } else {
                Err(Rejection::Immutable {
                    prompt: name.clone(),
                    semver: semver.clone(),
                })
            };
        }
    }
    let number = VersionNumber(prompt.map_or(1, |prompt| {
        u32::try_from(prompt.versions.len() + 1).unwrap_or(u32::MAX)
    }));
    let version = PromptVersion {
        number,
        draft: draft.clone(),
        digest,
        created_at: now,
    };
    let key = prompt.map_or_else(|| catalog.next_prompt_key(), |prompt| prompt.key);
    let mut events = vec![Event::PromptRegistered {
        prompt: name.clone(),
        key,
        version: Arc::new(version),
    }];
    // There is nothing else to serve yet.
    if prompt.is_none() {
        events.extend(environments.iter().map(|environment| Event::PromptDeployed {
            prompt: name.clone(),
            environment: environment.clone(),
            version: number,
            previous: None,
            wish: false,
        }));
    }
    Ok(events)
}

fn find_version(
    catalog: &Catalog,
    name: &PromptName,
    reference: &VersionRef,
) -> Result<Arc<PromptVersion>, Rejection> {
    let prompt = catalog
        .prompts
        .get(name)
        .ok_or_else(|| Rejection::UnknownPrompt(name.clone()))?;
    prompt.version(reference).cloned().ok_or_else(|| {
        let known = prompt.versions.iter().map(|version| {
            version
                .draft
                .semver
                .as_ref()
                .map_or_else(|| version.number.to_string(), ToString::to_string)
        });
        Rejection::UnknownVersion {
            prompt: name.clone(),
            version: reference.clone(),
            known: known.collect::<Vec<_>>().join(", "),
        }
    })
}

fn deploy(
    catalog: &Catalog,
    name: &PromptName,
    environment: &Environment,
    reference: &VersionRef,
    wish: bool,
) -> Result<Vec<Event>, Rejection> {
    let version = find_version(catalog, name, reference)?.number;
    let prompt = catalog.prompts.get(name);
    let previous = prompt
        .and_then(|prompt| prompt.deployed.get(environment))
        .copied();
    let done = if wish {
        prompt.is_some_and(|prompt| prompt.wished.get(environment) == Some(&version))
    } else {
        previous == Some(version)
    };
    if done {
        return Ok(Vec::new());
    }
    let (prompt, environment) = (name.clone(), environment.clone());
    Ok(vec![Event::PromptDeployed {
        prompt,
        environment,
        version,
        previous,
        wish,
    }])
}

/// Every mistake of a design, those that need the catalog included.
#[must_use]
pub fn experiment_problems(catalog: &Catalog, spec: &ExperimentSpec) -> Vec<Problem> {
    let mut problems = check::problems(spec);
    if let Some(audience) = &spec.audience
        && let Err(error) = CompiledAudience::compile(audience)
    {
        problems.push(Problem::new("audience", error.to_string()));
    }
    match catalog.prompts.get(&spec.prompt) {
        None => problems.push(Problem::new(
            "prompt",
            Rejection::UnknownPrompt(spec.prompt.clone()).to_string(),
        )),
        Some(prompt) => {
            if !prompt.deployed.contains_key(&spec.environment) {
                let problem = format!(
                    "prompt `{}` is not deployed to `{}`",
                    spec.prompt, spec.environment
                );
                problems.push(Problem::new("environment", problem));
            }
            for (index, variant) in spec.variants.iter().enumerate() {
                if let Err(rejection) = find_version(catalog, &spec.prompt, &variant.version) {
                    problems.push(Problem::new(
                        format!("variants[{index}].version"),
                        rejection.to_string(),
                    ));
                }
            }
        }
    }
    if let Some(layer) = &spec.layer
        && spec.status != WantedStatus::Stopped
    {
        for other in catalog.experiments.values() {
            let overlaps = other
                .spec
                .layer
                .as_ref()
                .is_some_and(|slots| slots.overlaps(layer));
            if other.spec.id != spec.id && other.state.is_live() && overlaps {
                let slots = other.spec.layer.as_ref().map_or([0.0; 2], |layer| layer.slots);
                problems.push(Problem::new(
                    "layer.slots",
                    format!(
                        "overlaps slots [{}, {}] of experiment `{}` in layer `{}`",
                        slots[0], slots[1], other.spec.id, layer.name
                    ),
                ));
            }
        }
    }
    problems
}

fn pins(catalog: &Catalog, spec: &ExperimentSpec) -> Result<Vec<PinnedVersion>, Rejection> {
    let pin = |variant: &crate::domain::experiment::Variant| {
        let version = find_version(catalog, &spec.prompt, &variant.version)?;
        let (version, digest) = (version.number, version.digest.clone());
        Ok(PinnedVersion {
            variant: variant.name.clone(),
            version,
            digest,
        })
    };
    spec.variants.iter().map(pin).collect()
}

fn put(catalog: &Catalog, spec: &ExperimentSpec, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    let id = &spec.id;
    let current = catalog.experiments.get(id);
    if current.is_some_and(|current| *current.spec == *spec) {
        return Ok(Vec::new());
    }
    let mut problems = experiment_problems(catalog, spec);
    if let Some(current) = current {
        problems.extend(forbidden_changes(current, spec));
    }
    if !problems.is_empty() {
        return Err(Rejection::Invalid {
            id: id.to_string(),
            problems,
        });
    }
    let shared = Arc::new(spec.clone());
    let Some(current) = current else {
        let key = catalog.next_experiment_key();
        let mut events = vec![Event::ExperimentCreated { key, spec: shared }];
        if spec.status == WantedStatus::Running {
            events.push(begin(catalog, spec, now)?);
        }
        return Ok(events);
    };
    let live = current.state.is_live();
    let pinned = if live { pins(catalog, spec)? } else { Vec::new() };
    let mut events = vec![Event::ExperimentChanged { spec: shared, pinned }];
    // Only a changed wish is followed: what a person did since the last edit stays done.
    if spec.status != current.spec.status {
        match (spec.status, current.state) {
            // A freeze outlives every file: only a resume lifts it.
            (_, State::Frozen) => {}
            (WantedStatus::Running, _) if current.freeze.is_some() => {}
            (WantedStatus::Running, _) if !live => events.push(begin(catalog, spec, now)?),
            (WantedStatus::Draft | WantedStatus::Stopped, _) if live => {
                events.push(Event::ExperimentStopped { id: id.clone() });
            }
            _ => {}
        }
    }
    Ok(events)
}

/// A live experiment's units must not be reshuffled by an edit.
fn forbidden_changes(current: &Experiment, spec: &ExperimentSpec) -> Vec<Problem> {
    if !current.state.is_live() {
        return Vec::new();
    }
    let old = &current.spec;
    let changed = [
        ("prompt", old.prompt != spec.prompt),
        ("environment", old.environment != spec.environment),
        ("kind", old.kind != spec.kind),
        ("unit", old.unit != spec.unit),
        ("salt", old.salt() != spec.salt()),
    ];
    let changed = changed
        .into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(field, _)| {
            Problem::new(
                field,
                format!(
                    "cannot change while the experiment is {}: stop it first",
                    current.state
                ),
            )
        });
    let control = old.control().map(|control| &control.name);
    let moved = (spec.control().map(|control| &control.name) != control).then(|| {
        let problem = format!(
            "the control cannot change while the experiment is {}: stop it first",
            current.state
        );
        Problem::new("variants[0].name", problem)
    });
    changed.chain(moved).collect()
}

/// Scheduled when its time has not come, else started.
fn begin(catalog: &Catalog, spec: &ExperimentSpec, now: Timestamp) -> Result<Event, Rejection> {
    if spec.start.is_some_and(|start| start > now) {
        return Ok(Event::ExperimentScheduled { id: spec.id.clone() });
    }
    if spec.end.is_some_and(|end| end <= now) {
        let problems = vec![Problem::new("end", format!("lies in the past: it is {now} now"))];
        return Err(Rejection::Invalid {
            id: spec.id.to_string(),
            problems,
        });
    }
    Ok(Event::ExperimentStarted {
        id: spec.id.clone(),
        pinned: pins(catalog, spec)?,
    })
}

fn start(catalog: &Catalog, experiment: &Experiment, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    let due = experiment.spec.start.is_none_or(|start| start <= now);
    match experiment.state {
        State::Stopped if experiment.freeze.is_some() => Err(Rejection::WrongState {
            id: experiment.spec.id.clone(),
            state: experiment.state,
            step: "start",
            why: " because it was frozen and nobody resumed it",
            allowed: allowed_steps(experiment),
        }),
        State::Draft | State::Stopped | State::Promoted => {
            let problems = experiment_problems(catalog, &experiment.spec);
            if !problems.is_empty() {
                return Err(Rejection::Invalid {
                    id: experiment.spec.id.to_string(),
                    problems,
                });
            }
            Ok(vec![begin(catalog, &experiment.spec, now)?])
        }
        State::Scheduled if due => Ok(vec![begin(catalog, &experiment.spec, now)?]),
        _ => Err(wrong_state(experiment, "start")),
    }
}

fn stop(experiment: &Experiment) -> Result<Vec<Event>, Rejection> {
    match experiment.state {
        State::Stopped | State::Promoted => Err(wrong_state(experiment, "stop")),
        _ => Ok(vec![Event::ExperimentStopped {
            id: experiment.spec.id.clone(),
        }]),
    }
}

fn resume(catalog: &Catalog, experiment: &Experiment) -> Result<Vec<Event>, Rejection> {
    let latched = experiment.state == State::Stopped && experiment.freeze.is_some();
    if !latched && !matches!(experiment.state, State::Frozen | State::Holding) {
        return Err(wrong_state(experiment, "resume"));
    }
    let problems = experiment_problems(catalog, &experiment.spec);
    if !problems.is_empty() {
        return Err(Rejection::Invalid {
            id: experiment.spec.id.to_string(),
            problems,
        });
    }
    let pinned = pins(catalog, &experiment.spec)?;
    Ok(vec![Event::ExperimentResumed {
        id: experiment.spec.id.clone(),
        pinned,
    }])
}

fn promote(catalog: &Catalog, experiment: &Experiment) -> Result<Vec<Event>, Rejection> {
    let (true, Some(candidate)) = (experiment.state.splits(), experiment.spec.variants.last()) else {
        return Err(wrong_state(experiment, "promote"));
    };
    let spec = &experiment.spec;
    let version = experiment
        .pinned_version(&candidate.name)
        .map(|pinned| pinned.version);
    let version = version.map_or_else(|| candidate.version.clone(), VersionRef::Number);
    let number = find_version(catalog, &spec.prompt, &version)?.number;
    let mut events = deploy(catalog, &spec.prompt, &spec.environment, &version, false)?;
    events.push(Event::ExperimentPromoted {
        id: spec.id.clone(),
        version: number,
    });
    Ok(events)
}
