//! What may be asked: imperative, and refusable.

use super::{
    allocation::Holdout,
    event::StageEvidence,
    experiment::{Conclusion, ExperimentSpec, FreezeCause, HoldCause},
    guardrail::Breach,
    id::{Environment, ExperimentId, LabelName, PromptName, Revision},
    prompt::{EvaluationBundle, Gate, PromptDraft, Review, VersionRef},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the actor of a command from a file begins with.
pub const FILE_ACTOR: &str = "file:";
/// What the file of an applied set begins with in an actor, after whoever applied it:
/// `ci apply:config/experiments/tone.toml`. Files of sets and files that a server watches never own one experiment
/// both.
pub const APPLY_ACTOR: &str = "apply:";

/// The file that speaks through an actor: of a watched folder as it is, of an applied set with [`APPLY_ACTOR`] before it.
///
/// ```
/// use serin::domain::command::file_of;
/// assert_eq!(file_of("file:config/experiments/a.toml"), Some("config/experiments/a.toml"));
/// assert_eq!(file_of("ci apply:config/experiments/a.toml"), Some("apply:config/experiments/a.toml"));
/// assert_eq!(file_of("ci"), None);
/// ```
#[must_use]
pub fn file_of(actor: &str) -> Option<&str> {
    actor.strip_prefix(FILE_ACTOR).or_else(|| {
        let (_, file) = actor.split_once(" apply:")?;
        // With the word before it, so that no folder of that name can be meant.
        Some(&actor[actor.len() - file.len() - APPLY_ACTOR.len()..])
    })
}

/// Who asks, and why; lands in the log with every event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `file:<path>`, `<who> apply:<set>/<path>`, `guardrail:<name>`, a token's name, `api`, `schedule`, `settings`,
    /// `system`.
    pub actor: String,
    /// In words.
    pub reason: String,
    /// How the caller tells this request from others, when it may send it again.
    pub idempotency: Option<Idempotency>,
}

/// What makes a request that is sent again the same one; kept in the log with every event it caused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The caller's key; each actor has keys of its own.
    pub key: String,
    /// The digest of the request.
    pub request: String,
}

impl Origin {
    /// Puts the two together.
    #[must_use]
    pub fn new(actor: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            actor: actor.into(),
            reason: reason.into(),
            idempotency: None,
        }
    }

    /// The same, to be done once however often it is sent.
    #[must_use]
    pub fn once(self, idempotency: Option<Idempotency>) -> Self {
        Self { idempotency, ..self }
    }
}

/// A request to change something. A person, a file, a timer and a guardrail all take this road.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Register a version. The content of the newest version again, without a semver of its own, changes nothing, and
    /// neither does a registered semver with its content:
    /// [`registered`](crate::control_plane::decide::registered) tells which version that is.
    RegisterPrompt {
        /// The prompt.
        name: PromptName,
        /// The version.
        draft: Box<PromptDraft>,
        /// Environments that the first version is deployed to, as far as they have no gate.
        environments: Vec<Environment>,
    },
    /// Serve a version in an environment. Refused with everything that is missing.
    DeployPrompt {
        /// The prompt.
        name: PromptName,
        /// The environment.
        environment: Environment,
        /// The version.
        version: VersionRef,
        /// A file's label asks: done once for each version it names, not again after something else was deployed.
        wish: bool,
        /// The warnings that are accepted, as [`crate::domain::prompt::Finding::is_accepted_by`] takes them.
        accept: Vec<String>,
    },
    /// Serve again what was served before: the previous content, or that of a named version. Needs no gate, takes effect
    /// before it is written, and freezes the experiments of the prompt in this environment.
    RollBackPrompt {
        /// The prompt.
        name: PromptName,
        /// The environment.
        environment: Environment,
        /// A version that was deployed there before; none: the previous one.
        target: Option<VersionRef>,
    },
    /// Move a label that is no environment, or take it away.
    LabelPrompt {
        /// The prompt.
        name: PromptName,
        /// The label.
        label: LabelName,
        /// What it names from now on; none takes it away.
        version: Option<VersionRef>,
    },
    /// Replace the tags of a prompt.
    TagPrompt {
        /// The prompt.
        name: PromptName,
        /// All of them.
        tags: Vec<String>,
    },
    /// Attach an evaluation to a version. Refused when it is of other content.
    EvaluatePrompt {
        /// The prompt.
        name: PromptName,
        /// The version.
        version: VersionRef,
        /// The evidence.
        bundle: Box<EvaluationBundle>,
    },
    /// Approve or reject a version. Refused for its author, and for a second kind by one person.
    ReviewPrompt {
        /// The prompt.
        name: PromptName,
        /// The version.
        version: VersionRef,
        /// What is said of it.
        review: Review,
    },
    /// Have environments ask for this evidence from now on, and all others for none.
    SetGates(BTreeMap<Environment, Gate>),
    /// Create an experiment or change its design; then follow a changed wish (`status`).
    PutExperiment(Box<ExperimentSpec>),
    /// Start a draft, a scheduled or a stopped one.
    StartExperiment(ExperimentId),
    /// End it; everyone is back on the deployed version.
    StopExperiment(ExperimentId),
    /// End it and say what came of it.
    ConcludeExperiment {
        /// Which.
        id: ExperimentId,
        /// What came of it.
        conclusion: Conclusion,
    },
    /// Keep the split, advance nothing.
    HoldExperiment {
        /// Which.
        id: ExperimentId,
        /// Why.
        cause: HoldCause,
        /// The evidence when a guardrail asks.
        breach: Option<Box<Breach>>,
    },
    /// Give every unit control's version, latched.
    FreezeExperiment {
        /// Which.
        id: ExperimentId,
        /// Why.
        cause: FreezeCause,
    },
    /// End a hold whose cause is gone.
    ClearHold {
        /// Which.
        id: ExperimentId,
        /// The experiment's last change when it was looked at; after another one this does nothing.
        seen: Revision,
    },
    /// Go on to the next stage.
    AdvanceExperiment {
        /// Which.
        id: ExperimentId,
        /// As in [`Command::ClearHold`].
        seen: Revision,
        /// What the stage that passed rests on.
        evidence: Box<StageEvidence>,
    },
    /// The last stage has passed: do what the plan says.
    CompleteExperiment {
        /// Which.
        id: ExperimentId,
        /// As in [`Command::ClearHold`].
        seen: Revision,
        /// What the stage that passed rests on.
        evidence: Box<StageEvidence>,
    },
    /// Lift a freeze or a hold by hand.
    ResumeExperiment(ExperimentId),
    /// Deploy the candidate (the last variant) and end the experiment.
    PromoteExperiment(ExperimentId),
    /// Write a guardrail's alert down, once per evidence period.
    RecordAlert {
        /// Which.
        id: ExperimentId,
        /// The evidence.
        breach: Box<Breach>,
    },
    /// Change the share of units kept out of every experiment.
    SetHoldout(Option<Holdout>),
    /// Sign new receipts with a new key; old receipts stay good.
    RotateReceiptKey {
        /// The new key.
        secret: [u8; 16],
    },
}

impl Command {
    /// Whether it is in force before it is written: what takes users away from a bad version does not wait for a disk,
    /// and holds while the store is down.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        matches!(self, Self::FreezeExperiment { .. } | Self::RollBackPrompt { .. })
    }

    /// The experiment it is about.
    #[must_use]
    pub fn experiment(&self) -> Option<&ExperimentId> {
        match self {
            Self::PutExperiment(spec) => Some(&spec.id),
            Self::StartExperiment(id)
            | Self::StopExperiment(id)
            | Self::ConcludeExperiment { id, .. }
            | Self::HoldExperiment { id, .. }
            | Self::FreezeExperiment { id, .. }
            | Self::ClearHold { id, .. }
            | Self::AdvanceExperiment { id, .. }
            | Self::CompleteExperiment { id, .. }
            | Self::ResumeExperiment(id)
            | Self::PromoteExperiment(id)
            | Self::RecordAlert { id, .. } => Some(id),
            _ => None,
        }
    }
}
