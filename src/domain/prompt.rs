//! Prompts: immutable, numbered versions, the labels that move between them, and what each environment serves.
//!
//! In reading order: `content` is what a model sees and `version` what is registered; `composition` puts prompts into
//! prompts and `variables` values into a prompt; `validation`, `evaluation` and `review` say what stands against a
//! version, as findings; a `gate` asks for them, and a `deployment` is what came of it. [`Prompt`] has everything that
//! the log says of one name.

pub mod composition;
mod content;
mod deployment;
pub mod evaluation;
mod finding;
mod gate;
pub mod review;
pub mod secrets;
pub mod validation;
pub mod variables;
mod version;

pub use composition::{LabelChoice, Reference, ResolvedVersion, Target};
pub use content::{ChatMessage, Config, PromptContent, PromptType, content_digest};
pub use deployment::{Basis, Deployment, before_last, running_at};
pub use evaluation::{EvaluationBundle, EvaluationRecord};
pub use finding::{Finding, FindingCode, Severity};
pub use gate::{ENVIRONMENTS, Evidence, Gate};
pub use review::{Review, ReviewKind, ReviewRecord, ReviewVerdict};
pub use version::{Bump, PromptDraft, PromptVersion, Source, VersionRef};

use super::{
    Timestamp,
    id::{Environment, LabelName, PromptKey, PromptName, VersionNumber},
};
use std::{collections::BTreeMap, sync::Arc};

/// The label of the newest version; nobody moves it.
pub const LATEST: &str = "latest";

/// What became known of a version after it was registered.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionRecord {
    /// Who registered it.
    pub registered_by: Arc<str>,
    /// Its evaluations, oldest first.
    pub evaluations: Vec<Arc<EvaluationRecord>>,
    /// Its reviews, oldest first.
    pub reviews: Vec<Arc<ReviewRecord>>,
}

impl VersionRecord {
    /// The newest evaluation of a content.
    #[must_use]
    pub fn evaluation(&self, digest: &str) -> Option<&EvaluationRecord> {
        let of_it = |record: &&Arc<EvaluationRecord>| record.bundle.digest.as_deref() == Some(digest);
        self.evaluations.iter().rev().find(of_it).map(Arc::as_ref)
    }
}

/// A prompt: its versions, its labels, and which version each environment serves.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// Its name.
    pub name: PromptName,
    /// What stands for it in counters.
    pub key: PromptKey,
    /// In order of their numbers; number n is at n − 1.
    pub versions: Vec<Arc<PromptVersion>>,
    /// What is known of each, in the same order.
    pub records: Vec<VersionRecord>,
    /// Tags of the name: those of the newest registration, or what was said since.
    pub tags: Vec<String>,
    /// Labels that are no environments; each names one version.
    pub labels: BTreeMap<LabelName, VersionNumber>,
    /// The deployed version of each environment.
    pub deployed: BTreeMap<Environment, VersionNumber>,
    /// Every deployment, oldest first.
    pub deployments: Vec<Arc<Deployment>>,
    /// What the files last asked to be deployed: a wish is followed once, so that it does not undo a later promotion.
    pub wished: BTreeMap<Environment, VersionNumber>,
    /// When anything of it last changed.
    pub changed_at: Timestamp,
    semvers: BTreeMap<semver::Version, VersionNumber>,
}

impl Prompt {
    /// A prompt without versions.
    #[must_use]
    pub fn new(name: PromptName, key: PromptKey) -> Self {
        Self {
            name,
            key,
            versions: Vec::new(),
            records: Vec::new(),
            tags: Vec::new(),
            labels: BTreeMap::new(),
            deployed: BTreeMap::new(),
            deployments: Vec::new(),
            wished: BTreeMap::new(),
            changed_at: Timestamp::default(),
            semvers: BTreeMap::new(),
        }
    }

    /// Adds the next version.
    pub fn add(&mut self, version: Arc<PromptVersion>, registered_by: &str) {
        if let Some(semver) = &version.draft.semver {
            self.semvers.entry(semver.clone()).or_insert(version.number);
        }
        self.tags.clone_from(&version.draft.tags);
        self.changed_at = version.created_at;
        self.versions.push(version);
        self.records.push(VersionRecord {
            registered_by: registered_by.into(),
            evaluations: Vec::new(),
            reviews: Vec::new(),
        });
    }

    /// Text or chat; none before the first version.
    #[must_use]
    pub fn prompt_type(&self) -> Option<PromptType> {
        self.versions
            .first()
            .map(|version| version.draft.prompt.prompt_type())
    }

    /// The category of the newest version.
    #[must_use]
    pub fn category(&self) -> Option<&str> {
        self.versions
            .last()
            .and_then(|version| version.draft.category.as_deref())
    }

    /// The version with this number or semver.
    #[must_use]
    pub fn version(&self, reference: &VersionRef) -> Option<&Arc<PromptVersion>> {
        match reference {
            VersionRef::Number(number) => self.numbered(*number),
            VersionRef::Semver(semver) => self.numbered(*self.semvers.get(semver)?),
        }
    }

    /// The version with this number.
    #[must_use]
    pub fn numbered(&self, number: VersionNumber) -> Option<&Arc<PromptVersion>> {
        self.versions.get(index(number)?)
    }

    /// What is known of the version with this number.
    #[must_use]
    pub fn record(&self, number: VersionNumber) -> Option<&VersionRecord> {
        self.records.get(index(number)?)
    }

    /// The same, to be added to.
    pub fn record_mut(&mut self, number: VersionNumber) -> Option<&mut VersionRecord> {
        self.records.get_mut(index(number)?)
    }

    /// The version whose semver is as high as this one: build metadata makes no other version.
    #[must_use]
    pub fn same_precedence(&self, semver: &semver::Version) -> Option<&Arc<PromptVersion>> {
        let lowest = semver::Version {
            build: semver::BuildMetadata::EMPTY,
            ..semver.clone()
        };
        let (found, number) = self.semvers.range(lowest..).next()?;
        if found.cmp_precedence(semver).is_eq() {
            self.numbered(*number)
        } else {
            None
        }
    }

    /// The highest semver that is no pre-release.
    #[must_use]
    pub fn highest_release(&self) -> Option<&semver::Version> {
        self.semvers.keys().rev().find(|semver| semver.pre.is_empty())
    }

    /// The version a label names: `latest`, an environment, or a label of its own.
    #[must_use]
    pub fn labelled(&self, label: &str) -> Option<VersionNumber> {
        if label == LATEST {
            return self.versions.last().map(|version| version.number);
        }
        self.deployed
            .get(label)
            .or_else(|| self.labels.get(label))
            .copied()
    }

    /// Every label and the version it names: its own, the environments it is deployed to, and `latest`.
    pub fn all_labels(&self) -> impl Iterator<Item = (&str, VersionNumber)> {
        let latest = self.versions.last().map(|version| (LATEST, version.number));
        let environments = self
            .deployed
            .iter()
            .map(|(label, number)| (label.as_str(), *number));
        let labels = self
            .labels
            .iter()
            .map(|(label, number)| (label.as_str(), *number));
        labels.chain(environments).chain(latest)
    }

    /// The labels of one version.
    pub fn labels_of(&self, number: VersionNumber) -> impl Iterator<Item = &str> {
        self.all_labels()
            .filter(move |(_, labelled)| *labelled == number)
            .map(|(label, _)| label)
    }

    /// The deployments of an environment, oldest first.
    pub fn history(&self, environment: &Environment) -> impl DoubleEndedIterator<Item = &Deployment> {
        let environment = environment.clone();
        let all = self.deployments.iter().map(Arc::as_ref);
        all.filter(move |deployment| deployment.environment == environment)
    }

    /// What an environment serves; none before its first deployment.
    #[must_use]
    pub fn deployment(&self, environment: &Environment) -> Option<&Deployment> {
        self.history(environment).next_back()
    }
}

fn index(number: VersionNumber) -> Option<usize> {
    usize::try_from(number.0).ok()?.checked_sub(1)
}
