//! Tagged outcomes of a prompt, as cases for a regression suite: one JSON object per line.
//!
//! Owns the query, and the link from an outcome to the version that was served. Keeps nothing: what there is of each tag
//! the collector says.

use super::{
    Segment, Shared, blocking, prompts,
    refusal::{bad_query, collector_failed},
    segment,
};
use crate::{
    api::problem::Problem,
    control_plane::View,
    domain::{
        Timestamp,
        experiment::Experiment,
        id::{Epoch, ExperimentKey, VersionNumber},
        problem::Problem as Mistake,
        prompt::{Prompt, VersionRef},
    },
    routing::answer::DEPLOYED,
};
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::{IntoResponse as _, Response},
};
use hyper::{StatusCode, header::CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Cases in an answer, unless another number is asked for.
const USUAL_LIMIT: usize = 1_000;
/// The most cases in an answer.
const HIGHEST_LIMIT: usize = 10_000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only outcomes with this tag.
    tag: Option<String>,
    /// Only outcomes of this version, by semver or number.
    version: Option<String>,
    /// The most lines, 1 to 10,000.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<usize>,
}

/// A tagged outcome, linked to what was served.
#[derive(Serialize, ToSchema)]
#[schema(as = Example)]
pub(super) struct Example<'a> {
    prompt: &'a str,
    /// The version that was served.
    #[schema(value_type = u32)]
    version: VersionNumber,
    #[schema(value_type = Option<String>)]
    semver: Option<&'a semver::Version>,
    /// Null outside any experiment.
    experiment: Option<&'a str>,
    /// The arm's name; `deployed` outside any experiment.
    variant: &'a str,
    tags: &'a [String],
    note: Option<&'a str>,
    /// When it was reported.
    at: Timestamp,
    /// The receipt of the decision, by which the request is found in the sender's own logs.
    receipt: Option<&'a str>,
    /// What was reported with the tags; absent when nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    metrics: Option<&'a RawValue>,
}

/// Tagged outcomes of a prompt as NDJSON
///
/// The newest first, one case a line, each with the version and the variant that was served. Of each experiment and tag
/// the newest 200 are kept.
#[utoipa::path(get, path = "/api/v1/prompts/{name}/examples", operation_id = "prompt_examples", tag = "prompts",
    params(("name" = String, Path, description = "The prompt; slashes may be written as they are"), Wanted),
    responses((status = 200, description = "One case a line", content_type = "application/x-ndjson",
        body = Example<'_>)))]
pub(super) async fn read(
    State(shared): State<Shared>,
    name: Segment,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let view = shared.state.plane.view();
    let prompt = prompts::existing(&view, &segment(name)?)?;
    let Query(wanted) = wanted.map_err(|error| bad_query(&[Mistake::new("", error.body_text())]))?;
    let (version, limit) = wanted.understood(&prompt)?;
    let mut kept = Vec::new();
    for experiment in experiments(&view, &prompt) {
        kept.push((Some(Arc::clone(experiment)), experiment.key));
    }
    kept.push((None, ExperimentKey::of_deployed(prompt.key)));
    let mut items = Vec::new();
    for (experiment, key) in kept {
        let found = shared.state.collector.examples(key, wanted.tag.as_deref()).await;
        let found = found.map_err(|error| collector_failed(&error))?;
        items.extend(found.into_iter().map(|item| (experiment.clone(), item)));
    }
    blocking(move || {
        let read: Vec<_> = items
            .iter()
            .filter_map(|(experiment, item)| Some((experiment.as_deref(), serde_json::from_str(item).ok()?)))
            .collect();
        let linked = read
            .iter()
            .filter_map(|(experiment, kept)| linked(&prompt, *experiment, kept));
        let mut cases: Vec<_> = linked
            .filter(|case| version.is_none_or(|version| version == case.version))
            .collect();
        // Of one moment the newest comes first in what was read, and stays first.
        cases.sort_by_key(|case| std::cmp::Reverse(case.at));
        cases.truncate(limit);
        let mut body = String::new();
        for case in &cases {
            body.push_str(&serde_json::to_string(case).unwrap_or_default());
            body.push('\n');
        }
        Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
    })
    .await
}

fn experiments<'a>(view: &'a View, prompt: &'a Prompt) -> impl Iterator<Item = &'a Arc<Experiment>> {
    let all = view.catalog.experiments.values();
    all.filter(|experiment| experiment.spec.prompt == prompt.name)
}

impl Wanted {
    fn understood(&self, prompt: &Prompt) -> Result<(Option<VersionNumber>, usize), Problem> {
        let mut mistakes = Vec::new();
        let limit = self.limit.unwrap_or(USUAL_LIMIT);
        if !(1..=HIGHEST_LIMIT).contains(&limit) {
            let problem = format!("must be 1 to {HIGHEST_LIMIT}, not {limit}");
            mistakes.push(Mistake::new("limit", problem));
        }
        let version = self.version.as_deref().map(str::parse::<VersionRef>).transpose();
        let version = version.map_err(|problem| mistakes.push(Mistake::new("version", problem)));
        let (Ok(version), true) = (version, mistakes.is_empty()) else {
            return Err(bad_query(&mistakes));
        };
        let version = version.map(|wanted| match prompt.version(&wanted) {
            Some(version) => Ok(version.number),
            None => {
                let detail = format!("prompt `{}` has no version {wanted}", prompt.name);
                Err(Problem::new(StatusCode::NOT_FOUND, "VERSION_NOT_FOUND", detail))
            }
        });
        Ok((version.transpose()?, limit))
    }
}

/// An outcome as the collector keeps it.
#[derive(Deserialize)]
struct Kept<'a> {
    at: Timestamp,
    /// Inside an experiment.
    variant: Option<String>,
    epoch: Option<Epoch>,
    receipt: Option<String>,
    /// Outside any.
    version: Option<VersionNumber>,
    #[serde(default)]
    tags: Vec<String>,
    note: Option<String>,
    #[serde(borrow)]
    metrics: Option<&'a RawValue>,
}

/// With what was served; none of an outcome whose epoch the log does not know.
fn linked<'a>(
    prompt: &'a Prompt,
    experiment: Option<&'a Experiment>,
    kept: &'a Kept<'a>,
) -> Option<Example<'a>> {
    let version = match experiment {
        Some(experiment) => served(experiment, kept)?,
        None => kept.version?,
    };
    Some(Example {
        prompt: prompt.name.as_str(),
        version,
        semver: prompt.numbered(version)?.draft.semver.as_ref(),
        experiment: experiment.map(|experiment| experiment.spec.id.as_str()),
        variant: kept.variant.as_deref().unwrap_or(DEPLOYED),
        tags: &kept.tags,
        note: kept.note.as_deref(),
        at: kept.at,
        receipt: kept.receipt.as_deref(),
        metrics: kept.metrics.filter(|metrics| metrics.get() != "{}"),
    })
}

/// What an arm served in the epoch of the outcome: a variant may have got another version since.
fn served(experiment: &Experiment, kept: &Kept<'_>) -> Option<VersionNumber> {
    let arm = experiment.arm(kept.variant.as_deref()?)?;
    let record = experiment.epoch_record(kept.epoch?)?;
    let share = record.shares.iter().find(|share| share.arm == arm);
    share?.version
}
