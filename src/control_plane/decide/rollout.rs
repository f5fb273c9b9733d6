//! How a rollout moves by itself: on, or out of a wait. What it looked at may have changed meanwhile, so each of these
//! names the experiment's last change it knew of, and does nothing after another one.

use super::{Rejection, steps::promote};
use crate::{
    control_plane::catalog::Catalog,
    domain::{
        event::{Event, StageEvidence},
        experiment::{Experiment, HoldCause, State},
        id::Revision,
        rollout::OnComplete,
    },
};

/// Whether a stage may end here: it runs, or only waits for what has come now.
fn may_pass(experiment: &Experiment, seen: Revision, evidence: &StageEvidence) -> bool {
    let passable = match (experiment.state, &experiment.hold) {
        (State::Running, _) => true,
        (State::Holding, Some(hold)) => hold.cause.only_waits() && hold.cause.clears_itself(),
        _ => false,
    };
    passable && experiment.revision == seen && experiment.stage() == evidence.stage
}

fn stages(experiment: &Experiment) -> usize {
    experiment
        .spec
        .rollout
        .as_ref()
        .map_or(0, |plan| plan.stages.len())
}

pub(super) fn clear(experiment: &Experiment, seen: Revision) -> Vec<Event> {
    match (&experiment.state, &experiment.hold) {
        (State::Holding, Some(hold)) if hold.cause.clears_itself() && experiment.revision == seen => {
            vec![Event::ExperimentCleared {
                id: experiment.spec.id.clone(),
                cause: hold.cause,
            }]
        }
        _ => Vec::new(),
    }
}

pub(super) fn advance(experiment: &Experiment, seen: Revision, evidence: &StageEvidence) -> Vec<Event> {
    let stage = experiment.stage() + 1;
    if !may_pass(experiment, seen, evidence) || stage >= stages(experiment) {
        return Vec::new();
    }
    vec![Event::ExperimentAdvanced {
        id: experiment.spec.id.clone(),
        stage,
        evidence: Box::new(evidence.clone()),
    }]
}

/// The end of the plan: the candidate is deployed, or waits for a person.
pub(super) fn complete(
    catalog: &Catalog,
    experiment: &Experiment,
    seen: Revision,
    evidence: &StageEvidence,
) -> Result<Vec<Event>, Rejection> {
    let Some(plan) = &experiment.spec.rollout else {
        return Ok(Vec::new());
    };
    if !may_pass(experiment, seen, evidence) || experiment.stage() + 1 < plan.stages.len() {
        return Ok(Vec::new());
    }
    let evidence = || Some(Box::new(evidence.clone()));
    let held = || {
        Ok(vec![Event::ExperimentHeld {
            id: experiment.spec.id.clone(),
            cause: Some(HoldCause::Complete),
            evidence: evidence(),
            breach: None,
        }])
    };
    match plan.on_complete {
        OnComplete::Promote => match promote(catalog, experiment, evidence()) {
            // Rejected by a reviewer since it started, or the gate asks for more by now: a person has to look.
            Err(Rejection::NotDeployable { .. }) => held(),
            promoted => promoted,
        },
        OnComplete::Hold => held(),
    }
}
