//! The mathematics of comparing two prompts, and nothing else.
//!
//! This module owns the formulas: sums of an arm go in, a figure or the reason why there is none comes out.
//! It never reads a clock, a store or a setting, knows no experiments or variants, keeps no state between
//! calls, never returns NaN and never panics. `report` calls it to say which version is better, `guardrails`
//! to decide whether a candidate is worse, and `collector` stores the values it takes.
//!
//! In reading order: [`distribution`] has the tails and quantiles; [`moments`] the sums of independent
//! values; [`cluster`] the sums of units that come back many times, which is what traffic looks like;
//! [`difference`] what a comparison of two arms says, and how epochs are combined; [`lift`] the same relative
//! to control; [`sequential`] the form that may be looked at every day; [`evidence`] the guardrail's test;
//! [`sample_ratio`] the check that the split was the one asked for; [`occupancy`] how many units filled so many
//! buckets; [`proportion`] the rates of independent units; [`multiple_testing`] what several comparisons at once do to
//! their p-values; [`bayesian`] the chance to beat control and what a wrong choice costs; [`quantile`] a sketch of a
//! distribution, and the quantiles read from it; [`cuped`] a comparison sharpened by what was known before; [`power`]
//! how much traffic an answer needs.
//!
//! Conventions: control is A, treatment is B, every difference is B − A and every lift B/A − 1. `alpha` is
//! the two-sided error rate, in (0, 1). Evidence is kept as natural logarithms.

pub mod bayesian;
pub mod cluster;
pub mod cuped;
pub mod difference;
pub mod distribution;
pub mod evidence;
pub mod lift;
pub mod moments;
pub mod multiple_testing;
pub mod occupancy;
pub mod power;
pub mod proportion;
pub mod quantile;
pub mod sample_ratio;
pub mod sequential;

#[cfg(test)]
mod calibration;

/// Why a figure cannot be had.
///
/// An absent figure is a value of its own: it is neither "no difference" nor a pass, and a caller must say
/// so.
///
/// ```
/// use serin::stats::Undefined;
/// let reason = Undefined::InsufficientData { what: "clusters", have: 1.0, needed: 2.0 };
/// assert_eq!(reason.to_string(), "not enough data: 1 clusters, at least 2 needed");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Undefined {
    /// There are too few observations for the formula to have a value at all.
    #[error("not enough data: {have} {what}, at least {needed} needed")]
    InsufficientData {
        /// What is counted, in the plural.
        what: &'static str,
        /// How much of it there is.
        have: f64,
        /// The least amount with which the formula is defined.
        needed: f64,
    },
    /// The formula has a value, but one too unsteady to be shown to anyone.
    #[error("still collecting: {have} {what}, shown from {needed}")]
    Collecting {
        /// What is counted, in the plural.
        what: &'static str,
        /// How much of it there is.
        have: f64,
        /// The least amount from which the figure is shown.
        needed: f64,
    },
    /// Every value is the same, so no error can be estimated. This is not a p-value of zero.
    #[error("zero variance: all values are equal, so the error of the mean cannot be estimated")]
    ZeroVariance,
    /// Control's mean is zero, so nothing can be put in relation to it.
    #[error("control's mean is 0, so a lift relative to it does not exist")]
    NoControlEffect,
    /// An argument lies outside the domain of the formula.
    #[error("{what} is {value}, but must be {domain}")]
    OutOfDomain {
        /// The argument.
        what: &'static str,
        /// What was passed for it.
        value: f64,
        /// What is allowed.
        domain: &'static str,
    },
    /// The inputs are valid, but a result does not fit a 64-bit float.
    #[error("{what} is beyond the range of a 64-bit float")]
    Overflow {
        /// The result.
        what: &'static str,
    },
}

/// Refuses an error rate outside (0, 1), which would turn every later figure into nonsense.
fn check_alpha(alpha: f64) -> Result<(), Undefined> {
    if alpha > 0.0 && alpha < 1.0 {
        Ok(())
    } else {
        Err(Undefined::OutOfDomain {
            what: "alpha",
            value: alpha,
            domain: "between 0 and 1",
        })
    }
}

/// Refuses what must be a size, an error or an effect and is not.
fn check_positive(what: &'static str, value: f64) -> Result<(), Undefined> {
    if value > 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(Undefined::OutOfDomain {
            what,
            value,
            domain: "finite and greater than 0",
        })
    }
}

/// Lets a value pass only when it is finite, so that neither NaN nor infinity leaves the module unnoticed.
fn finite(what: &'static str, value: f64) -> Result<f64, Undefined> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Undefined::Overflow { what })
    }
}
