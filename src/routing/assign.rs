//! The walk of a decision: (route, attributes) → assignment with a reason. Pure, no heap, cannot fail.

use super::{
    answer::{Answer, Cause, Reason},
    explain::{Check, NoObserver, Observer},
    hash,
    table::{Route, RoutedExperiment},
};
use crate::domain::{
    audience::{Attributes, UnitScratch},
    experiment::State,
};
use std::sync::atomic::Ordering;

/// The routing answer for a unit.
#[derive(Debug, Clone, Copy)]
pub struct Assignment<'t> {
    /// What to serve.
    pub answer: &'t Answer,
    /// Why.
    pub reason: Reason,
    /// Why not by an experiment, for [`Reason::Default`].
    pub cause: Option<Cause>,
    /// The experiment that decided or, for [`Reason::Default`], the first that did not.
    pub experiment: Option<&'t RoutedExperiment>,
    /// What stands for the unit in receipts and cells; only where an outcome would count.
    pub unit_hash: Option<u64>,
}

/// Walks: overrides, then for each live experiment in start order audience, layer and holdout, enrolment, variant;
/// the first hit wins, else the deployed version.
#[inline]
#[must_use]
pub fn assign<'t>(route: &'t Route, attributes: &Attributes<'_>) -> Assignment<'t> {
    walk(route, attributes, &mut NoObserver)
}

/// The same walk, telling an observer every step.
pub fn walk<'t, O: Observer>(
    route: &'t Route,
    attributes: &Attributes<'_>,
    observer: &mut O,
) -> Assignment<'t> {
    if route.overridden
        && let Some(assignment) = forced(route, attributes, observer)
    {
        return assignment;
    }
    let mut missed = None;
    for experiment in &route.experiments {
        match enter(experiment, attributes, observer) {
            Ok(assignment) => return assignment,
            Err(cause) => missed = missed.or(Some((experiment, cause))),
        }
    }
    match missed {
        None => Assignment {
            answer: &route.deployed,
            reason: Reason::Static,
            cause: None,
            experiment: None,
            unit_hash: None,
        },
        Some((experiment, cause)) => Assignment {
            answer: &experiment.deployed,
            reason: Reason::Default,
            cause: Some(cause),
            experiment: Some(experiment),
            unit_hash: None,
        },
    }
}

#[cold]
fn forced<'t, O: Observer>(
    route: &'t Route,
    attributes: &Attributes<'_>,
    observer: &mut O,
) -> Option<Assignment<'t>> {
    for experiment in &route.experiments {
        let mut scratch = UnitScratch::default();
        let Some(unit) = attributes.unit(&experiment.unit, &mut scratch) else {
            continue;
        };
        // Before its start an experiment forces nothing.
        if experiment.state == State::Scheduled {
            continue;
        }
        let Some(answer) = experiment.overrides.get(unit) else {
            continue;
        };
        observer.step(experiment, Check::Override, true, &|| {
            format!("the unit is forced to `{}`", answer.variant)
        });
        // A freeze takes the candidate away from everyone, forced units too.
        if let Some(answer) = &experiment.frozen {
            observer.step(experiment, Check::Frozen, true, &|| {
                "frozen: control's version for everyone".to_owned()
            });
            return Some(frozen(experiment, answer));
        }
        return Some(Assignment {
            answer,
            reason: Reason::TargetingMatch,
            cause: None,
            experiment: Some(experiment),
            unit_hash: None,
        });
    }
    None
}

fn frozen<'t>(experiment: &'t RoutedExperiment, answer: &'t Answer) -> Assignment<'t> {
    Assignment {
        answer,
        reason: Reason::Default,
        cause: Some(Cause::Frozen),
        experiment: Some(experiment),
        unit_hash: None,
    }
}

#[inline]
fn enter<'t, O: Observer>(
    experiment: &'t RoutedExperiment,
    attributes: &Attributes<'_>,
    observer: &mut O,
) -> Result<Assignment<'t>, Cause> {
    if experiment.state == State::Scheduled {
        observer.step(experiment, Check::Started, false, &|| {
            "scheduled for later".to_owned()
        });
        return Err(Cause::NotStarted);
    }
    if let Some(audience) = &experiment.audience {
        let inside = audience.matches(attributes).unwrap_or_else(|_| {
            experiment.audience_errors.fetch_add(1, Ordering::Relaxed);
            false
        });
        observer.step(experiment, Check::Audience, inside, &|| {
            audience.source().to_owned()
        });
        if !inside {
            return Err(Cause::Audience);
        }
    }
    let mut scratch = UnitScratch::default();
    let Some(unit) = attributes.unit(&experiment.unit, &mut scratch) else {
        observer.step(experiment, Check::Unit, false, &|| {
            format!(
                "attribute `{}` is missing, empty, or neither text nor a whole number",
                experiment.unit
            )
        });
        return Err(Cause::NoUnit);
    };
    observer.step(experiment, Check::Unit, true, &|| {
        format!("attribute `{}`", experiment.unit)
    });
    if let Some(layer) = &experiment.layer {
        let inside = layer.contains(unit);
        observer.step(experiment, Check::Layer, inside, &|| {
            format!(
                "slot {:.2} against [{}, {})",
                hash::slot(unit, layer.seed),
                layer.low,
                layer.high
            )
        });
        if !inside {
            return Err(Cause::Layer);
        }
    }
    if let Some(holdout) = &experiment.holdout {
        let held_out = holdout.contains(unit);
        observer.step(experiment, Check::Holdout, !held_out, &|| {
            format!(
                "slot {:.2} against [0, {})",
                hash::slot(unit, holdout.seed),
                holdout.high
            )
        });
        if held_out {
            return Err(Cause::Holdout);
        }
    }
    let draw = experiment.seeds.draw(unit);
    // Nobody draws 1, so full traffic enrols everyone without the second hash.
    if experiment.traffic < 1.0 {
        let enrolment = experiment.seeds.enrolment(draw);
        let enrolled = enrolment < experiment.traffic;
        observer.step(experiment, Check::Traffic, enrolled, &|| {
            format!("draw {enrolment:.4} against traffic {}", experiment.traffic)
        });
        if !enrolled {
            return Err(Cause::Traffic);
        }
    }
    if let Some(answer) = &experiment.frozen {
        observer.step(experiment, Check::Frozen, true, &|| {
            "frozen: control's version for everyone".to_owned()
        });
        return Ok(frozen(experiment, answer));
    }
    let arm = experiment.arms.draw(draw);
    observer.step(experiment, Check::Variant, true, &|| {
        format!("drew `{}`", arm.answer.variant)
    });
    Ok(Assignment {
        answer: &arm.answer,
        reason: Reason::Split,
        cause: None,
        experiment: Some(experiment),
        unit_hash: Some(hash::analysis_hash(unit)),
    })
}
