//! The figures of one metric as they are shown: each arm by itself, and each against control.

use super::{
    Figure,
    quantiles::{QuantileDifferenceFigures, QuantileFigures},
};
use crate::domain::{
    id::VariantName,
    metric::{Goal, MetricKind},
};
use serde::Serialize;

/// One metric of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricReport {
    /// Its name.
    pub metric: String,
    /// Rate or mean.
    pub kind: MetricKind,
    /// The better direction.
    pub goal: Goal,
    /// Whether the experiment is decided by it.
    pub primary: bool,
    /// Differences up to this share of control's mean are as good as none.
    pub margin: f64,
    /// The arms, control first.
    pub variants: Vec<VariantFigures>,
}

/// One arm of one metric, over all epochs in which units were split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VariantFigures {
    /// The arm.
    pub variant: VariantName,
    /// How many values were counted.
    pub n: u64,
    /// Their mean; of a rate the share of ones.
    pub mean: Figure<f64>,
    /// The standard error of the mean, with units as clusters.
    pub se: Figure<f64>,
    /// The 95 % interval of the mean.
    pub ci: Figure<(f64, f64)>,
    /// Distinct units that reported, estimated from the buckets they filled; a lower bound where all are full.
    pub units: f64,
    /// How many clusters of equal size would say as much.
    pub n_eff: Figure<f64>,
    /// How many times larger the variance is than if every request were a unit of its own: one request counts as
    /// 1/`design_effect`.
    pub design_effect: Figure<f64>,
    /// The share of the variance that comes from the one bucket with the most: from 0.1 on a single unit may rule the
    /// comparison, and the metric wants a cap.
    pub heaviest_bucket: Figure<f64>,
    /// The share of values that were clipped to the metric's cap; none for a metric without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clipped: Option<f64>,
    /// Median, 95th and 99th percentile of the raw values; empty for a rate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<QuantileFigures>,
    /// Against control; none for control itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vs_control: Option<VersusControl>,
}

/// One arm against control. Differences are the arm's minus control's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersusControl {
    /// In the unit of the metric, from the first values on.
    pub difference: Figure<f64>,
    /// The 95 % interval of the difference, for a size of sample that was fixed beforehand.
    pub ci: Figure<(f64, f64)>,
    /// The difference divided by control's mean.
    pub relative: Figure<f64>,
    /// Its 95 % interval (Fieller), which excludes 0 exactly when `p` is below 0.05.
    pub relative_ci: Figure<(f64, f64)>,
    /// The difference in standard errors.
    pub t: Figure<f64>,
    /// Degrees of freedom of the t distribution it refers to.
    pub dof: Figure<f64>,
    /// The two-sided p-value, for a size of sample that was fixed beforehand.
    pub p: Figure<f64>,
    /// The same after correction for several comparisons: Holm over the variants for the primary metric,
    /// Benjamini–Hochberg over all comparisons of the other ones.
    pub p_adjusted: Figure<f64>,
    /// The difference in standard deviations of single requests (Cohen's d).
    pub effect_size: Figure<f64>,
    /// What holds however often somebody looks.
    pub always_valid: AlwaysValidFigures,
    /// The probability that the arm is better than control, given these data and no opinion beforehand. Not protected
    /// against looking often.
    pub chance_to_beat: Figure<f64>,
    /// What is lost on average by choosing the arm, in the unit of the metric.
    pub expected_loss: Figure<f64>,
    /// What follows, from the corrected always-valid figures alone.
    pub verdict: Decision,
    /// What the comparison can find, and when.
    pub power: PowerFigures,
    /// The same comparison without what the covariate explains; none for a metric without a covariate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuped: Option<AdjustedFigures>,
    /// How far the quantiles lie from control's, of the stretch of one split with the most data; empty for a rate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<QuantileDifferenceFigures>,
}

/// Figures that stay valid at every look.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlwaysValidFigures {
    /// The 95 % interval of the difference.
    pub ci: Figure<(f64, f64)>,
    /// The p-value at this look.
    pub p: Figure<f64>,
    /// The same after correction for several comparisons: Holm over the variants for the primary metric, e-BH over
    /// all comparisons of the other ones.
    pub p_adjusted: Figure<f64>,
    /// Natural logarithm of the evidence against "no difference"; what the corrections work with.
    #[serde(skip)]
    pub(super) log_e: Option<f64>,
}

/// A comparison adjusted by a covariate (CUPED): what was known of the units beforehand is taken out, which makes the
/// error smaller and leaves the difference as it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdjustedFigures {
    /// The arm's minus control's, in the unit of the metric.
    pub difference: Figure<f64>,
    /// Its 95 % interval, for a size of sample that was fixed beforehand.
    pub ci: Figure<(f64, f64)>,
    /// The two-sided p-value, likewise.
    pub p: Figure<f64>,
    /// What holds however often somebody looks.
    pub always_valid: AlwaysValidFigures,
    /// The share of the variance that is gone: of the traffic that is saved.
    pub variance_saved: Figure<f64>,
    /// The shares of values that came with the covariate, of control and of the arm.
    pub covered: (f64, f64),
    /// What follows from the adjusted always-valid interval alone.
    pub verdict: Decision,
}

/// What a comparison can find, and when, at a power of 80 %.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PowerFigures {
    /// The smallest difference the always-valid interval would exclude now, in the unit of the metric.
    pub detectable: Figure<f64>,
    /// The same as a share of control's mean.
    pub detectable_relative: Figure<f64>,
    /// The effect worth finding, as a share of control's mean.
    pub worth_finding: f64,
    /// Days of traffic as it was so far until an effect worth finding would be found; 0 when it would be now.
    pub days_left: Figure<f64>,
}

/// What is known about an arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Better than control.
    Better,
    /// Worse than control.
    Worse,
    /// No difference larger than the margin.
    NoDifference,
    /// Not known yet.
    NotYet,
}
