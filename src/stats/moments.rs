//! Sums of independent values that can be added in any order, and the tests that need nothing else.
//!
//! Owns the count, mean and spread of one arm when every value counts as independent: one row per unit.
//! Requests of returning users are not; those belong in [`cluster`](super::cluster). It keeps no raw values.
//! Called by a report for unit-level metrics and by tests as the yardstick the clustered form is compared
//! with.

use super::difference::{Difference, Estimate, Form, satterthwaite};
use super::distribution::half_gamma_ratio;
use super::{Undefined, finite};

/// Values larger than this are refused: squares of their sums could leave the range of a float.
const LARGEST_VALUE: f64 = 1e152;

/// The square of [`LARGEST_VALUE`].
const LARGEST_VARIANCE: f64 = 1e304;

/// Count, mean and sum of squared deviations of a set of values.
///
/// Deviations are taken from the running mean (Welford 1962, doi:10.1080/00401706.1962.10490022) and two sets
/// are joined by Chan, Golub & LeVeque (1983), eq. 2.1, doi:10.1080/00031305.1983.10483115; values near 1e9
/// with a spread of 1 keep their variance, which a plain sum of squares would lose.
///
/// ```
/// use serin::stats::moments::Moments;
/// let mut left = Moments::from_values([1.0, 2.0])?;
/// left.merge(&Moments::from_values([4.0, 8.0])?);
/// assert_eq!((left.n(), left.mean()), (4, 3.75));
/// assert!((left.variance()? - 115.0 / 12.0).abs() < 1e-12);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    n: u64,
    mean: f64,
    m2: f64,
}

impl Moments {
    /// The moments of `values`.
    ///
    /// # Errors
    /// Those of [`Moments::push`].
    pub fn from_values(values: impl IntoIterator<Item = f64>) -> Result<Moments, Undefined> {
        let mut moments = Moments::default();
        for value in values {
            moments.push(value)?;
        }
        Ok(moments)
    }

    /// The moments behind a published mean and sample variance (divisor n − 1).
    ///
    /// # Errors
    /// [`Undefined::OutOfDomain`] when the mean exceeds 1e152 or the variance is negative or exceeds 1e304.
    pub fn from_summary(n: u64, mean: f64, variance: f64) -> Result<Moments, Undefined> {
        check_value("mean", mean)?;
        if !(0.0..=LARGEST_VARIANCE).contains(&variance) {
            let domain = "between 0 and 1e304";
            return Err(Undefined::OutOfDomain {
                what: "variance",
                value: variance,
                domain,
            });
        }
        Ok(Moments {
            n,
            mean,
            m2: variance * n.saturating_sub(1) as f64,
        })
    }

    /// Adds one value.
    ///
    /// # Errors
    /// [`Undefined::OutOfDomain`] when the value is NaN, infinite or beyond ±1e152; the moments stay as they
    /// were.
    pub fn push(&mut self, value: f64) -> Result<(), Undefined> {
        check_value("value", value)?;
        self.n = self.n.saturating_add(1);
        let delta = value - self.mean;
        self.mean += delta / self.n as f64;
        self.m2 += delta * (value - self.mean);
        Ok(())
    }

    /// Adds all values of `other`. The order of merges changes the result by rounding only.
    pub fn merge(&mut self, other: &Moments) {
        if other.n == 0 {
            return;
        }
        if self.n == 0 {
            *self = *other;
            return;
        }
        let (own, theirs) = (self.n as f64, other.n as f64);
        let share = theirs / (own + theirs);
        let delta = other.mean - self.mean;
        self.n = self.n.saturating_add(other.n);
        self.mean += delta * share;
        self.m2 += other.m2 + delta * delta * own * share;
    }

    /// How many values there are.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The mean in the unit of the values; 0 when there are none.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The sum of squared deviations from the mean, in squared units.
    pub fn m2(&self) -> f64 {
        self.m2
    }

    /// The sample variance (divisor n − 1), in squared units.
    ///
    /// # Errors
    /// [`Undefined::InsufficientData`] below two values, [`Undefined::Overflow`] when it exceeds a float.
    pub fn variance(&self) -> Result<f64, Undefined> {
        if self.n < 2 {
            return Err(Undefined::InsufficientData {
                what: "values",
                have: self.n as f64,
                needed: 2.0,
            });
        }
        finite("the variance", self.m2 / (self.n - 1) as f64)
    }

    /// The mean and its squared standard error.
    fn estimate(&self) -> Result<Estimate, Undefined> {
        Ok(Estimate {
            mean: self.mean,
            variance: self.variance()? / self.n as f64,
        })
    }
}

/// Welch's t test of treatment against control, each with its own variance.
///
/// t = (B − A)/√(s_A²/n_A + s_B²/n_B) with Satterthwaite's degrees of freedom. Source: Welch (1947), "The
/// generalization of Student's problem when several different population variances are involved", Biometrika
/// 34, doi:10.1093/biomet/34.1-2.28. Means 1 and 2, variances 0.5 and 1.5, two values each: t = 1, 1.6
/// degrees of freedom, p = 0.4442918742387982.
///
/// # Errors
/// [`Undefined::InsufficientData`] when an arm has fewer than two values, [`Undefined::ZeroVariance`] when
/// neither varies, and those of [`Difference::test`].
///
/// ```
/// use serin::stats::moments::{Moments, welch};
/// let control = Moments::from_summary(2, 1.0, 0.5)?;
/// let treatment = Moments::from_summary(2, 2.0, 1.5)?;
/// let test = welch(&control, &treatment, 0.05)?;
/// assert!((test.dof - 1.6).abs() < 1e-12 && (test.p - 0.444_291_874_238_798_2).abs() < 1e-12);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn welch(control: &Moments, treatment: &Moments, alpha: f64) -> Result<Difference, Undefined> {
    let (a, b) = (control.estimate()?, treatment.estimate()?);
    let dof = satterthwaite(
        a.variance,
        (control.n - 1) as f64,
        b.variance,
        (treatment.n - 1) as f64,
    )?;
    Difference::test(a, b, dof, Form::Welch, alpha)
}

/// The standard deviation both arms share if they share one, in the unit of the values.
///
/// √(((n_A − 1)s_A² + (n_B − 1)s_B²)/(n_A + n_B − 2)): Cohen (1988), "Statistical power analysis", eq. 2.5.2.
/// Variances 0.5 and 1.5 of two values each: 1.
///
/// # Errors
/// [`Undefined::InsufficientData`] below three values in both arms together.
///
/// ```
/// use serin::stats::moments::{Moments, pooled_sd};
/// assert_eq!(pooled_sd(&Moments::from_summary(2, 1.0, 0.5)?, &Moments::from_summary(2, 2.0, 1.5)?)?, 1.0);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn pooled_sd(control: &Moments, treatment: &Moments) -> Result<f64, Undefined> {
    let dof = pooled_dof(control, treatment)?;
    finite(
        "the pooled standard deviation",
        (control.m2 / dof + treatment.m2 / dof).sqrt(),
    )
}

/// Cohen's d: the difference in pooled standard deviations. Without unit.
///
/// d = (B − A)/s_pooled: Cohen (1988), eq. 2.5.1. Means 1 and 2 with pooled standard deviation 1: d = 1.
///
/// # Errors
/// [`Undefined::ZeroVariance`] when no value differs, and those of [`pooled_sd`].
///
/// ```
/// use serin::stats::moments::{Moments, cohens_d};
/// assert_eq!(cohens_d(&Moments::from_summary(2, 1.0, 0.5)?, &Moments::from_summary(2, 2.0, 1.5)?)?, 1.0);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn cohens_d(control: &Moments, treatment: &Moments) -> Result<f64, Undefined> {
    let sd = pooled_sd(control, treatment)?;
    if sd == 0.0 {
        return Err(Undefined::ZeroVariance);
    }
    finite("the effect size", (treatment.mean - control.mean) / sd)
}

/// The factor that takes the small-sample bias out of Cohen's d, for m = n_A + n_B − 2 degrees of freedom; in
/// (0, 1).
///
/// J(m) = Γ(m/2)/(√(m/2) Γ((m − 1)/2)): Hedges (1981), eq. 6e, doi:10.3102/10769986006002107. J(2) = 1/√π.
///
/// # Errors
/// [`Undefined::InsufficientData`] when m is below 2, where J does not exist.
///
/// ```
/// use serin::stats::moments::hedges_correction;
/// assert!((hedges_correction(2.0)? - 0.564_189_583_547_756_3).abs() < 1e-15);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn hedges_correction(dof: f64) -> Result<f64, Undefined> {
    if dof.is_nan() || dof < 2.0 {
        let have = if dof.is_nan() { 0.0 } else { dof };
        return Err(Undefined::InsufficientData {
            what: "degrees of freedom",
            have,
            needed: 2.0,
        });
    }
    // Γ(a + ½)/Γ(a) at a = (m − 1)/2; infinite degrees of freedom need no correction.
    Ok(if dof.is_infinite() {
        1.0
    } else {
        half_gamma_ratio(0.5 * (dof - 1.0)) / (0.5 * dof).sqrt()
    })
}

/// Hedges' g: Cohen's d without its small-sample bias. Without unit.
///
/// g = J(n_A + n_B − 2)·d: Hedges (1981), as in [`hedges_correction`]. d = 1 with two values per arm: g =
/// 1/√π.
///
/// # Errors
/// Those of [`cohens_d`] and [`hedges_correction`].
///
/// ```
/// use serin::stats::moments::{Moments, hedges_g};
/// let g = hedges_g(&Moments::from_summary(2, 1.0, 0.5)?, &Moments::from_summary(2, 2.0, 1.5)?)?;
/// assert!((g - 0.564_189_583_547_756_3).abs() < 1e-15);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn hedges_g(control: &Moments, treatment: &Moments) -> Result<f64, Undefined> {
    Ok(hedges_correction(pooled_dof(control, treatment)?)? * cohens_d(control, treatment)?)
}

fn pooled_dof(control: &Moments, treatment: &Moments) -> Result<f64, Undefined> {
    let values = control.n as f64 + treatment.n as f64;
    if control.n == 0 || treatment.n == 0 || values < 3.0 {
        return Err(Undefined::InsufficientData {
            what: "values in both arms",
            have: values,
            needed: 3.0,
        });
    }
    Ok(values - 2.0)
}

pub(super) fn check_value(what: &'static str, value: f64) -> Result<(), Undefined> {
    if value.abs() <= LARGEST_VALUE {
        Ok(())
    } else {
        Err(Undefined::OutOfDomain {
            what,
            value,
            domain: "within ±1e152",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refused_values_leave_the_sums_alone() {
        let mut moments = Moments::from_values([1.0, 2.0]).unwrap();
        let before = moments;
        for value in [f64::NAN, f64::INFINITY, -1e153] {
            assert!(moments.push(value).is_err());
        }
        assert_eq!(moments, before);
    }

    #[test]
    fn equal_values_have_no_test() {
        let constant = Moments::from_values([0.1; 7]).unwrap();
        assert_eq!(welch(&constant, &constant, 0.05), Err(Undefined::ZeroVariance));
    }

    #[test]
    fn one_value_is_too_few() {
        let one = Moments::from_values([1.0]).unwrap();
        let two = Moments::from_values([1.0, 3.0]).unwrap();
        let reason = Undefined::InsufficientData {
            what: "values",
            have: 1.0,
            needed: 2.0,
        };
        assert_eq!(welch(&one, &two, 0.05), Err(reason));
    }

    proptest! {
        #[test]
        fn merges_in_any_order_agree(
            parts in prop::collection::vec(prop::collection::vec(-1.0..1.0f64, 0..20), 1..6),
            offset in prop::sample::select(vec![0.0, 1.0, 1e6, 1e9]),
        ) {
            let parts: Vec<_> =
                parts.iter().map(|p| Moments::from_values(p.iter().map(|v| v + offset)).unwrap()).collect();
            let mut forward = Moments::default();
            parts.iter().for_each(|part| forward.merge(part));
            let mut backward = Moments::default();
            parts.iter().rev().for_each(|part| backward.merge(part));
            prop_assert_eq!(forward.n(), backward.n());
            prop_assert!((forward.mean() - backward.mean()).abs() <= 1e-12 * (1.0 + offset));
            prop_assert!((forward.m2() - backward.m2()).abs() <= 1e-12 + 1e-6 * forward.m2());
        }

        #[test]
        fn nothing_is_nan(
            n_a in prop::sample::select(vec![0u64, 1, 2, 3, 1_000, 1_000_000_000_000, u64::MAX]),
            n_b in prop::sample::select(vec![0u64, 1, 2, 3, 1_000, 1_000_000_000_000, u64::MAX]),
            mean_a in prop::sample::select(vec![0.0, -1e-300, 1.0, 1e9, 1e152, -1e152]),
            mean_b in prop::sample::select(vec![0.0, 1e-300, 1.0, 1e9 + 1.0, 1e152]),
            var_a in prop::sample::select(vec![0.0, 1e-300, 1.0, 1e304]),
            var_b in prop::sample::select(vec![0.0, 5e-324, 1.0, 1e304]),
        ) {
            let a = Moments::from_summary(n_a, mean_a, var_a).unwrap();
            let b = Moments::from_summary(n_b, mean_b, var_b).unwrap();
            if let Ok(test) = welch(&a, &b, 0.05) {
                for value in [test.difference, test.se, test.t, test.dof, test.p, test.ci.0, test.ci.1] {
                    prop_assert!(value.is_finite(), "{test:?}");
                }
            }
            for value in [pooled_sd(&a, &b), cohens_d(&a, &b), hedges_g(&a, &b)].into_iter().flatten() {
                prop_assert!(value.is_finite());
            }
            let mut both = a;
            both.merge(&b);
            prop_assert!(both.mean().is_finite() && !both.m2().is_nan());
        }
    }
}
