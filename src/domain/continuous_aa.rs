//! Which prompts are watched by a continuous A/A test: their control is split in two hidden halves that get the same
//! version, so that whatever a guardrail finds between them is a false alarm. The guardrails do it; the settings say for
//! which prompts.

use super::id::PromptName;
use std::collections::BTreeSet;

/// The prompts whose experiments show a continuous A/A test.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ContinuousAa {
    /// Every prompt. The default, since it changes no answer, costs nothing on good outcomes and is worth most where
    /// nobody thought of asking for it.
    #[default]
    All,
    /// These alone; an empty set is none.
    Only(BTreeSet<PromptName>),
}

impl ContinuousAa {
    /// Whether experiments of this prompt show it.
    #[must_use]
    pub fn covers(&self, prompt: &PromptName) -> bool {
        match self {
            Self::All => true,
            Self::Only(prompts) => prompts.contains(prompt),
        }
    }
}
