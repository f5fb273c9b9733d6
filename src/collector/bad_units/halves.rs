//! The hidden halves of an arm: a split that no user notices, because both halves get the same prompt.
//!
//! Owns the bit that says which half a unit is in, and counts of units with their halves. Between the halves of control
//! the guardrails' test must find nothing; `guardrails::aa` looks whether it does.

use crate::{
    collector::codec::{FormatError, Reader, Writer},
    routing::hash::mix,
};

/// XXH3-64 of "half"; a test holds it to that.
///
/// The half is the top bit of the unit's analysis hash after another mix than all others. The assignment, enrolment,
/// layers and holdouts hash the unit's id with seeds of their own; buckets are the remainder of the analysis hash, and the
/// bitmap's index is the low bits of its mix with another seed. So a unit's half says nothing about its arm, its bucket
/// or with whom it shares a bit.
const SEED: u64 = 0x9cad_ffce_c25b_936b;

/// The half of the unit with this analysis hash: 0 or 1, each for half of all units.
#[inline]
pub(crate) const fn half(unit_hash: u64) -> usize {
    (mix(unit_hash ^ SEED) >> 63) as usize
}

/// Distinct units, and how many of them are in each hidden half.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::collector) struct HalvedUnits {
    /// All of them.
    pub(in crate::collector) all: u32,
    /// Those of each half; less than all together where some were counted before there were halves.
    pub(in crate::collector) halves: [u32; 2],
}

impl HalvedUnits {
    /// One unit more.
    pub(super) fn add(&mut self, unit_hash: u64) {
        self.all += 1;
        self.halves[half(unit_hash)] += 1;
    }

    /// Adds all of `other`.
    pub(super) fn merge(&mut self, other: Self) {
        self.all += other.all;
        for (own, more) in self.halves.iter_mut().zip(other.halves) {
            *own += more;
        }
    }

    pub(super) fn encode(&self, writer: &mut Writer<'_>) {
        writer.u32(self.all);
        for units in self.halves {
            writer.u32(units);
        }
    }

    /// Reads what [`HalvedUnits::encode`] wrote, or the number alone when there were no halves yet.
    pub(super) fn read(reader: &mut Reader<'_>, with_halves: bool) -> Result<Self, FormatError> {
        let all = reader.u32()?;
        if !with_halves {
            return Ok(Self { all, halves: [0; 2] });
        }
        let halves = [reader.u32()?, reader.u32()?];
        if u64::from(halves[0]) + u64::from(halves[1]) > u64::from(all) {
            return Err(reader.damaged("the halves are more than the whole"));
        }
        Ok(Self { all, halves })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::hash::{BUCKETS, ExperimentSeeds, analysis_hash, bucket, score, seed, variant_seed};

    #[test]
    fn the_seed_is_the_hash_of_its_name() {
        assert_eq!(SEED, seed("half"));
    }

    /// A share of n units that is ½ lies within five standard errors of it.
    #[track_caller]
    fn even(counts: [u64; 2]) {
        let n = (counts[0] + counts[1]) as f64;
        let off = (counts[1] as f64 / n - 0.5).abs();
        assert!(off < 5.0 * 0.5 / n.sqrt(), "{counts:?}");
    }

    #[test]
    fn the_halves_are_even_in_every_arm_and_group_of_buckets_and_bits() {
        const UNITS: u32 = 100_000;
        let seeds = ExperimentSeeds::new("tone");
        let [control, candidate] = ["control", "candidate"].map(variant_seed);
        let mut arms = [[0; 2]; 2];
        let mut buckets = [[0; 2]; 8];
        let mut bits = [[0; 2]; 8];
        for unit in 0..UNITS {
            let id = format!("u-{unit}");
            let unit_hash = analysis_hash(id.as_bytes());
            let half = half(unit_hash);
            let draw = seeds.draw(id.as_bytes());
            let arm = usize::from(score(draw, candidate, 0.5) < score(draw, control, 0.5));
            arms[arm][half] += 1;
            buckets[bucket(unit_hash) * 8 / BUCKETS][half] += 1;
            bits[super::super::unit_set::bit(unit_hash) as usize >> 17][half] += 1;
        }
        arms.into_iter().chain(buckets).chain(bits).for_each(even);
    }
}
