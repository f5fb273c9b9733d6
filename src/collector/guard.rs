//! The guardrails' evidence of one experiment since its evidence clock began.
//!
//! Owns the distinct bad units and the settled sums of every guarded measure and arm. Judges nothing: the guardrails
//! read [`GuardSnapshot`] and decide.

use super::buckets::Buckets;
use crate::domain::id::{ArmIndex, Epoch, MetricKey};

/// What guardrails judge, as of one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardSnapshot {
    /// Only outcomes of this epoch and later ones are in it.
    pub since_epoch: Epoch,
    /// Every guarded measure of the design.
    pub measures: Vec<GuardedCounts>,
}

impl GuardSnapshot {
    /// The counts of a measure.
    #[must_use]
    pub fn measure(&self, key: MetricKey) -> Option<&GuardedCounts> {
        self.measures.iter().find(|measure| measure.measure == key)
    }
}

/// The evidence of one guarded measure.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardedCounts {
    /// The measure.
    pub measure: MetricKey,
    /// The arms that reported anything bad, or anything at all for a measure with an absolute limit.
    pub arms: Vec<GuardedArm>,
    /// Settled bad units by time and epoch, ascending; what the sequential test adds up.
    pub steps: Vec<Step>,
}

impl GuardedCounts {
    /// The counts of an arm.
    #[must_use]
    pub fn arm(&self, arm: ArmIndex) -> Option<&GuardedArm> {
        self.arms.iter().find(|counts| counts.arm == arm)
    }
}

/// The evidence of one guarded measure on one arm.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardedArm {
    /// The arm.
    pub arm: ArmIndex,
    /// Distinct units with a bad outcome whose assignment has settled.
    pub bad_units: u64,
    /// Distinct units with a bad outcome whose assignment is still too young.
    pub pending: u64,
    /// For a measure with an absolute limit: settled outcomes and bad ones among them, by bucket of units.
    pub absolute: Option<Buckets>,
}

/// Bad units that entered the test together: same restart block, same epoch, same arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// The restart block of the assignments, 0 … 31.
    pub block: usize,
    /// Their epoch, which has the shares.
    pub epoch: Epoch,
    /// Their arm.
    pub arm: ArmIndex,
    /// How many distinct units had their first bad outcome.
    pub bad_units: u32,
}
