//! Was traffic split as it was asked for?
//!
//! Owns the sample-ratio checks. They take counts of distinct units: on request counts with returning users
//! the same test cries wolf in two of three healthy experiments, which is why [`bucket_traffic`] has its own
//! variance and its own name. It never decides what an imbalance is due to. Called by a report and by the
//! health checks of a rollout.

use statrs::function::gamma::ln_gamma;

use super::distribution::{chi_square_sf, normal_sf};
use super::{Undefined, finite};

/// The p-value below which an imbalance is no accident.
pub const ALARM_P: f64 = 0.001;

/// The least relative deviation of an arm worth an alarm. With many millions of units even the rounding of
/// weights becomes significant.
pub const ALARM_DEVIATION: f64 = 0.001;

/// Observed against expected distinct units per arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleRatio {
    /// Pearson's chi-square.
    pub chi_square: f64,
    /// Arms minus one.
    pub dof: u32,
    /// The probability of a chi-square this large under the expected split, in [0, 1].
    pub p: f64,
    /// The largest |observed/expected − 1| of any arm: 0.01 is an arm with 1 % too many or too few units.
    pub deviation: f64,
}

impl SampleRatio {
    /// Whether to warn: p < 0.001 and some arm at least 0.1 % off its expected count.
    /// On causes and diagnosis: Fabijan et al. (2019), "Diagnosing sample ratio mismatch in online controlled
    /// experiments", doi:10.1145/3292500.3330722.
    pub fn alarm(&self) -> bool {
        self.p < ALARM_P && self.deviation >= ALARM_DEVIATION
    }
}

/// Pearson's chi-square test of `observed` distinct units per arm against `expected`.
///
/// `expected` may be counts (summed over epochs, each with its own weights) or plain weights: it is scaled to
/// the observed total. χ² = Σ(O − E)²/E with arms − 1 degrees of freedom: Pearson (1900),
/// doi:10.1080/14786440009463897.
///
/// Worked number: 5100 and 4900 units at equal weights have χ² = 4, p = 0.0455.
///
/// # Errors
/// [`Undefined::InsufficientData`] without units or with fewer than two arms; [`Undefined::OutOfDomain`] when
/// the slices differ in length or an expected count is not positive and finite; [`Undefined::Overflow`] when
/// χ² exceeds a float.
///
/// ```
/// use serin::stats::sample_ratio::chi_square;
/// let split = chi_square(&[5100, 4900], &[0.5, 0.5])?;
/// assert!((split.chi_square - 4.0).abs() < 1e-12 && (split.p - 0.045_500_263_896_358_4).abs() < 1e-14);
/// assert!(!split.alarm());
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn chi_square(observed: &[u64], expected: &[f64]) -> Result<SampleRatio, Undefined> {
    let split = Split::new(observed, expected)?;
    let mut sum = 0.0;
    let mut deviation = 0.0f64;
    for (count, share) in split.arms() {
        let expected = share * split.units;
        let gap = count - expected;
        sum += gap * (gap / expected);
        deviation = deviation.max((gap / expected).abs());
    }
    let dof = (observed.len() - 1) as u32;
    let chi_square = finite("chi-square", sum)?;
    let deviation = finite("the deviation", deviation)?;
    Ok(SampleRatio {
        chi_square,
        dof,
        p: chi_square_sf(chi_square, dof)?,
        deviation,
    })
}

/// ln of the Bayes factor against the expected split, from counts of first-seen units; valid at every look.
///
/// The alternative is Dirichlet around the expected split with `concentration` c > 0 (10,000 is a prior worth
/// that many units): Σ[ln Γ(cw_i + n_i) − ln Γ(cw_i)] + ln Γ(c) − ln Γ(c + n) − Σn_i ln w_i. Source: Lindon &
/// Malek (2022), "Anytime-valid inference for multinomial count data", arXiv:2011.03567. Evaluated through
/// Stirling's error terms, because the logarithms of Γ of a billion units agree in all digits that matter
/// here.
///
/// [`sequential_p`] of the result is its p-value. 821,588 against 815,482 at equal weights: 8.765972.
///
/// # Errors
/// Those of [`chi_square`], and [`Undefined::OutOfDomain`] for a concentration that is not positive.
///
/// ```
/// use serin::stats::sample_ratio::{log_bayes_factor, sequential_p};
/// let log_factor = log_bayes_factor(&[821_588, 815_482], &[0.5, 0.5], 10_000.0)?;
/// assert!((log_factor - 8.765_972_292_410_426).abs() < 1e-8);
/// assert!((sequential_p(log_factor) - 1.559_504_4e-4).abs() < 1e-10);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn log_bayes_factor(observed: &[u64], expected: &[f64], concentration: f64) -> Result<f64, Undefined> {
    let split = Split::new(observed, expected)?;
    if !(concentration > 0.0 && concentration.is_finite()) {
        let (what, domain) = ("the concentration", "finite and greater than 0");
        return Err(Undefined::OutOfDomain {
            what,
            value: concentration,
            domain,
        });
    }
    let posterior = concentration + split.units;
    let mut log_factor =
        0.5 * (posterior / concentration).ln() + stirling_error(concentration) - stirling_error(posterior);
    for (count, share) in split.arms() {
        let before = concentration * share;
        let after = before + count;
        // Leaves 0 for an arm without a unit, and avoids its logarithms of a possibly underflown prior.
        let gap = (count - split.units * share) / (posterior * share);
        log_factor += posterior * share * entropy_gap(gap);
        if count > 0.0 {
            log_factor += stirling_error(after) - stirling_error(before) - 0.5 * (after / before).ln();
        }
    }
    finite("the Bayes factor", log_factor)
}

/// The p-value of a log Bayes factor: min(1, e^(−`log_factor`)), valid at every look. NaN says nothing: 1.
///
/// ```
/// use serin::stats::sample_ratio::sequential_p;
/// assert_eq!(sequential_p(-3.0), 1.0);
/// ```
pub fn sequential_p(log_factor: f64) -> f64 {
    (-log_factor).exp().min(1.0)
}

/// The share of requests treatment got, tested with the variance between buckets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrafficBalance {
    /// Standard errors between the observed and the expected share; positive when treatment got more.
    pub z: f64,
    /// The two-sided p-value, in [0, 1].
    pub p: f64,
    /// Treatment's observed share of requests, in [0, 1].
    pub share: f64,
}

/// Whether treatment got its share of requests, from request counts per bucket (the same buckets in both
/// arms).
///
/// With T_b the requests of bucket b in both arms and w the expected share: z = (ΣB_b − wT)/√(w(1 − w)·K/(K −
/// 1)· Σ(T_b − T/K)²). A bucket's traffic falls to one arm as a whole in the worst case, which is what the
/// variance allows for; a real change of usage shows too, so call the result a traffic imbalance. The formula
/// is this project's.
///
/// Worked number: a bucket of 10 + 30 and one of 20 + 40 requests, w = ½: Σ(T_b − T/K)² = 200, z = 20/√100 =
/// 2.
///
/// # Errors
/// [`Undefined::InsufficientData`] below two buckets or without requests, [`Undefined::ZeroVariance`] when
/// all buckets have equal traffic, [`Undefined::OutOfDomain`] when the slices differ in length or `share` is
/// outside (0, 1).
///
/// ```
/// use serin::stats::sample_ratio::bucket_traffic;
/// let balance = bucket_traffic(&[10, 20], &[30, 40], 0.5)?;
/// assert!((balance.z - 2.0).abs() < 1e-12);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn bucket_traffic(control: &[u64], treatment: &[u64], share: f64) -> Result<TrafficBalance, Undefined> {
    same_length(control.len(), treatment.len())?;
    if !(share > 0.0 && share < 1.0) {
        let (what, domain) = ("treatment's share", "between 0 and 1");
        return Err(Undefined::OutOfDomain {
            what,
            value: share,
            domain,
        });
    }
    let buckets = control.len() as f64;
    if buckets < 2.0 {
        return Err(Undefined::InsufficientData {
            what: "buckets",
            have: buckets,
            needed: 2.0,
        });
    }
    let in_treatment: f64 = treatment.iter().map(|&n| n as f64).sum();
    let total = control.iter().map(|&n| n as f64).sum::<f64>() + in_treatment;
    if total == 0.0 {
        return Err(Undefined::InsufficientData {
            what: "requests",
            have: 0.0,
            needed: 1.0,
        });
    }
    let mean = total / buckets;
    let spread: f64 = control
        .iter()
        .zip(treatment)
        .map(|(&a, &b)| {
            let gap = a as f64 + b as f64 - mean;
            gap * gap
        })
        .sum();
    let variance = share * (1.0 - share) * buckets / (buckets - 1.0) * spread;
    if variance == 0.0 {
        return Err(Undefined::ZeroVariance);
    }
    let z = finite("z", (in_treatment - share * total) / variance.sqrt())?;
    Ok(TrafficBalance {
        z,
        p: 2.0 * normal_sf(z.abs()),
        share: in_treatment / total,
    })
}

/// Counts with the shares they are held against, both checked.
struct Split<'a> {
    observed: &'a [u64],
    expected: &'a [f64],
    expected_total: f64,
    units: f64,
}

impl<'a> Split<'a> {
    fn new(observed: &'a [u64], expected: &'a [f64]) -> Result<Split<'a>, Undefined> {
        same_length(observed.len(), expected.len())?;
        if observed.len() < 2 {
            let have = observed.len() as f64;
            return Err(Undefined::InsufficientData {
                what: "arms",
                have,
                needed: 2.0,
            });
        }
        for &value in expected {
            if !(value > 0.0 && value.is_finite()) {
                let (what, domain) = ("an expected count", "finite and greater than 0");
                return Err(Undefined::OutOfDomain { what, value, domain });
            }
        }
        let expected_total = finite("the sum of expected counts", expected.iter().sum())?;
        let units: f64 = observed.iter().map(|&n| n as f64).sum();
        if units == 0.0 {
            return Err(Undefined::InsufficientData {
                what: "units",
                have: 0.0,
                needed: 1.0,
            });
        }
        Ok(Split {
            observed,
            expected,
            expected_total,
            units,
        })
    }

    /// Per arm: its count and its expected share, which may have underflown to the smallest float but not to
    /// 0.
    fn arms(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let share = |&weight: &f64| (weight / self.expected_total).max(f64::MIN_POSITIVE);
        self.observed
            .iter()
            .map(|&n| n as f64)
            .zip(self.expected.iter().map(share))
    }
}

fn same_length(a: usize, b: usize) -> Result<(), Undefined> {
    if a == b {
        Ok(())
    } else {
        let (what, domain) = ("the length of the second list", "that of the first");
        Err(Undefined::OutOfDomain {
            what,
            value: b as f64,
            domain,
        })
    }
}

/// ln Γ(x) − ((x − ½) ln x − x + ½ ln 2π), for x > 0.
fn stirling_error(x: f64) -> f64 {
    const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;
    if x < 16.0 {
        return ln_gamma(x) - ((x - 0.5) * x.ln() - x + HALF_LN_TAU);
    }
    let square = 1.0 / (x * x);
    (1.0 / 12.0
        - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square * (1.0 / 1680.0 - square / 1188.0))))
        / x
}

/// (1 + g) ln(1 + g) − g for g ≥ −1, without the cancellation at small g.
fn entropy_gap(g: f64) -> f64 {
    if g.abs() > 0.05 {
        return if g <= -1.0 { 1.0 } else { (1.0 + g) * g.ln_1p() - g };
    }
    // Σ (−g)^k / (k(k − 1)), k ≥ 2.
    let mut power = g * g;
    let mut sum = 0.0;
    for k in 2..16 {
        let k = f64::from(k);
        sum += power / (k * (k - 1.0));
        power *= -g;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tiny_deviation_of_very_many_units_is_no_alarm() {
        let split = chi_square(&[100_040_000_000, 99_960_000_000], &[1.0, 1.0]).unwrap();
        assert!(split.p < 1e-300 && !split.alarm(), "{split:?}");
        assert!(chi_square(&[502_000, 498_000], &[1.0, 1.0]).unwrap().alarm());
    }

    #[test]
    fn even_buckets_leave_nothing_to_judge_by() {
        assert_eq!(
            bucket_traffic(&[10, 20], &[30, 20], 0.5),
            Err(Undefined::ZeroVariance)
        );
    }

    #[test]
    fn mistakes_are_named() {
        assert!(chi_square(&[1, 2], &[1.0]).is_err());
        assert!(chi_square(&[1], &[1.0]).is_err());
        assert!(chi_square(&[1, 1], &[1.0, 0.0]).is_err());
        assert!(chi_square(&[0, 0], &[1.0, 1.0]).is_err());
    }

    proptest! {
        #[test]
        fn nothing_is_nan(
            counts in prop::collection::vec(
                prop::sample::select(vec![0, 1, 5, 1_000_000_000_000, u64::MAX]), 2..5),
            weights in prop::collection::vec(
                prop::sample::select(vec![5e-324, 1e-300, 1e-9, 0.5, 1.0, 1e308]), 5),
            concentration in prop::sample::select(vec![5e-324, 1e-3, 1e4, 1e308]),
        ) {
            let weights = &weights[..counts.len()];
            if let Ok(split) = chi_square(&counts, weights) {
                prop_assert!(split.chi_square.is_finite() && (0.0..=1.0).contains(&split.p));
            }
            if let Ok(log_factor) = log_bayes_factor(&counts, weights, concentration) {
                prop_assert!(log_factor.is_finite());
            }
            if let Ok(balance) = bucket_traffic(&counts, &counts, 0.3) {
                prop_assert!(balance.z.is_finite() && (0.0..=1.0).contains(&balance.p));
            }
        }
    }
}
