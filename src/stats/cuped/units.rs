//! The adjustment for one row per unit.
//!
//! Owns CUPED in its original form. It takes every row for independent: requests of returning units belong in
//! [`buckets`](super::buckets). Called for unit-level metrics, and by tests as the yardstick.

use super::super::Undefined;
use super::super::difference::{Difference, Estimate, Form, satterthwaite};
use super::super::finite;
use super::super::moments::check_value;
use super::{Adjusted, without_rounding};

/// Where θ comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theta {
    /// From deviations within the arms: ΣS_xy/ΣS_xx over the arms. Recommended: an effect of treatment does
    /// not enter it.
    WithinArms,
    /// From both arms as one sample, as some platforms do. An effect then makes it slightly wrong.
    Total,
}

/// Treatment against control on y − θ(x − x̄), rows (y, x) of an outcome and its covariate, one per unit.
///
/// θ as said in [`Theta`], x̄ the covariate's mean over both arms; then Welch's test as in
/// [`welch`](super::super::moments::welch), on Σ(residual)²/(n − 1). Source: Deng et al. (2013), section 3.2,
/// doi:10.1145/2433396.2433413.
///
/// Worked number: control (1, 0), (2, 1), (4, 2) and treatment (3, 1), (4, 2), (6, 3): within the arms S_xy = 3
/// and S_xx = 2 each, so θ = 1.5; the raw difference 2 becomes 0.5, its variance 1/18 instead of 14/9 (96 %
/// less).
///
/// # Errors
/// [`Undefined::InsufficientData`] when an arm has fewer than two rows; [`Undefined::ZeroVariance`] when the
/// adjusted outcome does not vary in either arm; [`Undefined::OutOfDomain`] for a value that is not a number or
/// beyond ±1e152, or `alpha` outside (0, 1); [`Undefined::Overflow`] when a result exceeds a float.
///
/// ```
/// use serin::stats::cuped::units::{Theta, unit_mean};
/// let control = [(1.0, 0.0), (2.0, 1.0), (4.0, 2.0)];
/// let treatment = [(3.0, 1.0), (4.0, 2.0), (6.0, 3.0)];
/// let adjusted = unit_mean(&control, &treatment, Theta::WithinArms, 0.05)?;
/// assert_eq!(adjusted.theta, 1.5);
/// assert!((adjusted.difference.difference - 0.5).abs() < 1e-14);
/// assert!((adjusted.difference.se - (1.0f64 / 18.0).sqrt()).abs() < 1e-14);
/// assert!((adjusted.variance_reduction - 27.0 / 28.0).abs() < 1e-14);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn unit_mean(
    control: &[(f64, f64)],
    treatment: &[(f64, f64)],
    theta: Theta,
    alpha: f64,
) -> Result<Adjusted, Undefined> {
    let (a, b) = (Arm::of(control)?, Arm::of(treatment)?);
    let all = a.n + b.n;
    let shares = (a.n / all, b.n / all);
    let middle = (
        shares.0 * a.mean.0 + shares.1 * b.mean.0,
        shares.0 * a.mean.1 + shares.1 * b.mean.1,
    );
    let (from_a, from_b) = match theta {
        Theta::WithinArms => (a.sums(a.mean), b.sums(b.mean)),
        Theta::Total => (a.sums(middle), b.sums(middle)),
    };
    let sxx = without_rounding(from_a.xx + from_b.xx, a.magnitude + b.magnitude);
    let theta = if sxx == 0.0 {
        0.0
    } else {
        finite("theta", (from_a.xy + from_b.xy) / sxx)?
    };
    let test = |theta: f64| {
        let (a, b) = (a.adjusted(theta, middle.1)?, b.adjusted(theta, middle.1)?);
        let dof = (control.len() as f64 - 1.0, treatment.len() as f64 - 1.0);
        let dof = satterthwaite(a.variance, dof.0, b.variance, dof.1)?;
        Difference::test(a, b, dof, Form::Welch, alpha)
    };
    Adjusted::new(test(theta)?, theta, test(0.0)?.se)
}

/// One arm's rows with what both passes need.
struct Arm<'a> {
    rows: &'a [(f64, f64)],
    n: f64,
    mean: (f64, f64),
    /// Σx², the yardstick for its rounding.
    magnitude: f64,
}

/// Sums of squares and products about a point.
struct Sums {
    xx: f64,
    xy: f64,
}

impl Arm<'_> {
    fn of(rows: &[(f64, f64)]) -> Result<Arm<'_>, Undefined> {
        if rows.len() < 2 {
            return Err(Undefined::InsufficientData {
                what: "units",
                have: rows.len() as f64,
                needed: 2.0,
            });
        }
        let mut mean = (0.0, 0.0);
        let mut magnitude = 0.0;
        for (i, &(y, x)) in rows.iter().enumerate() {
            check_value("the outcome", y)?;
            check_value("the covariate", x)?;
            let n = (i + 1) as f64;
            mean.0 += (y - mean.0) / n;
            mean.1 += (x - mean.1) / n;
            magnitude += x * x;
        }
        Ok(Arm {
            rows,
            n: rows.len() as f64,
            mean,
            magnitude,
        })
    }

    fn sums(&self, about: (f64, f64)) -> Sums {
        let (mut xx, mut xy) = (0.0, 0.0);
        for &(y, x) in self.rows {
            xx += (x - about.1) * (x - about.1);
            xy += (x - about.1) * (y - about.0);
        }
        Sums { xx, xy }
    }

    /// Mean and squared standard error of y − θ(x − `middle`), from residuals rather than from sums of
    /// squares, whose difference would lose its digits when the covariate explains nearly everything.
    fn adjusted(&self, theta: f64, middle: f64) -> Result<Estimate, Undefined> {
        let (mut squares, mut sum, mut magnitude) = (0.0, 0.0, 0.0);
        for &(y, x) in self.rows {
            let residual = (y - self.mean.0) - theta * (x - self.mean.1);
            squares += residual * residual;
            sum += residual;
            magnitude += y * y + theta * theta * x * x;
        }
        // What rounding left of the means.
        let squares = finite("the variance", squares)? - sum * (sum / self.n);
        let variance = without_rounding(squares, magnitude) / (self.n - 1.0) / self.n;
        Ok(Estimate {
            mean: self.mean.0 - theta * (self.mean.1 - middle),
            variance,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_constant_covariate_changes_nothing() {
        let rows = |shift: f64| {
            (0..9)
                .map(|i| (f64::from(i % 4) + shift, 0.1))
                .collect::<Vec<_>>()
        };
        let adjusted = unit_mean(&rows(0.0), &rows(1.0), Theta::WithinArms, 0.05).unwrap();
        assert_eq!((adjusted.theta, adjusted.variance_reduction), (0.0, 0.0));
    }

    #[test]
    fn a_covariate_that_is_the_outcome_leaves_no_variance() {
        let rows = |offset: f64| {
            (0..9)
                .map(|i| (0.1 * f64::from(i) + offset, 0.1 * f64::from(i)))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            unit_mean(&rows(0.0), &rows(0.7), Theta::WithinArms, 0.05),
            Err(Undefined::ZeroVariance)
        );
    }

    proptest! {
        #[test]
        fn an_offset_changes_neither_theta_nor_the_error(
            rows in prop::collection::vec((-3.0..3.0f64, -3.0..3.0f64), 12..40),
        ) {
            let found = |offset: f64| {
                let moved: Vec<_> = rows.iter().map(|(e, x)| (x + e + offset, x + offset)).collect();
                let (a, b) = moved.split_at(moved.len() / 2);
                unit_mean(a, b, Theta::WithinArms, 0.05).unwrap()
            };
            let (near, far) = (found(0.0), found(1e9));
            prop_assert!((near.theta - far.theta).abs() < 1e-5);
            prop_assert!((near.difference.se / far.difference.se - 1.0).abs() < 1e-5);
            prop_assert!((near.difference.difference - far.difference.difference).abs() < 1e-5);
        }

        #[test]
        fn within_the_arms_no_other_theta_leaves_less(
            rows in prop::collection::vec((-3.0..3.0f64, -3.0..3.0f64), 12..40), other in -2.0..2.0f64,
        ) {
            let (a, b) = rows.split_at(rows.len() / 2);
            let theta = unit_mean(a, b, Theta::WithinArms, 0.05).unwrap().theta;
            let left = |theta: f64| -> f64 {
                [a, b].iter().map(|rows| {
                    let arm = Arm::of(rows).unwrap();
                    arm.adjusted(theta, 0.0).unwrap().variance * arm.n * (arm.n - 1.0)
                }).sum()
            };
            prop_assert!(left(theta) <= left(other) * (1.0 + 1e-12));
        }

        #[test]
        fn nothing_is_nan(
            a in prop::collection::vec((extreme(), extreme()), 0..5),
            b in prop::collection::vec((extreme(), extreme()), 0..5),
            total in any::<bool>(),
        ) {
            let theta = if total { Theta::Total } else { Theta::WithinArms };
            if let Ok(found) = unit_mean(&a, &b, theta, 0.05) {
                let test = found.difference;
                for value in [test.difference, test.se, test.t, test.dof, test.p, test.ci.0, test.ci.1,
                    found.theta, found.variance_reduction] {
                    prop_assert!(value.is_finite(), "{found:?}");
                }
            }
        }
    }

    fn extreme() -> impl Strategy<Value = f64> {
        let values = [
            0.0,
            5e-324,
            1e-300,
            1e-9,
            1.0,
            2.0,
            1e9,
            1e9 + 1.0,
            1e12,
            1e152,
            -1e152,
            1e308,
            f64::NAN,
        ];
        prop::sample::select(values.to_vec())
    }
}
