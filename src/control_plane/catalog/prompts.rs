//! Prompts in the catalog: how their events are folded, and what a version becomes with everything it includes.

use super::Catalog;
use crate::domain::{
    event::{Event, Recorded},
    id::{Environment, PromptName, VersionNumber},
    prompt::{
        Deployment, EvaluationRecord, Gate, LabelChoice, Prompt, PromptVersion, Reference, ResolvedVersion,
        ReviewRecord, Target,
        composition::{CompositionError, resolve},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Who includes whom, in whatever version: from the included prompt to those that include it directly.
pub(super) type Includers = BTreeMap<PromptName, BTreeSet<PromptName>>;

/// The prompts whose routes an entry changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// These.
    Prompts(BTreeSet<PromptName>),
    /// All of them.
    All,
}

impl Catalog {
    /// What an event of the log changes in the table.
    #[must_use]
    pub fn touched(&self, event: &Event) -> Touched {
        Touched::Prompts(match event {
            // A label that moves changes whatever includes the prompt by it.
            Event::PromptRegistered { prompt, .. }
            | Event::PromptDeployed { prompt, .. }
            | Event::PromptLabelled { prompt, .. } => self.with_includers(prompt),
            Event::PromptTagged { prompt, .. } => [prompt.clone()].into(),
            Event::PromptEvaluated { .. } | Event::PromptReviewed { .. } | Event::GatesChanged { .. } => {
                [].into()
            }
            other => match other.experiment() {
                Some(id) => self
                    .experiments
                    .get(id)
                    .map(|e| e.spec.prompt.clone())
                    .into_iter()
                    .collect(),
                None => return Touched::All,
            },
        })
    }

    /// A prompt and all that include it, directly or not.
    #[must_use]
    pub fn with_includers(&self, name: &PromptName) -> BTreeSet<PromptName> {
        let mut all = BTreeSet::from([name.clone()]);
        let mut new = vec![name];
        while let Some(included) = new.pop() {
            for includer in self.includers.get(included).into_iter().flatten() {
                if all.insert(includer.clone()) {
                    new.push(includer);
                }
            }
        }
        all
    }

    /// The gate of an environment; none when it is open.
    #[must_use]
    pub fn gate(&self, environment: &Environment) -> Option<&Gate> {
        self.gates.get(environment).filter(|gate| !gate.is_open())
    }

    /// A version with everything it includes, its labels read as they are now.
    ///
    /// # Errors
    /// [`CompositionError`]: what it includes is gone, or has grown beyond the bounds.
    pub fn resolve(
        &self,
        name: &PromptName,
        version: &Arc<PromptVersion>,
    ) -> Result<ResolvedVersion, CompositionError> {
        resolve(name, version, &|reference| {
            let prompt = self.prompts.get(&reference.prompt)?;
            let number = match &reference.target {
                Target::Version(number) => *number,
                Target::Label(label) => prompt.labelled(label.as_str())?,
            };
            prompt.numbered(number).cloned()
        })
    }

    /// A version with everything it includes, its labels read as they were when it was resolved before.
    ///
    /// # Errors
    /// [`CompositionError`]: only in a log that was written by hand.
    pub fn resolve_as(
        &self,
        name: &PromptName,
        version: &Arc<PromptVersion>,
        chosen: &[LabelChoice],
    ) -> Result<ResolvedVersion, CompositionError> {
        resolve(name, version, &|reference: &Reference| {
            let number = match &reference.target {
                Target::Version(number) => *number,
                Target::Label(label) => {
                    let meant =
                        |choice: &&LabelChoice| choice.prompt == reference.prompt && choice.label == *label;
                    chosen.iter().find(meant)?.version
                }
            };
            self.prompts.get(&reference.prompt)?.numbered(number).cloned()
        })
    }

    /// Whether an event that is decided on this catalog gives the users of an environment another text than they have.
    #[must_use]
    pub fn is_replaced_by(&self, event: &Event) -> bool {
        let Event::PromptDeployed {
            prompt,
            environment,
            version,
            basis,
            ..
        } = event
        else {
            return false;
        };
        let prompt = self.prompts.get(prompt);
        let served = prompt.and_then(|prompt| prompt.deployment(environment));
        served.is_some_and(|served| {
            served.version != *version
                || basis
                    .digest
                    .as_ref()
                    .is_some_and(|digest| *digest != served.digest)
        })
    }

    /// What a deployment serves.
    ///
    /// # Errors
    /// As [`Self::resolve_as`]; none where the version does not exist, which only a log written by hand can say.
    #[must_use]
    pub fn served(&self, prompt: &Prompt, deployment: &Deployment) -> Option<ResolvedVersion> {
        let version = prompt.numbered(deployment.version)?;
        self.resolve_as(&prompt.name, version, &deployment.basis.chosen)
            .ok()
    }

    /// Folds what happened to a prompt; whatever else happened is not for here.
    pub(super) fn apply_to_prompt(&mut self, entry: &Recorded) {
        let name = match &entry.event {
            Event::PromptRegistered { prompt, key, version } => {
                for reference in &version.includes {
                    let includers = Arc::make_mut(&mut self.includers);
                    includers
                        .entry(reference.prompt.clone())
                        .or_default()
                        .insert(prompt.clone());
                }
                let new = || Arc::new(Prompt::new(prompt.clone(), *key));
                let prompt = self.prompts.entry(prompt.clone()).or_insert_with(new);
                Arc::make_mut(prompt).add(Arc::clone(version), &entry.actor);
                return;
            }
            Event::PromptDeployed { prompt, .. }
            | Event::PromptLabelled { prompt, .. }
            | Event::PromptTagged { prompt, .. }
            | Event::PromptEvaluated { prompt, .. }
            | Event::PromptReviewed { prompt, .. } => prompt,
            _ => return,
        };
        let Some(prompt) = self.prompts.get_mut(name) else {
            return;
        };
        let prompt = Arc::make_mut(prompt);
        prompt.changed_at = entry.at;
        change(prompt, entry);
    }
}

fn change(prompt: &mut Prompt, entry: &Recorded) {
    match &entry.event {
        Event::PromptDeployed {
            environment,
            version,
            previous,
            wish,
            basis,
            ..
        } => {
            let own = || {
                prompt
                    .numbered(*version)
                    .map(|version| version.digest.clone())
                    .unwrap_or_default()
            };
            let digest = basis.digest.clone().unwrap_or_else(own);
            prompt.deployments.push(Arc::new(Deployment {
                revision: entry.revision,
                at: entry.at,
                actor: entry.actor.clone(),
                reason: entry.reason.clone(),
                environment: environment.clone(),
                version: *version,
                previous: *previous,
                digest,
                basis: basis.as_ref().clone(),
            }));
            // A label that becomes an environment is one name, not two.
            prompt.labels.remove(environment.as_str());
            prompt.deployed.insert(environment.clone(), *version);
            if *wish {
                prompt.wished.insert(environment.clone(), *version);
            }
        }
        Event::PromptLabelled { label, version, .. } => {
            match version {
                Some(version) => prompt.labels.insert(label.clone(), *version),
                None => prompt.labels.remove(label),
            };
        }
        Event::PromptTagged { tags, .. } => prompt.tags.clone_from(tags),
        Event::PromptEvaluated {
            version, evaluation, ..
        } => {
            let record = Arc::new(EvaluationRecord {
                revision: entry.revision,
                at: entry.at,
                actor: entry.actor.clone(),
                bundle: evaluation.as_ref().clone(),
            });
            add_to(prompt, *version, |records| records.evaluations.push(record));
        }
        Event::PromptReviewed {
            version,
            digest,
            review,
            ..
        } => {
            let record = Arc::new(ReviewRecord {
                revision: entry.revision,
                at: entry.at,
                digest: digest.clone(),
                review: review.as_ref().clone(),
            });
            add_to(prompt, *version, |records| records.reviews.push(record));
        }
        _ => {}
    }
}

fn add_to(
    prompt: &mut Prompt,
    version: VersionNumber,
    add: impl FnOnce(&mut crate::domain::prompt::VersionRecord),
) {
    if let Some(record) = prompt.record_mut(version) {
        add(record);
    }
}
