//! What is measured: metrics as declared, and the measures an experiment counts.

use super::id::{AttributeName, MetricKey, MetricName};
use serde::{Deserialize, Serialize};

/// Values beyond ± this are refused, so that sums and squares of them stay finite and exact enough.
pub const LARGEST_VALUE: f64 = 1e15;

/// What a metric's values look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricKind {
    /// Yes or no per request: `true`/`false`, or 1/0.
    Rate,
    /// A number per request.
    Mean,
}

/// Which direction is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// Higher is better.
    Increase,
    /// Lower is better.
    Decrease,
}

/// A metric as an experiment declares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricSpec {
    /// The name outcomes report it under.
    pub name: MetricName,
    /// Rate or mean.
    pub kind: MetricKind,
    /// The better direction.
    pub goal: Goal,
    /// The one metric the experiment is decided by.
    #[serde(default)]
    pub primary: bool,
    /// Means only: larger values are clipped to this before they are summed, and counted as clipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<f64>,
    /// What was known of the unit before the experiment, and goes along with the metric: its influence is taken out of
    /// the comparison (CUPED). A number, given as an attribute at decide time or under this name with the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covariate: Option<AttributeName>,
    /// The effect worth finding, as a share of control's mean; absent: [`EFFECT_WORTH_FINDING`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mde: Option<f64>,
    /// Differences up to this share of control's mean are as good as none; absent: the effect worth finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
}

/// The effect worth finding, as a share of control's mean, where a metric does not say.
pub const EFFECT_WORTH_FINDING: f64 = 0.05;

/// The most covariates the metrics of one experiment may have between them.
pub const MOST_COVARIATES: usize = 2;

/// What was known of a unit beforehand, by the place of the covariate among those of its experiment; none where it
/// was not given.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Covariates(pub [Option<f32>; MOST_COVARIATES]);

impl Covariates {
    /// With the covariate at `place` set, in the precision that travels; a number beyond ± [`LARGEST_VALUE`] or none
    /// at all is as if it had not been given.
    #[must_use]
    pub fn with(mut self, place: usize, number: Option<f64>) -> Self {
        if let Some(covariate) = self.0.get_mut(place) {
            let given = number
                .filter(|number| (-LARGEST_VALUE..=LARGEST_VALUE).contains(number))
                .map(|number| number as f32);
            *covariate = given;
        }
        self
    }
}

/// The metrics every experiment understands without declaring them, lower is better except for quality.
pub const BUILT_IN: [(&str, MetricKind, Goal); 7] = [
    ("fallback", MetricKind::Rate, Goal::Decrease),
    ("escalation", MetricKind::Rate, Goal::Decrease),
    ("manual_correction", MetricKind::Rate, Goal::Decrease),
    ("error", MetricKind::Rate, Goal::Decrease),
    ("latency_ms", MetricKind::Mean, Goal::Decrease),
    ("cost_usd", MetricKind::Mean, Goal::Decrease),
    ("quality", MetricKind::Mean, Goal::Increase),
];

/// What outcomes of deployed versions may report besides the built-in metrics: whether a request did what it was for.
/// Not built in for experiments, where it would take the key of a metric that some log has declared already.
pub const SUCCESS: (&str, MetricKind, Goal) = ("success", MetricKind::Rate, Goal::Increase);

/// Stands for [`SUCCESS`] among the deployed versions' metrics; their cells are nobody else's.
pub const SUCCESS_KEY: MetricKey = MetricKey(u16::MAX);

/// The built-in metrics with their keys, which are the same in every log.
pub fn built_in_keys() -> impl Iterator<Item = (MetricKey, (&'static str, MetricKind, Goal))> {
    (0..).map(MetricKey).zip(BUILT_IN)
}

/// Everything an outcome of a deployed version, outside any experiment, may report.
pub fn of_deployed() -> impl Iterator<Item = (MetricKey, (&'static str, MetricKind, Goal))> {
    built_in_keys().chain([(SUCCESS_KEY, SUCCESS)])
}

/// Built-in metrics that cannot be negative.
pub const NEVER_NEGATIVE: [&str; 2] = ["latency_ms", "cost_usd"];

/// Kind and goal of a built-in metric, or none for another name.
#[must_use]
pub fn built_in(name: &str) -> Option<(MetricKind, Goal)> {
    BUILT_IN
        .iter()
        .find(|(built_in, ..)| *built_in == name)
        .map(|&(_, kind, goal)| (kind, goal))
}

/// Where a measure's values come from.
#[derive(Debug, Clone, PartialEq)]
pub enum MeasureSource {
    /// The file's `[[metrics]]`.
    Declared {
        /// Whether the experiment is decided by it.
        primary: bool,
    },
    /// One of [`BUILT_IN`], counted when it is reported.
    BuiltIn,
    /// A number turned into a rate by a guardrail: 1 when the metric's value is above the limit.
    Above {
        /// The metric whose values are compared.
        metric: MetricName,
        /// The limit, in the metric's unit.
        limit: f64,
    },
}

/// One thing an experiment counts; each has cells of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// The number that stands for it in cells.
    pub key: MetricKey,
    /// Its name: the metric's, or `latency_ms>4000` for a number turned into a rate.
    pub name: String,
    /// Rate or mean.
    pub kind: MetricKind,
    /// The better direction.
    pub goal: Goal,
    /// Larger values are clipped to this.
    pub cap: Option<f64>,
    /// The place of its covariate among those of the experiment.
    pub covariate: Option<usize>,
    /// The effect worth finding, as a share of control's mean.
    pub mde: f64,
    /// Differences up to this share of control's mean are as good as none.
    pub margin: f64,
    /// Where its values come from.
    pub source: MeasureSource,
    /// Whether a guardrail watches it, so that its bad units are remembered. Always a rate where lower is better.
    pub guarded: bool,
}

/// The name of the rate "share of values above the limit".
#[must_use]
pub fn above_name(metric: &MetricName, limit: f64) -> String {
    format!("{metric}>{limit}")
}
