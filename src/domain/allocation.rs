//! How traffic is split: weights, traffic, layer slots, holdout.

use super::id::LayerName;
use serde::{Deserialize, Serialize};

/// Percent slots of a layer; experiments of one layer exclude each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerSlots {
    /// The layer's name; its salt is derived from it.
    pub name: LayerName,
    /// Lower (inclusive) and upper (exclusive) percent, 0 ≤ lower < upper ≤ 100.
    pub slots: [f64; 2],
}

impl LayerSlots {
    /// Whether two slot ranges of the same layer share a unit.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.name == other.name && self.slots[0] < other.slots[1] && other.slots[0] < self.slots[1]
    }
}

/// A share of units kept out of every experiment, to measure their sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holdout {
    /// The holdout's name; its salt is derived from it, so a new name draws new units.
    pub name: LayerName,
    /// Share of units held out, in [0, 1).
    pub share: f64,
}
