//! What happened: past tense, applied and never judged; the stored, versioned format of the control log.

use super::{
    Timestamp,
    allocation::Holdout,
    command::Idempotency,
    duration_text,
    experiment::{Conclusion, ExperimentSpec, FreezeCause, HoldCause, PinnedVersion},
    guardrail::{Breach, Limit},
    id::{
        Environment, ExperimentId, ExperimentKey, LabelName, PromptKey, PromptName, Revision, VariantName,
        VersionNumber,
    },
    prompt::{Basis, EvaluationBundle, Gate, PromptVersion, Review},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The version of the event format that is written today. Format 1 knows no stages that advance, no causes of a hold and
/// no conclusions. Format 2 knows no prompts inside prompts, no evidence, no gates and no rollbacks: whoever reads no
/// more would serve tags as text.
pub const FORMAT: u32 = 3;

/// What a stage that passed rests on: enough to explain it years later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageEvidence {
    /// The stage that passed, from 0.
    pub stage: usize,
    /// How long it ran, without its holds.
    #[serde(with = "duration_text")]
    pub served: Duration,
    /// What each arm was given and reported in it, control first.
    pub arms: Vec<StageArm>,
    /// What its guardrails had found.
    pub guardrails: Vec<StageGuardrail>,
}

/// One arm in a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageArm {
    /// The arm.
    pub variant: VariantName,
    /// Requests it answered.
    pub requests: u64,
    /// Outcomes reported of them.
    pub outcomes: u64,
}

/// One guardrail at the end of a stage, for one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageGuardrail {
    /// Its name.
    pub guardrail: String,
    /// The candidate.
    pub variant: VariantName,
    /// Its bound.
    pub limit: Limit,
    /// Evidence of harm: 0 is none, 1 would have been a breach.
    pub evidence: f64,
    /// The harm that is ruled out, in words; none for a guardrail that only alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruled_out: Option<String>,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A prompt version exists from now on.
    PromptRegistered {
        /// The prompt.
        prompt: PromptName,
        /// What stands for it in counters.
        key: PromptKey,
        /// The version.
        version: Arc<PromptVersion>,
    },
    /// An environment serves a version.
    PromptDeployed {
        /// The prompt.
        prompt: PromptName,
        /// The environment.
        environment: Environment,
        /// The version served now.
        version: VersionNumber,
        /// The version served before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<VersionNumber>,
        /// A file's label asked for it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        wish: bool,
        /// What it rests on.
        #[serde(flatten)]
        basis: Box<Basis>,
    },
    /// A label that is no environment names another version, or none.
    PromptLabelled {
        /// The prompt.
        prompt: PromptName,
        /// The label.
        label: LabelName,
        /// The version it names now; none: it is gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<VersionNumber>,
        /// The version it named before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<VersionNumber>,
    },
    /// The tags of a prompt are others.
    PromptTagged {
        /// The prompt.
        prompt: PromptName,
        /// All of them.
        tags: Vec<String>,
    },
    /// Somebody evaluated a version.
    PromptEvaluated {
        /// The prompt.
        prompt: PromptName,
        /// The version.
        version: VersionNumber,
        /// The evidence, with the digest of what was evaluated.
        evaluation: Arc<EvaluationBundle>,
    },
    /// Somebody approved or rejected a version.
    PromptReviewed {
        /// The prompt.
        prompt: PromptName,
        /// The version.
        version: VersionNumber,
        /// The digest of what was looked at.
        digest: String,
        /// What was said.
        review: Arc<Review>,
    },
    /// Environments ask for other evidence from now on.
    GatesChanged {
        /// By environment; those that are not named are open.
        gates: BTreeMap<Environment, Gate>,
    },
    /// An experiment exists.
    ExperimentCreated {
        /// What stands for it in receipts and cells.
        key: ExperimentKey,
        /// The design.
        spec: Arc<ExperimentSpec>,
    },
    /// Its design changed.
    ExperimentChanged {
        /// The design from now on.
        spec: Arc<ExperimentSpec>,
        /// The versions of the arms from now on; empty while it is not live.
        pinned: Vec<PinnedVersion>,
    },
    /// It will start at its time.
    ExperimentScheduled {
        /// Which.
        id: ExperimentId,
    },
    /// It is live.
    ExperimentStarted {
        /// Which.
        id: ExperimentId,
        /// The versions of the arms.
        pinned: Vec<PinnedVersion>,
    },
    /// It keeps its split and advances nothing.
    ExperimentHeld {
        /// Which.
        id: ExperimentId,
        /// Why; absent in old logs: a guardrail with its evidence, else a person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<HoldCause>,
        /// What the last stage rests on, when the rollout has come to its end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Box<StageEvidence>>,
        /// The evidence when a guardrail asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        breach: Option<Box<Breach>>,
    },
    /// The cause of its hold is gone.
    ExperimentCleared {
        /// Which.
        id: ExperimentId,
        /// The cause that is gone.
        cause: HoldCause,
    },
    /// A stage has passed and the next one is in force.
    ExperimentAdvanced {
        /// Which.
        id: ExperimentId,
        /// The stage in force now, from 0.
        stage: usize,
        /// What that rests on.
        evidence: Box<StageEvidence>,
    },
    /// Every unit gets control's version.
    ExperimentFrozen {
        /// Which.
        id: ExperimentId,
        /// Why, with the whole evidence.
        cause: FreezeCause,
    },
    /// A person lifted the freeze or the hold.
    ExperimentResumed {
        /// Which.
        id: ExperimentId,
        /// The versions of the arms.
        pinned: Vec<PinnedVersion>,
    },
    /// It is over.
    ExperimentStopped {
        /// Which.
        id: ExperimentId,
        /// What came of it; absent in old logs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        conclusion: Option<Conclusion>,
        /// The results as they were.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        results: Option<serde_json::Value>,
    },
    /// The candidate was deployed and the experiment is over.
    ExperimentPromoted {
        /// Which.
        id: ExperimentId,
        /// The deployed version.
        version: VersionNumber,
        /// What the last stage rests on, when the rollout came to its end by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Box<StageEvidence>>,
        /// The results as they were.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        results: Option<serde_json::Value>,
    },
    /// A guardrail that only alerts was breached.
    GuardrailAlerted {
        /// Which.
        id: ExperimentId,
        /// The evidence.
        breach: Box<Breach>,
    },
    /// The share of units kept out of every experiment changed.
    HoldoutChanged {
        /// The holdout from now on.
        holdout: Option<Holdout>,
    },
    /// New receipts are signed with this key.
    ReceiptKeyAdded {
        /// Its id, found in the receipt.
        key_id: u8,
        /// The key, 32 hex digits; never shown outside the log.
        secret: String,
    },
}

impl Event {
    /// The experiment it is about.
    #[must_use]
    pub fn experiment(&self) -> Option<&ExperimentId> {
        match self {
            Self::ExperimentCreated { spec, .. } | Self::ExperimentChanged { spec, .. } => Some(&spec.id),
            Self::ExperimentScheduled { id }
            | Self::ExperimentStarted { id, .. }
            | Self::ExperimentHeld { id, .. }
            | Self::ExperimentCleared { id, .. }
            | Self::ExperimentAdvanced { id, .. }
            | Self::ExperimentFrozen { id, .. }
            | Self::ExperimentResumed { id, .. }
            | Self::ExperimentStopped { id, .. }
            | Self::ExperimentPromoted { id, .. }
            | Self::GuardrailAlerted { id, .. } => Some(id),
            Self::PromptRegistered { .. }
            | Self::PromptDeployed { .. }
            | Self::PromptLabelled { .. }
            | Self::PromptTagged { .. }
            | Self::PromptEvaluated { .. }
            | Self::PromptReviewed { .. }
            | Self::GatesChanged { .. }
            | Self::HoldoutChanged { .. }
            | Self::ReceiptKeyAdded { .. } => None,
        }
    }
}

/// An event with who, when and why: an entry of the control log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recorded {
    /// The entry's number.
    pub revision: Revision,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What.
    pub event: Event,
    /// The request that caused it, when its sender may send it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
}

/// Why a stored event cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EventFormatError {
    /// Written by a newer release.
    #[error("event format {0} is newer than this release reads ({FORMAT})")]
    Newer(u32),
    /// Not an event.
    #[error("not a stored event: {0}")]
    Shape(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Stored<'a> {
    v: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency: Option<&'a Idempotency>,
    #[serde(flatten)]
    event: &'a Event,
}

/// What a stored event has beside itself.
#[derive(Deserialize)]
struct Beside {
    #[serde(default)]
    v: u32,
    /// Read when the format is known to be one of ours.
    #[serde(default)]
    idempotency: Option<serde_json::Value>,
}

impl Event {
    /// The stored form: JSON with the format's version in `v`.
    ///
    /// # Errors
    /// [`EventFormatError::Shape`] when a value has no JSON form.
    pub fn to_stored(&self) -> Result<String, EventFormatError> {
        self.to_stored_once(None)
    }

    /// The same with the request that caused it beside the format's version.
    ///
    /// # Errors
    /// As [`Self::to_stored`].
    pub fn to_stored_once(&self, idempotency: Option<&Idempotency>) -> Result<String, EventFormatError> {
        Ok(serde_json::to_string(&Stored {
            v: FORMAT,
            idempotency,
            event: self,
        })?)
    }

    /// Reads a stored form of this or an older release. What an older one did not write takes its default.
    ///
    /// # Errors
    /// [`EventFormatError`] for a newer format or text that is no event.
    pub fn from_stored(text: &str) -> Result<Self, EventFormatError> {
        Self::from_stored_once(text).map(|(event, _)| event)
    }

    /// The same with the request that caused it.
    ///
    /// # Errors
    /// As [`Self::from_stored`].
    pub fn from_stored_once(text: &str) -> Result<(Self, Option<Idempotency>), EventFormatError> {
        let Beside { v, idempotency } = serde_json::from_str(text)?;
        if v > FORMAT {
            return Err(EventFormatError::Newer(v));
        }
        let idempotency = idempotency.map(serde_json::from_value).transpose()?;
        // Straight from the text: a start reads every entry there ever was, and a tree in between would double that.
        Ok((serde_json::from_str(text)?, idempotency))
    }
}
