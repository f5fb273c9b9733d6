//! Every version of a prompt as a client may ask for it, by number or by label, outside any experiment.
//!
//! Compiled with the routes and swapped with them, so that a fetch reads the same table as a decision. Texts are shared
//! with the catalog. Nothing on the way of a decision comes here.

use crate::domain::{
    Timestamp,
    id::{Environment, PromptName, VersionNumber},
    prompt::{Prompt, PromptType, PromptVersion, ResolvedVersion, composition::CompositionError},
};
use std::{collections::BTreeMap, sync::Arc};

/// A version, and what it becomes with everything it includes.
#[derive(Debug, Clone)]
pub struct ArchivedVersion {
    /// As it was registered.
    pub version: Arc<PromptVersion>,
    /// As a model would see it now, with the graph of what it includes; or why nothing can be put together.
    pub resolved: Result<ResolvedVersion, CompositionError>,
}

/// What a label names.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// The version.
    pub version: VersionNumber,
    /// What an environment serves: the text as it was deployed, whatever moved inside it since. None for other labels,
    /// whose text is that of their version.
    pub served: Option<ResolvedVersion>,
}

/// A prompt with all its versions.
#[derive(Debug)]
pub struct PromptArchive {
    /// Its name.
    pub name: PromptName,
    /// Text or chat; none for a prompt without versions.
    pub prompt_type: Option<PromptType>,
    /// Its tags.
    pub tags: Box<[String]>,
    /// When anything of it last changed.
    pub changed_at: Timestamp,
    labels: BTreeMap<Box<str>, Labelled>,
    versions: Box<[ArchivedVersion]>,
}

impl PromptArchive {
    /// From a prompt, what its environments serve, and how a version is put together.
    pub(crate) fn new(
        prompt: &Prompt,
        served: Vec<(Environment, ResolvedVersion)>,
        resolve: impl Fn(&Arc<PromptVersion>) -> Result<ResolvedVersion, CompositionError>,
    ) -> Self {
        let mut labels: BTreeMap<Box<str>, Labelled> = prompt
            .all_labels()
            .map(|(label, version)| {
                (
                    label.into(),
                    Labelled {
                        version,
                        served: None,
                    },
                )
            })
            .collect();
        for (environment, resolved) in served {
            if let Some(labelled) = labels.get_mut(environment.as_str()) {
                labelled.served = Some(resolved);
            }
        }
        let archived = |version: &Arc<PromptVersion>| ArchivedVersion {
            version: Arc::clone(version),
            resolved: resolve(version),
        };
        Self {
            name: prompt.name.clone(),
            prompt_type: prompt.prompt_type(),
            tags: prompt.tags.as_slice().into(),
            changed_at: prompt.changed_at,
            labels,
            versions: prompt.versions.iter().map(archived).collect(),
        }
    }

    /// Every version, in order of their numbers.
    #[must_use]
    pub fn versions(&self) -> &[ArchivedVersion] {
        &self.versions
    }

    /// The version with this number.
    #[must_use]
    pub fn numbered(&self, number: VersionNumber) -> Option<&ArchivedVersion> {
        self.versions.get(usize::try_from(number.0).ok()?.checked_sub(1)?)
    }

    /// The version that a label names, and the content to hand out under it.
    #[must_use]
    pub fn labelled(
        &self,
        label: &str,
    ) -> Option<(&Arc<PromptVersion>, Result<&ResolvedVersion, &CompositionError>)> {
        let labelled = self.labels.get(label)?;
        let archived = self.numbered(labelled.version)?;
        let resolved = labelled.served.as_ref().map_or(archived.resolved.as_ref(), Ok);
        Some((&archived.version, resolved))
    }

    /// The number of the version that a label names.
    #[must_use]
    pub fn label(&self, label: &str) -> Option<VersionNumber> {
        self.labels.get(label).map(|labelled| labelled.version)
    }

    /// Every label, in order of their names, and the version it names.
    pub fn labels(&self) -> impl Iterator<Item = (&str, VersionNumber)> {
        self.labels
            .iter()
            .map(|(label, labelled)| (label.as_ref(), labelled.version))
    }

    /// The labels of one version.
    pub fn labels_of(&self, number: VersionNumber) -> impl Iterator<Item = &str> {
        self.labels()
            .filter(move |(_, version)| *version == number)
            .map(|(label, _)| label)
    }
}
