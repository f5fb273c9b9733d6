//! The life of an experiment: which step is possible from where.

use super::{
    Rejection,
    design::{experiment_problems, pins},
    prompts::{Asked, deploy, find_version, gate_problems},
};
use crate::{
    control_plane::catalog::Catalog,
    domain::{
        Timestamp,
        event::{Event, StageEvidence},
        experiment::{Conclusion, Experiment, ExperimentSpec, FreezeCause, HoldCause, PinnedVersion, State},
        guardrail::Breach,
        id::ExperimentId,
        problem::Problem,
        prompt::VersionRef,
    },
};
use std::sync::Arc;

pub(super) fn existing<'a>(catalog: &'a Catalog, id: &ExperimentId) -> Result<&'a Experiment, Rejection> {
    catalog
        .experiments
        .get(id)
        .map(Arc::as_ref)
        .ok_or_else(|| Rejection::UnknownExperiment(id.to_string()))
}

pub(super) fn wrong_state(experiment: &Experiment, step: &'static str) -> Rejection {
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

/// Scheduled when its time has not come, else started.
pub(super) fn begin(catalog: &Catalog, spec: &ExperimentSpec, now: Timestamp) -> Result<Event, Rejection> {
    if spec.start.is_some_and(|start| start > now) {
        // Told now, and not to nobody when its time has come.
        may_be_served(catalog, spec, &pins(catalog, spec)?)?;
        return Ok(Event::ExperimentScheduled { id: spec.id.clone() });
    }
    if spec.end.is_some_and(|end| end <= now) {
        let problems = vec![Problem::new("end", format!("lies in the past: it is {now} now"))];
        return Err(Rejection::Invalid {
            id: spec.id.to_string(),
            problems,
        });
    }
    let pinned = pins(catalog, spec)?;
    may_be_served(catalog, spec, &pinned)?;
    Ok(Event::ExperimentStarted {
        id: spec.id.clone(),
        pinned,
    })
}

/// The gate of the environment stands before a version meets users, and an experiment is how most of them do.
fn may_be_served(
    catalog: &Catalog,
    spec: &ExperimentSpec,
    pinned: &[PinnedVersion],
) -> Result<(), Rejection> {
    let problems = gate_problems(catalog, spec, pinned, &[]);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Rejection::Invalid {
        id: spec.id.to_string(),
        problems,
    })
}

pub(super) fn start(
    catalog: &Catalog,
    experiment: &Experiment,
    now: Timestamp,
) -> Result<Vec<Event>, Rejection> {
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

/// Ends it: with the conclusion that was given, or with what its state says.
pub(super) fn stop(experiment: &Experiment, conclusion: Option<Conclusion>) -> Result<Vec<Event>, Rejection> {
    let concluded = conclusion.unwrap_or(if experiment.freeze.is_some() {
        Conclusion::Revert
    } else {
        Conclusion::Inconclusive
    });
    match experiment.state {
        State::Stopped | State::Promoted => Err(wrong_state(experiment, "stop")),
        _ => Ok(vec![Event::ExperimentStopped {
            id: experiment.spec.id.clone(),
            // Of what never began nothing came.
            conclusion: experiment.started.and(Some(concluded)),
            results: None,
        }]),
    }
}

/// Keeps the split. A hold that ends by itself gives way to one that does not, and to another of its kind.
pub(super) fn hold(
    experiment: &Experiment,
    cause: HoldCause,
    breach: &Option<Box<Breach>>,
) -> Result<Vec<Event>, Rejection> {
    let held = experiment.hold.as_ref().map(|hold| hold.cause);
    let gives_way = held.is_some_and(|held| held.clears_itself() && held != cause);
    match experiment.state {
        State::Running => {}
        State::Holding if gives_way => {}
        // Automation may ask again before it has seen its first hold.
        State::Holding if cause != HoldCause::Manual => return Ok(Vec::new()),
        _ => return Err(wrong_state(experiment, "hold")),
    }
    Ok(vec![Event::ExperimentHeld {
        id: experiment.spec.id.clone(),
        cause: Some(cause),
        evidence: None,
        breach: breach.clone(),
    }])
}

pub(super) fn freeze(experiment: &Experiment, cause: &FreezeCause) -> Result<Vec<Event>, Rejection> {
    match experiment.state {
        State::Scheduled | State::Running | State::Holding => Ok(vec![Event::ExperimentFrozen {
            id: experiment.spec.id.clone(),
            cause: cause.clone(),
        }]),
        _ => Err(wrong_state(experiment, "freeze")),
    }
}

pub(super) fn resume(catalog: &Catalog, experiment: &Experiment) -> Result<Vec<Event>, Rejection> {
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
    may_be_served(catalog, &experiment.spec, &pinned)?;
    Ok(vec![Event::ExperimentResumed {
        id: experiment.spec.id.clone(),
        pinned,
    }])
}

/// Deploys the candidate and ends the experiment; `evidence` is that of a rollout that came to its end.
pub(super) fn promote(
    catalog: &Catalog,
    experiment: &Experiment,
    evidence: Option<Box<StageEvidence>>,
) -> Result<Vec<Event>, Rejection> {
    let (true, Some(candidate)) = (experiment.state.splits(), experiment.spec.variants.last()) else {
        return Err(wrong_state(experiment, "promote"));
    };
    let spec = &experiment.spec;
    let pinned = experiment.pinned_version(&candidate.name);
    let version = pinned.map_or_else(
        || candidate.version.clone(),
        |pinned| VersionRef::Number(pinned.version),
    );
    let number = find_version(catalog, &spec.prompt, &version)?.number;
    let asked = Asked::Promotion(&spec.id, pinned);
    let mut events = deploy(catalog, &spec.prompt, &spec.environment, &version, &asked)?;
    events.push(Event::ExperimentPromoted {
        id: spec.id.clone(),
        version: number,
        evidence,
        results: None,
    });
    Ok(events)
}
