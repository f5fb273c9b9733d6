//! Intervals and p-values that stay valid however often they are looked at.
//!
//! Owns the normal mixture, with information (the inverse variance) as its clock: it needs no count of users
//! and does not care how requests cluster. It trusts the standard error it is given, so that must be the safe
//! one. It never holds state except the running minimum of p. Called by a report, which shows these figures
//! first.

use super::distribution::normal_cdf;
use super::{Undefined, check_alpha, check_positive, finite};

/// Bounds on the clock and on squared z, far outside anything meaningful, which keep ∞ − ∞ out of the
/// formulas.
const EXTREME: f64 = 1e300;

/// What one look says, valid at all looks together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlwaysValid {
    /// Lower and upper end; the probability that it ever misses the truth is at most alpha.
    pub ci: (f64, f64),
    /// min(1, 1/E) at this look, in [0, 1]. What is shown is the smallest so far: [`RunningP`].
    pub p: f64,
    /// ln E, the natural logarithm of the evidence against "no difference".
    pub log_e: f64,
}

/// The always-valid interval, p and evidence of an estimate with standard error `se`, both in the metric's
/// unit.
///
/// `tau` > 0 is the effect worth finding, in the same unit: the mixture's standard deviation. The interval is
/// estimate ± z(x)·se with x = τ²/se², [`critical_value`] and [`log_evidence`]. It is tightest at se ≈ τ/2.8,
/// where a fixed-horizon test would have 80 % power for an effect of τ. Sources: Robbins (1970),
/// doi:10.1214/aoms/1177696786; Johari, Koomen, Pekelis & Walsh (2022), doi:10.1287/opre.2021.2135,
/// arXiv:1512.04922.
///
/// Worked number: 0.5 ± 0.1 with τ = 0.2 has ln E = 9.1953 and the 95 % interval (0.19176, 0.80824).
///
/// # Errors
/// [`Undefined::ZeroVariance`] when `se` is 0; [`Undefined::OutOfDomain`] for `tau` or `se` that are not
/// positive or `alpha` outside (0, 1); [`Undefined::Overflow`] when an end of the interval exceeds a float.
///
/// ```
/// use serin::stats::sequential::always_valid;
/// let look = always_valid(0.5, 0.1, 0.2, 0.05)?;
/// assert!((look.log_e - 9.195_281_043_782_948).abs() < 1e-12);
/// assert!((look.ci.0 - 0.191_761_000_611_090_7).abs() < 1e-12);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn always_valid(difference: f64, se: f64, tau: f64, alpha: f64) -> Result<AlwaysValid, Undefined> {
    check_positive("tau", tau)?;
    check_se(se)?;
    let ratio = tau / se;
    at_clock(difference, se, ratio * ratio, alpha)
}

/// The same on a clock of observations: x = `n_clock`·`rho_squared`, the asymptotic confidence sequence.
///
/// Source: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), eq. 9, arXiv:2103.06476. Only for
/// independent observations; with returning users the clock is wrong and [`always_valid`] is right. 0.1727 ±
/// 0.0411 at n = 1000 tuned for 5000: ln E = 4.9357.
///
/// # Errors
/// Those of [`always_valid`], for `n_clock` and `rho_squared` in place of `tau`.
///
/// ```
/// use serin::stats::sequential::{asymptotic, rho_squared};
/// let rho2 = rho_squared(0.05, 5000.0)?;
/// let look = asymptotic(0.172_660_360_245_193_54, 0.041_109_609_582_188_934, 1000.0, rho2, 0.05)?;
/// assert!((look.log_e - 4.935_655_752_892_909).abs() < 1e-10);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn asymptotic(
    difference: f64,
    se: f64,
    n_clock: f64,
    rho_squared: f64,
    alpha: f64,
) -> Result<AlwaysValid, Undefined> {
    check_positive("the clock", n_clock)?;
    check_positive("rho squared", rho_squared)?;
    check_se(se)?;
    at_clock(difference, se, n_clock * rho_squared, alpha)
}

/// The ρ² that makes an asymptotic confidence sequence tightest at `n_tuning` observations.
///
/// (−2 ln α + ln(1 − 2 ln α))/n: Waudby-Smith et al. (2024), on tuning, arXiv:2103.06476.
/// For α = 0.05 and n = 5000 it is 0.0015872309.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for `alpha` outside (0, 1) or `n_tuning` that is not positive.
///
/// ```
/// use serin::stats::sequential::rho_squared;
/// assert!((rho_squared(0.05, 5000.0)? - 0.001_587_230_920_347_513).abs() < 1e-15);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn rho_squared(alpha: f64, n_tuning: f64) -> Result<f64, Undefined> {
    check_alpha(alpha)?;
    check_positive("the tuned size", n_tuning)?;
    let twice = -2.0 * alpha.ln();
    finite("rho squared", (twice + twice.ln_1p()) / n_tuning)
}

/// How many standard errors the two-sided always-valid interval reaches out, at clock `x` ≥ 0.
///
/// √((1 + 1/x)(ln(1 + x) − 2 ln α)): inverts [`log_evidence`] at E = 1/α. Infinite at x = 0, where nothing is
/// known. x = 4, α = 0.05: 3.0824.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for `alpha` outside (0, 1) or an `x` that is negative or NaN.
///
/// ```
/// use serin::stats::sequential::critical_value;
/// assert!((critical_value(4.0, 0.05)? - 3.082_389_993_889_093).abs() < 1e-12);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn critical_value(x: f64, alpha: f64) -> Result<f64, Undefined> {
    check_alpha(alpha)?;
    let x = clock(x)?;
    Ok(((1.0 + 1.0 / x) * (x.ln_1p() - 2.0 * alpha.ln())).sqrt())
}

/// ln E of a standardised estimate `z` at clock `x` ≥ 0: the normal mixture of likelihood ratios.
///
/// z²x/(2(1 + x)) − ½ ln(1 + x): Robbins (1970), doi:10.1214/aoms/1177696786. z = 5, x = 4: 9.1953.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for an `x` that is negative or NaN, or a `z` that is NaN.
///
/// ```
/// use serin::stats::sequential::log_evidence;
/// assert!((log_evidence(5.0, 4.0)? - 9.195_281_043_782_95).abs() < 1e-12);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn log_evidence(z: f64, x: f64) -> Result<f64, Undefined> {
    let x = clock(x)?;
    if z.is_nan() {
        return Err(Undefined::OutOfDomain {
            what: "z",
            value: z,
            domain: "a number",
        });
    }
    Ok(0.5 * (z * z).min(EXTREME) / (1.0 + 1.0 / x) - 0.5 * x.ln_1p())
}

/// How many standard errors a one-sided always-valid bound lies from the estimate, at clock `x` ≥ 0.
///
/// √(2(1 + 1/x) ln(1 + √(1 + x)/(2α))): Waudby-Smith et al. (2024), one-sided sequence, arXiv:2103.06476.
/// Tune ρ² with 2α. Slightly wider than inverting [`log_evidence_greater`]. x = 4, α = 0.05: 2.8067.
///
/// # Errors
/// Those of [`critical_value`].
///
/// ```
/// use serin::stats::sequential::critical_value_one_sided;
/// let expected = (2.5 * (1.0 + 5f64.sqrt() / 0.1).ln()).sqrt();
/// assert!((critical_value_one_sided(4.0, 0.05)? - expected).abs() < 1e-12);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn critical_value_one_sided(x: f64, alpha: f64) -> Result<f64, Undefined> {
    check_alpha(alpha)?;
    let x = clock(x)?;
    Ok((2.0 * (1.0 + 1.0 / x) * ((1.0 + x).sqrt() / (2.0 * alpha)).ln_1p()).sqrt())
}

/// ln E for "the true value is larger than 0" alone: the mixture over positive effects.
///
/// [`log_evidence`] + ln(2Φ(z√(x/(1 + x)))): Waudby-Smith et al. (2024), one-sided sequence,
/// arXiv:2103.06476. At z = 0 it equals the two-sided value. −∞ where Φ underflows, about z = −38.
///
/// # Errors
/// Those of [`log_evidence`].
///
/// ```
/// use serin::stats::sequential::{log_evidence, log_evidence_greater};
/// assert!((log_evidence_greater(0.0, 4.0)? - log_evidence(0.0, 4.0)?).abs() < 1e-15);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn log_evidence_greater(z: f64, x: f64) -> Result<f64, Undefined> {
    let two_sided = log_evidence(z, x)?;
    let x = clock(x)?;
    Ok(two_sided + (2.0 * normal_cdf(z / (1.0 + 1.0 / x).sqrt())).ln())
}

/// The p-value to show: the smallest seen so far, which is what makes it valid at every look.
///
/// Start a new one with every epoch; evidence of one allocation says nothing about another.
///
/// ```
/// use serin::stats::sequential::RunningP;
/// let mut p = RunningP::default();
/// assert_eq!([0.3, 0.8, 0.1].map(|now| p.update(now)), [0.3, 0.3, 0.1]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunningP(f64);

impl Default for RunningP {
    fn default() -> RunningP {
        RunningP(1.0)
    }
}

impl RunningP {
    /// Takes the p of one more look, in [0, 1], and returns the smallest so far. NaN and values below 0
    /// change nothing.
    pub fn update(&mut self, p: f64) -> f64 {
        if p >= 0.0 {
            self.0 = self.0.min(p);
        }
        self.0
    }

    /// The smallest p so far; 1 before the first look.
    pub fn value(&self) -> f64 {
        self.0
    }
}

fn at_clock(difference: f64, se: f64, x: f64, alpha: f64) -> Result<AlwaysValid, Undefined> {
    finite("the difference", difference)?;
    let half_width = critical_value(x, alpha)? * se;
    let log_e = log_evidence(difference / se, x)?;
    Ok(AlwaysValid {
        ci: (
            finite("the interval", difference - half_width)?,
            finite("the interval", difference + half_width)?,
        ),
        p: (-log_e).exp().min(1.0),
        log_e,
    })
}

fn clock(x: f64) -> Result<f64, Undefined> {
    if x >= 0.0 {
        Ok(x.clamp(1.0 / EXTREME, EXTREME))
    } else {
        Err(Undefined::OutOfDomain {
            what: "the clock",
            value: x,
            domain: "at least 0",
        })
    }
}

fn check_se(se: f64) -> Result<(), Undefined> {
    if se == 0.0 {
        Err(Undefined::ZeroVariance)
    } else {
        check_positive("the standard error", se)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_interval_is_tightest_where_a_fixed_test_has_its_power() {
        let width = |divisor: f64| critical_value(divisor * divisor, 0.05).unwrap();
        assert!(width(2.8) < width(2.0) && width(2.8) < width(4.0));
    }

    #[test]
    fn no_error_is_no_evidence() {
        assert_eq!(always_valid(1.0, 0.0, 0.1, 0.05), Err(Undefined::ZeroVariance));
    }

    proptest! {
        #[test]
        fn the_interval_excludes_zero_exactly_when_p_is_below_alpha(
            difference in -3.0..3.0f64, se in 0.01..2.0f64, tau in 0.01..2.0f64, alpha in 0.001..0.5f64,
        ) {
            let look = always_valid(difference, se, tau, alpha).unwrap();
            prop_assume!((look.p - alpha).abs() > 1e-9);
            prop_assert_eq!(look.ci.0 > 0.0 || look.ci.1 < 0.0, look.p < alpha);
        }

        #[test]
        fn nothing_is_nan(
            difference in any::<f64>(), se in any::<f64>(), tau in any::<f64>(), alpha in 0.0..1.0f64,
        ) {
            if let Ok(look) = always_valid(difference, se, tau, alpha) {
                prop_assert!(look.ci.0.is_finite() && look.ci.1.is_finite() && look.log_e.is_finite());
                prop_assert!((0.0..=1.0).contains(&look.p));
            }
            for value in [critical_value(tau, alpha), log_evidence(difference, tau),
                critical_value_one_sided(tau, alpha), log_evidence_greater(difference, tau)] {
                prop_assert!(!value.is_ok_and(f64::is_nan));
            }
        }
    }
}
