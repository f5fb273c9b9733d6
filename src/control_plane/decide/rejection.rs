//! Why a command was refused.

use crate::domain::{
    experiment::State,
    id::{ExperimentId, PromptName},
    problem::Problem,
    prompt::{PromptType, VersionRef},
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

fn list(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
