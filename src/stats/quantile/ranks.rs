//! Which ranks of a sample enclose a quantile of what it was drawn from.
//!
//! Owns the binomial arithmetic behind order-statistic intervals. It knows ranks only, never values. Called by
//! [`Sketch::interval`](super::Sketch::interval), and by whoever keeps sorted values.

use std::f64::consts::PI;

use statrs::function::gamma::ln_gamma;

use super::super::distribution::{deviance, normal_quantile};
use super::super::{Undefined, check_alpha};

/// The variance of a binomial from which its quantile is taken from an expansion: it is right to one rank,
/// and here one rank is less than 1e-4 standard deviations.
const EXPANSION_FROM: f64 = 1e8;

/// The ranks, counted from 1, whose values are the ends of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranks {
    /// The rank of the lower end; none when even the smallest value is not low enough.
    pub lower: Option<u64>,
    /// The rank of the upper end; none when even the largest value is not high enough.
    pub upper: Option<u64>,
}

/// The ranks between which the `q`-quantile lies with confidence 1 − `alpha`, among `n` values, for `q` in
/// (0, 1).
///
/// The number of values below the quantile is binomial whatever the distribution, so with l the α/2 quantile
/// of Bin(n, q) and u one more than its 1 − α/2 quantile, x_(l) and x_(u) miss the quantile with probability at
/// most α/2 on either side: Thompson (1936), doi:10.1214/aoms/1177732502; David & Nagaraja (2003), "Order
/// Statistics", section 7.1. For the median of 100 values at 95 %: ranks 40 and 61.
///
/// This is **per request and ignores repeats of a unit**: it takes the n values for independent. With a
/// `design_effect` ≥ 1 (1 for none) they count as m = ⌊n/design_effect⌋ values, whose ranks l and u become
/// ⌊(l − 1)n/m⌋ + 1 and ⌈un/m⌉: exact when every value comes design_effect times, and otherwise as good as the
/// design effect, which should be that of "is below the quantile" and not that of the mean.
///
/// # Errors
/// [`Undefined::InsufficientData`] when not even one effective value is left; [`Undefined::OutOfDomain`] for
/// `q` or `alpha` outside (0, 1) or a design effect below 1 or not finite.
///
/// ```
/// use serin::stats::quantile::{Ranks, order_interval};
/// let median = order_interval(100, 0.5, 0.05, 1.0)?;
/// assert_eq!(median, Ranks { lower: Some(40), upper: Some(61) });
/// assert_eq!(order_interval(10, 0.95, 0.05, 1.0)?, Ranks { lower: Some(8), upper: None });
/// let clustered = order_interval(100, 0.5, 0.05, 4.0)?;
/// assert_eq!(clustered, Ranks { lower: Some(29), upper: Some(72) });
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn order_interval(n: u64, q: f64, alpha: f64, design_effect: f64) -> Result<Ranks, Undefined> {
    check_alpha(alpha)?;
    if !(q > 0.0 && q < 1.0) {
        return Err(Undefined::OutOfDomain {
            what: "the quantile",
            value: q,
            domain: "between 0 and 1",
        });
    }
    if !(design_effect >= 1.0 && design_effect.is_finite()) {
        return Err(Undefined::OutOfDomain {
            what: "the design effect",
            value: design_effect,
            domain: "at least 1",
        });
    }
    let effective = (n as f64 / design_effect).floor();
    if effective < 1.0 {
        return Err(Undefined::InsufficientData {
            what: "effective values",
            have: n as f64 / design_effect,
            needed: 1.0,
        });
    }
    let tail = 0.5 * alpha;
    let repeats = n as f64 / effective;
    // The upper end is the lower end of the order turned round.
    let lower = binomial_quantile(effective, (q, 1.0 - q), tail)?;
    let upper = effective + 1.0 - binomial_quantile(effective, (1.0 - q, q), tail)?;
    Ok(Ranks {
        lower: (lower >= 1.0).then(|| (((lower - 1.0) * repeats) as u64 + 1).min(n)),
        upper: (upper <= effective).then(|| ((upper * repeats).ceil() as u64).clamp(1, n)),
    })
}

/// The smallest k with P(X ≤ k) ≥ `tail` for X ~ Bin(n, p), a `tail` below one half, and whole `n` ≥ 1. `p` is
/// the probability with its complement, either of which may be tiny.
///
/// Starts from the Cornish-Fisher expansion and walks, by exact probabilities, to where the tail is reached.
fn binomial_quantile(n: f64, p: (f64, f64), tail: f64) -> Result<f64, Undefined> {
    let (mean, variance) = (n * p.0, n * p.0 * p.1);
    let z = normal_quantile(tail)?;
    let guess = mean + z * variance.sqrt() + (z * z - 1.0) * (p.1 - p.0) / 6.0 - 0.5;
    // Never above the mean, from where on terms would rise before they fall.
    let mut k = guess.ceil().min(mean.floor()).clamp(0.0, n);
    // Neither is there a walk where neighbouring ranks are the same float.
    if variance >= EXPANSION_FROM || n * f64::EPSILON >= 1.0 {
        return Ok(k);
    }
    let mut reached = lower_tail(k, n, p);
    while reached >= tail && k > 0.0 {
        let below = lower_tail(k - 1.0, n, p);
        if below < tail {
            return Ok(k);
        }
        reached = below;
        k -= 1.0;
    }
    while reached < tail && k < n {
        k += 1.0;
        reached += probability(k, n, p);
    }
    Ok(k)
}

/// P(X ≤ k), summed downwards from a k at most little above the mean; each term is a simple multiple of the one
/// before.
fn lower_tail(k: f64, n: f64, p: (f64, f64)) -> f64 {
    let mut sum = 1.0;
    let mut term = 1.0;
    let mut at = k;
    while at > 0.0 {
        term *= at / (n - at + 1.0) * (p.1 / p.0);
        sum += term;
        // Below the mode terms only fall, and the rest is a share of the last.
        if term < 1e-3 * f64::EPSILON * sum && at < n * p.0 {
            break;
        }
        at -= 1.0;
    }
    sum * probability(k, n, p)
}

/// P(X = k) for X ~ Bin(n, p), in the form that does not subtract large logarithms.
///
/// Loader (2000), "Fast and accurate computation of binomial probabilities".
fn probability(k: f64, n: f64, p: (f64, f64)) -> f64 {
    let rest = n - k;
    if k == 0.0 {
        return (n * log_of_complement(p.0, p.1)).exp();
    }
    if rest == 0.0 {
        return (n * log_of_complement(p.1, p.0)).exp();
    }
    let log = stirling_error(n)
        - stirling_error(k)
        - stirling_error(rest)
        - deviance(k, n * p.0)
        - deviance(rest, n * p.1);
    log.exp() * (n / (2.0 * PI * k * rest)).sqrt()
}

/// ln(1 − p), from whichever of `p` and its complement is the smaller.
fn log_of_complement(p: f64, complement: f64) -> f64 {
    if p < complement {
        (-p).ln_1p()
    } else {
        complement.ln()
    }
}

/// ln Γ(x + 1) less Stirling's formula (x + ½) ln x − x + ½ ln 2π: DLMF 5.11.1.
fn stirling_error(x: f64) -> f64 {
    if x < 16.0 {
        return ln_gamma(x + 1.0) - (x + 0.5) * x.ln() + x - 0.5 * (2.0 * PI).ln();
    }
    let square = 1.0 / (x * x);
    let tail = 1.0 / 1260.0 - square * (1.0 / 1680.0 - square / 1188.0);
    (1.0 / 12.0 - square * (1.0 / 360.0 - square * tail)) / x
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn probabilities_keep_their_digits() {
        // Exact rationals, rounded.
        let known = [
            (0.0, 10.0, 0.5, 9.765_625e-4),
            (3.0, 10.0, 0.25, 0.250_282_287_597_656_25),
            (10.0, 10.0, 0.1, 1e-10),
        ];
        for (k, n, p, expected) in known {
            assert!((probability(k, n, (p, 1.0 - p)) / expected - 1.0).abs() < 1e-13);
        }
        for (k, n, p) in [
            (2.0, 7.0, 0.3),
            (4.0, 400.0, 0.01),
            (2850.0, 3000.0, 0.95),
            (5e5, 1e6, 0.5),
        ] {
            let all = lower_tail(k, n, (p, 1.0 - p)) + lower_tail(n - k - 1.0, n, (1.0 - p, p));
            assert!((all - 1.0).abs() < 1e-11, "{n} {p}");
        }
    }

    #[test]
    fn the_expansion_takes_over_without_a_step() {
        // Just below the limit the ranks are exact; the expansion must give the same to one rank.
        for p in [0.5, 0.95, 0.99, 0.001] {
            let n = (0.99 * EXPANSION_FROM / (p * (1.0 - p))).floor();
            let exact = binomial_quantile(n, (p, 1.0 - p), 0.025).unwrap();
            let z = normal_quantile(0.025).unwrap();
            let sd = (n * p * (1.0 - p)).sqrt();
            let expanded = (n * p + z * sd + (z * z - 1.0) * (1.0 - 2.0 * p) / 6.0 - 0.5).ceil();
            assert!((exact - expanded).abs() <= 1.0, "{p}: {exact} {expanded}");
        }
    }

    #[test]
    fn a_large_design_effect_leaves_nothing() {
        assert!(matches!(
            order_interval(9, 0.5, 0.05, 10.0),
            Err(Undefined::InsufficientData { .. })
        ));
        assert!(
            order_interval(9, 0.5, 0.05, 0.5).is_err() && order_interval(9, 0.5, 0.05, f64::NAN).is_err()
        );
        assert!(order_interval(0, 0.5, 0.05, 1.0).is_err() && order_interval(9, 1.0, 0.05, 1.0).is_err());
    }

    proptest! {
        #[test]
        fn either_end_misses_with_at_most_half_of_alpha(
            n in 1u64..3000, q in 0.001..0.999f64, alpha in 1e-6..0.5f64,
        ) {
            let ranks = order_interval(n, q, alpha, 1.0).unwrap();
            let slack = 1.0 + 1e-9;
            let tail = |rank: u64, p: (f64, f64)| lower_tail(rank as f64, n as f64, p);
            let (below, above) = ((q, 1.0 - q), (1.0 - q, q));
            if let Some(lower) = ranks.lower {
                // The quantile is below x_(l) when fewer than l values are below it.
                prop_assert!(tail(lower - 1, below) <= 0.5 * alpha * slack);
                prop_assert!(tail(lower, below) * slack >= 0.5 * alpha);
            }
            if let Some(upper) = ranks.upper {
                prop_assert!(tail(n - upper, above) <= 0.5 * alpha * slack);
            }
            prop_assert!(ranks.lower.unwrap_or(0) < ranks.upper.unwrap_or(n + 1));
        }

        #[test]
        fn clustering_only_widens(n in 1u64..100_000, q in 0.01..0.99f64, effect in 1.0..50.0f64) {
            if let Ok(wide) = order_interval(n, q, 0.05, effect) {
                let narrow = order_interval(n, q, 0.05, 1.0).unwrap();
                prop_assert!(wide.lower.unwrap_or(0) <= narrow.lower.unwrap_or(0) + 1);
                prop_assert!(wide.upper.unwrap_or(n + 1) + 1 >= narrow.upper.unwrap_or(n + 1));
            }
        }

        #[test]
        fn extremes_have_an_answer(
            n in prop::sample::select(vec![1u64, 2, 1_000_000_000_000, u64::MAX]),
            q in prop::sample::select(vec![1e-300, 1e-12, 0.5, 0.99, 1.0 - 1e-16]),
            alpha in prop::sample::select(vec![1e-300, 1e-9, 0.05, 0.999]),
            effect in prop::sample::select(vec![1.0, 3.7, 1e6, 1e300]),
        ) {
            if let Ok(ranks) = order_interval(n, q, alpha, effect) {
                prop_assert!(ranks.lower.is_none_or(|rank| (1..=n).contains(&rank)));
                prop_assert!(ranks.upper.is_none_or(|rank| (1..=n).contains(&rank)));
            }
        }
    }
}
