//! Guardrails as people see them: the same judgement that freezes, with the ratio's bounds.

use crate::{
    api::control_plane::{Assess, AssessAa},
    clock::Clock,
    collector::Collector,
    domain::{experiment::Experiment, guardrail::Limit},
    guardrails::{
        aa::{Aa, AaAssessment},
        assess::{Assessment, assess},
        propose,
    },
    report::{AaStatus, CandidateStatus, ControlStatus, Figure, GuardrailStatus},
    stats::evidence::RatioConfidence,
};
use std::sync::Arc;

/// Judges guardrails for people: reports, metrics.
pub(super) fn assessor(collector: Collector, clock: Clock) -> Assess {
    Arc::new(move |experiment: &Experiment, bounds: bool| {
        let counts = collector.arm_counts(experiment.key);
        let guard = collector.guard(experiment.key);
        let assessments = assess(experiment, guard.as_ref(), &counts, clock.now(), bounds);
        assessments
            .into_iter()
            .filter_map(|assessment| status(experiment, assessment))
            .collect()
    })
}

/// Shows people the continuous A/A tests.
pub(super) fn aa_assessor(aa: Arc<Aa>, collector: Collector, clock: Clock) -> AssessAa {
    Arc::new(move |experiment: &Experiment, bounds: bool| {
        let guard = collector.guard(experiment.key);
        let found = aa.assess(experiment, guard.as_ref(), clock.now(), bounds);
        found.into_iter().map(aa_status).collect()
    })
}

fn aa_status(assessment: AaAssessment) -> AaStatus {
    AaStatus {
        guardrail: assessment.name,
        evidence: assessment.evidence,
        would_have_frozen: assessment.would_have_frozen,
        bad_units: assessment.bad_units,
        ratio_ci: ratio_ci(assessment.ratio),
    }
}

fn ratio_ci(ratio: Option<RatioConfidence>) -> Figure<(f64, f64)> {
    match ratio.and_then(|ratio| Some((ratio.lower?, ratio.upper?))) {
        Some(bounds) => Figure::Known(bounds),
        None => Figure::undefined("too few bad units to bound the ratio"),
    }
}

fn status(experiment: &Experiment, assessment: Assessment) -> Option<GuardrailStatus> {
    let guardrail = experiment.spec.guardrails.get(assessment.index)?;
    let rate = |rate: Option<f64>| {
        rate.map_or_else(|| Figure::undefined("no outcomes of this metric"), Figure::Known)
    };
    let ratio_ci = match guardrail.limit {
        Limit::MaxRate(_) => None,
        Limit::MaxRatio(_) => Some(ratio_ci(assessment.ratio)),
    };
    Some(GuardrailStatus {
        metric: guardrail.metric.clone(),
        limit: guardrail.limit,
        above: guardrail.above,
        state: assessment.verdict,
        evidence: Figure::Known(assessment.evidence),
        control: ControlStatus {
            bad_units: assessment.control.bad_units,
            rate: rate(assessment.control.rate),
        },
        on_breach: propose::action(experiment, &assessment),
        name: assessment.name,
        candidate: CandidateStatus {
            variant: assessment.candidate.variant,
            bad_units: assessment.candidate.bad_units,
            rate: rate(assessment.candidate.rate),
        },
        ratio_ci,
    })
}
