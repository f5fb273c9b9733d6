//! What a comparison under way can find by now, and how long it still takes.
//!
//! Owns the figures that need nothing but the present standard error, which must be the safe one: it already
//! contains clustering, unequal arms and several epochs. It never uses the difference seen so far, so looking
//! at these figures biases nothing. Called by a report.

use super::super::distribution::deviance;
use super::super::sequential::critical_value;
use super::super::{Undefined, check_alpha, finite};
use super::{Goal, check_positive};

/// How far a comparison has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The standard error of the difference now, in the unit of the metric; greater than 0.
    pub se: f64,
    /// How many requests (or units) both arms have had; greater than 0.
    pub traffic: f64,
    /// In how many days; greater than 0. Any other unit of time serves as well.
    pub elapsed: f64,
}

/// What is still missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Remaining {
    /// How many more requests (or units), at least 0; not rounded.
    pub traffic: f64,
    /// How many more days at the pace so far, at least 0; not rounded.
    pub days: f64,
}

/// The smallest difference that a fixed-horizon test at the present standard error finds with the goal's
/// power, in the unit of `se` > 0.
///
/// (z_{1−α/2} + z_power)·se: Chow, Shao & Wang (2008), section 3.2. se = 0.01, 80 % power at 5 %: 0.0280.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for an argument outside its domain.
///
/// ```
/// use serin::stats::power::{Goal, progress::detectable};
/// assert!((detectable(0.01, Goal { alpha: 0.05, power: 0.8 })? - 0.028_015_852).abs() < 1e-9);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn detectable(se: f64, goal: Goal) -> Result<f64, Undefined> {
    check_positive("the standard error", se)?;
    finite("the difference", goal.standard_errors()? * se)
}

/// The smallest difference for which the always-valid interval excludes 0 with the goal's power at the
/// present standard error, in the unit of `se` and `tau`, both > 0.
///
/// (z(x) + z_power)·se with z(x) the [`critical_value`] at x = τ²/se². It is the power of this one look: that
/// an earlier look has excluded 0 already can only add to it. Sources as for
/// [`always_valid`](super::super::sequential::always_valid). se = 0.01 and τ = 0.028: 0.0388, which is
/// 1.4 times [`detectable`].
///
/// # Errors
/// [`Undefined::OutOfDomain`] for an argument outside its domain, [`Undefined::Overflow`] when the difference
/// exceeds a float.
///
/// ```
/// use serin::stats::power::{Goal, progress::detectable_always_valid};
/// let effect = detectable_always_valid(0.01, 0.028, Goal { alpha: 0.05, power: 0.8 })?;
/// assert!((effect - 0.038_769).abs() < 1e-6);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn detectable_always_valid(se: f64, tau: f64, goal: Goal) -> Result<f64, Undefined> {
    check_positive("the standard error", se)?;
    check_positive("tau", tau)?;
    let (_, reserve) = goal.quantiles()?;
    let ratio = tau / se;
    let reach = critical_value(ratio * ratio, goal.alpha)? + reserve;
    finite("the difference", reach * se)
}

/// How much longer until a fixed-horizon test has the goal's power for a difference `effect` ≠ 0.
///
/// The squared standard error falls in proportion to traffic, so what is needed in all is the traffic so far
/// times (se/target)² with target = |effect|/(z_{1−α/2} + z_power), at the pace of traffic per day so far.
/// Nothing is left when the target is reached. It presumes that the split, the mix of units and the spread
/// stay; with returning units the standard error falls more slowly than that when the same units come back,
/// and the answer is a lower bound.
///
/// Worked number: se = 0.02 after 10,000 requests in 5 days, effect 0.0280: four times the traffic is needed,
/// so 30,000 requests and 15 days are left.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for an argument outside its domain, [`Undefined::Overflow`] when the answer
/// exceeds a float.
///
/// ```
/// use serin::stats::power::{Goal, progress::{Progress, days_left}};
/// let now = Progress { se: 0.02, traffic: 10_000.0, elapsed: 5.0 };
/// let left = days_left(&now, 0.028_015_852_181_129_66, Goal { alpha: 0.05, power: 0.8 })?;
/// assert!((left.traffic - 30_000.0).abs() < 1e-6 && (left.days - 15.0).abs() < 1e-9);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn days_left(now: &Progress, effect: f64, goal: Goal) -> Result<Remaining, Undefined> {
    check_positive("the effect", effect.abs())?;
    until(now, effect.abs() / goal.standard_errors()?)
}

/// How much longer until the always-valid interval finds `effect` with the goal's power, when it is tuned to `tau` > 0.
///
/// The target is the standard error at which [`detectable_always_valid`] is |effect|; the pace is that of [`days_left`].
/// For an effect of τ that is at se = τ/3.90 (80 % power at 5 %), where a fixed test needs τ/2.80: what it costs to look
/// every day is twice the traffic.
///
/// Worked number: se = 0.02 after 10,000 requests in 5 days, an effect of 0.028 and τ = 0.028: 33.9 days are left.
///
/// # Errors
/// Those of [`days_left`].
///
/// ```
/// use serin::stats::power::{Goal, progress::{Progress, days_left_always_valid, detectable_always_valid}};
/// let goal = Goal { alpha: 0.05, power: 0.8 };
/// let now = Progress { se: 0.02, traffic: 10_000.0, elapsed: 5.0 };
/// let left = days_left_always_valid(&now, 0.028, 0.028, goal)?;
/// assert!((left.days - 33.9).abs() < 0.1, "{left:?}");
/// let se = 0.02 / ((5.0 + left.days) / 5.0).sqrt();
/// assert!((detectable_always_valid(se, 0.028, goal)? - 0.028).abs() < 1e-9);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn days_left_always_valid(
    now: &Progress,
    effect: f64,
    tau: f64,
    goal: Goal,
) -> Result<Remaining, Undefined> {
    let effect = effect.abs();
    check_positive("the effect", effect)?;
    check_positive("tau", tau)?;
    let (_, reserve) = goal.quantiles()?;
    // As [`detectable_always_valid`], with the normal quantile taken once.
    let found = |se: f64| {
        let ratio = tau / se;
        let reach = critical_value(ratio * ratio, goal.alpha)? + reserve;
        finite("the difference", reach * se)
    };
    // What is found grows with the standard error, and a fixed test's standard error is too large already.
    let mut high = effect / goal.standard_errors()?;
    let mut low = high;
    while found(low)? > effect {
        high = low;
        low *= 0.5;
    }
    while high - low > 1e-12 * high {
        let middle = low + 0.5 * (high - low);
        if middle <= low || middle >= high {
            break;
        }
        if found(middle)? > effect {
            high = middle;
        } else {
            low = middle;
        }
    }
    until(now, low)
}

/// The mean number of events no test can do with: to stop at error rate `alpha` when a rate is `p1` in \[0, 1\]
/// and not `p0` in (0, 1), both given beforehand.
///
/// ln(1/α)/KL(p₁‖p₀), KL = p₁ ln(p₁/p₀) + (1 − p₁) ln((1 − p₁)/(1 − p₀)): Wald (1945), "Sequential tests of
/// statistical hypotheses", doi:10.1214/aoms/1177731118, for a test that always stops under p₁. A bad rate of
/// 6 % instead of 2 % at α = 0.01: 172.
///
/// # Errors
/// [`Undefined::OutOfDomain`] for an argument outside its domain or rates that are equal,
/// [`Undefined::Overflow`] when they are so near that the answer exceeds a float.
///
/// ```
/// use serin::stats::power::progress::wald_bound;
/// assert!((wald_bound(0.06, 0.02, 0.01)? - 172.0).abs() < 0.5);
/// # Ok::<(), serin::stats::Undefined>(())
/// ```
pub fn wald_bound(p1: f64, p0: f64, alpha: f64) -> Result<f64, Undefined> {
    check_alpha(alpha)?;
    for (what, value, allowed) in [
        ("the rate p1", p1, (0.0..=1.0).contains(&p1) && p1 != p0),
        ("the rate p0", p0, p0 > 0.0 && p0 < 1.0),
    ] {
        if !allowed {
            return Err(Undefined::OutOfDomain {
                what,
                value,
                domain: "between 0 and 1, and different from the other rate",
            });
        }
    }
    // Two terms that are each at least 0, where the plain logarithms of close rates would cancel.
    let divergence = deviance(p1, p0) + deviance(1.0 - p1, 1.0 - p0);
    finite("the number of events", -alpha.ln() / divergence)
}

fn until(now: &Progress, target: f64) -> Result<Remaining, Undefined> {
    check_positive("the standard error", now.se)?;
    check_positive("the traffic", now.traffic)?;
    check_positive("the elapsed time", now.elapsed)?;
    let ratio = now.se / target;
    let more = (ratio * ratio - 1.0).max(0.0);
    Ok(Remaining {
        traffic: finite("the traffic", more * now.traffic)?,
        days: finite("the time", more * now.elapsed)?,
    })
}
