//! The difference of two arms relative to control, with an interval that agrees with the test.
//!
//! Owns Fieller's interval. It never falls back to the delta method, whose interval is wrong by up to 20
//! points when control's mean is not known well. Called by a report, for display beside the absolute
//! difference.

use super::difference::{Difference, Estimate};
use super::distribution::student_t_upper_quantile;
use super::{Undefined, check_alpha, finite};

/// The set of lifts B/A − 1 that the data cannot reject. It excludes 0 exactly when the test's p is below its
/// alpha.
///
/// When control's own mean is not clearly different from 0 the set is not an interval, and a display should
/// fall back to the absolute difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lift {
    /// All lifts between the two ends.
    Bounded(f64, f64),
    /// All lifts except those between the two ends.
    Complement(f64, f64),
    /// Every lift: nothing can be said relative to control.
    All,
}

impl Lift {
    /// Whether a lift belongs to the set. `contains(0.0)` is "no difference cannot be rejected".
    pub fn contains(&self, lift: f64) -> bool {
        match *self {
            Lift::Bounded(low, high) => low <= lift && lift <= high,
            Lift::Complement(low, high) => lift <= low || high <= lift,
            Lift::All => true,
        }
    }
}

/// The lift of a comparison: the estimate B/A − 1 and the set of lifts at the comparison's own `alpha` and
/// degrees of freedom.
///
/// # Errors
/// Those of [`fieller`].
///
/// ```
/// use serin::stats::difference::{Difference, Estimate, Form};
/// use serin::stats::lift::{Lift, lift};
/// let control = Estimate { mean: 3.0, variance: 0.0625 };
/// let test = Difference::test(control, Estimate { mean: 3.5, variance: 0.0 }, 11.0, Form::Welch, 0.05)?;
/// let (estimate, set) = lift(&test)?;
/// assert!((estimate - 1.0 / 6.0).abs() < 1e-15);
/// assert!(matches!(set, Lift::Bounded(low, high)
///     if (low + 0.014_152_902_620_900).abs() < 1e-12 && (high - 0.428_715_052_352_232).abs() < 1e-12));
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn lift(comparison: &Difference) -> Result<(f64, Lift), Undefined> {
    check_alpha(comparison.alpha)?;
    let quantile = student_t_upper_quantile(0.5 * comparison.alpha, comparison.dof)?;
    let set = correlated(
        comparison.control,
        comparison.treatment,
        comparison.covariance,
        quantile,
    )?;
    Ok((
        finite("the lift", comparison.difference / comparison.control.mean)?,
        set,
    ))
}

/// Fieller's set for B/A − 1, from two independent means with the variances of the means and a quantile `t` ≥
/// 0.
///
/// With r = B/A and g = t²V_A/A²: ((r − 1) + g ± (t/|A|)√(V_B + r²V_A − gV_B))/(1 − g). Bounded for g < 1;
/// for g > 1 the complement of the two ends, or everything when the root is not real. Source: Fieller (1954),
/// "Some problems in interval estimation", JRSS B 16(2), doi:10.1111/j.2517-6161.1954.tb00159.x. Written in
/// the means' relative errors, so scales as small as 1e-150 keep all digits.
///
/// Worked number: means 0.01 and 0.6, variances 0.02, t = 1.984467454 give the complement of (−2.96864874,
/// 0.81609776).
///
/// # Errors
/// [`Undefined::NoControlEffect`] when control's mean is 0, [`Undefined::OutOfDomain`] for a negative
/// variance or quantile, [`Undefined::Overflow`] when an argument is not finite.
///
/// ```
/// use serin::stats::lift::{Lift, fieller};
/// assert!(matches!(fieller(0.01, 0.02, 0.6, 0.02, 1.984_467_454)?, Lift::Complement(low, high)
///     if (low + 2.968_648_74).abs() < 1e-6 && (high - 0.816_097_76).abs() < 1e-6));
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn fieller(
    mean_a: f64,
    variance_a: f64,
    mean_b: f64,
    variance_b: f64,
    t: f64,
) -> Result<Lift, Undefined> {
    let control = Estimate {
        mean: mean_a,
        variance: variance_a,
    };
    let treatment = Estimate {
        mean: mean_b,
        variance: variance_b,
    };
    correlated(control, treatment, 0.0, t)
}

/// [`fieller`] for means with covariance C, as when units are in both arms: with h = t²C/A² the centre is (r −
/// 1) + g − h and the root's argument (t²/A²)(V_B − 2rC + r²V_A) − (t²/A²)V_B·g + h².
fn correlated(control: Estimate, treatment: Estimate, covariance: f64, t: f64) -> Result<Lift, Undefined> {
    let (mean_a, variance_a) = (control.mean, control.variance);
    let (mean_b, variance_b) = (treatment.mean, treatment.variance);
    for (what, value) in [
        ("variance", variance_a),
        ("variance", variance_b),
        ("the t quantile", t),
    ] {
        if value.is_nan() || value < 0.0 {
            return Err(Undefined::OutOfDomain {
                what,
                value,
                domain: "at least 0",
            });
        }
        finite(what, value)?;
    }
    finite("the covariance", covariance)?;
    finite("control's mean", mean_a)?;
    let difference = finite("the difference", mean_b - mean_a)?;
    if mean_a == 0.0 {
        return Err(Undefined::NoControlEffect);
    }
    let ratio = mean_b / mean_a;
    let error_a = t * variance_a.sqrt() / mean_a.abs();
    let error_b = t * variance_b.sqrt() / mean_a.abs();
    let g = error_a * error_a;
    let h = (t / mean_a) * covariance * (t / mean_a);
    let inside_root = error_b * error_b * (1.0 - g) + ratio * ratio * g - h * (2.0 * ratio - h);
    let centre = difference / mean_a + g - h;
    if inside_root.is_nan() || inside_root < 0.0 {
        return Ok(Lift::All);
    }
    let root = inside_root.sqrt();
    let first = (centre - root) / (1.0 - g);
    let second = (centre + root) / (1.0 - g);
    Ok(if !first.is_finite() || !second.is_finite() {
        Lift::All
    } else if g < 1.0 {
        Lift::Bounded(first, second)
    } else {
        Lift::Complement(second, first)
    })
}

#[cfg(test)]
mod tests {
    use super::super::difference::Form;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_control_of_zero_has_no_lift() {
        assert_eq!(fieller(0.0, 1.0, 2.0, 1.0, 2.0), Err(Undefined::NoControlEffect));
    }

    #[test]
    fn a_control_lost_in_its_error_says_nothing() {
        assert_eq!(fieller(1e-200, 1.0, 2.0, 1.0, 2.0), Ok(Lift::All));
    }

    proptest! {
        #[test]
        fn zero_is_excluded_exactly_when_the_test_rejects(
            a in -10.0..10.0f64, b in -10.0..10.0f64, va in 1e-4..20.0f64, vb in 1e-4..20.0f64,
            dof in 1.0..200.0f64, alpha in 0.001..0.4f64,
        ) {
            let control = Estimate { mean: a, variance: va };
            let treatment = Estimate { mean: b, variance: vb };
            let test = Difference::test(control, treatment, dof, Form::Welch, alpha).unwrap();
            // At equality the two are decided by rounding.
            prop_assume!((test.p - alpha).abs() > 1e-9 && a.abs() > 1e-6);
            let (_, set) = lift(&test).unwrap();
            prop_assert_eq!(set.contains(0.0), test.p >= alpha, "{:?} {:?}", set, test);
        }

        #[test]
        fn arms_that_move_together_agree_with_their_test_too(
            a in -10.0..10.0f64, b in -10.0..10.0f64, va in 1e-4..20.0f64, vb in 1e-4..20.0f64,
            correlation in -0.99..0.99f64, dof in 1.0..200.0f64, alpha in 0.001..0.4f64,
        ) {
            let control = Estimate { mean: a, variance: va };
            let treatment = Estimate { mean: b, variance: vb };
            let covariance = correlation * (va * vb).sqrt();
            let variance = va + vb - 2.0 * covariance;
            let test = Difference::with_variance(
                control, treatment, covariance, variance, dof, Form::Paired, alpha,
            ).unwrap();
            prop_assume!((test.p - alpha).abs() > 1e-9 && a.abs() > 1e-6);
            let (_, set) = lift(&test).unwrap();
            prop_assert_eq!(set.contains(0.0), test.p >= alpha, "{:?} {:?}", set, test);
        }

        #[test]
        fn extreme_arguments_never_give_nan(
            a in any::<f64>(), va in any::<f64>(), b in any::<f64>(), vb in any::<f64>(), t in any::<f64>(),
        ) {
            if let Ok(Lift::Bounded(low, high) | Lift::Complement(low, high)) = fieller(a, va, b, vb, t) {
                prop_assert!(low.is_finite() && high.is_finite() && low <= high);
            }
        }
    }
}
