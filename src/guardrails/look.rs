//! One look at an experiment: everything its next step depends on, as plain data.
//!
//! Owns what is taken from the counts, and at what cost: most looks are cheap and find nothing to do. Judges nothing; that
//! is [`step`](super::step). Called by [`watch`](super::watch) and by simulations.

use super::{
    assess::{Assessment, Counts, assess, assess_silence},
    clearance::{Clearance, clearances},
    reporting::merged,
};
use crate::{
    collector::{guard::GuardSnapshot, reporting::Reporting, units::UnitSample},
    domain::{
        Timestamp,
        experiment::{EpochRecord, Experiment},
        id::{ArmIndex, VariantName},
        metric::built_in_keys,
        rollout::{LEAST_UNREPORTED, Patience},
    },
    report::sample_ratio,
};
use std::time::Duration;

/// First outcomes of an arm's receipts from which its delay is believed.
pub(super) const LEAST_DELAYS: u32 = 100;
/// The least time by which the arms' outcomes must come apart to be called skewed, in seconds.
const LEAST_SKEW_S: u32 = 10;

/// One arm in the present stage.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmLook {
    /// The arm.
    pub variant: VariantName,
    /// Requests it answered in this stage.
    pub requests: u64,
    /// Distinct units among them; only where the stage limits them.
    pub units: Option<u64>,
    /// Outcomes reported of them.
    pub outcomes: u64,
    /// The sum of what they cost, in USD, as reported.
    pub cost_usd: f64,
    /// The last outcome of the arm, in any stage.
    pub last_outcome: Option<Timestamp>,
    /// The first request since then, when there were enough of them to expect a word.
    pub unreported_since: Option<Timestamp>,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// What the guardrails found; empty in a cheap look.
    pub assessments: Vec<Assessment>,
    /// Every arm of the design, control first.
    pub arms: Vec<ArmLook>,
    /// How long the store has failed; none while it works.
    pub store_down_for: Option<Duration>,
    /// How the arms' outcomes come apart in time, in words; none while they do not.
    pub delay_skew: Option<String>,
    /// Whether units were split as asked: an alarm in words, or that there is none; none in a cheap look.
    pub split: Option<Result<(), String>>,
    /// What harm is ruled out; none in a cheap look.
    pub clearances: Option<Vec<Clearance>>,
    /// How long silence is borne.
    pub patience: Patience,
}

/// Where a look is taken from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// What was counted of it.
    pub counts: &'a Counts,
    /// The guardrails' evidence.
    pub guard: Option<&'a GuardSnapshot>,
    /// How long the store has failed.
    pub store_down_for: Option<Duration>,
    /// How long silence is borne.
    pub patience: Patience,
}

impl Source<'_> {
    /// Enough to see whether anything is to be done: no guardrail is judged.
    #[must_use]
    pub fn cheap(&self) -> Look {
        let variants = &self.experiment.spec.variants;
        let arm = |name: &VariantName| Some(self.arm(self.experiment.arm(name.as_str())?, name));
        Look {
            assessments: Vec::new(),
            arms: variants.iter().filter_map(|variant| arm(&variant.name)).collect(),
            store_down_for: self.store_down_for,
            delay_skew: self.delay_skew(),
            split: None,
            clearances: None,
            patience: self.patience,
        }
    }

    /// Everything: what a step that does something rests on.
    #[must_use]
    pub fn whole(&self, now: Timestamp) -> Look {
        let Self {
            experiment,
            counts,
            guard,
            ..
        } = *self;
        let mut assessments = assess(experiment, guard, counts, now, false);
        assessments.extend(assess_silence(experiment, counts, now));
        let clearances = clearances(experiment, guard, counts, &assessments, now);
        let split = sample_ratio(experiment, counts);
        let alarm = split.evidence_ratio().is_some_and(|ratio| ratio >= 1.0);
        let units = |units: &crate::report::UnitsOfArm| {
            format!(
                "{} of {:.0} expected on `{}`",
                units.observed, units.expected, units.variant
            )
        };
        Look {
            assessments,
            split: Some(if alarm {
                let arms: Vec<String> = split.units.iter().map(units).collect();
                Err(format!("units were not split as asked: {}", arms.join(", ")))
            } else {
                Ok(())
            }),
            clearances: Some(clearances),
            ..self.cheap()
        }
    }

    fn arm(&self, arm: ArmIndex, name: &VariantName) -> ArmLook {
        let experiment = self.experiment;
        let cost = built_in_keys().find(|(_, (name, ..))| *name == "cost_usd");
        let cost = cost.map(|(key, _)| key);
        let limits_units = experiment
            .spec
            .rollout
            .as_ref()
            .and_then(|plan| plan.stage(experiment.stage()))
            .is_some_and(|stage| stage.budget.max_units.is_some());
        let mut units = UnitSample::default();
        let mut heard = Reporting::default();
        let mut look = ArmLook {
            variant: name.clone(),
            requests: 0,
            units: None,
            outcomes: 0,
            cost_usd: 0.0,
            last_outcome: None,
            unreported_since: None,
        };
        for ((epoch, counted), counts) in self.counts {
            if *counted != arm {
                continue;
            }
            heard.last_outcome = heard.last_outcome.max(counts.reporting.last_outcome);
            let Some(record) = experiment.epoch_record(*epoch) else {
                continue;
            };
            if !in_stage(experiment, record) {
                continue;
            }
            look.requests += counts.exposures.requests;
            look.outcomes += counts.accepted;
            if let Some(cell) = cost.and_then(|cost| counts.cell(cost)) {
                look.cost_usd += cell.buckets.total().1;
            }
            if limits_units {
                units.merge(&counts.exposures.units);
            }
        }
        look.units = limits_units.then(|| units.estimate() as u64);
        // Nobody is served by an epoch that is over; what was left unreported in it stays so.
        let served = experiment.counting_epoch().map(|record| record.epoch);
        let waiting = self
            .counts
            .iter()
            .filter(|((epoch, counted), _)| *counted == arm && Some(*epoch) >= served)
            .map(|(_, counts)| &counts.reporting)
            .filter(|reporting| {
                reporting.unreported >= LEAST_UNREPORTED && reporting.unreported_since > heard.last_outcome
            })
            .map(|reporting| reporting.unreported_since)
            .min();
        look.last_outcome = moment(heard.last_outcome);
        look.unreported_since = waiting.and_then(moment);
        look
    }

    /// Whether one arm's outcomes come so much later than another's that the test sees the arms at different ages.
    fn delay_skew(&self) -> Option<String> {
        let experiment = self.experiment;
        let since = experiment.evidence.as_ref()?.since_epoch;
        let settle = experiment
            .spec
            .guardrails
            .iter()
            .map(|guardrail| guardrail.settle);
        let settle_s = settle.max().unwrap_or_default().as_secs();
        let tolerated = u32::try_from(settle_s).unwrap_or(u32::MAX).max(LEAST_SKEW_S);
        let mut delays = Vec::new();
        for variant in &experiment.spec.variants {
            let arm = experiment.arm(variant.name.as_str())?;
            let reporting = merged(self.counts, arm, since);
            delays.push((reporting.delay_p99_s(LEAST_DELAYS)?, &variant.name));
        }
        let (soonest, first) = delays.iter().min()?;
        let (latest, last) = delays.iter().max()?;
        // Delays are known to a power of two: one step apart may be next to nothing.
        (*latest >= soonest.saturating_mul(4) && *latest > tolerated).then(|| {
            format!(
                "99 % of the outcomes of `{last}` have come within {latest} s, those of `{first}` within {soonest} s; up to {tolerated} s is tolerated"
            )
        })
    }
}

/// A Unix second as a moment; 0 is never.
fn moment(second: u32) -> Option<Timestamp> {
    let second = (second > 0).then_some(i64::from(second))?;
    Timestamp::from_second(second).ok()
}

/// Whether an epoch belongs to the present stage.
fn in_stage(experiment: &Experiment, record: &EpochRecord) -> bool {
    let progress = experiment.progress.as_ref();
    progress.is_some_and(|progress| record.stage == progress.stage && record.since >= progress.since)
}
