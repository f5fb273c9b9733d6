//! Two arms whose clusters have nothing to do with each other: each unit is in one arm.
//!
//! Owns the choice of the standard error. It takes summaries and never sees a cluster; where units meet both
//! arms it is far too careful, and [`compare_paired`](super::compare_paired) is the form to use. Called by a
//! report.

use super::super::Undefined;
use super::super::difference::{Difference, Estimate, Form, satterthwaite};
use super::ArmSummary;

/// Treatment against control with the safe standard error: the larger of the Welch and the pooled one.
///
/// Welch: V_A + V_B, degrees of freedom by Satterthwaite. Pooled: (Q_A + Q_B)/(N_A + N_B)·(1/N_A + 1/N_B)
/// with the degrees of freedom of both arms. A small arm of a skewed metric underestimates its own variance
/// just when its mean is low, which Welch believes; at equal arms both agree. The maximum is a rule of this
/// project, found by simulation, not from the literature; the parts are those of
/// [`ArmSummary::from_clusters`] and [`satterthwaite`].
///
/// Worked number: control (1, 1), (1, 2), (1, 4) and treatment (1, 3), (1, 5), (1, 9) differ by 10/3 ± 1.972
/// with 2.941 degrees of freedom, p = 0.1914.
///
/// # Errors
/// [`Undefined::ZeroVariance`] when neither arm varies (never p = 0), and those of [`Difference::test`].
///
/// ```
/// use serin::stats::cluster::{ArmSummary, compare};
/// let control = ArmSummary::from_clusters([(1.0, 1.0), (1.0, 2.0), (1.0, 4.0)])?;
/// let treatment = ArmSummary::from_clusters([(1.0, 3.0), (1.0, 5.0), (1.0, 9.0)])?;
/// let test = compare(&control, &treatment, 0.05)?;
/// assert!((test.se - 1.972_026_594_366_538_7).abs() < 1e-14);
/// assert!((test.p - 0.191_369_718_456_626_7).abs() < 1e-13);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn compare(control: &ArmSummary, treatment: &ArmSummary, alpha: f64) -> Result<Difference, Undefined> {
    let welch = control.variance + treatment.variance;
    let q = (control.q + treatment.q) / (control.n + treatment.n);
    let pooled = q / control.n + q / treatment.n;
    // Equal up to rounding is Welch: the arms are alike and its degrees of freedom are the fewer.
    if pooled.sqrt() > welch.sqrt() * (1.0 + 1e-12) {
        compare_pooled(control, treatment, alpha)
    } else {
        compare_welch(control, treatment, alpha)
    }
}

/// Treatment against control, each arm with its own variance; [`compare`] is the one to report.
///
/// V = V_A + V_B with the degrees of freedom of [`satterthwaite`]: what [`compare`] calls Welch.
///
/// # Errors
/// Those of [`compare`].
pub fn compare_welch(
    control: &ArmSummary,
    treatment: &ArmSummary,
    alpha: f64,
) -> Result<Difference, Undefined> {
    let a = Estimate {
        mean: control.mean,
        variance: control.variance,
    };
    let b = Estimate {
        mean: treatment.mean,
        variance: treatment.variance,
    };
    let dof = satterthwaite(a.variance, control.dof, b.variance, treatment.dof)?;
    Difference::test(a, b, dof, Form::Welch, alpha)
}

/// Treatment against control with one variance for both arms; [`compare`] is the one to report.
///
/// V = (Q_A + Q_B)/(N_A + N_B)·(1/N_A + 1/N_B) with the degrees of freedom of both arms: what [`compare`]
/// calls pooled.
///
/// # Errors
/// Those of [`compare`].
pub fn compare_pooled(
    control: &ArmSummary,
    treatment: &ArmSummary,
    alpha: f64,
) -> Result<Difference, Undefined> {
    let q = (control.q + treatment.q) / (control.n + treatment.n);
    let a = Estimate {
        mean: control.mean,
        variance: q / control.n,
    };
    let b = Estimate {
        mean: treatment.mean,
        variance: q / treatment.n,
    };
    Difference::test(a, b, control.dof + treatment.dof, Form::Pooled, alpha)
}
