//! The beta distribution, as what is believed about a rate.
//!
//! Owns its density and quantiles. Everything happens on the scale of log-odds, where the density is smooth
//! and falls on both sides even when that of the rate itself has no bound, and relative to its peak, where a
//! billion observations cost no digits. Called by the rest of this folder, and by whoever sets a prior.

use super::super::proportion::check_events;
use super::super::{Undefined, check_alpha};
use super::quadrature::Rule;

/// The smallest and the largest parameter.
const PARAMETERS: (f64, f64) = (1e-3, 1e15);

/// Edges are this many "standard deviations" apart, if the density were normal.
const EDGE_STEP: f64 = 0.5;

/// Edges on either side: the last has e^(−722) of the peak's density, which is next to nothing.
const EDGES: u32 = 76;

/// A belief about a rate: as if `a` units with and `b` units without an event had been seen.
///
/// ```
/// use serin::stats::bayesian::Beta;
/// let belief = Beta::UNIFORM.after(1, 10)?;
/// assert_eq!((belief.a(), belief.b()), (2.0, 10.0));
/// assert!((belief.mean() - 1.0 / 6.0).abs() < 1e-15);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beta {
    a: f64,
    b: f64,
}

impl Beta {
    /// Every rate is as likely as any other, the prior of Bayes and Laplace.
    pub const UNIFORM: Beta = Beta { a: 1.0, b: 1.0 };

    /// The prior that says as little on the rate as on its log-odds: Jeffreys (1946),
    /// doi:10.1098/rspa.1946.0056.
    pub const JEFFREYS: Beta = Beta { a: 0.5, b: 0.5 };

    /// The distribution with density ∝ p^(a − 1)·(1 − p)^(b − 1).
    ///
    /// # Errors
    /// [`Undefined::OutOfDomain`] for a parameter outside 1e-3 … 1e15.
    pub fn new(a: f64, b: f64) -> Result<Beta, Undefined> {
        for (what, value) in [("a", a), ("b", b)] {
            if !(PARAMETERS.0..=PARAMETERS.1).contains(&value) {
                let domain = "between 1e-3 and 1e15";
                return Err(Undefined::OutOfDomain { what, value, domain });
            }
        }
        Ok(Beta { a, b })
    }

    /// The belief after `events` out of `n` independent units; `n` may be 0.
    ///
    /// # Errors
    /// [`Undefined::OutOfDomain`] for more events than units, or more than 1e15 of either kind.
    pub fn after(&self, events: u64, n: u64) -> Result<Beta, Undefined> {
        check_events(events, n)?;
        Beta::new(self.a + events as f64, self.b + (n - events) as f64)
    }

    /// Units with an event, real or as good as.
    pub fn a(&self) -> f64 {
        self.a
    }

    /// Units without an event, real or as good as.
    pub fn b(&self) -> f64 {
        self.b
    }

    /// The expected rate a/(a + b).
    pub fn mean(&self) -> f64 {
        self.a / (self.a + self.b)
    }

    /// The equal-tailed interval that holds the rate with probability 1 − `alpha`.
    ///
    /// By integration of the density, to about 1e-12 in relative terms. Beta(1, 11) at 95 %: (0.00229897,
    /// 0.28491415), as 1 − 0.975^(1/11) and 1 − 0.025^(1/11).
    ///
    /// # Errors
    /// [`Undefined::OutOfDomain`] for `alpha` outside (0, 1).
    ///
    /// ```
    /// use serin::stats::bayesian::Beta;
    /// let (low, high) = Beta::new(1.0, 11.0)?.interval(0.05)?;
    /// assert!((low - (1.0 - 0.975f64.powf(1.0 / 11.0))).abs() < 1e-14);
    /// assert!((high - (1.0 - 0.025f64.powf(1.0 / 11.0))).abs() < 1e-14);
    /// # Ok::<(), serin::stats::Undefined>(())
    /// ```
    pub fn interval(&self, alpha: f64) -> Result<(f64, f64), Undefined> {
        check_alpha(alpha)?;
        let rule = Rule::gauss_legendre();
        let low = self.at(self.lower_quantile(0.5 * alpha, &rule)).rate;
        // The upper end is the lower one of the rate of units without an event.
        let mirrored = Beta { a: self.b, b: self.a };
        let high = mirrored
            .at(mirrored.lower_quantile(0.5 * alpha, &rule))
            .complement;
        Ok((low, high))
    }

    /// Where the density of the log-odds has its peak, that of `self` minus that of `other`.
    pub(super) fn peak_above(&self, other: &Beta) -> f64 {
        ((self.a * other.b) / (self.b * other.a)).ln()
    }

    /// The rate at `offset` from the peak of the log-odds, and how much the density has fallen by there.
    pub(super) fn at(&self, offset: f64) -> Point {
        if offset < 0.0 {
            let mirrored = Beta { a: self.b, b: self.a }.at(-offset);
            return Point {
                rate: mirrored.complement,
                complement: mirrored.rate,
                ..mirrored
            };
        }
        let total = self.a + self.b;
        let (peak, rest) = (self.a / total, self.b / total);
        let shrink = (-offset).exp();
        let scale = peak + rest * shrink;
        let rate = peak / scale;
        let complement = rest * shrink / scale;
        // Both relative to the peak; a·above + b·below is 0, so it need not be in the sum below.
        let above = -rest * (-offset).exp_m1() / scale;
        let below = peak * (-offset).exp_m1() / scale;
        let log_scale = scale.ln();
        let fall = self.a * excess(above, -log_scale) + self.b * excess(below, -offset - log_scale);
        Point {
            rate,
            complement,
            density: (-fall).exp(),
            fall,
            slope: self.a * above,
        }
    }

    /// Offsets from the peak between which the density of the log-odds is tame, rising, from where it begins
    /// to where it ends.
    pub(super) fn edges(&self) -> Vec<f64> {
        let mirrored = Beta { a: self.b, b: self.a };
        let mut edges: Vec<f64> = mirrored.upper_edges().iter().rev().map(|edge| -edge).collect();
        edges.push(0.0);
        edges.extend(self.upper_edges());
        edges
    }

    /// The edges above the peak. They need not be exact, so a few steps of Newton's method do, which on a
    /// convex fall come from above.
    fn upper_edges(&self) -> Vec<f64> {
        let sd = ((self.a + self.b) / self.a / self.b).sqrt();
        let mut offset = 0.0;
        (1..=EDGES)
            .map(|k| {
                let deviation = EDGE_STEP * f64::from(k);
                let before = offset;
                offset += EDGE_STEP * sd;
                for _ in 0..6 {
                    let point = self.at(offset);
                    offset += (0.5 * deviation * deviation - point.fall) / point.slope;
                }
                offset = offset.max(before);
                offset
            })
            .collect()
    }

    /// The offset below which the share `tail` of the probability lies.
    fn lower_quantile(&self, tail: f64, rule: &Rule) -> f64 {
        let edges = split(self.edges());
        let mass = |from: f64, to: f64| {
            let half = 0.5 * (to - from);
            let nodes = rule.nodes.iter().zip(&rule.weights);
            half * nodes
                .map(|(node, weight)| weight * self.at(from + half * (1.0 + node)).density)
                .sum::<f64>()
        };
        let panels: Vec<_> = edges
            .windows(2)
            .map(|ends| (ends[0], ends[1], mass(ends[0], ends[1])))
            .collect();
        let wanted = tail * panels.iter().map(|&(_, _, mass)| mass).sum::<f64>();
        let mut reached = 0.0;
        for (from, to, whole) in panels {
            if reached + whole < wanted {
                reached += whole;
                continue;
            }
            let (mut low, mut high) = (from, to);
            // Halving ends where two floats are neighbours.
            for _ in 0..60 {
                let middle = 0.5 * (low + high);
                if reached + mass(from, middle) < wanted {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            return high;
        }
        edges.last().copied().unwrap_or(0.0)
    }
}

/// A rate with the density of its log-odds.
pub(super) struct Point {
    pub(super) rate: f64,
    pub(super) complement: f64,
    /// Relative to the peak's, in [0, 1].
    pub(super) density: f64,
    /// −ln of the density.
    fall: f64,
    /// The derivative of the fall by the distance from the peak.
    slope: f64,
}

/// Edges, in order, with more of them between, so that no panel is wide where the curve from rates near 0 to
/// rates near 1 bends. Two beliefs with at most 1e15 units bend within 130 of either's peak on the scale of
/// log-odds; further out, log-densities are straight lines.
pub(super) fn split(edges: Vec<f64>) -> Vec<f64> {
    const WIDEST: f64 = 2.0;
    const BENT: f64 = 160.0;
    let mut finer = edges;
    finer.sort_by(f64::total_cmp);
    let lattice = (0..=(2.0 * BENT / WIDEST) as u32).map(|k| f64::from(k) * WIDEST - BENT);
    if let (Some(&first), Some(&last)) = (finer.first(), finer.last()) {
        finer.extend(lattice.filter(|&edge| first < edge && edge < last));
    }
    finer.sort_by(f64::total_cmp);
    finer.dedup();
    finer
}

/// v − ln(1 + v) for v > −1, given ln(1 + v), without the cancellation at small v.
fn excess(v: f64, log: f64) -> f64 {
    if v.abs() > 0.1 {
        return v - log;
    }
    // v²·Σ (−v)^k/(k + 2)
    let mut sum = 0.0;
    for k in (2..18).rev() {
        sum = 1.0 / f64::from(k) - v * sum;
    }
    v * v * sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_with_a_closed_form() {
        // Beta(a, 1) has the distribution function p^a.
        for a in [1e-3, 0.5, 1.0, 7.0, 1e4, 1e12] {
            for alpha in [1e-100, 1e-6, 0.05, 0.9] {
                let (low, high) = Beta::new(a, 1.0).unwrap().interval(alpha).unwrap();
                let expected = ((0.5 * alpha).ln() / a).exp();
                assert!(
                    (low - expected).abs() <= 1e-10 * expected,
                    "{a} {alpha}: {low} {expected}"
                );
                let expected = -((-0.5 * alpha).ln_1p() / a).exp_m1();
                assert!(
                    (1.0 - high - expected).abs() <= 1e-15 + 1e-10 * expected,
                    "{a} {alpha}: {high}"
                );
            }
        }
        // Beta(½, ½) is the arcsine distribution.
        let (low, high) = Beta::JEFFREYS.interval(0.05).unwrap();
        let expected = (0.025 * std::f64::consts::FRAC_PI_2).sin().powi(2);
        assert!((low - expected).abs() < 1e-14 && (high - 1.0 + expected).abs() < 1e-14);
    }

    #[test]
    fn parameters_without_a_distribution() {
        for bad in [0.0, -1.0, 1e-4, 2e15, f64::NAN, f64::INFINITY] {
            assert!(Beta::new(bad, 1.0).is_err() && Beta::new(1.0, bad).is_err());
        }
        assert!(Beta::UNIFORM.after(2, 1).is_err());
        assert!(Beta::UNIFORM.after(0, u64::MAX).is_err());
        assert_eq!(Beta::UNIFORM.after(0, 0), Ok(Beta::UNIFORM));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn intervals_hold_the_middle_and_mirror(
            a in parameter(), b in parameter(), alpha in prop::sample::select(vec![1e-300, 0.05, 0.999]),
        ) {
            let (low, high) = Beta::new(a, b).unwrap().interval(alpha).unwrap();
            prop_assert!(0.0 <= low && low <= high && high <= 1.0, "{} {}", low, high);
            let (other_low, other_high) = Beta::new(b, a).unwrap().interval(alpha).unwrap();
            prop_assert!((low + other_high - 1.0).abs() < 1e-12 && (high + other_low - 1.0).abs() < 1e-12);
        }
    }

    fn parameter() -> impl Strategy<Value = f64> {
        prop::sample::select(vec![1e-3, 0.5, 1.0, 2.0, 98.0, 1e6, 1e12, 1e15])
    }
}
