//! Planning for means of values with a known spread.
//!
//! Owns the normal and the noncentral-t sizes. It never guesses a spread. Called by whoever plans an
//! experiment on a mean.

use super::super::distribution::{normal_sf, normal_upper_quantile, student_t_upper_quantile};
use super::super::{Undefined, check_alpha, finite};
use super::noncentral_t::noncentral_t_sf;
use super::{Design, Goal, Size, check_positive};

/// Which differences a test is to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    /// Differences of either sign; `alpha` is split over both.
    Two,
    /// Treatment's mean the larger; all of `alpha` is there.
    One,
}

/// Control's and treatment's size for a two-sided test to find a difference `delta` ≠ 0 between means.
///
/// n_A = (z_{1−α/2} + z_power)²(sd_A² + sd_B²/k)/δ² times the design effect, k = n_B/n_A; `sd` are control's
/// and treatment's standard deviations, at least 0 and not both 0, in the unit of `delta`. Source: Chow, Shao &
/// Wang (2008), "Sample Size Calculations in Clinical Research", section 3.2. Standard deviation 1, δ = 0.1,
/// 80 % power at 5 %: 1569.8, so 1570 per arm.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for an argument outside its domain, [`Undefined::ZeroVariance`] when both
/// deviations are 0, [`Undefined::Overflow`] when a size exceeds 1e19.
///
/// ```
/// use serin::stats::power::{Design, Goal, means};
/// let size = means::size((1.0, 1.0), 0.1, Goal { alpha: 0.05, power: 0.8 }, Design::EVEN)?;
/// assert!((size.exact - 1569.775_946_869_817).abs() < 1e-6);
/// assert_eq!((size.control, size.treatment), (1570, 1570));
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn size(sd: (f64, f64), delta: f64, goal: Goal, design: Design) -> Result<Size, Undefined> {
    check_positive("the difference", delta.abs())?;
    let distance = goal.standard_errors()?;
    // δ/√n is the standard error; taken first, so that squares of tiny units do not vanish.
    let reach = distance * (spread(sd, design)? / delta);
    Size::new(reach * reach, design.ratio)
}

/// The smallest difference a two-sided test finds with the goal's power when control has `n_a` > 0
/// observations.
///
/// [`size`] solved for δ: (z_{1−α/2} + z_power)√((sd_A² + sd_B²/k)·design effect/n_A). Standard deviation 1 and
/// 1570 per arm: 0.09999.
///
/// # Errors
/// Those of [`size`].
///
/// ```
/// use serin::stats::power::{Design, Goal, means};
/// let effect = means::mde((1.0, 1.0), 1570.0, Goal { alpha: 0.05, power: 0.8 }, Design::EVEN)?;
/// assert!((effect - 0.099_992_864_4).abs() < 1e-9);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn mde(sd: (f64, f64), n_a: f64, goal: Goal, design: Design) -> Result<f64, Undefined> {
    check_positive("control's size", n_a)?;
    finite(
        "the difference",
        goal.standard_errors()? * (spread(sd, design)? / n_a.sqrt()),
    )
}

/// The probability that a two-sided normal test at `alpha` finds a difference `delta` when control has
/// `n_a` > 0 observations; in \[0, 1\].
///
/// Φ(|δ|/se − z_{1−α/2}) + Φ(−|δ|/se − z_{1−α/2}): both ways of being significant. Source as for [`size`].
/// Standard deviation 1, δ = 0.1 and 1570 per arm: 0.80006.
///
/// # Errors
/// Those of [`size`].
///
/// ```
/// use serin::stats::power::{Design, means};
/// let power = means::power((1.0, 1.0), 0.1, 1570.0, 0.05, Design::EVEN)?;
/// assert!((power - 0.800_056).abs() < 1e-6);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn power(sd: (f64, f64), delta: f64, n_a: f64, alpha: f64, design: Design) -> Result<f64, Undefined> {
    check_alpha(alpha)?;
    check_positive("control's size", n_a)?;
    let critical = normal_upper_quantile(0.5 * alpha)?;
    let distance = delta.abs() / (spread(sd, design)? / n_a.sqrt());
    if distance.is_nan() {
        return Err(Undefined::OutOfDomain {
            what: "the difference",
            value: delta,
            domain: "a number",
        });
    }
    Ok((normal_sf(critical - distance) + normal_sf(critical + distance)).min(1.0))
}

/// The sizes for Student's t test to find a standardised difference `cohens_d` > 0, with `ratio` = n_B/n_A.
///
/// The n at which [`power_t`] reaches the goal, by bisection; at least two values per arm. Matters below some
/// fifty values per arm; beyond that [`size`] is the same to one or two. d = 0.5, 80 % power at 5 %: 63.77, so
/// 64 per arm (Cohen 1988, table 2.3.5).
///
/// # Errors
/// Those of [`size`], and [`Undefined::Overflow`] for effects that need more than 1e15 values.
///
/// ```
/// use serin::stats::power::{Goal, means};
/// let size = means::size_t(0.5, Goal { alpha: 0.05, power: 0.8 }, 1.0, means::Sides::Two)?;
/// assert!((size.exact - 63.765_61).abs() < 1e-4);
/// assert_eq!(size.control, 64);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn size_t(cohens_d: f64, goal: Goal, ratio: f64, sides: Sides) -> Result<Size, Undefined> {
    /// Beyond this the t test is the normal one to every digit.
    const LARGEST: f64 = 1e15;
    goal.standard_errors()?;
    check_positive("Cohen's d", cohens_d)?;
    check_positive("the ratio of the arms", ratio)?;
    let reaches = |n: f64| Ok(power_t(cohens_d, n, goal.alpha, ratio, sides)? >= goal.power);
    let smallest = 2.0 / ratio.min(1.0);
    let mut high = smallest;
    while !reaches(high)? {
        high *= 2.0;
        if high > LARGEST {
            return Err(Undefined::Overflow {
                what: "the sample size",
            });
        }
    }
    let mut low = (0.5 * high).max(smallest);
    while high - low > 1e-12 * high {
        let middle = 0.5 * (low + high);
        if reaches(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Size::new(high, ratio)
}

/// The probability that Student's t test at `alpha` finds a standardised difference `cohens_d` when control
/// has `n_a` values and treatment `ratio` times as many; in \[0, 1\].
///
/// T is noncentral t with n_A + n_B − 2 degrees of freedom and noncentrality d/√(1/n_A + 1/n_B): Cohen (1988),
/// "Statistical Power Analysis", section 2.5; Johnson & Welch (1940), doi:10.1093/biomet/31.3-4.362. d = 0.5 and
/// 64 per arm: 0.80146.
///
/// # Errors
/// [`Undefined::InsufficientData`] for fewer than three values; [`Undefined::OutOfDomain`] for an argument
/// outside its domain.
///
/// ```
/// use serin::stats::power::means::{Sides, power_t};
/// assert!((power_t(0.5, 64.0, 0.05, 1.0, Sides::Two)? - 0.801_459_557_922).abs() < 1e-9);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn power_t(cohens_d: f64, n_a: f64, alpha: f64, ratio: f64, sides: Sides) -> Result<f64, Undefined> {
    check_alpha(alpha)?;
    check_positive("control's size", n_a)?;
    check_positive("the ratio of the arms", ratio)?;
    let dof = n_a * (1.0 + ratio) - 2.0;
    if dof < 1.0 {
        return Err(Undefined::InsufficientData {
            what: "values in both arms",
            have: dof + 2.0,
            needed: 3.0,
        });
    }
    let shift = finite("the noncentrality", cohens_d * (n_a / (1.0 + 1.0 / ratio)).sqrt())?;
    let found = match sides {
        Sides::One => noncentral_t_sf(student_t_upper_quantile(alpha, dof)?, dof, shift),
        Sides::Two => {
            let critical = student_t_upper_quantile(0.5 * alpha, dof)?;
            noncentral_t_sf(critical, dof, shift) + noncentral_t_sf(critical, dof, -shift)
        }
    };
    Ok(found.clamp(0.0, 1.0))
}

/// √((sd_A² + sd_B²/k)·design effect): the standard error of the difference when control has one observation.
fn spread(sd: (f64, f64), design: Design) -> Result<f64, Undefined> {
    design.check()?;
    for value in [sd.0, sd.1] {
        if !(value >= 0.0 && value.is_finite()) {
            return Err(Undefined::OutOfDomain {
                what: "the standard deviation",
                value,
                domain: "finite and at least 0",
            });
        }
    }
    if sd == (0.0, 0.0) {
        return Err(Undefined::ZeroVariance);
    }
    let spread = sd.0.hypot(sd.1 / design.ratio.sqrt()) * design.design_effect.sqrt();
    check_positive("the spread", spread)?;
    Ok(spread)
}
