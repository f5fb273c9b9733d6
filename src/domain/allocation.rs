//! How traffic is split: weights, traffic, layer slots, holdout.

use super::id::LayerName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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

/// The share of units that keep their variant when weights change, each variant named and with a positive weight, in any
/// order and on any scale.
///
/// A unit has variant i as long as its draw −ln(u) of i over the weight is the least, so it stays where that holds with
/// both weights: stay = Σ_i 1 / Σ_k max(w_k/w_i, w'_k/w'_i) over the variants i that both have, a weight that one of them
/// lacks being 0. From 50/25/25 to 60/20/20 it is 0.9, the most that any assignment can keep.
///
/// ```
/// use serin::domain::allocation::stay;
/// let before = [("a", 50.0), ("b", 25.0), ("c", 25.0)];
/// assert!((stay(&before, &[("a", 60.0), ("b", 20.0), ("c", 20.0)]) - 0.9).abs() < 1e-12);
/// assert!((stay(&before, &[("a", 2.0), ("b", 1.0)]) - 0.75).abs() < 1e-12);
/// ```
#[must_use]
pub fn stay(before: &[(&str, f64)], after: &[(&str, f64)]) -> f64 {
    let weight = |side: &[(&str, f64)], name: &str| {
        side.iter()
            .find(|(known, _)| *known == name)
            .map_or(0.0, |(_, weight)| *weight)
    };
    let names: BTreeSet<&str> = before.iter().chain(after).map(|(name, _)| *name).collect();
    let mut stays = 0.0;
    for name in &names {
        let (own_before, own_after) = (weight(before, name), weight(after, name));
        if own_before <= 0.0 || own_after <= 0.0 {
            continue;
        }
        let most = |other: &&str| (weight(before, other) / own_before).max(weight(after, other) / own_after);
        let rivals: f64 = names.iter().map(most).sum();
        stays += 1.0 / rivals;
    }
    stays.min(1.0)
}

/// A share of units kept out of every experiment, to measure their sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holdout {
    /// The holdout's name; its salt is derived from it, so a new name draws new units.
    pub name: LayerName,
    /// Share of units held out, in [0, 1).
    pub share: f64,
}
