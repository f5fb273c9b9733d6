//! Salt and unit → draws: the algorithm "hrw1", frozen by golden vectors from the first release.
//!
//! Every draw is a pure function of the unit id and of names in the configuration, so every replica, every restart
//! and any other language computes the same answer. Only this file knows the hash function.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The name of the algorithm, stored with what it decided.
pub const ALGORITHM: &str = "hrw1";
/// Buckets of units for statistics; part of the format of cells.
pub const BUCKETS: usize = 1024;

/// 2⁻⁵³: turns the upper 53 bits of a hash into a number in [0, 1).
const ULP: f64 = 1.0 / 9_007_199_254_740_992.0;

/// `x(s)`: XXH3-64 with seed 0 over UTF-8 bytes, used to derive seeds from names.
#[must_use]
pub fn seed(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

/// The hash of a unit id under a seed.
#[inline]
#[must_use]
pub fn unit_hash(unit: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(unit, seed)
}

/// Murmur3's 64-bit finaliser.
#[inline]
#[must_use]
pub const fn mix(mut n: u64) -> u64 {
    n ^= n >> 33;
    n = n.wrapping_mul(0xff51_afd7_ed55_8ccd);
    n ^= n >> 33;
    n = n.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    n ^ (n >> 33)
}

/// `u(n)`: the upper 53 bits as a number in [0, 1).
#[inline]
#[must_use]
pub fn unit_interval(n: u64) -> f64 {
    (n >> 11) as f64 * ULP
}

/// The number in (0, 1) whose logarithm scores a variant; never 0, so the logarithm is finite.
#[inline]
#[must_use]
pub fn open_unit_interval(n: u64) -> f64 {
    ((n >> 11) as f64 + 0.5) * ULP
}

/// Seeds of one experiment, hashed ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExperimentSeeds {
    salt: u64,
    enrol: u64,
}

impl ExperimentSeeds {
    /// From the experiment's salt.
    #[must_use]
    pub fn new(salt: &str) -> Self {
        Self {
            salt: seed(salt),
            enrol: seed("enrol"),
        }
    }

    /// `h`: what enrolment and the variant's draw are made of.
    #[inline]
    #[must_use]
    pub fn draw(&self, unit: &[u8]) -> u64 {
        unit_hash(unit, self.salt)
    }

    /// Enrolled ⇔ this is below the traffic share; monotone in it, independent of the variant's draw.
    #[inline]
    #[must_use]
    pub fn enrolment(&self, draw: u64) -> f64 {
        unit_interval(mix(draw ^ self.enrol))
    }
}

/// The seed of a variant's score.
#[must_use]
pub fn variant_seed(variant: &str) -> u64 {
    seed(&format!("variant:{variant}"))
}

/// The seed of a layer's slots.
#[must_use]
pub fn layer_seed(layer: &str) -> u64 {
    seed(&format!("layer:{layer}"))
}

/// The seed of a holdout.
#[must_use]
pub fn holdout_seed(holdout: &str) -> u64 {
    seed(&format!("holdout:{holdout}"))
}

/// `−ln(u) / weight`: the variant with the least score wins, with probability exactly weight / sum of weights.
///
/// With u = 0.5 and weight 2 the score is 0.3466.
#[inline]
#[must_use]
pub fn score(draw: u64, variant_seed: u64, weight: f64) -> f64 {
    -open_unit_interval(mix(draw ^ variant_seed)).ln() / weight
}

/// A unit's slot of a layer or holdout, in percent, in [0, 100).
#[inline]
#[must_use]
pub fn slot(unit: &[u8], seed: u64) -> f64 {
    100.0 * unit_interval(mix(unit_hash(unit, seed)))
}

/// What stands for a unit in receipts and cells, drawn with a seed that no assignment uses.
#[inline]
#[must_use]
pub fn analysis_hash(unit: &[u8]) -> u64 {
    // XXH3-64 of "bucket"; a test holds it to `seed("bucket")`.
    const BUCKET_SEED: u64 = 0x0260_a309_7657_8203;
    unit_hash(unit, BUCKET_SEED)
}

/// The bucket of an analysis hash.
#[inline]
#[must_use]
pub const fn bucket(analysis_hash: u64) -> usize {
    // The remainder is below 1024, so it fits every usize.
    (analysis_hash % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_seed_is_the_hash_of_its_name() {
        assert_eq!(analysis_hash(b"u-1"), unit_hash(b"u-1", seed("bucket")));
    }
}
