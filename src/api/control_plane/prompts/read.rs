//! Prompts: the list, and one version with everything known of it.

use super::{
    super::{Segment, Shared, blocking, json, refusal::bad_query, segment},
    detail::PromptDetail,
    existing,
    selection::Wanted,
    view::{DriftView, VersionName, deployed},
};
use crate::{
    api::problem::Problem,
    domain::{
        Timestamp,
        id::{Environment, LabelName, PromptName, Revision, VersionNumber},
        problem::Problem as Mistake,
        prompt::{Prompt, PromptType},
    },
};
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// Which prompts are listed: those that all of this is true of.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct Filter {
    /// Of this category.
    category: Option<String>,
    /// With this tag.
    tag: Option<String>,
    /// With a version that has this label: an environment, or one of their own.
    label: Option<String>,
    /// Whose name has this in it, in upper or lower case.
    name: Option<String>,
}

/// A prompt, as it is listed.
#[derive(Serialize, ToSchema)]
#[schema(as = PromptSummary)]
struct PromptLine {
    #[schema(value_type = String)]
    name: PromptName,
    #[schema(value_type = String, example = "text")]
    r#type: Option<PromptType>,
    category: Option<String>,
    tags: Vec<String>,
    latest: Option<VersionName>,
    /// How many there are.
    versions: usize,
    /// Those that are no environments.
    #[schema(value_type = HashMap<String, u32>)]
    labels: BTreeMap<LabelName, VersionNumber>,
    #[schema(value_type = HashMap<String, VersionName>)]
    deployed: BTreeMap<Environment, VersionName>,
    /// Deployments whose text would be another one today.
    drifted: Vec<DriftView>,
    changed_at: Timestamp,
}

/// The prompts that were asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = PromptList)]
pub(in super::super) struct Listed {
    /// The log's last entry.
    #[schema(value_type = u64)]
    revision: Revision,
    prompts: Vec<PromptLine>,
}

/// All prompts
///
/// By name, with what each environment serves.
#[utoipa::path(get, path = "/api/v1/prompts", operation_id = "list_prompts", tag = "prompts", params(Filter),
    responses((status = 200, description = "Those that the filter lets through", body = Listed)))]
pub(in super::super) async fn list(
    State(shared): State<Shared>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(filter) = filter.map_err(|error| bad_query(&[Mistake::new("", error.body_text())]))?;
    blocking(move || {
        let view = shared.state.plane.view();
        let drifts = view.catalog.drifted();
        let prompts = view.catalog.prompts.values();
        let listed = Listed {
            revision: view.catalog.revision,
            prompts: prompts
                .filter(|prompt| filter.lets_through(prompt))
                .map(|prompt| PromptLine {
                    name: prompt.name.clone(),
                    r#type: prompt.prompt_type(),
                    category: prompt.category().map(str::to_owned),
                    tags: prompt.tags.clone(),
                    latest: prompt.versions.last().map(|version| VersionName::of(version)),
                    versions: prompt.versions.len(),
                    labels: prompt.labels.clone(),
                    deployed: deployed(prompt),
                    drifted: DriftView::of(prompt, &drifts),
                    changed_at: prompt.changed_at,
                })
                .collect(),
        };
        Ok(json(StatusCode::OK, &listed))
    })
    .await
}

impl Filter {
    fn lets_through(&self, prompt: &Prompt) -> bool {
        let is = |wanted: &Option<String>, found: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(found);
        is(&self.category, &|category| prompt.category() == Some(category))
            && is(&self.tag, &|tag| prompt.tags.iter().any(|known| known == tag))
            && is(&self.label, &|label| prompt.labelled(label).is_some())
            && is(&self.name, &|part| {
                prompt.name.as_str().to_lowercase().contains(&part.to_lowercase())
            })
    }
}

/// One version of a prompt
///
/// The newest unless the query names one, with what it resolves to, the evidence for it, what stands against deploying
/// it, and every other version in short.
#[utoipa::path(get, path = "/api/v1/prompts/{name}", operation_id = "read_prompt", tag = "prompts",
    params(("name" = String, Path, description = "The prompt; slashes may be written as they are"), Wanted),
    responses((status = 200, description = "The version", body = PromptDetail)))]
pub(in super::super) async fn read(
    State(shared): State<Shared>,
    name: Segment,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let view = shared.state.plane.view();
    let prompt = existing(&view, &segment(name)?)?;
    let Query(wanted) = wanted.map_err(|error| bad_query(&[Mistake::new("", error.body_text())]))?;
    let selection = wanted.understood()?;
    blocking(move || {
        let version = selection.of_prompt(&view.catalog, &prompt)?;
        let environment = &shared.state.environment;
        let detail = PromptDetail::of(&view.catalog, &prompt, &version, environment);
        Ok(json(StatusCode::OK, &detail))
    })
    .await
}
