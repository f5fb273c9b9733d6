//! Planning for rates of independent units.
//!
//! Owns the three classical sizes for two proportions. It takes one row per unit; for rates of requests the
//! design effect says how many make one. Called by whoever plans an experiment on a rate.

use super::super::Undefined;
use super::{Design, Goal, Size, check_positive};

/// Steps of the bisection for the smallest detectable effect; a float has no more digits to give.
const MAX_STEPS: u32 = 200;

/// Which approximation a size is taken from. They differ by a few percent at equal arms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Each arm with its own variance, under the null too.
    Unpooled,
    /// One rate for both arms under the null: that of the test most often used.
    Pooled,
    /// On the scale 2 arcsin √p, where the variance does not depend on the rate.
    Arcsine,
}

/// Control's and treatment's size for a two-sided test to tell a rate `p_b` from `p_a`, both in (0, 1).
///
/// With D = p_B − p_A, k = n_B/n_A, p̄ = (p_A + kp_B)/(1 + k), v = p_A(1 − p_A) + p_B(1 − p_B)/k, times the
/// design effect:
/// - unpooled: (z_{1−α/2} + z_power)²v/D²; Chow, Shao & Wang (2008), section 4.2;
/// - pooled: (z_{1−α/2}√(p̄(1 − p̄)(1 + 1/k)) + z_power√v)²/D²; Fleiss, Levin & Paik (2003), "Statistical
///   Methods for Rates and Proportions", chapter 4;
/// - arcsine: (z_{1−α/2} + z_power)²(1 + 1/k)/h² with h = 2 arcsin √p_B − 2 arcsin √p_A; Cohen (1988), chapter 6.
///
/// 10 % against 11 %, 80 % power at 5 %: 14,748, 14,751 and 14,744.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for an argument outside its domain, or rates that are equal;
/// [`Undefined::Overflow`] when a size exceeds 1e19.
///
/// ```
/// use serin::stats::power::{Design, Goal, proportions::{Form, size}};
/// let goal = Goal { alpha: 0.05, power: 0.8 };
/// let pooled = size(Form::Pooled, 0.1, 0.11, goal, Design::EVEN)?;
/// assert!((pooled.exact - 14_750.790_469).abs() < 1e-5);
/// assert_eq!(pooled.control, 14_751);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn size(form: Form, p_a: f64, p_b: f64, goal: Goal, design: Design) -> Result<Size, Undefined> {
    design.check()?;
    check_rate(p_a)?;
    check_rate(p_b)?;
    if p_a == p_b {
        return Err(Undefined::OutOfDomain {
            what: "treatment's rate",
            value: p_b,
            domain: "different from control's",
        });
    }
    let exact = exact_size(form, p_a, p_b - p_a, goal.quantiles()?, design);
    Size::new(exact, design.ratio)
}

/// The smallest rise of a rate `p_a` that the pooled form finds with the goal's power when control has
/// `n_a` > 0 units; an absolute difference in (0, 1 − `p_a`).
///
/// [`size`] solved for p_B − p_A by bisection: the size falls with the rise. 10 % and 14,751 units: 0.0099999.
///
/// # Errors
/// [`Undefined::InsufficientData`] when not even a rise to 1 would be found; [`Undefined::OutOfDomain`] for an
/// argument outside its domain.
///
/// ```
/// use serin::stats::power::{Design, Goal, proportions::mde};
/// let rise = mde(0.1, 14_751.0, Goal { alpha: 0.05, power: 0.8 }, Design::EVEN)?;
/// assert!((rise - 0.009_999_927_458).abs() < 1e-11);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn mde(p_a: f64, n_a: f64, goal: Goal, design: Design) -> Result<f64, Undefined> {
    design.check()?;
    check_rate(p_a)?;
    check_positive("control's size", n_a)?;
    let quantiles = goal.quantiles()?;
    let needed = |rise: f64| exact_size(Form::Pooled, p_a, rise, quantiles, design);
    let (mut low, mut high) = (0.0, 1.0 - p_a);
    let least = needed(high);
    if least > n_a {
        return Err(Undefined::InsufficientData {
            what: "units in control",
            have: n_a,
            needed: least,
        });
    }
    for _ in 0..MAX_STEPS {
        // In ratios as soon as there is one, so that tiny rises keep their digits.
        let middle = if low > 0.0 {
            low + 0.5 * (high - low)
        } else {
            0.01 * high
        };
        if middle <= low || middle >= high {
            break;
        }
        if needed(middle) <= n_a {
            high = middle;
        } else {
            low = middle;
        }
    }
    check_positive("the rise", high)?;
    Ok(high)
}

fn exact_size(form: Form, p_a: f64, rise: f64, quantiles: (f64, f64), design: Design) -> f64 {
    let (critical, reserve) = quantiles;
    let inverse = 1.0 / design.ratio;
    let p_b = p_a + rise;
    let variance = p_a * (1.0 - p_a) + p_b * (1.0 - p_b) * inverse;
    let reach = match form {
        Form::Unpooled => (critical + reserve) * variance.sqrt() / rise,
        Form::Pooled => {
            let pooled = p_a + rise * (1.0 / (1.0 + inverse));
            let null = (pooled * (1.0 - pooled) * (1.0 + inverse)).sqrt();
            (critical * null + reserve * variance.sqrt()) / rise
        }
        Form::Arcsine => {
            // arcsin √b − arcsin √a = arcsin(√b√(1 − a) − √a√(1 − b)), over the conjugate so that nothing
            // cancels.
            let up = (p_b * (1.0 - p_a)).sqrt();
            let down = (p_a * (1.0 - p_b)).sqrt();
            let h = 2.0 * (rise / (up + down)).asin();
            (critical + reserve) * (1.0 + inverse).sqrt() / h
        }
    };
    reach * reach * design.design_effect
}

fn check_rate(value: f64) -> Result<(), Undefined> {
    if value > 0.0 && value < 1.0 {
        Ok(())
    } else {
        Err(Undefined::OutOfDomain {
            what: "the rate",
            value,
            domain: "between 0 and 1",
        })
    }
}
