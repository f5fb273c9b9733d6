//! The JSON shapes of prompts and their versions.

use crate::{
    control_plane::{
        catalog::{Catalog, Drift},
        decide::deployability,
    },
    domain::{
        Timestamp,
        id::{Environment, PromptName, Revision, VersionNumber},
        prompt::{
            Config, EvaluationBundle, EvaluationRecord, Finding, Prompt, PromptContent, PromptType,
            PromptVersion, Review, ReviewRecord, Source, VersionRef,
            composition::{CompositionError, Inclusion, ResolvedVersion},
            variables::variables,
        },
    },
};
use serde::Serialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use utoipa::ToSchema;

/// How a version is called.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = VersionName)]
pub(super) struct VersionName {
    #[schema(value_type = u32)]
    pub(super) version: VersionNumber,
    #[schema(value_type = Option<String>, example = "1.1.0")]
    pub(super) semver: Option<semver::Version>,
}

impl VersionName {
    pub(super) fn of(version: &PromptVersion) -> Self {
        Self {
            version: version.number,
            semver: version.draft.semver.clone(),
        }
    }

    /// The name of a version that may only be in a log written by hand.
    pub(super) fn numbered(prompt: &Prompt, number: VersionNumber) -> Self {
        prompt.numbered(number).map_or(
            Self {
                version: number,
                semver: None,
            },
            |version| Self::of(version),
        )
    }
}

/// What each environment serves, by name.
pub(super) fn deployed(prompt: &Prompt) -> BTreeMap<Environment, VersionName> {
    let served = prompt.deployed.iter();
    served
        .map(|(environment, number)| (environment.clone(), VersionName::numbered(prompt, *number)))
        .collect()
}

/// Where a version came from, with the keys of a registration.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[schema(as = Source)]
pub(super) enum SourceView {
    File {
        path: String,
    },
    Api,
    Git {
        git_commit: String,
        path: Option<String>,
        at: Option<Timestamp>,
    },
}

impl SourceView {
    fn of(source: &Source) -> Self {
        match source.clone() {
            Source::File { path } => Self::File { path },
            Source::Api => Self::Api,
            Source::Git { commit, path, at } => Self::Git {
                git_commit: commit,
                path,
                at,
            },
        }
    }
}

/// A deployment whose text would be another one today.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Drift)]
pub(super) struct DriftView {
    #[schema(value_type = String)]
    environment: Environment,
    #[serde(flatten)]
    version: VersionName,
    /// The digest of what is served.
    deployed: String,
    /// The digest of what would be served if it were deployed now.
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<String>,
    /// Why nothing could be.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    moved: Vec<MovedView>,
}

/// A label inside a deployment that means another version now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MovedLabel)]
struct MovedView {
    #[schema(value_type = String)]
    prompt: PromptName,
    #[schema(value_type = String)]
    label: String,
    /// What it meant when it was deployed.
    #[schema(value_type = u32)]
    then: VersionNumber,
    /// Null when the label is gone.
    #[schema(value_type = Option<u32>)]
    now: Option<VersionNumber>,
}

impl DriftView {
    /// The drifts of one prompt among all.
    pub(super) fn of(prompt: &Prompt, drifts: &[Drift]) -> Vec<Self> {
        let own = drifts.iter().filter(|drift| drift.prompt == prompt.name);
        own.map(|drift| Self {
            environment: drift.environment.clone(),
            version: VersionName::numbered(prompt, drift.version),
            deployed: drift.deployed.clone(),
            now: drift.now.as_ref().ok().cloned(),
            error: drift.now.as_ref().err().map(ToString::to_string),
            moved: drift
                .moved
                .iter()
                .map(|moved| MovedView {
                    prompt: moved.then.prompt.clone(),
                    label: moved.then.label.to_string(),
                    then: moved.then.version,
                    now: moved.now,
                })
                .collect(),
        })
        .collect()
    }
}

/// What a version becomes with everything it includes, or why that cannot be put together.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Resolved)]
enum ResolvedView {
    Resolved {
        /// What evaluations, reviews and deployments are pinned to.
        digest: String,
        /// What a model sees; absent where nothing is included.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Object>)]
        prompt: Option<PromptContent>,
        /// Who includes whom; absent where nothing is included.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Vec<Object>>)]
        graph: Option<Vec<Inclusion>>,
    },
    Unresolved {
        error: String,
    },
}

impl ResolvedView {
    fn of(resolved: &Result<ResolvedVersion, CompositionError>) -> Self {
        match resolved {
            Ok(resolved) => {
                let composed = !resolved.version.includes.is_empty();
                Self::Resolved {
                    digest: resolved.digest().to_owned(),
                    prompt: composed.then(|| resolved.content().clone()),
                    graph: composed.then(|| resolved.graph().to_vec()),
                }
            }
            Err(error) => Self::Unresolved {
                error: error.to_string(),
            },
        }
    }
}

/// An evaluation as it was attached.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Evaluation)]
struct EvaluationView {
    #[schema(value_type = u64)]
    revision: Revision,
    at: Timestamp,
    actor: String,
    /// Whether it met its own threshold.
    passed: bool,
    /// Whether it is of what the version resolves to now.
    current: bool,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    bundle: EvaluationBundle,
}

/// A review as it was given.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Review)]
struct ReviewView {
    #[schema(value_type = u64)]
    revision: Revision,
    at: Timestamp,
    /// Of what was looked at.
    digest: String,
    /// Whether that is what the version resolves to now.
    current: bool,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    review: Review,
}

/// A version in the history of its prompt.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VersionSummary)]
struct VersionLine {
    #[serde(flatten)]
    name: VersionName,
    digest: String,
    author: Option<String>,
    commit_message: Option<String>,
    created_at: Timestamp,
    labels: Vec<String>,
    source: Option<SourceView>,
}

impl VersionLine {
    fn of(prompt: &Prompt, version: &PromptVersion) -> Self {
        Self {
            name: VersionName::of(version),
            digest: version.digest.clone(),
            author: version.draft.author.clone(),
            commit_message: version.draft.commit_message.clone(),
            created_at: version.created_at,
            labels: labels(prompt, version),
            source: version.draft.source.as_ref().map(SourceView::of),
        }
    }
}

/// One version of a prompt, what is known of it, and the prompt's history.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PromptVersion)]
pub(super) struct PromptDetail {
    #[schema(value_type = String)]
    name: PromptName,
    #[schema(value_type = String, example = "text")]
    r#type: Option<PromptType>,
    #[serde(flatten)]
    version: VersionName,
    /// As it was registered: text, or a list of messages.
    #[schema(value_type = Object)]
    prompt: PromptContent,
    #[schema(value_type = Object)]
    config: Config,
    #[schema(value_type = Object)]
    limitations: Value,
    category: Option<String>,
    /// Of the prompt.
    tags: Vec<String>,
    /// Of the version: its own, the environments that serve it, `latest`.
    labels: Vec<String>,
    author: Option<String>,
    commit_message: Option<String>,
    created_at: Timestamp,
    #[schema(value_type = Option<String>)]
    registered_by: Option<Arc<str>>,
    source: Option<SourceView>,
    /// Of content and config as they were registered.
    digest: String,
    resolved: ResolvedView,
    /// Of the resolved content.
    variables: BTreeSet<String>,
    placeholders: BTreeSet<String>,
    /// Oldest first.
    evaluations: Vec<EvaluationView>,
    /// Oldest first.
    reviews: Vec<ReviewView>,
    /// What stands against deploying it to the server's environment, and what is worth knowing.
    #[schema(value_type = Vec<Object>)]
    findings: Vec<Finding>,
    #[schema(value_type = HashMap<String, VersionName>)]
    deployed: BTreeMap<Environment, VersionName>,
    drifted: Vec<DriftView>,
    /// All of them, in order.
    versions: Vec<VersionLine>,
    /// The log's last entry.
    #[schema(value_type = u64)]
    revision: Revision,
}

impl PromptDetail {
    pub(super) fn of(
        catalog: &Catalog,
        prompt: &Prompt,
        version: &Arc<PromptVersion>,
        environment: &Environment,
    ) -> Self {
        let resolved = catalog.resolve(&prompt.name, version);
        let content = resolved
            .as_ref()
            .map_or(&version.draft.prompt, ResolvedVersion::content);
        let digest = resolved.as_ref().ok().map(ResolvedVersion::digest);
        let record = prompt.record(version.number);
        let evaluations = record.map_or(&[][..], |record| &record.evaluations);
        let reviews = record.map_or(&[][..], |record| &record.reviews);
        let draft = &version.draft;
        Self {
            name: prompt.name.clone(),
            r#type: prompt.prompt_type(),
            version: VersionName::of(version),
            prompt: draft.prompt.clone(),
            config: draft.config.clone(),
            limitations: draft.limitations.clone(),
            category: draft.category.clone(),
            tags: prompt.tags.clone(),
            labels: labels(prompt, version),
            author: draft.author.clone(),
            commit_message: draft.commit_message.clone(),
            created_at: version.created_at,
            registered_by: record.map(|record| Arc::clone(&record.registered_by)),
            source: draft.source.as_ref().map(SourceView::of),
            digest: version.digest.clone(),
            variables: variables(content),
            placeholders: content.placeholders().map(str::to_owned).collect(),
            evaluations: evaluations
                .iter()
                .map(|record| evaluation_view(record, digest))
                .collect(),
            reviews: reviews.iter().map(|record| review_view(record, digest)).collect(),
            findings: findings(catalog, prompt, version, environment),
            resolved: ResolvedView::of(&resolved),
            deployed: deployed(prompt),
            drifted: DriftView::of(prompt, &catalog.drifted()),
            versions: prompt
                .versions
                .iter()
                .map(|version| VersionLine::of(prompt, version))
                .collect(),
            revision: catalog.revision,
        }
    }
}

/// What a deployment of a version to an environment would be refused with now, and what is worth knowing of it.
pub(super) fn findings(
    catalog: &Catalog,
    prompt: &Prompt,
    version: &PromptVersion,
    environment: &Environment,
) -> Vec<Finding> {
    let reference = VersionRef::Number(version.number);
    // The version is there, and nothing else is refused.
    deployability(catalog, &prompt.name, environment, &reference)
        .map(|validation| validation.findings)
        .unwrap_or_default()
}

/// The labels of a version, sorted.
pub(super) fn labels(prompt: &Prompt, version: &PromptVersion) -> Vec<String> {
    let labels: BTreeSet<&str> = prompt.labels_of(version.number).collect();
    labels.into_iter().map(str::to_owned).collect()
}

fn evaluation_view(record: &EvaluationRecord, digest: Option<&str>) -> EvaluationView {
    EvaluationView {
        revision: record.revision,
        at: record.at,
        actor: record.actor.clone(),
        passed: record.bundle.passed(),
        current: record.bundle.digest.as_deref() == digest,
        bundle: record.bundle.clone(),
    }
}

fn review_view(record: &ReviewRecord, digest: Option<&str>) -> ReviewView {
    ReviewView {
        revision: record.revision,
        at: record.at,
        digest: record.digest.clone(),
        current: Some(record.digest.as_str()) == digest,
        review: record.review.clone(),
    }
}
