//! (guardrail, counts, now) → verdict, with everything it rests on.

use crate::{
    collector::{
        arm_counts::ArmCounts as Counted,
        buckets::Buckets,
        guard::{GuardSnapshot, GuardedCounts},
    },
    domain::{
        Timestamp,
        experiment::{EvidenceClock, Experiment, RESTART_BLOCKS},
        guardrail::{ALPHA, ArmCounts, GuardrailSpec, LEAST_BAD_UNITS, Limit, Verdict},
        id::{ArmIndex, Epoch, MetricKey},
    },
    stats::evidence::{
        self, DEFAULT_POINTS, OddsGrid, RatioConfidence, RelativeStep, absolute_log_e, ratio_confidence,
        relative_log_e,
    },
};
use std::sync::Arc;

/// Fewer outcomes on either arm than this prove nothing, so they are no pass either.
pub const LEAST_OUTCOMES: u64 = 30;
/// The ratio at which an absolute limit's grid begins.
const ABSOLUTE_GRID_FROM: f64 = 1.25;

/// What was counted, by epoch and arm.
pub type Counts = [((Epoch, ArmIndex), Arc<Counted>)];

/// One guardrail judged for one candidate arm.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// The guardrail's place in the design.
    pub index: usize,
    /// Its name in metrics and reports: the metric's, with more where two would share it.
    pub name: String,
    /// The answer.
    pub verdict: Verdict,
    /// Natural logarithm of the e-value.
    pub log_e: f64,
    /// The logarithm at which it freezes.
    pub log_threshold: f64,
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
    let Some(clock) = &experiment.evidence else {
        return Vec::new();
    };
    let spec = &experiment.spec;
    let Some((control, candidates)) = spec.variants.split_first() else {
        return Vec::new();
    };
    let Some(control) = experiment.arm(control.name.as_str()) else {
        return Vec::new();
    };
    let log_threshold = evidence::threshold(spec.guardrails.len(), ALPHA).unwrap_or(f64::INFINITY);
    let judge = Judge {
        experiment,
        guard,
        counts,
        clock,
        control,
        log_threshold,
        now,
        for_people,
    };
    let mut assessments = Vec::with_capacity(spec.guardrails.len() * candidates.len());
    for (index, guardrail) in spec.guardrails.iter().enumerate() {
        for candidate in candidates
            .iter()
            .filter_map(|variant| experiment.arm(variant.name.as_str()))
        {
            assessments.extend(judge.one(index, guardrail, candidate));
        }
    }
    assessments
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

struct Judge<'a> {
    experiment: &'a Experiment,
    guard: Option<&'a GuardSnapshot>,
    counts: &'a Counts,
    clock: &'a EvidenceClock,
    control: ArmIndex,
    log_threshold: f64,
    now: Timestamp,
    for_people: bool,
}

impl Judge<'_> {
    fn one(&self, index: usize, guardrail: &GuardrailSpec, candidate: ArmIndex) -> Option<Assessment> {
        let measure = self.experiment.measure(&guardrail.measure_name())?.key;
        // Evidence of an earlier candidate version says nothing about this one.
        let guard = self
            .guard
            .filter(|guard| guard.since_epoch == self.clock.since_epoch);
        let guarded = guard.and_then(|guard| guard.measure(measure));
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
        let share = self
            .experiment
            .counting_epoch()
            .and_then(|epoch| epoch.share_against_control(candidate));
        Some(Assessment {
            index,
            name: name(&self.experiment.spec.guardrails, index),
            verdict,
            log_e,
            log_threshold: self.log_threshold,
            evidence: evidence::gauge(log_e, self.log_threshold),
            ratio,
            control,
            candidate: counted,
            share: share.unwrap_or(0.0),
        })
    }

    /// The conditional test of bad units: which arm does the next one come from, given the shares of its epoch?
    fn relative(
        &self,
        limit: f64,
        guarded: Option<&GuardedCounts>,
        candidate: ArmIndex,
    ) -> (f64, Option<RatioConfidence>) {
        let (Ok(grid), Some(guarded)) = (OddsGrid::new(limit, DEFAULT_POINTS), guarded) else {
            return (0.0, None);
        };
        let begun = self.clock.block(self.now.as_second()) + 1;
        let mut blocks: Vec<Vec<RelativeStep>> = vec![Vec::new(); begun];
        let mut last = None;
        for step in &guarded.steps {
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
        let log_e = relative_log_e(&grid, &blocks, RESTART_BLOCKS);
        let ratio = self
            .for_people
            .then(|| ratio_confidence(&grid, &blocks, RESTART_BLOCKS, ALPHA).ok())
            .flatten();
        (log_e, ratio)
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
    let (Some(buckets), Ok(grid)) = (buckets, OddsGrid::new(ABSOLUTE_GRID_FROM, DEFAULT_POINTS)) else {
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
