//! Guardrails as people see them: the same judgement that freezes, with the ratio's bounds.

use crate::{
    api::control_plane::Assess,
    clock::Clock,
    collector::Collector,
    domain::{experiment::Experiment, guardrail::Limit},
    guardrails::{
        assess::{Assessment, assess},
        propose,
    },
    report::{CandidateStatus, ControlStatus, Figure, GuardrailStatus},
};
use std::sync::Arc;

/// Judges guardrails for people: reports, metrics.
pub(super) fn assessor(collector: Collector, clock: Clock) -> Assess {
    Arc::new(move |experiment: &Experiment, bounds: bool| {
        let counts = collector.arm_counts(experiment.key);
        let guard = collector.guard(experiment.key);
        let assessments = assess(experiment, guard.as_ref(), &counts, clock.now(), bounds);
        assessments.into_iter().map(status).collect()
    })
}

fn status(assessment: Assessment) -> GuardrailStatus {
    let guardrail = &assessment.guardrail;
    let rate = |rate: Option<f64>| {
        rate.map_or_else(|| Figure::undefined("no outcomes of this metric"), Figure::Known)
    };
    let ratio_ci = match guardrail.limit {
        Limit::MaxRate(_) | Limit::MaxExcess(_) => None,
        Limit::MaxRatio(_) => Some(
            match assessment
                .ratio
                .and_then(|ratio| Some((ratio.lower?, ratio.upper?)))
            {
                Some(bounds) => Figure::Known(bounds),
                None => Figure::undefined("too few bad units to bound the ratio"),
            },
        ),
    };
    GuardrailStatus {
        on_breach: propose::action(&assessment),
        metric: guardrail.metric.clone(),
        limit: guardrail.limit,
        above: guardrail.above,
        state: assessment.verdict,
        evidence: Figure::Known(assessment.evidence),
        control: ControlStatus {
            bad_units: assessment.control.bad_units,
            rate: rate(assessment.control.rate),
        },
        name: assessment.name,
        candidate: CandidateStatus {
            variant: assessment.candidate.variant,
            bad_units: assessment.candidate.bad_units,
            rate: rate(assessment.candidate.rate),
        },
        ratio_ci,
    }
}
