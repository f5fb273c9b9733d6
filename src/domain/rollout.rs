//! The plan of a rollout: stages of a growing share, what each may cost, and when waiting ends.

use super::duration_text;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The least time a stage may take before it is given up, where the plan does not say.
const SHORTEST_DEADLINE: Duration = Duration::from_secs(86_400);
/// A stage may take this many times as long as it should at least, where the plan does not say.
const PATIENCE: u32 = 10;
/// After a disturbance a stage must run on undisturbed for this long, or for its whole time when that is shorter.
const STEADY: Duration = Duration::from_secs(600);

/// What the candidate may cost in one stage; reaching one of these holds the rollout.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Budget {
    /// Distinct units that may see the candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_units: Option<u64>,
    /// Requests that the candidate may answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u64>,
    /// What its requests may cost, in USD: the sum of the reported `cost_usd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost_usd: Option<f64>,
}

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
    /// What the candidate may cost in it.
    #[serde(flatten)]
    pub budget: Budget,
}

impl Stage {
    /// How long it must have run since it was last disturbed.
    #[must_use]
    pub fn steady(&self) -> Duration {
        self.duration.min(STEADY)
    }
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
    /// The longest that one stage may take, pauses included; a stage that takes longer freezes. Absent: ten times the
    /// stage's own time, and a day at least.
    #[serde(
        default,
        with = "duration_text::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub deadline: Option<Duration>,
}

impl RolloutPlan {
    /// The longest that `stage` may take, pauses included.
    ///
    /// ```
    /// use serin::domain::rollout::RolloutPlan;
    /// use std::time::Duration;
    /// let plan: RolloutPlan = serde_json::from_str(r#"{"stages": [{"share": 0.1, "for": "15m"}, {"share": 1, "for": "7d"}]}"#)?;
    /// let day = Duration::from_secs(86_400);
    /// assert_eq!([0, 1].map(|stage| plan.deadline(&plan.stages[stage])), [day, 70 * day]);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn deadline(&self, stage: &Stage) -> Duration {
        self.deadline
            .unwrap_or_else(|| stage.duration.saturating_mul(PATIENCE).max(SHORTEST_DEADLINE))
    }

    /// The stage at a place; the last one where the plan has become shorter than that.
    #[must_use]
    pub fn stage(&self, place: usize) -> Option<&Stage> {
        self.stages.get(place).or_else(|| self.stages.last())
    }
}

/// What a freeze does to units that are in the middle of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Revert {
    /// Everyone gets control's version with the next request.
    #[default]
    Kill,
    /// A request that shows the receipt of its conversation keeps its version while that receipt is young.
    Drain,
}

impl Revert {
    /// Whether it moves everyone at once, which need not be written down.
    #[must_use]
    pub fn is_kill(&self) -> bool {
        *self == Self::Kill
    }
}

/// How long a receipt keeps its version after a freeze, where the design says `drain` and not how long.
pub const DRAIN_FOR: Duration = Duration::from_secs(600);

/// Requests without any outcome since the last one from which silence means something: a single user may just leave.
pub const LEAST_UNREPORTED: u32 = 10;

/// How long silence is borne: an arm is served and nothing is reported of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// After this the rollout holds.
    pub hold_after: Duration,
    /// After this it freezes.
    pub freeze_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            hold_after: Duration::from_secs(60),
            freeze_after: Duration::from_secs(600),
        }
    }
}
