//! Guardrails as people see them: the same judgement that freezes, with the ratio's bounds.

use crate::{
    api::control_plane::{Assess, AssessAa, AssessReporting},
    clock::Clock,
    collector::Collector,
    control_plane::Witness,
    domain::{experiment::Experiment, guardrail::Limit},
    guardrails::{
        aa::{Aa, AaAssessment},
        assess::{Assessment, assess},
        propose,
        reporting::reporting,
    },
    report::{AaStatus, CandidateStatus, ControlStatus, Figure, GuardrailStatus, report},
    stats::evidence::RatioConfidence,
};
use std::sync::Arc;

/// The largest results that are written into the log, in bytes of JSON.
const LARGEST_RESULTS: usize = 256 << 10;

/// Judges guardrails for people: reports, metrics.
pub(super) fn assessor(collector: Collector, clock: Clock) -> Assess {
    Arc::new(move |experiment: &Experiment, bounds: bool| {
        let counts = collector.arm_counts(experiment.key);
        let guard = collector.guard(experiment.key);
        let assessments = assess(experiment, guard.as_ref(), &counts, clock.now(), bounds);
        assessments.into_iter().map(status).collect()
    })
}

/// How the results of an experiment are when it ends, for the log to keep: without the breakdown by segment, which can be
/// larger than everything else in the log together.
pub(super) fn witness(collector: Collector, assess: Assess, reporting: AssessReporting) -> Witness {
    Box::new(move |experiment, revision, now| {
        let counts = collector.arm_counts(experiment.key);
        let guardrails = assess(experiment, true);
        let mut results = report(experiment, &counts, guardrails, revision, now);
        results.segments.clear();
        results.reporting = Some(reporting(experiment));
        let results = serde_json::to_value(&results).ok()?;
        (results.to_string().len() <= LARGEST_RESULTS).then_some(results)
    })
}

/// Shows people whether what was decided is reported back.
pub(super) fn reporting_assessor(collector: Collector, clock: Clock) -> AssessReporting {
    Arc::new(move |experiment: &Experiment| {
        let counts = collector.arm_counts(experiment.key);
        reporting(experiment, &counts, clock.now())
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

fn status(assessment: Assessment) -> GuardrailStatus {
    let guardrail = &assessment.guardrail;
    let rate = |rate: Option<f64>| {
        rate.map_or_else(|| Figure::undefined("no outcomes of this metric"), Figure::Known)
    };
    let ratio_ci = match guardrail.limit {
        Limit::MaxRate(_) | Limit::MaxExcess(_) => None,
        Limit::MaxRatio(_) => Some(ratio_ci(assessment.ratio)),
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
