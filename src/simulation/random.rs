//! Seeded random numbers: the same on every machine, in every thread.
//!
//! Owns the generator (xoshiro256++, seeded through SplitMix64) and the few draws that need no distribution. Never reads
//! the system's entropy. Called by everything that simulates.

use crate::routing::hash;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng, SeedableRng},
};

/// One stream of random numbers. Blackman & Vigna (2021), "Scrambled linear pseudorandom number generators",
/// doi:10.1145/3460772.
#[derive(Debug, Clone)]
pub struct Random(Xoshiro256PlusPlus);

impl Random {
    /// The stream of one run: equal arguments give equal streams, other ones unrelated streams.
    #[must_use]
    pub fn of_run(seed: u64, study: &str, case: &str, run: u64) -> Self {
        let place = hash::mix(hash::seed(study) ^ hash::mix(hash::seed(case)));
        Self(Xoshiro256PlusPlus::seed_from_u64(hash::mix(
            hash::mix(seed ^ place).wrapping_add(run),
        )))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        hash::unit_interval(self.0.next_u64())
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Uniform in 0 … `n` − 1; 0 for `n` = 0. Off by less than n/2⁶⁴, which no simulation can see.
    pub fn below(&mut self, n: usize) -> usize {
        let product = u128::from(self.0.next_u64()) * (n as u128);
        (product >> 64) as usize
    }

    /// Normal with mean 0 and standard deviation 1.
    pub fn normal(&mut self) -> f64 {
        self.draw(&StandardNormal)
    }

    /// From any other distribution.
    pub fn draw<T>(&mut self, distribution: &impl Distribution<T>) -> T {
        distribution.sample(&mut self.0)
    }

    /// Puts a list into random order. Fisher & Yates, in Durstenfeld's (1964) form, doi:10.1145/364520.364540.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_same_on_every_machine() {
        let mut random = Random::of_run(1, "a-a", "case", 0);
        let first = [random.bits(), random.bits()];
        assert_eq!(first, [12_214_636_798_845_261_425, 17_404_519_207_661_217_423]);
        let mut again = Random::of_run(1, "a-a", "case", 0);
        assert_eq!([again.bits(), again.bits()], first);
    }

    #[test]
    fn every_part_of_the_place_changes_the_stream() {
        let first = |seed, study, case, run| Random::of_run(seed, study, case, run).bits();
        let all = [
            first(1, "a", "b", 0),
            first(2, "a", "b", 0),
            first(1, "b", "a", 0),
            first(1, "a", "c", 0),
            first(1, "a", "b", 1),
        ];
        let distinct: std::collections::BTreeSet<_> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn draws_stay_in_their_range_and_a_shuffle_loses_nothing() {
        let mut random = Random::of_run(3, "", "", 0);
        let mut seen = [0; 7];
        for _ in 0..7_000 {
            seen[random.below(7)] += 1;
        }
        // 1000 each, with a standard deviation of 29.
        assert!(seen.iter().all(|count| (850..1_150).contains(count)), "{seen:?}");
        assert_eq!(random.below(0), 0);
        let mut list: Vec<u32> = (0..100).collect();
        random.shuffle(&mut list);
        assert!(!list.is_sorted());
        list.sort_unstable();
        assert_eq!(list, (0..100).collect::<Vec<_>>());
    }
}
