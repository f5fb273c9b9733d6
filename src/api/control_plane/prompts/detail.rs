//! The JSON shape of one version, with everything known of it.

use super::view::{DriftView, SourceView, VersionName, deployed, findings, labels};
use crate::{
    control_plane::catalog::Catalog,
    domain::{
        Timestamp,
        id::{Environment, PromptName, Revision},
        prompt::{
            Config, EvaluationBundle, EvaluationRecord, Finding, Prompt, PromptContent, PromptType,
            PromptVersion, ResolvedVersion, Review, ReviewRecord,
            composition::{CompositionError, Inclusion},
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
        #[schema(value_type = Option<Value>)]
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
    #[schema(value_type = Value)]
    prompt: PromptContent,
    #[schema(value_type = Object)]
    config: Config,
    /// Text, or an object.
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
