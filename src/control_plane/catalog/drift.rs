//! Deployments whose text would be another one today, because a label inside them has moved.
//!
//! What is served stays what was deployed. The list is for people: each of these needs evidence for its new content
//! before it can be deployed again.

use super::Catalog;
use crate::domain::{
    id::{Environment, PromptName, VersionNumber},
    prompt::{LabelChoice, composition::CompositionError},
};

/// A label inside a deployment that means another version now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedLabel {
    /// What it meant when it was deployed.
    pub then: LabelChoice,
    /// What it means now; none when the label is gone.
    pub now: Option<VersionNumber>,
}

/// A deployment that has drifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The prompt.
    pub prompt: PromptName,
    /// Where it is deployed.
    pub environment: Environment,
    /// The deployed version.
    pub version: VersionNumber,
    /// The digest of what is served.
    pub deployed: String,
    /// The digest of what would be served if it were deployed now, or why nothing could be.
    pub now: Result<String, CompositionError>,
    /// The labels that moved.
    pub moved: Vec<MovedLabel>,
}

impl Catalog {
    /// Every deployment in force that has drifted, by prompt and environment.
    #[must_use]
    pub fn drifted(&self) -> Vec<Drift> {
        let mut drifted = Vec::new();
        for prompt in self.prompts.values() {
            for environment in prompt.deployed.keys() {
                let Some(deployment) = prompt.deployment(environment) else {
                    continue;
                };
                let chosen = &deployment.basis.chosen;
                let Some(version) = prompt.numbered(deployment.version).filter(|_| !chosen.is_empty()) else {
                    continue;
                };
                let now = self
                    .resolve(&prompt.name, version)
                    .map(|resolved| resolved.digest().to_owned());
                if now.as_deref() == Ok(deployment.digest.as_str()) {
                    continue;
                }
                drifted.push(Drift {
                    prompt: prompt.name.clone(),
                    environment: environment.clone(),
                    version: deployment.version,
                    deployed: deployment.digest.clone(),
                    now,
                    moved: chosen.iter().filter_map(|choice| self.moved(choice)).collect(),
                });
            }
        }
        drifted
    }

    fn moved(&self, then: &LabelChoice) -> Option<MovedLabel> {
        let now = self
            .prompts
            .get(&then.prompt)
            .and_then(|prompt| prompt.labelled(then.label.as_str()));
        (now != Some(then.version)).then(|| MovedLabel {
            then: then.clone(),
            now,
        })
    }
}
