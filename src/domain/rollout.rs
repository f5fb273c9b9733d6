//! The plan of a rollout: stages of a growing share.

use super::duration_text;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One step of a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Canary: the last variant's share of the enrolled units. Experiment: the enrolled share. In (0, 1].
    pub share: f64,
    /// The least time the stage lasts.
    #[serde(rename = "for", with = "duration_text")]
    pub duration: Duration,
    /// The least number of outcomes of each arm before the next stage.
    #[serde(default)]
    pub min_outcomes: u64,
}

/// What happens after the last stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum OnComplete {
    /// Deploy the candidate.
    Promote,
    /// Wait for a person.
    #[default]
    Hold,
}

/// The whole plan; stages never shrink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutPlan {
    /// In order, at least one.
    pub stages: Vec<Stage>,
    /// What happens after the last stage.
    #[serde(default)]
    pub on_complete: OnComplete,
}
