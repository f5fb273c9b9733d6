//! How many distinct units are behind a table of buckets, when only the filled ones are known.
//!
//! Owns linear counting. It needs no list of units and never sees one. Called by a report, to say how many units
//! reported a metric.

/// The number of distinct units estimated from `filled` of `buckets` buckets that their hashes fell into.
///
/// n̂ = −K·ln(1 − G/K) for G filled of K buckets: Whang, Vander-Zanden & Taylor (1990), "A linear-time probabilistic
/// counting algorithm for database applications", eq. 2, doi:10.1145/78922.78925. Where all buckets are full the answer
/// is K(ln K + 1), about what it takes on average to fill the last one: a lower bound. 93 of 1,024: 97.5.
///
/// ```
/// use serin::stats::occupancy::units;
/// assert!((units(93, 1024) - 97.5).abs() < 0.05);
/// assert_eq!(units(0, 1024), 0.0);
/// assert!(units(1024, 1024) > units(1023, 1024));
/// ```
#[must_use]
pub fn units(filled: usize, buckets: usize) -> f64 {
    let (filled, buckets) = (filled as f64, buckets as f64);
    if buckets == 0.0 {
        return 0.0;
    }
    if filled >= buckets {
        return buckets * (buckets.ln() + 1.0);
    }
    -buckets * (-filled / buckets).ln_1p()
}
