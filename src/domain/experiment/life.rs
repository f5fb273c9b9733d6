//! The life of an experiment: the states, why it waits, why it was frozen, how far a rollout has come, how it ended.

use crate::domain::{
    Timestamp,
    guardrail::Breach,
    id::{Revision, VariantName, VersionNumber},
};
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// Where an experiment is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Designed, not started.
    Draft,
    /// To start at its time.
    Scheduled,
    /// Live.
    Running,
    /// Live; the split stays, nothing advances.
    Holding,
    /// Every unit gets control's version; latched until a person resumes.
    Frozen,
    /// The candidate was deployed.
    Promoted,
    /// Over; everyone gets the deployed version.
    Stopped,
}

impl State {
    /// All of them, for one-hot metrics.
    pub const ALL: [Self; 7] = [
        Self::Draft,
        Self::Scheduled,
        Self::Running,
        Self::Holding,
        Self::Frozen,
        Self::Promoted,
        Self::Stopped,
    ];

    /// The name in JSON, metrics and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Holding => "holding",
            Self::Frozen => "frozen",
            Self::Promoted => "promoted",
            Self::Stopped => "stopped",
        }
    }

    /// Whether units are being split.
    #[must_use]
    pub fn splits(self) -> bool {
        matches!(self, Self::Running | Self::Holding)
    }

    /// Whether it takes part in decisions at all.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(
            self,
            Self::Scheduled | Self::Running | Self::Holding | Self::Frozen
        )
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a rollout keeps its split and advances nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldCause {
    /// A person asked for it.
    Manual,
    /// A guardrail whose breach holds.
    Guardrail,
    /// The stage's time is over and an arm has fewer outcomes than it needs.
    InsufficientSamples,
    /// The stage's time is over and a harm that would matter is still possible.
    HarmNotRuledOut,
    /// An arm is served and reports nothing.
    NoData,
    /// Units were not split as asked.
    Srm,
    /// Outcomes cannot be stored here.
    StaleStore,
    /// One arm's outcomes come much later than the other's.
    DelaySkew,
    /// The candidate has cost what the stage allows.
    Budget,
    /// The last stage has passed and a person is to decide.
    Complete,
}

impl HoldCause {
    /// All of them, for one-hot metrics.
    pub const ALL: [Self; 10] = [
        Self::Manual,
        Self::Guardrail,
        Self::InsufficientSamples,
        Self::HarmNotRuledOut,
        Self::NoData,
        Self::Srm,
        Self::StaleStore,
        Self::DelaySkew,
        Self::Budget,
        Self::Complete,
    ];

    /// The name in JSON, metrics and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Guardrail => "guardrail",
            Self::InsufficientSamples => "insufficient_samples",
            Self::HarmNotRuledOut => "harm_not_ruled_out",
            Self::NoData => "no_data",
            Self::Srm => "srm",
            Self::StaleStore => "stale_store",
            Self::DelaySkew => "delay_skew",
            Self::Budget => "budget",
            Self::Complete => "complete",
        }
    }

    /// Whether it ends as soon as its cause is gone; the others end when a person says so.
    ///
    /// Such a hold begins no epoch: the split is the same one, and a cause that comes and goes must not make new cells
    /// each time.
    #[must_use]
    pub fn clears_itself(self) -> bool {
        match self {
            Self::InsufficientSamples
            | Self::HarmNotRuledOut
            | Self::NoData
            | Self::Srm
            | Self::StaleStore
            | Self::DelaySkew
            | Self::Budget => true,
            Self::Manual | Self::Guardrail | Self::Complete => false,
        }
    }

    /// Whether the stage only takes longer than planned. Anything else is a disturbance, after which a stage must run
    /// on for a while before it counts as passed.
    #[must_use]
    pub fn only_waits(self) -> bool {
        matches!(
            self,
            Self::InsufficientSamples | Self::HarmNotRuledOut | Self::Complete
        )
    }
}

impl fmt::Display for HoldCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A hold as it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hold {
    /// Why.
    pub cause: HoldCause,
    /// Since when.
    pub since: Timestamp,
    /// In words.
    pub reason: String,
}

/// How far a rollout has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The stage in force, from 0. Of an experiment without stages always 0.
    pub stage: usize,
    /// When it began.
    pub since: Timestamp,
    /// What it has run until it was last held.
    served_before: Duration,
    /// Since when it runs; none while it is held.
    running_since: Option<Timestamp>,
    /// When its last disturbance ended.
    pub disturbed_until: Option<Timestamp>,
    /// Whether a person let it go on although its budget was spent.
    pub budget_waived: bool,
}

impl Progress {
    /// A stage that begins to run.
    #[must_use]
    pub fn begun(stage: usize, at: Timestamp) -> Self {
        Self {
            stage,
            since: at,
            served_before: Duration::ZERO,
            running_since: Some(at),
            disturbed_until: None,
            budget_waived: false,
        }
    }

    /// How long the stage has run, without its holds.
    #[must_use]
    pub fn served(&self, now: Timestamp) -> Duration {
        self.served_before
            + self
                .running_since
                .map_or(Duration::ZERO, |since| elapsed(since, now))
    }

    /// Stops the stage's clock.
    pub fn pause(&mut self, at: Timestamp) {
        self.served_before = self.served(at);
        self.running_since = None;
    }

    /// Lets it go on.
    pub fn go_on(&mut self, at: Timestamp, after: HoldCause) {
        self.running_since.get_or_insert(at);
        if !after.only_waits() {
            self.disturbed_until = Some(at);
        }
    }
}

/// The time from one moment to another; none when the clock went back.
pub(super) fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

/// Why an experiment is frozen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FreezeCause {
    /// A guardrail was breached.
    Guardrail(Box<Breach>),
    /// A person asked for it.
    Manual,
    /// An arm was served and reported nothing, for so long that nobody could know what it did.
    Blind {
        /// The arm.
        variant: VariantName,
        /// The first request since its last outcome.
        since: Timestamp,
    },
    /// A stage did not pass in the time it had.
    Deadline {
        /// The stage, from 0.
        stage: usize,
        /// When it began.
        since: Timestamp,
        /// What it waited for at last; none when it was running.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waited_for: Option<HoldCause>,
    },
    /// The prompt was rolled back in its environment, and everyone gets what is deployed there.
    RolledBack {
        /// What is deployed.
        version: VersionNumber,
    },
}

impl FreezeCause {
    /// A short word for metrics: the guardrail's name, `manual`, `blind`, `deadline` or `rolled_back`.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Guardrail(breach) => &breach.guardrail,
            Self::Manual => "manual",
            Self::Blind { .. } => "blind",
            Self::Deadline { .. } => "deadline",
            Self::RolledBack { .. } => "rolled_back",
        }
    }
}

/// A freeze as it happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FreezeRecord {
    /// The log entry.
    pub revision: Revision,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// In words.
    pub reason: String,
    /// With the whole evidence.
    pub cause: FreezeCause,
}

/// What came of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conclusion {
    /// The candidate is deployed.
    Ship,
    /// Control's version stays, because the candidate was worse.
    Revert,
    /// Neither was shown to be better.
    Inconclusive,
}

impl Conclusion {
    /// All of them, with their names in JSON and messages.
    pub const ALL: [(&'static str, Self); 3] = [
        ("ship", Self::Ship),
        ("revert", Self::Revert),
        ("inconclusive", Self::Inconclusive),
    ];
}

/// An experiment's end as it happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConclusionRecord {
    /// What came of it.
    pub conclusion: Conclusion,
    /// The log entry.
    pub revision: Revision,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// In words.
    pub reason: String,
    /// The results as they were: the answer of `GET …/results` at that moment; none where nobody could make it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results: Option<serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_stage_s_clock_stands_still_while_it_is_held() {
        let mut progress = Progress::begun(1, at(100));
        progress.pause(at(160));
        assert_eq!(progress.served(at(1_000)), Duration::from_secs(60));
        progress.go_on(at(1_000), HoldCause::InsufficientSamples);
        assert_eq!(progress.served(at(1_010)), Duration::from_secs(70));
        assert_eq!(progress.disturbed_until, None, "too little data disturbs nothing");
        progress.pause(at(1_020));
        progress.pause(at(1_030));
        progress.go_on(at(1_100), HoldCause::NoData);
        assert_eq!(progress.served(at(1_100)), Duration::from_secs(80));
        assert_eq!(progress.disturbed_until, Some(at(1_100)));
        assert_eq!(
            progress.served(at(900)),
            Duration::from_secs(80),
            "a clock that goes back takes nothing"
        );
    }
}
