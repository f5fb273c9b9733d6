//! (guardrail, counts, now) → verdict, with everything it rests on.

use super::silence::{self, Silence};
use crate::{
    collector::{
        arm_counts::ArmCounts as Counted,
        buckets::Buckets,
        guard::{GuardSnapshot, GuardedCounts},
    },
    domain::{
        Timestamp,
        experiment::{EvidenceClock, Experiment, RESTART_BLOCKS},
        guardrail::{
            ALPHA, ArmCounts, GuardrailSpec, LEAST_BAD_UNITS, Limit, MISSING_ALPHA, MISSING_EXCESS,
            OUTCOME_MISSING, Verdict,
        },
        id::{ArmIndex, Epoch, MetricKey, MetricName},
    },
    stats::evidence::{
        self, DEFAULT_POINTS, OddsGrid, RatioConfidence, RelativeStep, SMALLEST_RATIO, absolute_log_e,
        ratio_confidence, relative_log_e,
    },
};
use std::{sync::Arc, time::Duration};

/// Fewer outcomes on either arm than this prove nothing, so they are no pass either.
pub const LEAST_OUTCOMES: u64 = 30;

/// What was counted, by epoch and arm.
pub type Counts = [((Epoch, ArmIndex), Arc<Counted>)];

/// One guardrail judged for one candidate arm.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// The guardrail.
    pub guardrail: GuardrailSpec,
    /// Whether the design has it; silence is watched without being asked to.
    pub declared: bool,
    /// Its name in metrics and reports: the metric's, with more where two would share it.
    pub name: String,
    /// The answer.
    pub verdict: Verdict,
    /// Natural logarithm of the e-value.
    pub log_e: f64,
    /// The logarithm at which it freezes.
    pub log_threshold: f64,
    /// The chance with which equal arms may bring it or one of those it shares its budget with there.
    pub alpha: f64,
    /// The same as a gauge: 0 no evidence, 1 freeze.
    pub evidence: f64,
    /// Rate ratios, candidate to control, that the evidence does not rule out; relative limits only, and only when
    /// asked for, since it costs a hundred times the rest.
    pub ratio: Option<RatioConfidence>,
    /// Control's counts.
    pub control: ArmCounts,
    /// The candidate's counts.
    pub candidate: ArmCounts,
    /// The candidate's share of the two arms now.
    pub share: f64,
}

/// Judges every guardrail of an experiment for every candidate arm. Empty before the first start. `for_people` adds
/// the ratio's confidence interval.
#[must_use]
pub fn assess(
    experiment: &Experiment,
    guard: Option<&GuardSnapshot>,
    counts: &Counts,
    now: Timestamp,
    for_people: bool,
) -> Vec<Assessment> {
    let spec = &experiment.spec;
    let Some(judge) = Judge::of(experiment, guard, counts, now, for_people) else {
        return Vec::new();
    };
    let mut assessments = Vec::with_capacity(spec.guardrails.len() * spec.variants.len());
    for (index, guardrail) in spec.guardrails.iter().enumerate() {
        for candidate in judge.candidates() {
            assessments.extend(judge.one(index, guardrail, candidate));
        }
    }
    assessments
}

/// Judges silence where no guardrail of the design does, for every candidate arm: whether its requests go unreported
/// more than control's. It has a small budget of its own, so that it makes no other guardrail slower to act.
#[must_use]
pub fn assess_silence(experiment: &Experiment, counts: &Counts, now: Timestamp) -> Vec<Assessment> {
    let declared = |guardrail: &GuardrailSpec| guardrail.metric.as_str() == OUTCOME_MISSING;
    let (Some(judge), Ok(metric)) = (
        Judge::of(experiment, None, counts, now, false),
        MetricName::new(OUTCOME_MISSING),
    ) else {
        return Vec::new();
    };
    if !experiment.depends_on_outcomes() || experiment.spec.guardrails.iter().any(declared) {
        return Vec::new();
    }
    let guardrail = GuardrailSpec {
        metric,
        above: None,
        limit: Limit::MaxExcess(MISSING_EXCESS),
        margin: None,
        on_breach: None,
        settle: Duration::ZERO,
    };
    let alpha = MISSING_ALPHA * judge.clock.alpha / ALPHA;
    let candidates = judge.candidates();
    let log_threshold = evidence::threshold(candidates.len(), alpha).unwrap_or(f64::INFINITY);
    let of = |candidate| judge.silence(&guardrail, MISSING_EXCESS, candidate, (log_threshold, alpha));
    let found = candidates.into_iter().filter_map(of);
    found
        .map(|assessment| Assessment {
            declared: false,
            ..assessment
        })
        .collect()
}

/// The name of a guardrail: its metric's, unless another guardrail before it has that name already.
#[must_use]
pub fn name(guardrails: &[GuardrailSpec], index: usize) -> String {
    let Some(guardrail) = guardrails.get(index) else {
        return String::new();
    };
    if guardrails[..index]
        .iter()
        .all(|other| other.metric != guardrail.metric)
    {
        return guardrail.metric.to_string();
    }
    let limit = match guardrail.limit {
        Limit::MaxRatio(_) => "max_ratio",
        Limit::MaxRate(_) => "max_rate",
        Limit::MaxExcess(_) => "max_excess",
    };
    format!("{}:{limit}", guardrail.measure_name())
}

/// One experiment's counts as of a moment, with what every guardrail needs of them.
pub(super) struct Judge<'a> {
    pub(super) experiment: &'a Experiment,
    guard: Option<&'a GuardSnapshot>,
    counts: &'a Counts,
    clock: &'a EvidenceClock,
    control: ArmIndex,
    log_threshold: f64,
    now: Timestamp,
    for_people: bool,
}

impl<'a> Judge<'a> {
    /// None before the first start.
    pub(super) fn of(
        experiment: &'a Experiment,
        guard: Option<&'a GuardSnapshot>,
        counts: &'a Counts,
        now: Timestamp,
        for_people: bool,
    ) -> Option<Self> {
        let clock = experiment.evidence.as_ref()?;
        let control = experiment.arm(experiment.spec.control()?.name.as_str())?;
        let guardrails = experiment.spec.guardrails.len();
        Some(Self {
            experiment,
            guard,
            counts,
            clock,
            control,
            log_threshold: evidence::threshold(guardrails, clock.alpha).unwrap_or(f64::INFINITY),
            now,
            for_people,
        })
    }

    /// Every arm but control.
    pub(super) fn candidates(&self) -> Vec<ArmIndex> {
        let variants = self.experiment.spec.variants.iter().skip(1);
        variants
            .filter_map(|variant| self.experiment.arm(variant.name.as_str()))
            .collect()
    }

    /// Evidence of the present period; that of an earlier candidate version says nothing about this one.
    pub(super) fn evidence(&self) -> Option<&'a GuardSnapshot> {
        self.guard
            .filter(|guard| guard.since_epoch == self.clock.since_epoch)
    }

    /// What was counted of an arm since the evidence began, by epoch.
    pub(super) fn since_evidence(&self, arm: ArmIndex) -> impl Iterator<Item = &'a Counted> {
        let since = self.clock.since_epoch;
        self.counts
            .iter()
            .filter(move |((epoch, counted), _)| *counted == arm && *epoch >= since)
            .map(|(_, counts)| &**counts)
    }

    pub(super) fn one(
        &self,
        index: usize,
        guardrail: &GuardrailSpec,
        candidate: ArmIndex,
    ) -> Option<Assessment> {
        if let Limit::MaxExcess(excess) = guardrail.limit {
            let budget = (self.log_threshold, self.clock.alpha);
            return self.silence(guardrail, excess, candidate, budget);
        }
        let measure = self.experiment.measure(&guardrail.measure_name())?.key;
        let guarded = self.evidence().and_then(|guard| guard.measure(measure));
        let (log_e, ratio) = match guardrail.limit {
            Limit::MaxRatio(limit) => self.relative(limit, guarded, candidate),
            Limit::MaxRate(limit) => (absolute(limit, guarded, candidate), None),
            Limit::MaxExcess(_) => (0.0, None),
        };
        let control = self.arm_counts(self.control, measure, guarded)?;
        let counted = self.arm_counts(candidate, measure, guarded)?;
        let verdict = if log_e >= self.log_threshold && counted.bad_units >= LEAST_BAD_UNITS {
            Verdict::Breach
        } else if control.observations == 0 || counted.observations == 0 {
            Verdict::NoData
        } else if control.observations.min(counted.observations) < LEAST_OUTCOMES {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        };
        Some(Assessment {
            guardrail: guardrail.clone(),
            declared: true,
            alpha: self.clock.alpha,
            name: name(&self.experiment.spec.guardrails, index),
            verdict,
            log_e,
            log_threshold: self.log_threshold,
            evidence: evidence::gauge(log_e, self.log_threshold),
            ratio,
            control,
            candidate: counted,
            share: self.share(candidate),
        })
    }

    fn share(&self, candidate: ArmIndex) -> f64 {
        self.experiment
            .counting_epoch()
            .and_then(|epoch| epoch.share_against_control(candidate))
            .unwrap_or(0.0)
    }

    /// The same for requests that nothing was reported for. Its units are groups of units, of which there are at most 128.
    fn silence(
        &self,
        guardrail: &GuardrailSpec,
        excess: f64,
        candidate: ArmIndex,
        (log_threshold, alpha): (f64, f64),
    ) -> Option<Assessment> {
        let of = |arm| Silence::of(self.counts, arm, self.clock.since_epoch, self.now);
        let (control, silent) = (of(self.control), of(candidate));
        let log_e = silence::log_e(&control, &silent, excess);
        let verdict = if log_e >= log_threshold && silent.groups_missing >= LEAST_BAD_UNITS {
            Verdict::Breach
        } else if control.requests == 0 || silent.requests == 0 {
            Verdict::NoData
        } else if control.requests.min(silent.requests) < LEAST_OUTCOMES {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        };
        let counts = |arm, silence: &Silence| {
            Some(ArmCounts {
                variant: self.experiment.arm_name(arm)?.clone(),
                bad_units: silence.groups_missing,
                observations: silence.requests,
                rate: silence.rate(),
            })
        };
        Some(Assessment {
            guardrail: guardrail.clone(),
            declared: true,
            name: OUTCOME_MISSING.to_owned(),
            verdict,
            log_e,
            log_threshold,
            alpha,
            evidence: evidence::gauge(log_e, log_threshold),
            ratio: None,
            control: counts(self.control, &control)?,
            candidate: counts(candidate, &silent)?,
            share: self.share(candidate),
        })
    }

    /// The conditional test of bad units: which arm does the next one come from, given the shares of its epoch?
    fn relative(
        &self,
        limit: f64,
        guarded: Option<&GuardedCounts>,
        candidate: ArmIndex,
    ) -> (f64, Option<RatioConfidence>) {
        let Ok(grid) = OddsGrid::new(limit, DEFAULT_POINTS) else {
            return (0.0, None);
        };
        let blocks = self.steps(guarded, candidate);
        let log_e = relative_log_e(&grid, &blocks, RESTART_BLOCKS);
        let ratio = self
            .for_people
            .then(|| ratio_confidence(&grid, &blocks, RESTART_BLOCKS, ALPHA).ok())
            .flatten();
        (log_e, ratio)
    }

    /// The bad units of control and one candidate, by restart block.
    pub(super) fn steps(
        &self,
        guarded: Option<&GuardedCounts>,
        candidate: ArmIndex,
    ) -> Vec<Vec<RelativeStep>> {
        let begun = self.clock.block(self.now.as_second()) + 1;
        let mut blocks: Vec<Vec<RelativeStep>> = vec![Vec::new(); begun];
        let mut last = None;
        for step in guarded.map_or(&[][..], |guarded| &guarded.steps) {
            let of_candidate = step.arm == candidate;
            if !of_candidate && step.arm != self.control {
                continue;
            }
            let Some(share) = self
                .experiment
                .epoch_record(step.epoch)
                .and_then(|epoch| epoch.share_against_control(candidate))
            else {
                continue;
            };
            let Some(block) = blocks.get_mut(step.block.min(begun - 1)) else {
                continue;
            };
            // Steps come ordered by block and epoch, so both arms' counts of a pair meet here.
            if last != Some((step.block, step.epoch)) {
                block.push(RelativeStep {
                    share,
                    candidate: 0,
                    control: 0,
                });
                last = Some((step.block, step.epoch));
            }
            if let Some(pair) = block.last_mut() {
                let count = if of_candidate {
                    &mut pair.candidate
                } else {
                    &mut pair.control
                };
                *count += u64::from(step.bad_units);
            }
        }
        blocks
    }

    fn arm_counts(
        &self,
        arm: ArmIndex,
        measure: MetricKey,
        guarded: Option<&GuardedCounts>,
    ) -> Option<ArmCounts> {
        let (mut observations, mut bad) = (0.0, 0.0);
        for ((epoch, counted), counts) in self.counts {
            if *counted == arm && *epoch >= self.clock.since_epoch {
                let (denominator, numerator) = counts
                    .cell(measure)
                    .map_or((0.0, 0.0), |cell| cell.buckets.total());
                observations += denominator;
                bad += numerator;
            }
        }
        let whole = observations as u64;
        Some(ArmCounts {
            variant: self.experiment.arm_name(arm)?.clone(),
            bad_units: guarded
                .and_then(|guarded| guarded.arm(arm))
                .map_or(0, |arm| arm.bad_units),
            observations: whole,
            rate: (observations > 0.0).then(|| bad / observations),
        })
    }
}

/// The Bernoulli test against a fixed rate, with the worst bucket of units left out: one noisy user proves nothing.
fn absolute(limit: f64, guarded: Option<&GuardedCounts>, arm: ArmIndex) -> f64 {
    let buckets = guarded
        .and_then(|guarded| guarded.arm(arm))
        .and_then(|arm| arm.absolute.as_ref());
    let (Some(buckets), Ok(grid)) = (buckets, OddsGrid::new(SMALLEST_RATIO, DEFAULT_POINTS)) else {
        return 0.0;
    };
    let (bad, outcomes) = without_worst(buckets);
    absolute_log_e(&grid, limit, bad, outcomes).unwrap_or(0.0)
}

fn without_worst(buckets: &Buckets) -> (u64, u64) {
    let (outcomes, bad) = buckets.total();
    let worst = buckets
        .filled()
        .max_by(|a, b| a.2.total_cmp(&b.2))
        .map_or((0.0, 0.0), |(_, den, num)| (den, num));
    (
        (bad - worst.1).max(0.0) as u64,
        (outcomes - worst.0).max(0.0) as u64,
    )
}
