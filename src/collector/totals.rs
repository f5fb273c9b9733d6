//! Plain totals since the process began, for metrics.
//!
//! Kept apart from the cells: these start at zero with each process, as monitoring expects of counters.

use super::exposures::DecisionReason;
use crate::domain::id::{ArmIndex, ExperimentKey, MetricKey, PromptKey};
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
    pub reason: DecisionReason,
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
