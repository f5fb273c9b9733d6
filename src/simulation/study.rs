//! The studies: what is asked, and by which name.
//!
//! Owns the list and the words; the studies themselves are in the modules beside it. Called by `serin simulate` and by
//! the calibration tests.

use super::{Plan, Row, SimulationError, comparison, day, freeze, ramp, rollout, split, traffic};

/// A question about the product's errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Study {
    /// Equal arms, looked at once.
    SameArms,
    /// Equal arms, looked at a hundred times.
    AlwaysValid,
    /// Different arms.
    OtherArms,
    /// A split that changes while the base drifts.
    Simpson,
    /// Guardrails over equal arms.
    FalseFreezes,
    /// Guardrails over a candidate that is worse.
    Delay,
    /// The check of the split.
    SampleRatio,
    /// Whole days of canaries.
    Rollout,
}

impl Study {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 8] = [
        Self::SameArms,
        Self::AlwaysValid,
        Self::OtherArms,
        Self::Simpson,
        Self::FalseFreezes,
        Self::Delay,
        Self::SampleRatio,
        Self::Rollout,
    ];

    /// The name people ask for it by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SameArms => "a-a",
            Self::AlwaysValid => "always-valid",
            Self::OtherArms => "a-b",
            Self::Simpson => "simpson",
            Self::FalseFreezes => "false-freezes",
            Self::Delay => "delay",
            Self::SampleRatio => "sample-ratio",
            Self::Rollout => "rollout",
        }
    }

    /// What it asks.
    #[must_use]
    pub fn question(self) -> &'static str {
        match self {
            Self::SameArms => "equal arms, one look at the end: how often is p below 0.05?",
            Self::AlwaysValid => {
                "equal arms, 100 looks: how often does the always-valid interval ever leave out 0?"
            }
            Self::OtherArms => {
                "different arms: do the intervals hold the true difference, and is the verdict right?"
            }
            Self::Simpson => "the split changes while the base drifts: is the comparison still right?",
            Self::FalseFreezes => {
                "equal arms, and halves of control, under a guardrail, looked at after every outcome: how often is one frozen?"
            }
            Self::Delay => {
                "a candidate worse than a base of 2 %, at a share of 5 %: how many of its requests until the freeze, in \
                 multiples of Wald's bound ln(1/α)/KL?"
            }
            Self::SampleRatio => "is a wrong split found, and a right one left alone?",
            Self::Rollout => {
                "a day of a canary of five stages: is a good one promoted, a bad one frozen, a silent one found out, and one \
                 that flaps kept where it is?"
            }
        }
    }

    /// Who comes, and what their requests bring.
    #[must_use]
    pub fn model(self) -> &'static str {
        match self {
            Self::Rollout => day::MODEL,
            _ => traffic::MODEL,
        }
    }

    /// What the method beside it does, where there is one.
    #[must_use]
    pub fn naively(self) -> Option<&'static str> {
        Some(match self {
            Self::SameArms | Self::OtherArms => "Welch's t-test over single requests",
            Self::AlwaysValid => "the interval for one look, at every look",
            Self::Simpson => "all requests of an arm in one sum",
            Self::FalseFreezes => "the same test over every bad outcome instead of each unit's first",
            Self::Delay | Self::Rollout => return None,
            Self::SampleRatio => "chi-square over requests instead of units",
        })
    }

    /// Makes the study.
    ///
    /// # Errors
    /// [`SimulationError`] when the product refuses what it should take.
    pub fn run(self, plan: &Plan<'_>) -> Result<Vec<Row>, SimulationError> {
        match self {
            Self::SameArms => comparison::same_arms(plan),
            Self::AlwaysValid => comparison::always_valid(plan),
            Self::OtherArms => comparison::other_arms(plan),
            Self::Simpson => ramp::study(plan),
            Self::FalseFreezes => freeze::false_freezes(plan),
            Self::Delay => freeze::delay(plan),
            Self::SampleRatio => split::study(plan),
            Self::Rollout => rollout::study(plan),
        }
    }
}
