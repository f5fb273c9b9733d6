//! Whether what was decided is reported back, as it is shown. The guardrails fill it in; nothing is computed here.

use super::{ByVariant, Figure};
use crate::domain::{
    guardrail::{Limit, Verdict},
    id::VariantName,
};
use serde::Serialize;

/// What became of the requests of every arm since the guardrails' evidence began.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportingStatus {
    /// Every variant of the design, control first.
    pub variants: ByVariant<ArmReportingStatus>,
    /// What watching for silence finds, for every candidate; empty where nothing depends on outcomes.
    pub outcome_missing: Vec<SilenceStatus>,
}

/// The requests of one arm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArmReportingStatus {
    /// Those that are old enough to have been reported: by one to two minutes.
    pub requests: u64,
    /// Those among them that nothing was reported for.
    pub missing: u64,
    /// `missing` per `requests`, in [0, 1].
    pub missing_share: Figure<f64>,
    /// How long after their decision 99 % of the receipts that reported did so, in seconds, to the next power of two.
    pub delay_p99_s: Figure<u32>,
}

/// Whether a candidate's requests go unreported more than control's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SilenceStatus {
    /// The candidate.
    pub variant: VariantName,
    /// Where harm starts: an excess over control's share.
    pub limit: Limit,
    /// The answer.
    pub state: Verdict,
    /// How far the evidence has come: 0 is none, 1 is a breach; never outside.
    pub evidence: f64,
    /// Whether a guardrail of the design asks for it; otherwise it has a small budget of its own.
    pub declared: bool,
}
