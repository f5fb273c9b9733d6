//! What differs between two versions.

use super::{
    super::{Segment, Shared, blocking, json, refusal::bad_query, segment},
    existing,
    selection::Selection,
};
use crate::{
    api::problem::Problem,
    control_plane::{SubmitError, decide::Rejection},
    domain::{
        id::PromptName,
        problem::Problem as Mistake,
        prompt::{PromptVersion, ResolvedVersion},
    },
    report::prompt_diff::{Hunk, Piece, PromptDifference, TextDifference},
};
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// The two versions.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct Wanted {
    /// The earlier one: a semver, a number or a label.
    from: String,
    /// The later one.
    to: String,
    /// Whether to compare what a model sees, with everything that is included, instead of what was registered.
    #[serde(default)]
    resolved: bool,
}

/// The difference of two versions.
#[derive(Serialize, ToSchema)]
#[schema(as = PromptDiff)]
pub(in super::super) struct Diff {
    #[schema(value_type = String)]
    name: PromptName,
    /// The semver, or the number of a version without one.
    from: String,
    to: String,
    /// Content and config as `diff -u` writes them; empty when both are the same.
    unified: String,
    content: TextDiff,
    /// Of the config as JSON with one line for each value.
    config: TextDiff,
}

/// The difference of two texts.
#[derive(Serialize, ToSchema)]
struct TextDiff {
    unified: String,
    /// By line, with three lines around each change.
    #[schema(value_type = Vec<Object>)]
    hunks: Vec<Hunk>,
    /// By word, the whole of both texts; empty when they are the same.
    #[schema(value_type = Vec<Object>)]
    words: Vec<Piece>,
}

impl TextDiff {
    fn of(difference: TextDifference, from: &str, to: &str) -> Self {
        Self {
            unified: difference.unified(from, to),
            hunks: difference.hunks,
            words: difference.words,
        }
    }
}

/// What differs between two versions
#[utoipa::path(get, path = "/api/v1/prompts/{name}/diff", operation_id = "diff_prompt", tag = "prompts",
    params(("name" = String, Path, description = "The prompt; slashes may be written as they are"), Wanted),
    responses((status = 200, description = "By line and by word", body = Diff)))]
pub(in super::super) async fn read(
    State(shared): State<Shared>,
    name: Segment,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let view = shared.state.plane.view();
    let prompt = existing(&view, &segment(name)?)?;
    let Query(wanted) = wanted.map_err(|error| bad_query(&[Mistake::new("", error.body_text())]))?;
    blocking(move || {
        let catalog = &view.catalog;
        let find = |text: &str| Selection::of(text).of_prompt(catalog, &prompt);
        let (from, to) = (find(&wanted.from)?, find(&wanted.to)?);
        let seen = |version: &Arc<PromptVersion>| {
            if !wanted.resolved {
                return Ok(ResolvedVersion::verbatim(Arc::clone(version)));
            }
            catalog.resolve(&prompt.name, version).map_err(|error| {
                SubmitError::from(Rejection::Composition {
                    prompt: prompt.name.clone(),
                    error,
                })
            })
        };
        let (earlier, later) = (seen(&from)?, seen(&to)?);
        let difference = PromptDifference::between(
            (earlier.content(), &from.draft.config),
            (later.content(), &to.draft.config),
        );
        let (from, to) = (from.name(), to.name());
        let content = TextDiff::of(difference.content, &from, &to);
        let config = TextDiff::of(
            difference.config,
            &format!("{from} config"),
            &format!("{to} config"),
        );
        let diff = Diff {
            name: prompt.name.clone(),
            from,
            to,
            unified: format!("{}{}", content.unified, config.unified),
            content,
            config,
        };
        Ok(json(StatusCode::OK, &diff))
    })
    .await
}
