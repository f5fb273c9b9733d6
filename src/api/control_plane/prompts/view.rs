//! Shapes that several answers share: how versions are called, where they came from, what they lack, and drift.

use crate::{
    control_plane::{
        catalog::{Catalog, Drift},
        decide::deployability,
    },
    domain::{
        Timestamp,
        id::{Environment, PromptName, VersionNumber},
        prompt::{Finding, Prompt, PromptVersion, Source, VersionRef},
    },
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
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
    pub(super) fn of(source: &Source) -> Self {
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
