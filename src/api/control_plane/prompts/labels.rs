//! Labels that are no environments, and tags.

use super::{
    super::{
        Segment, Shared, blocking,
        body::{members, required},
        change::marked,
        json,
    },
    addresses::asked_of_prompt,
    existing,
};
use crate::{
    api::problem::Problem,
    definitions::{prompt::tags, registration::reason},
    domain::{
        command::Command,
        id::{LabelName, PromptName, Revision, VersionNumber},
    },
};
use axum::{
    extract::{Request, State},
    response::Response,
};
use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// Where a label goes.
#[derive(ToSchema)]
#[schema(as = LabelRequest)]
#[expect(
    dead_code,
    reason = "only its shape is shown; the members are read one by one, to tell every mistake"
)]
struct Labelling {
    label: String,
    /// A semver or a number; null takes the label away.
    #[schema(required = true)]
    version: Option<String>,
    reason: Option<String>,
}

/// Where a label is.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Labelled {
    #[schema(value_type = String)]
    name: PromptName,
    #[schema(value_type = String)]
    label: LabelName,
    #[schema(value_type = Option<u32>)]
    version: Option<VersionNumber>,
    /// The log after it.
    #[schema(value_type = u64)]
    revision: Revision,
}

/// Move a label
///
/// Or take it away. `latest` always names the newest version, and environments are deployed to.
#[utoipa::path(post, path = "/api/v1/prompts/{name}/labels", operation_id = "label_prompt", tag = "prompts",
    params(("name" = String, Path, description = "The prompt; slashes may be written as they are")),
    request_body = Labelling, responses((status = 200, description = "Where it is now", body = Labelled)))]
pub(in super::super) async fn label(
    State(shared): State<Shared>,
    name: Segment,
    request: Request,
) -> Result<Response, Problem> {
    let (name, change, asked) = asked_of_prompt(&shared, name, request).await?;
    let asked = required(asked, "`label` and `version`")?;
    // Only null takes a label away: a forgotten key must not.
    let takes_away = asked.get("version").is_some_and(serde_json::Value::is_null);
    let (label, version, reason) = members(asked, |root| {
        let label = root.required("label", "the label's name");
        let label = label.and_then(|field| field.name(LabelName::new));
        let version = if takes_away {
            root.optional("version");
            Some(None)
        } else {
            let meaning = "the version it names from now on, or null to take the label away";
            let version = root.required("version", meaning);
            version.and_then(|field| field.version()).map(Some)
        };
        let reason = reason(root);
        Some((label?, version?, reason))
    })?;
    blocking(move || {
        let plane = &shared.state.plane;
        let command = Command::LabelPrompt {
            name: name.clone(),
            label: label.clone(),
            version,
        };
        let submitted = plane.submit(change.origin(reason), command)?;
        let view = plane.view();
        let prompt = existing(&view, name.as_str())?;
        let labelled = Labelled {
            name,
            version: prompt.labels.get(&label).copied(),
            label,
            revision: submitted.revision,
        };
        Ok(marked(json(StatusCode::OK, &labelled), &submitted))
    })
    .await
}

/// All tags.
#[derive(ToSchema)]
#[schema(as = TagRequest)]
#[expect(
    dead_code,
    reason = "only its shape is shown; the members are read one by one, to tell every mistake"
)]
struct Tagging {
    /// They replace those there are.
    tags: Vec<String>,
    reason: Option<String>,
}

/// The tags of a prompt.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Tagged {
    #[schema(value_type = String)]
    name: PromptName,
    tags: Vec<String>,
    /// The log after it.
    #[schema(value_type = u64)]
    revision: Revision,
}

/// Replace the tags of a prompt
#[utoipa::path(post, path = "/api/v1/prompts/{name}/tags", operation_id = "tag_prompt", tag = "prompts",
    params(("name" = String, Path, description = "The prompt; slashes may be written as they are")),
    request_body = Tagging, responses((status = 200, description = "What they are now", body = Tagged)))]
pub(in super::super) async fn tag(
    State(shared): State<Shared>,
    name: Segment,
    request: Request,
) -> Result<Response, Problem> {
    let (name, change, asked) = asked_of_prompt(&shared, name, request).await?;
    let (words, reason) = members(required(asked, "`tags`")?, |root| {
        root.required("tags", "all tags of the prompt, as a list")?;
        Some((tags(root), reason(root)))
    })?;
    blocking(move || {
        let plane = &shared.state.plane;
        let command = Command::TagPrompt {
            name: name.clone(),
            tags: words,
        };
        let submitted = plane.submit(change.origin(reason), command)?;
        let prompt = existing(&plane.view(), name.as_str())?;
        let tagged = Tagged {
            name,
            tags: prompt.tags.clone(),
            revision: submitted.revision,
        };
        Ok(marked(json(StatusCode::OK, &tagged), &submitted))
    })
    .await
}
