//! Prompts inside prompts: the tags that include one, and what a version becomes with all of them replaced.
//!
//! `@@@langfusePrompt:name=N|version=3@@@` includes a version and `@@@langfusePrompt:name=N|label=L@@@` whatever the
//! label names, as in Langfuse. Labels move, so a resolution says which version each of them meant: with those choices
//! it can be repeated word for word, whatever moved since. Looks nothing up itself.

mod resolve;
mod tag;

pub use resolve::{CompositionError, DEEPEST, LARGEST_RESOLVED, MOST_INCLUDED, resolve};
pub use tag::{Tag, TagError, references, tags};

use super::{content::PromptContent, version::PromptVersion};
use crate::domain::id::{LabelName, PromptName, VersionNumber};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// What a tag includes of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// One version for ever.
    Version(VersionNumber),
    /// The version that has the label.
    Label(LabelName),
}

/// A prompt that another one includes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reference {
    /// The included prompt.
    pub prompt: PromptName,
    /// Which version of it.
    #[serde(flatten)]
    pub target: Target,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Version(version) => write!(f, "version {version} of prompt `{}`", self.prompt),
            Target::Label(label) => write!(f, "label `{label}` of prompt `{}`", self.prompt),
        }
    }
}

/// The version that a label meant when a content was resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LabelChoice {
    /// The included prompt.
    pub prompt: PromptName,
    /// The label in the tag.
    pub label: LabelName,
    /// What it meant.
    pub version: VersionNumber,
}

/// A version of a prompt in the graph of a resolution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Node {
    /// The prompt.
    pub prompt: PromptName,
    /// The version.
    pub version: VersionNumber,
}

/// One version includes another, directly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Inclusion {
    /// Where the tag is.
    pub parent: Node,
    /// What it includes.
    pub child: Node,
}

/// What a version becomes with everything it includes.
#[derive(Debug, PartialEq)]
pub struct Composed {
    /// The content without tags.
    pub content: PromptContent,
    /// [`super::content_digest`] of that and the version's config.
    pub digest: String,
    /// Who includes whom, each pair once, sorted.
    pub graph: Vec<Inclusion>,
    /// What its labels meant, sorted.
    pub chosen: Vec<LabelChoice>,
}

/// A version as a model sees it. Cheap to clone: of a version that includes nothing no text is copied.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedVersion {
    /// As it was registered.
    pub version: Arc<PromptVersion>,
    composed: Option<Arc<Composed>>,
}

impl ResolvedVersion {
    /// A version whose content is served as it is written.
    #[must_use]
    pub fn verbatim(version: Arc<PromptVersion>) -> Self {
        Self {
            version,
            composed: None,
        }
    }

    /// What a model sees.
    #[must_use]
    pub fn content(&self) -> &PromptContent {
        self.composed
            .as_ref()
            .map_or(&self.version.draft.prompt, |composed| &composed.content)
    }

    /// The digest of content and config as a model sees them: what deployments, experiments, evaluations and reviews
    /// are pinned to. The version's own where it includes nothing.
    #[must_use]
    pub fn digest(&self) -> &str {
        self.composed
            .as_ref()
            .map_or(&self.version.digest, |composed| &composed.digest)
    }

    /// Who includes whom; empty where nothing is included.
    #[must_use]
    pub fn graph(&self) -> &[Inclusion] {
        self.composed.as_ref().map_or(&[], |composed| &composed.graph)
    }

    /// What the labels inside meant; with these the same content can be resolved again.
    #[must_use]
    pub fn chosen(&self) -> &[LabelChoice] {
        self.composed.as_ref().map_or(&[], |composed| &composed.chosen)
    }
}
