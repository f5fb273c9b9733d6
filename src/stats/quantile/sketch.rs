//! A mergeable sketch of a distribution: counts in bins whose width grows with the value.
//!
//! Owns the bins and what can be read from them. It never keeps a value, except the smallest and the largest.
//! Called by whatever collects a metric and by a report.
//!
//! It is DDSketch by Masson, Rim & Lee (2019), "DDSketch: a fast and fully-mergeable quantile sketch with
//! relative-error guarantees", PVLDB 12(12), doi:10.14778/3352063.3352135, with the cubic in place of the
//! logarithm that its authors' libraries offer. It is written out here because no published crate fits:
//! `sketches-ddsketch` and `ddsketchy` keep a dense window (11 KiB for the two values 0.001 and 1e9) and a
//! running sum that makes their bytes depend on the order of values, and read damaged bytes unchecked, while
//! `sketches-rust` has no exact extremes and can be neither cloned nor compared.

use super::super::Undefined;

/// Bins per factor of two. With 35 of them the cubic below has whole coefficients and a bin is at most
/// exp(0.02) wide, so its middle is at most tanh(0.01) = 0.0099997 off in relative terms.
const BINS_PER_OCTAVE: i32 = 35;

/// The bits of a float that are not its sign or exponent.
const FRACTION: u64 = (1 << 52) - 1;

/// The edges of bins are computed to a few units in the last place; they are moved outwards by this share.
const ROUNDING: f64 = 1e-14;

/// Counts of values in bins of 1 % relative accuracy, with their exact number, minimum and maximum.
///
/// Positive values, negative values and zero share one order of bins. When more than
/// [`MAX_BINS`](Sketch::MAX_BINS) are occupied the lowest are folded together, so the upper quantiles keep
/// their accuracy; it takes values over more than 17 orders of magnitude to get there. Values nearer to zero
/// than 2.2e-308 count as zero. The same values give an equal sketch in whatever order they were added or
/// merged, on every platform: bins are found with additions and multiplications only.
///
/// State: 72 bytes, and 12 per occupied bin (up to a quarter more while it grows).
///
/// ```
/// use serin::stats::quantile::Sketch;
/// let mut sketch = Sketch::default();
/// for value in 1..=1000 {
///     sketch.add(f64::from(value))?;
/// }
/// assert!((sketch.quantile(0.95)? / 950.0 - 1.0).abs() <= 0.01);
/// assert_eq!((sketch.count(), sketch.min(), sketch.max()), (1000, Some(1.0), Some(1000.0)));
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Sketch {
    /// The occupied bins in ascending order; see [`key_of`].
    pub(super) keys: Vec<i32>,
    /// How many values each of them holds; none is 0.
    pub(super) counts: Vec<u64>,
    pub(super) count: u64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Default for Sketch {
    fn default() -> Sketch {
        Sketch {
            keys: Vec::new(),
            counts: Vec::new(),
            count: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }
}

impl Sketch {
    /// A quantile read from a sketch is at most this share of it away from the value at its rank.
    pub const RELATIVE_ACCURACY: f64 = 0.01;

    /// The most bins a sketch keeps.
    pub const MAX_BINS: usize = 2048;

    /// Adds one value.
    ///
    /// # Errors
    /// [`Undefined::OutOfDomain`] when the value is NaN or infinite; the sketch stays as it was.
    pub fn add(&mut self, value: f64) -> Result<(), Undefined> {
        if !value.is_finite() {
            return Err(Undefined::OutOfDomain {
                what: "value",
                value,
                domain: "finite",
            });
        }
        // −0 and 0 are the same value and must leave the same bytes.
        let value = value + 0.0;
        self.count = self.count.saturating_add(1);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let key = key_of(value);
        match self.position(key) {
            Ok(at) => self.counts[at] = self.counts[at].saturating_add(1),
            Err(at) => self.insert(at, key),
        }
        Ok(())
    }

    /// Adds all values of `other`. The result is the sketch that all values together would have given.
    pub fn merge(&mut self, other: &Sketch) {
        let mut keys = Vec::with_capacity(self.keys.len() + other.keys.len());
        let mut counts = Vec::with_capacity(keys.capacity());
        let mut theirs = other.keys.iter().zip(&other.counts).peekable();
        for (&key, &count) in self.keys.iter().zip(&self.counts) {
            while let Some((&lower, &extra)) = theirs.next_if(|(their_key, _)| **their_key < key) {
                keys.push(lower);
                counts.push(extra);
            }
            let shared = theirs.next_if(|(their_key, _)| **their_key == key);
            keys.push(key);
            counts.push(count.saturating_add(shared.map_or(0, |(_, &extra)| extra)));
        }
        for (&key, &count) in theirs {
            keys.push(key);
            counts.push(count);
        }
        let excess = keys.len().saturating_sub(Self::MAX_BINS);
        if excess > 0 {
            let folded = counts.drain(..excess).fold(0, u64::saturating_add);
            keys.drain(..excess);
            counts[0] = counts[0].saturating_add(folded);
        }
        keys.shrink_to_fit();
        counts.shrink_to_fit();
        self.keys = keys;
        self.counts = counts;
        self.count = self.count.saturating_add(other.count);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many values were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The smallest value, exactly; none in an empty sketch.
    pub fn min(&self) -> Option<f64> {
        (self.count > 0).then_some(self.min)
    }

    /// The largest value, exactly; none in an empty sketch.
    pub fn max(&self) -> Option<f64> {
        (self.count > 0).then_some(self.max)
    }

    /// The `q`-quantile for `q` in [0, 1]: the value at the nearest rank ⌈qn⌉, within 1 % of it.
    ///
    /// A bin from l to u is read as 2lu/(l + u), whose relative error is the same at both ends: Masson et al.
    /// (2019), lemma 2. The first and the last rank are exact. The median of 1, 2 and 4 reads 2.0200.
    ///
    /// # Errors
    /// [`Undefined::InsufficientData`] for an empty sketch; [`Undefined::OutOfDomain`] for `q` outside
    /// [0, 1], or so low that it falls among the bins that were folded together.
    ///
    /// ```
    /// use serin::stats::quantile::Sketch;
    /// let mut sketch = Sketch::default();
    /// for value in [4.0, 1.0, 2.0] {
    ///     sketch.add(value)?;
    /// }
    /// assert!((sketch.quantile(0.5)? - 2.0).abs() <= 0.02);
    /// assert_eq!((sketch.quantile(0.0)?, sketch.quantile(1.0)?), (1.0, 4.0));
    /// # Ok::<(), serin::stats::Undefined>(())
    /// ```
    pub fn quantile(&self, q: f64) -> Result<f64, Undefined> {
        if !(0.0..=1.0).contains(&q) {
            return Err(Undefined::OutOfDomain {
                what: "the quantile",
                value: q,
                domain: "between 0 and 1",
            });
        }
        if self.count == 0 {
            return Err(Undefined::InsufficientData {
                what: "values",
                have: 0.0,
                needed: 1.0,
            });
        }
        let rank = nearest_rank(q, self.count);
        if rank == 1 {
            return Ok(self.min);
        }
        if rank == self.count {
            return Ok(self.max);
        }
        let at = self.bin_of_rank(rank);
        if at == 0 && self.folded() {
            return Err(Undefined::OutOfDomain {
                what: "the quantile",
                value: q,
                domain: "above the lowest values, which the sketch has folded together",
            });
        }
        Ok(middle(self.keys[at]).clamp(self.min, self.max))
    }

    /// Two values between which the value of a `rank` from 1 to `count` lies for certain.
    pub(super) fn bounds_of_rank(&self, rank: u64) -> (f64, f64) {
        if rank <= 1 {
            return (self.min, self.min);
        }
        if rank >= self.count {
            return (self.max, self.max);
        }
        let at = self.bin_of_rank(rank);
        let (low, high) = edges(self.keys[at]);
        let low = if at == 0 && self.folded() { self.min } else { low };
        (low.clamp(self.min, self.max), high.clamp(self.min, self.max))
    }

    /// Whether the lowest bin also holds values that belong further down. Only a full sketch can be.
    fn folded(&self) -> bool {
        self.keys.first().is_some_and(|&lowest| key_of(self.min) < lowest)
    }

    /// The index of the bin with the value of a rank between 1 and `count`.
    fn bin_of_rank(&self, rank: u64) -> usize {
        let mut reached = 0u64;
        for (at, count) in self.counts.iter().enumerate() {
            reached = reached.saturating_add(*count);
            if reached >= rank {
                return at;
            }
        }
        self.counts.len().saturating_sub(1)
    }

    /// Where `key` is, or where it would have to be inserted.
    fn position(&self, key: i32) -> Result<usize, usize> {
        let (Some(&lowest), Some(&highest)) = (self.keys.first(), self.keys.last()) else {
            return Err(0);
        };
        if key < lowest {
            return Err(0);
        }
        // Without gaps the bin would be as many places up as its key is above the lowest, and every gap takes
        // it at most one place down. Most values fall where there are few.
        let above = (key - lowest) as usize;
        let gaps = (highest - lowest) as usize + 1 - self.keys.len();
        let from = above.saturating_sub(gaps).min(self.keys.len());
        let to = (above + 1).min(self.keys.len());
        match self.keys[from..to].binary_search(&key) {
            Ok(at) => Ok(from + at),
            Err(at) => Err(from + at),
        }
    }

    /// A new bin with one value at index `at`; a full sketch folds its two lowest bins together for it.
    #[cold]
    fn insert(&mut self, at: usize, key: i32) {
        if self.keys.len() == self.keys.capacity() {
            // Grows by a quarter rather than doubling: there are thousands of sketches, most of them small.
            let more = self.keys.len() / 4 + 4;
            self.keys.reserve_exact(more);
            self.counts.reserve_exact(more);
        }
        self.keys.insert(at, key);
        self.counts.insert(at, 1);
        if self.keys.len() > Self::MAX_BINS {
            self.keys.remove(0);
            let lowest = self.counts.remove(0);
            self.counts[0] = self.counts[0].saturating_add(lowest);
        }
    }
}

/// ⌈qn⌉, at least 1. What rounding added to a whole q·n does not count: 0.07·100 is 7.
fn nearest_rank(q: f64, n: u64) -> u64 {
    let rank = q * n as f64;
    ((rank - 4.0 * f64::EPSILON * rank).ceil() as u64).clamp(1, n)
}

/// The bin of a finite value: 0 for zero, −k for −x when k is that of x, and 1 to 71,610 for positive values
/// in ascending order.
///
/// For x = 2^e(1 + s) it is 1 + 35(e + 1022) + ⌊50s − 21s² + 6s³⌋, where the cubic stands for 35 log2(1 + s)
/// and rises by at least 50 per unit of ln(1 + s).
pub(super) fn key_of(value: f64) -> i32 {
    let bits = value.abs().to_bits();
    let exponent = (bits >> 52) as i32;
    if exponent == 0 {
        return 0;
    }
    let s = f64::from_bits((bits & FRACTION) | 1f64.to_bits()) - 1.0;
    // The cubic could reach 35 by rounding.
    let within = (cubic(s) as i32).min(BINS_PER_OCTAVE - 1);
    let key = (exponent - 1) * BINS_PER_OCTAVE + within + 1;
    if value < 0.0 { -key } else { key }
}

/// The highest key there is: that of the largest float.
pub(super) const HIGHEST_KEY: i32 = 2046 * BINS_PER_OCTAVE;

fn cubic(s: f64) -> f64 {
    s * (50.0 - s * (21.0 - 6.0 * s))
}

/// The value with the least largest relative distance to any in the bin.
fn middle(key: i32) -> f64 {
    if key == 0 {
        return 0.0;
    }
    let (low, high) = (lower_edge(key.abs()), lower_edge(key.abs() + 1));
    let middle = 2.0 / (1.0 + low / high) * low;
    if key < 0 { -middle } else { middle }
}

/// Two values that no value of the bin lies outside of.
fn edges(key: i32) -> (f64, f64) {
    if key == 0 {
        return (-f64::MIN_POSITIVE, f64::MIN_POSITIVE);
    }
    let low = lower_edge(key.abs()) * (1.0 - ROUNDING);
    let high = lower_edge(key.abs() + 1) * (1.0 + ROUNDING);
    if key < 0 { (-high, -low) } else { (low, high) }
}

/// The smallest value of a positive bin; infinite for the key after the highest.
fn lower_edge(key: i32) -> f64 {
    let (octave, within) = ((key - 1) / BINS_PER_OCTAVE, (key - 1) % BINS_PER_OCTAVE);
    let target = f64::from(within);
    let mut s = target / f64::from(BINS_PER_OCTAVE);
    // Newton's method: the cubic is nearly straight, and five steps leave nothing to correct.
    for _ in 0..5 {
        s -= (cubic(s) - target) / (50.0 - s * (42.0 - 18.0 * s));
    }
    f64::from_bits(((octave + 1) as u64) << 52) * (1.0 + s)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::stats::quantile) fn sketch_of(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        for &value in values {
            sketch.add(value).unwrap();
        }
        sketch
    }

    fn state_bytes(sketch: &Sketch) -> usize {
        size_of::<Sketch>() + 4 * sketch.keys.capacity() + 8 * sketch.counts.capacity()
    }

    #[test]
    fn refused_values_leave_the_sketch_alone() {
        let mut sketch = sketch_of(&[1.0, 2.0]);
        let before = sketch.clone();
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(sketch.add(value).is_err());
        }
        assert_eq!(sketch, before);
        assert!(Sketch::default().quantile(0.5).is_err() && before.quantile(f64::NAN).is_err());
    }

    #[test]
    fn the_lowest_bins_are_folded_and_say_so() {
        // 2,600 bins' worth of values: the upper 2,047 stay as they are.
        let values: Vec<_> = (0..2600).map(|i| (0.02 * f64::from(i)).exp()).collect();
        let sketch = sketch_of(&values);
        assert_eq!(sketch.keys.len(), Sketch::MAX_BINS);
        assert_eq!((sketch.count(), sketch.min()), (2600, Some(1.0)));
        assert!(matches!(sketch.quantile(0.1), Err(Undefined::OutOfDomain { .. })));
        for rank in 700..2600u64 {
            let exact = values[rank as usize - 1];
            let (low, high) = sketch.bounds_of_rank(rank);
            assert!(low <= exact && exact <= high, "{rank}");
            assert!((sketch.quantile(rank as f64 / 2600.0).unwrap() / exact - 1.0).abs() <= 0.01);
        }
        assert_eq!(sketch.bounds_of_rank(2).0, 1.0);
    }

    #[test]
    fn few_values_take_little_memory() {
        assert_eq!(state_bytes(&Sketch::default()), 72);
        assert!(state_bytes(&sketch_of(&[0.001])) <= 72 + 4 * 12);
        assert!(state_bytes(&sketch_of(&[0.001, 1e9])) <= 72 + 4 * 12);
        let many = sketch_of(&(0..5000).map(|i| 1.1f64.powi(i - 2500)).collect::<Vec<_>>());
        assert!(state_bytes(&many) <= 72 + 12 * (Sketch::MAX_BINS * 5 / 4 + 4));
    }

    #[test]
    fn bins_meet_at_their_edges() {
        for key in (1..HIGHEST_KEY).step_by(7) {
            let edge = lower_edge(key);
            assert_eq!(key_of(edge * (1.0 + ROUNDING)), key);
            assert!(key == 1 || key_of(edge * (1.0 - ROUNDING)) == key - 1);
            assert!(lower_edge(key + 1) / edge <= 0.02f64.exp());
        }
        assert_eq!(key_of(f64::MAX), HIGHEST_KEY);
        assert_eq!(
            (key_of(f64::MIN_POSITIVE), key_of(5e-324), key_of(-0.0)),
            (1, 0, 0)
        );
    }

    proptest! {
        #[test]
        fn quantiles_are_within_one_percent(
            mut values in prop::collection::vec(any_value(), 1..300), q in 0.0..=1.0f64,
        ) {
            let sketch = sketch_of(&values);
            values.sort_by(f64::total_cmp);
            let rank = nearest_rank(q, values.len() as u64);
            let exact = values[rank as usize - 1];
            let got = sketch.quantile(q).unwrap();
            prop_assert!(
                (got - exact).abs() <= 0.01 * exact.abs() + f64::MIN_POSITIVE, "{got} is not {exact}"
            );
            let (low, high) = sketch.bounds_of_rank(rank);
            prop_assert!(low <= exact && exact <= high);
        }

        #[test]
        fn order_does_not_matter(
            parts in prop::collection::vec(prop::collection::vec(any_value(), 0..400), 1..8), wide in any::<bool>(),
        ) {
            // Enough distinct bins in some runs for folding to happen at different times.
            let mut parts = parts;
            if wide {
                parts.push((0..1500).map(|i| 1.05f64.powi(i - 700)).collect());
                parts.push((0..1500).map(|i| -(1.07f64.powi(i - 900))).collect());
            }
            let mut all: Vec<f64> = parts.concat();
            let forward = sketch_of(&all);
            all.reverse();
            prop_assert_eq!(&sketch_of(&all), &forward);
            let mut merged = Sketch::default();
            parts.iter().rev().for_each(|part| merged.merge(&sketch_of(part)));
            prop_assert_eq!(&merged, &forward);
            let mut paired = sketch_of(&parts[0]);
            paired.merge(&parts[1..].iter().fold(Sketch::default(), |mut sum, part| {
                sum.merge(&sketch_of(part));
                sum
            }));
            prop_assert_eq!(&paired, &forward);
        }
    }

    pub(in crate::stats::quantile) fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>().prop_filter("finite", |value| value.is_finite()),
            -1e3..1e3f64,
            1e9..1e9 + 4.0,
            prop::sample::select(vec![
                0.0,
                -0.0,
                5e-324,
                -1e-300,
                1e-300,
                1.0,
                1e12,
                f64::MAX,
                f64::MIN
            ]),
        ]
    }
}
