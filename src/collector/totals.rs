//! Plain totals since the process began, for metrics.
//!
//! Kept apart from the cells: these start at zero with each process, as monitoring expects of counters.

use super::{
    exposures::{DEPLOYED, DecisionRecord, NO_EXPERIMENT},
    keyed::KeyMap,
    observation::{Observation, Values},
};
use crate::domain::id::{ArmIndex, ExperimentKey, MetricKey, PromptKey};
use crate::routing::answer::Reason;
use std::collections::HashMap;

/// Decisions are counted by these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecisionKey {
    /// The prompt.
    pub prompt: PromptKey,
    /// The experiment; none when there was none.
    pub experiment: Option<ExperimentKey>,
    /// The arm; none for the deployed version.
    pub arm: Option<ArmIndex>,
    /// Why.
    pub reason: Reason,
}

/// What became of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutcomeResult {
    /// Counted.
    Accepted,
    /// Seen before, not counted again.
    Duplicate,
    /// Counted, for an epoch that is no longer the one units are split in.
    Late,
    /// Refused.
    Rejected,
}

impl OutcomeResult {
    /// The name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::Rejected => "rejected",
        }
    }
}

/// Outcomes are counted by these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutcomeKey {
    /// The experiment; none for a refused outcome that named no known one.
    pub experiment: Option<ExperimentKey>,
    /// The arm; none for a refused outcome.
    pub arm: Option<ArmIndex>,
    /// What became of it; `Accepted` excludes `Late`.
    pub result: OutcomeResult,
}

/// Number and sum of a metric's values, raw.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MetricTotal {
    /// Values.
    pub n: u64,
    /// Their sum.
    pub sum: f64,
}

/// A copy of all totals.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Decisions.
    pub decisions: HashMap<DecisionKey, u64>,
    /// Outcomes.
    pub outcomes: HashMap<OutcomeKey, u64>,
    /// Reported values.
    pub metrics: HashMap<(ExperimentKey, ArmIndex, MetricKey), MetricTotal>,
    /// Decisions whose record was lost because a queue or the buffer behind it was full.
    pub exposures_dropped: u64,
    /// Journal entries that no checkpoint covers yet.
    pub journal_backlog: u64,
}

/// The totals as the writer keeps them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    decisions: KeyMap<(PromptKey, ExperimentKey, ArmIndex, u8), (Reason, u64)>,
    outcomes: KeyMap<(ExperimentKey, ArmIndex), ArmTally>,
    rejected: KeyMap<Option<ExperimentKey>, u64>,
    /// Exposures given up because the store failed for too long.
    pub(super) exposures_lost: u64,
}

#[derive(Debug, Default)]
struct ArmTally {
    accepted: u64,
    duplicate: u64,
    late: u64,
    metrics: Vec<(MetricKey, MetricTotal)>,
}

impl Tally {
    pub(super) fn decision(&mut self, record: &DecisionRecord) {
        let key = (record.prompt, record.experiment, record.arm, record.reason as u8);
        self.decisions.entry(key).or_insert((record.reason, 0)).1 += 1;
    }

    /// Counts an outcome with those of its values that are new.
    pub(super) fn outcome(&mut self, outcome: &Observation, values: &Values, result: OutcomeResult) {
        let tally = self
            .outcomes
            .entry((outcome.experiment, outcome.arm))
            .or_default();
        match result {
            OutcomeResult::Accepted => tally.accepted += 1,
            OutcomeResult::Late => tally.late += 1,
            OutcomeResult::Duplicate | OutcomeResult::Rejected => {
                tally.duplicate += 1;
                return;
            }
        }
        for (metric, value) in values.iter() {
            let place = tally
                .metrics
                .iter()
                .position(|(key, _)| *key == metric)
                .unwrap_or_else(|| {
                    tally.metrics.push((metric, MetricTotal::default()));
                    tally.metrics.len() - 1
                });
            let total = &mut tally.metrics[place].1;
            total.n += 1;
            total.sum += value;
        }
    }

    pub(super) fn rejected(&mut self, experiment: Option<ExperimentKey>) {
        *self.rejected.entry(experiment).or_default() += 1;
    }

    /// A copy, with the two figures that are kept elsewhere.
    pub(super) fn totals(&self, dropped: u64, journal_backlog: u64) -> Totals {
        let decisions = self
            .decisions
            .iter()
            .map(|(&(prompt, experiment, arm, _), &(reason, count))| {
                let key = DecisionKey {
                    prompt,
                    experiment: (experiment != NO_EXPERIMENT).then_some(experiment),
                    arm: (arm != DEPLOYED).then_some(arm),
                    reason,
                };
                (key, count)
            })
            .collect();
        let mut outcomes = HashMap::new();
        let mut metrics = HashMap::new();
        for (&(experiment, arm), tally) in &self.outcomes {
            for (result, count) in [
                (OutcomeResult::Accepted, tally.accepted),
                (OutcomeResult::Duplicate, tally.duplicate),
                (OutcomeResult::Late, tally.late),
            ] {
                if count > 0 {
                    let (experiment, arm) = (Some(experiment), Some(arm));
                    outcomes.insert(
                        OutcomeKey {
                            experiment,
                            arm,
                            result,
                        },
                        count,
                    );
                }
            }
            for (metric, total) in &tally.metrics {
                metrics.insert((experiment, arm, *metric), *total);
            }
        }
        for (&experiment, &count) in &self.rejected {
            let key = OutcomeKey {
                experiment,
                arm: None,
                result: OutcomeResult::Rejected,
            };
            outcomes.insert(key, count);
        }
        Totals {
            decisions,
            outcomes,
            metrics,
            exposures_dropped: dropped + self.exposures_lost,
            journal_backlog,
        }
    }
}
