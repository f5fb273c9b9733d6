//! Whether every arm's requests are reported back, for people: the counts that silence is judged by, and what it finds.

use super::{
    assess::{Assessment, Counts, Judge, assess_silence},
    look::LEAST_DELAYS,
    silence::Silence,
};
use crate::{
    collector::reporting::Reporting,
    domain::{
        Timestamp,
        experiment::Experiment,
        guardrail::Limit,
        id::{ArmIndex, Epoch},
    },
    report::{ArmReportingStatus, ByVariant, Figure, ReportingStatus, SilenceStatus},
};

/// Every arm of the design, control first, since the evidence began, and what watching for silence finds.
#[must_use]
pub fn reporting(experiment: &Experiment, counts: &Counts, now: Timestamp) -> ReportingStatus {
    let evidence = experiment.evidence.as_ref();
    let since = evidence.map_or(Epoch(0), |evidence| evidence.since_epoch);
    let variants = experiment.spec.variants.iter().map(|variant| {
        let arm = experiment.arm(variant.name.as_str());
        let known = arm.map(|arm| merged(counts, arm, since)).unwrap_or_default();
        (variant.name.clone(), arm_status(&known, now))
    });
    let silent = assess_missing(experiment, counts, now);
    ReportingStatus {
        variants: ByVariant(variants.collect()),
        outcome_missing: silent
            .into_iter()
            .map(|found| SilenceStatus {
                variant: found.candidate.variant,
                limit: found.guardrail.limit,
                state: found.verdict,
                evidence: found.evidence,
                declared: found.declared,
            })
            .collect(),
    }
}

fn arm_status(known: &Reporting, now: Timestamp) -> ArmReportingStatus {
    let silence = Silence::in_all(known, now);
    ArmReportingStatus {
        requests: silence.requests,
        missing: silence.missing,
        missing_share: silence.rate().map_or_else(
            || Figure::undefined("no request is old enough to have been reported"),
            Figure::Known,
        ),
        delay_p99_s: known.delay_p99_s(LEAST_DELAYS).map_or_else(
            || Figure::undefined(format!("fewer than {LEAST_DELAYS} receipts were reported")),
            Figure::Known,
        ),
    }
}

/// What is known of one arm over the epochs from `since` on.
pub(super) fn merged(counts: &Counts, arm: ArmIndex, since: Epoch) -> Reporting {
    let mut all = Reporting::default();
    for ((epoch, counted), counts) in counts {
        if *counted == arm && *epoch >= since {
            all.merge(&counts.reporting);
        }
    }
    all
}

/// Judges silence for every candidate arm, by the guardrail of the design or as [`assess_silence`] does without one.
fn assess_missing(experiment: &Experiment, counts: &Counts, now: Timestamp) -> Vec<Assessment> {
    let declared = experiment.spec.guardrails.iter().enumerate();
    let mut for_silence = declared.filter(|(_, guardrail)| matches!(guardrail.limit, Limit::MaxExcess(_)));
    let Some((index, guardrail)) = for_silence.next() else {
        return assess_silence(experiment, counts, now);
    };
    let Some(judge) = Judge::of(experiment, None, counts, now, false) else {
        return Vec::new();
    };
    let of = |candidate| judge.one(index, guardrail, candidate);
    judge.candidates().into_iter().filter_map(of).collect()
}
