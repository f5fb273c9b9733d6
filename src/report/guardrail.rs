//! What a guardrail found, as it is shown. The guardrails fill it in; nothing is computed here.

use super::Figure;
use crate::domain::{
    guardrail::{Limit, OnBreach, Verdict},
    id::{MetricName, VariantName},
};
use serde::Serialize;

/// A guardrail and one candidate it watches.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GuardrailStatus {
    /// The metric.
    pub metric: MetricName,
    /// The bound.
    pub limit: Limit,
    /// The value above which an outcome of a number counts as bad; none for a rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// The answer.
    pub state: Verdict,
    /// How far the evidence has come: 0 is none, 1 is a breach; never outside.
    pub evidence: Figure<f64>,
    /// The control arm.
    pub control: ControlStatus,
    /// The candidate arm.
    pub candidate: CandidateStatus,
    /// The guardrail's name, unlike those of the experiment's other ones: in breaches, logs and metrics it is this one.
    pub name: String,
    /// What a breach does.
    pub on_breach: OnBreach,
    /// Bounds on the candidate's rate as a multiple of control's, valid at every look; none where the guardrail has
    /// no such form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_ci: Option<Figure<(f64, f64)>>,
}

/// The same test between two hidden halves of control, which get the same prompt: whatever it finds is a false alarm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AaStatus {
    /// The guardrail's name.
    pub guardrail: String,
    /// How far the evidence has come, on the guardrail's scale: at 1 a candidate would be frozen; in [0, 1].
    pub evidence: f64,
    /// Whether a candidate would have been frozen on it since the evidence began.
    pub would_have_frozen: bool,
    /// Distinct bad units of the two halves.
    pub bad_units: [u64; 2],
    /// Bounds on the second half's rate as a multiple of the first's, valid at every look.
    pub ratio_ci: Figure<(f64, f64)>,
}

/// What was counted on the control arm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ControlStatus {
    /// Distinct units with at least one bad outcome.
    pub bad_units: u64,
    /// Bad outcomes per reported outcome, in [0, 1].
    pub rate: Figure<f64>,
}

/// What was counted on the candidate's arm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CandidateStatus {
    /// Which arm it is.
    pub variant: VariantName,
    /// Distinct units with at least one bad outcome.
    pub bad_units: u64,
    /// Bad outcomes per reported outcome, in [0, 1].
    pub rate: Figure<f64>,
}
