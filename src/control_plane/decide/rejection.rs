//! Why a command was refused.

use crate::domain::{
    experiment::State,
    id::{Environment, ExperimentId, LabelName, PromptName, VersionNumber},
    problem::Problem,
    prompt::{Finding, PromptType, ReviewKind, VersionRef, composition::CompositionError},
};

/// Why a command was refused: for the caller, who can do something about it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// No such prompt.
    #[error("prompt `{0}` does not exist")]
    UnknownPrompt(PromptName),
    /// No such version.
    #[error("prompt `{prompt}` has no version {version}; it has {known}")]
    UnknownVersion {
        /// The prompt.
        prompt: PromptName,
        /// What was asked for.
        version: VersionRef,
        /// What there is.
        known: String,
    },
    /// No such experiment.
    #[error("experiment `{0}` does not exist")]
    UnknownExperiment(String),
    /// Versions are immutable.
    #[error(
        "version {semver} of prompt `{prompt}` is registered with other content: versions are immutable, use a new one"
    )]
    Immutable {
        /// The prompt.
        prompt: PromptName,
        /// The version.
        semver: semver::Version,
    },
    /// The type is fixed per name.
    #[error("prompt `{prompt}` is a {fixed} prompt and cannot have a {asked} version")]
    OtherType {
        /// The prompt.
        prompt: PromptName,
        /// What it is.
        fixed: PromptType,
        /// What was asked for.
        asked: PromptType,
    },
    /// What was said of a prompt has mistakes.
    #[error("prompt `{prompt}`: {}", list(.problems))]
    InvalidPrompt {
        /// The prompt.
        prompt: PromptName,
        /// All of them.
        problems: Vec<Problem>,
    },
    /// What it includes cannot be put together.
    #[error("prompt `{prompt}` cannot be put together: {error}")]
    Composition {
        /// The prompt.
        prompt: PromptName,
        /// Why.
        error: CompositionError,
    },
    /// `latest` follows the newest version.
    #[error(
        "label `latest` of prompt `{prompt}` always names the newest version: register one, or use another label"
    )]
    ManagedLabel {
        /// The prompt.
        prompt: PromptName,
    },
    /// Environments are moved by deployments.
    #[error(
        "label `{label}` of prompt `{prompt}` is an environment: deploy a version to it, or roll it back, instead of moving \
         the label"
    )]
    ProtectedLabel {
        /// The prompt.
        prompt: PromptName,
        /// The label.
        label: LabelName,
    },
    /// Evidence or acceptance is missing.
    #[error("version {version} of prompt `{prompt}` cannot be deployed to `{environment}`: {}", findings(.missing))]
    NotDeployable {
        /// The prompt.
        prompt: PromptName,
        /// The version.
        version: VersionNumber,
        /// Where to.
        environment: Environment,
        /// Everything that is missing; warnings could be accepted.
        missing: Vec<Finding>,
    },
    /// An evaluation of something else.
    #[error(
        "the evaluation is of content {evaluated}, and version {version} of prompt `{prompt}` is {digest}: evaluate what the \
         version resolves to now"
    )]
    OtherContent {
        /// The prompt.
        prompt: PromptName,
        /// The version.
        version: VersionNumber,
        /// The digest of what it resolves to.
        digest: String,
        /// The digest in the bundle.
        evaluated: String,
    },
    /// Nobody reviews what is theirs.
    #[error(
        "`{reviewer}` wrote or registered version {version} of prompt `{prompt}`: somebody else has to review it"
    )]
    OwnVersion {
        /// The prompt.
        prompt: PromptName,
        /// The version.
        version: VersionNumber,
        /// Who asked.
        reviewer: String,
    },
    /// One person stands for one kind of review.
    #[error(
        "`{reviewer}` has approved version {version} of prompt `{prompt}` as {approved}: another person has to approve it as \
         {asked}"
    )]
    SameReviewer {
        /// The prompt.
        prompt: PromptName,
        /// The version.
        version: VersionNumber,
        /// Who asked.
        reviewer: String,
        /// What they approved.
        approved: ReviewKind,
        /// What they asked for.
        asked: ReviewKind,
    },
    /// There is nothing to go back to.
    #[error(
        "prompt `{prompt}` has no previous version in `{environment}`{}: deploy one instead",
        .deployed.map_or_else(|| ", where nothing is deployed".to_owned(), |version| format!(" before version {version}"))
    )]
    NoPreviousVersion {
        /// The prompt.
        prompt: PromptName,
        /// Where.
        environment: Environment,
        /// What is deployed there.
        deployed: Option<VersionNumber>,
    },
    /// A rollback goes back.
    #[error(
        "version {version} of prompt `{prompt}` was never deployed to `{environment}`: deploy it, or roll back to one of {}",
        .known.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    NeverDeployed {
        /// The prompt.
        prompt: PromptName,
        /// Where.
        environment: Environment,
        /// What was asked for.
        version: VersionNumber,
        /// What was deployed there.
        known: Vec<VersionNumber>,
    },
    /// The design has mistakes.
    #[error("experiment `{id}` has {} mistake(s): {}", .problems.len(), list(.problems))]
    Invalid {
        /// The experiment, or the prompt.
        id: String,
        /// All of them.
        problems: Vec<Problem>,
    },
    /// Not possible in this state.
    #[error("experiment `{id}` is {state}: cannot {step} it{}; allowed: {}", .why, .allowed.join(", "))]
    WrongState {
        /// The experiment.
        id: ExperimentId,
        /// Where it is.
        state: State,
        /// What was asked for.
        step: &'static str,
        /// More words, or none.
        why: &'static str,
        /// What is possible.
        allowed: Vec<&'static str>,
    },
}

fn findings(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(Finding::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

fn list(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
