//! Which version of a prompt is meant: by number or semver, by a label, or the newest.

use super::super::refusal::bad_query;
use crate::{
    api::problem::Problem,
    control_plane::{SubmitError, catalog::Catalog, decide::find_version},
    domain::{
        problem::Problem as Mistake,
        prompt::{LATEST, Prompt, PromptVersion, VersionRef},
    },
};
use hyper::StatusCode;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

/// The most of a label from a request that is repeated in an answer.
const LONGEST_ECHO: usize = 80;

/// The version that a query asks for; the newest when it names none.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct Wanted {
    /// A semver such as `1.1.0`, or a number such as `2`.
    version: Option<String>,
    /// A label: `latest`, an environment, or one of the prompt's own.
    label: Option<String>,
}

/// How a version is named.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Selection {
    Version(VersionRef),
    Label(String),
}

impl Wanted {
    pub(super) fn understood(self) -> Result<Selection, Problem> {
        let wrong = |field: &str, problem: String| Err(bad_query(&[Mistake::new(field, problem)]));
        match (self.version, self.label) {
            (Some(_), Some(_)) => wrong("label", "and `version` exclude each other".to_owned()),
            (Some(version), None) => match version.parse() {
                Ok(version) => Ok(Selection::Version(version)),
                Err(problem) => wrong("version", problem),
            },
            (None, Some(label)) => Ok(Selection::Label(label)),
            (None, None) => Ok(Selection::newest()),
        }
    }
}

impl Selection {
    pub(super) fn newest() -> Self {
        Self::Label(LATEST.to_owned())
    }

    /// A version where a version or a label may stand: what reads as a version is one.
    pub(super) fn of(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::Label(text.to_owned()), Self::Version)
    }

    pub(super) fn of_prompt(
        &self,
        catalog: &Catalog,
        prompt: &Prompt,
    ) -> Result<Arc<PromptVersion>, Problem> {
        let label = match self {
            Self::Version(version) => {
                let found = find_version(catalog, &prompt.name, version);
                return Ok(found.map_err(SubmitError::from)?);
            }
            Self::Label(label) => label,
        };
        let found = prompt.labelled(label).and_then(|number| prompt.numbered(number));
        found.cloned().ok_or_else(|| {
            let label: String = label.chars().take(LONGEST_ECHO).collect();
            let known: Vec<&str> = prompt.all_labels().map(|(label, _)| label).collect();
            let detail = format!(
                "prompt `{}` has no label `{label}`; it has {}",
                prompt.name,
                known.join(", ")
            );
            Problem::new(StatusCode::NOT_FOUND, "LABEL_NOT_FOUND", detail)
        })
    }
}
