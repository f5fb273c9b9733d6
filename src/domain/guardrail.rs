//! Guardrails: a metric with a bound that must hold while an experiment runs, and the evidence of a breach.

use super::{
    Timestamp, duration_text,
    id::{Epoch, MetricName, VariantName},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The false-freeze budget of one candidate version, shared by its guardrails.
pub const ALPHA: f64 = 0.01;
/// The rate ratio that must be ruled out before a stage may pass, where a guardrail does not say.
pub const MARGIN: f64 = 2.0;
/// The chance with which a candidate at the margin may pass, over the whole rollout.
pub const RULED_OUT_ALPHA: f64 = 0.05;
/// Below this share of units with a bad outcome no ratio is asked for before a stage passes.
pub const RARE: f64 = 0.01;
/// The share of requests of which nothing is reported, of which every experiment knows. Its limit is an excess, because
/// what reports nothing has a rate of 100 % soon, and control's may be 0.
pub const OUTCOME_MISSING: &str = "outcome_missing";
/// Harm starts where this much more of the candidate's requests than of control's go unreported, where no guardrail says.
pub const MISSING_EXCESS: f64 = 0.05;
/// What watching for silence may cost in false freezes where no guardrail asks for it, besides [`ALPHA`].
pub const MISSING_ALPHA: f64 = 0.001;
/// A request may have gone unreported from this age on, and has at twice this age, in seconds.
pub const MISSING_AFTER_S: u32 = 60;
/// Requests of each arm that must be that old before their silence is judged.
pub const MISSING_LEAST_REQUESTS: u64 = 100;
/// Groups of units of each arm, in effect, from which the error of a share of silent requests is believed.
pub const MISSING_LEAST_GROUPS: f64 = 30.0;
/// A freeze needs at least this many distinct bad units of the candidate.
pub const LEAST_BAD_UNITS: u64 = 5;

/// The bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Harm starts at this multiple of control's rate at the same time; in (1, 16).
    MaxRatio(f64),
    /// Harm starts at this rate, whatever control does; in (0, 1).
    MaxRate(f64),
    /// Harm starts where the candidate's rate is this much above control's; in (0, 1). Only for [`OUTCOME_MISSING`].
    MaxExcess(f64),
}

/// What a breach does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBreach {
    /// Stop the rollout and give every unit control's version.
    Freeze,
    /// Keep the split, advance nothing.
    Hold,
    /// Only say so.
    Alert,
}

/// A guardrail as an experiment declares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuardrailSpec {
    /// The metric; a rate where lower is better, or a number together with `above`.
    pub metric: MetricName,
    /// Turns a number into a rate: the share of values above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// The bound.
    #[serde(flatten)]
    pub limit: Limit,
    /// The rate ratio that must be ruled out before a stage may pass, for `max_ratio`; absent: [`MARGIN`], or `max_ratio`
    /// where that is larger. In (1, 16].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// What a breach does; absent: freeze, and for `max_rate` hold while control breaches the same limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_breach: Option<OnBreach>,
    /// The age at which an assignment enters the test.
    #[serde(default, with = "duration_text")]
    pub settle: Duration,
}

impl GuardrailSpec {
    /// The name of the measure whose bad units are counted: the metric, or `latency_ms>4000`.
    #[must_use]
    pub fn measure_name(&self) -> String {
        self.above.map_or_else(
            || self.metric.to_string(),
            |limit| super::metric::above_name(&self.metric, limit),
        )
    }
}

/// A guardrail's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Data on both arms and no sign of harm that would matter.
    Pass,
    /// Harm is proved.
    Breach,
    /// Too little data to say; never a pass.
    Inconclusive,
    /// One arm has no data at all; never a pass.
    NoData,
}

/// What was counted on one arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmCounts {
    /// The arm.
    pub variant: VariantName,
    /// Distinct units with at least one bad outcome.
    pub bad_units: u64,
    /// Reported outcomes of the metric.
    pub observations: u64,
    /// Bad outcomes per reported outcome; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
}

/// Everything a person needs to understand a breach, stored in the event word for word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Breach {
    /// The guardrail's name: its measure.
    pub guardrail: String,
    /// Its bound.
    pub limit: Limit,
    /// What it does on a breach, as decided for this breach.
    pub action: OnBreach,
    /// The control arm's counts.
    pub control: ArmCounts,
    /// The candidate arm's counts.
    pub candidate: ArmCounts,
    /// The candidate's share of the two arms when it crossed.
    pub share: f64,
    /// Natural logarithm of the e-value.
    pub log_e: f64,
    /// The logarithm at which it freezes: ln(guardrails / alpha).
    pub log_threshold: f64,
    /// The false-freeze budget.
    pub alpha: f64,
    /// The epoch it was found in.
    pub epoch: Epoch,
    /// When the evidence began to be gathered.
    pub evidence_since: Timestamp,
    /// When the limit was crossed.
    pub crossed_at: Timestamp,
    /// The process that found it.
    pub replica: String,
}
