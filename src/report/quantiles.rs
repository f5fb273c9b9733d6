//! Medians and slow ends: quantiles of each arm, and their differences.
//!
//! Quantiles are of requests. That users come back is made up for by dividing the number of requests by the design
//! effect of the mean, which is right in size and not exact; so these figures inform, and no verdict is made of them.

use super::{ALPHA, Figure};
use crate::stats::{
    Undefined,
    quantile::{self, OpenInterval, Sketch},
};
use serde::Serialize;

/// The quantiles that are shown.
const SHOWN: [f64; 3] = [0.5, 0.95, 0.99];

/// One quantile of an arm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantileFigures {
    /// Which one, in (0, 1): 0.5 is the median.
    pub q: f64,
    /// The quantile of the raw values, within 1 %.
    pub value: Figure<f64>,
    /// Its 95 % interval.
    pub ci: Figure<(f64, f64)>,
}

/// One quantile of an arm minus the same one of control.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantileDifferenceFigures {
    /// Which one, in (0, 1).
    pub q: f64,
    /// The arm's minus control's.
    pub difference: Figure<f64>,
    /// The interval of the difference, of at least 95 %.
    pub ci: Figure<(f64, f64)>,
}

/// A distribution, and how much larger than that of independent requests the variance of its mean is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Distribution<'a> {
    pub(super) sketch: &'a Sketch,
    /// At least 1.
    pub(super) design_effect: f64,
}

/// The quantiles of one arm.
pub(super) fn of_arm(arm: Distribution<'_>) -> Vec<QuantileFigures> {
    let of = |q| QuantileFigures {
        q,
        value: Figure::of(arm.sketch.quantile(q)),
        ci: closed(arm.sketch.interval(q, ALPHA, arm.design_effect)),
    };
    SHOWN.map(of).into()
}

/// The differences of the quantiles of two arms.
pub(super) fn differences(
    control: Distribution<'_>,
    arm: Distribution<'_>,
) -> Vec<QuantileDifferenceFigures> {
    let of = |q| {
        let effects = (control.design_effect, arm.design_effect);
        let difference = quantile::compare(control.sketch, arm.sketch, q, ALPHA, effects);
        QuantileDifferenceFigures {
            q,
            difference: Figure::of(difference.as_ref().map(|found| found.difference)),
            ci: closed(difference.map(|found| found.ci)),
        }
    };
    SHOWN.map(of).into()
}

/// An interval with both ends, or why it lacks one.
fn closed(interval: Result<OpenInterval, Undefined>) -> Figure<(f64, f64)> {
    match interval {
        Ok((Some(low), Some(high))) => Figure::Known((low, high)),
        Ok(_) => Figure::undefined("collecting: too few values lie beyond it to enclose it"),
        Err(reason) => Figure::of(Err(reason)),
    }
}
