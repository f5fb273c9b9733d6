//! Comparisons sharpened by what was known of the units before the experiment (CUPED).
//!
//! Owns the adjustment: the outcome less θ times a covariate, where θ is chosen to leave as little variance as
//! possible. The covariate must come from before the experiment, or be something that no version can change;
//! nothing here can check that, and with any other covariate the effect itself is adjusted away. Called by a
//! report for metrics whose events carry a covariate.
//!
//! [`units`] is for one row per unit, [`buckets`] for ratios of sums over units that come back. The form to
//! report is [`buckets::compare`], which uses the safe standard error.
//!
//! Source: Deng, Xu, Kohavi & Walker (2013), "Improving the sensitivity of online controlled experiments by
//! utilizing pre-experiment data", doi:10.1145/2433396.2433413. θ is estimated from the same data, which
//! biases the difference by less the more units there are, and is not paid for in degrees of freedom.

pub mod buckets;
pub mod units;

use super::difference::Difference;
use super::finite;

/// A covariate, or an adjusted outcome, whose spread is below this share of its size is constant: what is left
/// is rounding. As for clusters.
const ROUNDING: f64 = 1e-13;

/// A comparison of adjusted means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adjusted {
    /// The comparison. Its means are those of the outcome at the covariate's mean over both arms.
    pub difference: Difference,
    /// θ, in units of the outcome per unit of the covariate; 0 when the covariate is constant.
    pub theta: f64,
    /// 1 − V_adjusted/V_unadjusted: the share of traffic the adjustment saves. At most 1; slightly below 0 when
    /// the covariate says nothing.
    pub variance_reduction: f64,
}

impl Adjusted {
    fn new(difference: Difference, theta: f64, unadjusted_se: f64) -> Result<Adjusted, super::Undefined> {
        let ratio = difference.se / unadjusted_se;
        Ok(Adjusted {
            difference,
            theta: finite("theta", theta)?,
            variance_reduction: finite("the variance reduction", 1.0 - ratio * ratio)?,
        })
    }
}

/// `sum` of squares (or products), or 0 where it is no more than the rounding of values whose squares add up
/// to `magnitude`.
fn without_rounding(sum: f64, magnitude: f64) -> f64 {
    if sum <= ROUNDING * ROUNDING * magnitude {
        0.0
    } else {
        sum
    }
}
