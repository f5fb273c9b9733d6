//! One rate of independent units.
//!
//! Owns Wilson's interval. It assumes one row per unit: rates of requests belong in
//! [`cluster`](super::cluster). Called by a report for shares of distinct units.

use super::distribution::normal_upper_quantile;
use super::{Undefined, check_alpha};

/// Wilson's interval of confidence 1 − `alpha` for a rate seen as `events` out of `n` independent units.
///
/// The p with (x/n − p)² ≤ z²p(1 − p)/n, which stays within [0, 1] and has a width even at 0 and n events:
/// Wilson (1927), "Probable inference, the law of succession, and statistical inference", JASA 22,
/// doi:10.1080/01621459.1927.10502953. 1 of 10 at 95 %: (0.017876, 0.404150).
///
/// # Errors
/// [`Undefined::InsufficientData`] for `n` = 0, [`Undefined::OutOfDomain`] when there are more events than
/// units or `alpha` is outside (0, 1).
///
/// ```
/// use serin::stats::proportion::wilson;
/// let (low, high) = wilson(1, 10, 0.05)?;
/// assert!((low - 0.017_876_213_095_072_9).abs() < 1e-14 && (high - 0.404_150_026_795_238_5).abs() < 1e-14);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn wilson(events: u64, n: u64, alpha: f64) -> Result<(f64, f64), Undefined> {
    check_alpha(alpha)?;
    if n == 0 {
        return Err(Undefined::InsufficientData {
            what: "units",
            have: 0.0,
            needed: 1.0,
        });
    }
    if events > n {
        let (what, domain) = ("events", "at most the number of units");
        return Err(Undefined::OutOfDomain {
            what,
            value: events as f64,
            domain,
        });
    }
    let z = normal_upper_quantile(0.5 * alpha)?;
    let low = lower_end(events as f64, n as f64, z);
    let high = 1.0 - lower_end((n - events) as f64, n as f64, z);
    Ok((low, high))
}

/// The smaller root of (n + z²)p² − (2x + z²)p + x²/n, as the product of the roots over the larger one: the
/// difference that gives it directly loses all digits for rare events.
fn lower_end(x: f64, n: f64, z: f64) -> f64 {
    let square = z * z;
    let larger = x + 0.5 * square + z * (x * ((n - x) / n) + 0.25 * square).sqrt();
    (x / n) * x / larger.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_interval_holds_the_rate(
            n in 1u64..2_000_000_000_000, share in 0.0..=1.0f64, alpha in 1e-12..0.999f64,
        ) {
            let events = ((n as f64 * share) as u64).min(n);
            let (low, high) = wilson(events, n, alpha).unwrap();
            let rate = events as f64 / n as f64;
            prop_assert!(0.0 <= low && low <= rate + 1e-15 && rate - 1e-15 <= high && high <= 1.0);
        }
    }

    #[test]
    fn no_units_have_no_rate() {
        assert!(wilson(0, 0, 0.05).is_err());
        assert!(wilson(2, 1, 0.05).is_err());
    }
}
