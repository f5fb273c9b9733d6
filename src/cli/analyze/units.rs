//! Which units are on which variants, in bounded memory.
//!
//! Owns the count of distinct units: exact up to a million, then of a sample that no assignment depends on. Never
//! sees a value.

use std::collections::HashMap;

/// The most units remembered; about 40 MB.
const MOST: usize = 1 << 20;
/// The most variants: a bit of a word for each.
pub(super) const MOST_VARIANTS: usize = 64;

/// The units of a file.
#[derive(Debug)]
pub(super) struct Units {
    /// Analysis hash → a bit for each variant the unit is on.
    seen: HashMap<u64, u64>,
    /// How many times the range of hashes that are remembered was halved.
    level: u32,
    most: usize,
}

impl Default for Units {
    fn default() -> Self {
        Self {
            seen: HashMap::new(),
            level: 0,
            most: MOST,
        }
    }
}

/// Distinct units, as many as were remembered; multiply with `scale` for those of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnitCounts {
    /// By variant.
    pub(super) on: Vec<u64>,
    /// By variant: on no other one.
    pub(super) only_on: Vec<u64>,
    /// All together.
    pub(super) total: u64,
    /// On more than one variant.
    pub(super) on_several: u64,
    /// For each unit remembered there are about so many; 1 where these are all.
    pub(super) scale: u64,
}

impl Units {
    /// Notes that a unit is on a variant, a number below [`MOST_VARIANTS`].
    #[inline]
    pub(super) fn see(&mut self, unit: u64, variant: usize) {
        if unit > u64::MAX >> self.level {
            return;
        }
        *self.seen.entry(unit).or_default() |= 1 << (variant % MOST_VARIANTS);
        while self.seen.len() > self.most {
            self.level += 1;
            let highest = u64::MAX >> self.level;
            self.seen.retain(|unit, _| *unit <= highest);
        }
    }

    pub(super) fn count(&self, variants: usize) -> UnitCounts {
        let mut counts = UnitCounts {
            on: vec![0; variants],
            only_on: vec![0; variants],
            total: self.seen.len() as u64,
            on_several: 0,
            scale: 1 << self.level,
        };
        for on in self.seen.values() {
            let alone = on.count_ones() == 1;
            counts.on_several += u64::from(!alone);
            for variant in 0..variants {
                let there = on >> variant & 1;
                counts.on[variant] += there;
                counts.only_on[variant] += there * u64::from(alone);
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::hash::mix;

    #[test]
    fn units_count_once_and_know_their_variants() {
        let mut units = Units::default();
        for (unit, variant) in [(1, 0), (1, 0), (2, 1), (3, 1), (3, 0)] {
            units.see(unit, variant);
        }
        let counts = units.count(2);
        assert_eq!((counts.on, counts.only_on), (vec![2, 2], vec![1, 1]));
        assert_eq!((counts.total, counts.on_several, counts.scale), (3, 1, 1));
    }

    #[test]
    fn beyond_the_bound_a_sample_stands_for_all() {
        let mut units = Units {
            most: 1000,
            ..Units::default()
        };
        for round in 0..2 {
            for unit in 0..20_000 {
                units.see(mix(unit + 1), (unit % 2) as usize);
                if round == 1 && unit % 10 == 0 {
                    units.see(mix(unit + 1), 1);
                }
            }
        }
        let counts = units.count(2);
        assert!(counts.total <= 1000 && counts.scale == 32, "{counts:?}");
        let all = (counts.total * counts.scale) as f64;
        assert!((all / 20_000.0 - 1.0).abs() < 0.15, "{counts:?}");
        let several = counts.on_several as f64 / counts.total as f64;
        assert!((several - 0.1).abs() < 0.04, "{counts:?}");
    }
}
