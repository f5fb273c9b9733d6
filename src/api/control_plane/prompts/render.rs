//! A version with values put in, to look at. Changes nothing, although the values come in a body.

use super::{
    super::{
        Segment, Shared, blocking,
        body::{self, MAX_BYTES, members},
        json, segment,
    },
    existing,
    selection::Selection,
    view::VersionName,
};
use crate::{
    api::problem::Problem,
    control_plane::{SubmitError, decide::Rejection},
    definitions::{
        prompt::message,
        reader::{Field, Table},
    },
    domain::{
        id::PromptName,
        prompt::{
            ChatMessage, PromptContent,
            variables::{Rendered, Values, render},
        },
    },
};
use axum::{
    extract::{Request, State},
    response::Response,
};
use hyper::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A version with values put in.
#[derive(Serialize, ToSchema)]
#[schema(as = RenderedPrompt)]
pub(in super::super) struct Shown {
    #[schema(value_type = String)]
    name: PromptName,
    #[serde(flatten)]
    version: VersionName,
    /// What is missing stands in it as it was written.
    #[schema(value_type = Value)]
    prompt: PromptContent,
    /// Variables and placeholders without a value.
    missing: Vec<String>,
    /// Values that nothing asks for.
    unused: Vec<String>,
}

/// Which version, and what is put in.
#[derive(ToSchema)]
#[schema(as = RenderRequest)]
#[expect(
    dead_code,
    reason = "only its shape is shown; the members are read one by one, to tell every mistake"
)]
struct Filling {
    /// A semver or a number; absent, with `label` too: the newest.
    #[schema(value_type = Option<String>)]
    version: Option<String>,
    label: Option<String>,
    /// Text by variable.
    variables: Option<BTreeMap<String, String>>,
    /// Messages by placeholder.
    #[schema(value_type = Option<HashMap<String, Vec<Object>>>)]
    placeholders: Option<BTreeMap<String, Vec<ChatMessage>>>,
}

/// Put values into a version
///
/// With everything it includes. Missing values are no mistake here: they are listed.
#[utoipa::path(post, path = "/api/v1/prompts/{name}/render", operation_id = "render_prompt", tag = "prompts",
    params(("name" = String, Path, description = "The prompt; slashes may be written as they are")),
    request_body = Filling, responses((status = 200, description = "What a model would see", body = Shown)))]
pub(in super::super) async fn render_version(
    State(shared): State<Shared>,
    name: Segment,
    request: Request,
) -> Result<Response, Problem> {
    let view = shared.state.plane.view();
    let prompt = existing(&view, &segment(name)?)?;
    let (head, sent) = request.into_parts();
    let bytes = body::bytes(&head.headers, sent, MAX_BYTES).await?;
    let asked = body::object(&bytes)?.unwrap_or_default();
    let (selection, values) = members(asked, |root| Some((selection(root), values(root))))?;
    blocking(move || {
        let version = selection.of_prompt(&view.catalog, &prompt)?;
        let resolved = view.catalog.resolve(&prompt.name, &version).map_err(|error| {
            SubmitError::from(Rejection::Composition {
                prompt: prompt.name.clone(),
                error,
            })
        })?;
        let Rendered {
            content,
            missing,
            unused,
        } = render(resolved.content(), &values);
        let shown = Shown {
            name: prompt.name.clone(),
            version: VersionName::of(&version),
            prompt: content,
            missing,
            unused,
        };
        Ok(json(StatusCode::OK, &shown))
    })
    .await
}

fn selection(root: &mut Table<'_>) -> Selection {
    let version = root.optional("version");
    let label = root.optional("label");
    match (version, label) {
        (None, None) => Selection::newest(),
        (Some(version), None) => version
            .version()
            .map_or_else(Selection::newest, Selection::Version),
        (version, Some(label)) => {
            if version.is_some() {
                label.wrong("and `version` exclude each other");
            }
            Selection::Label(label.text().unwrap_or_default().to_owned())
        }
    }
}

fn values(root: &mut Table<'_>) -> Values {
    let variable = |(name, field): (&str, Field<'_>)| Some((name.to_owned(), field.text()?.to_owned()));
    let placeholder = |(name, field): (&str, Field<'_>)| {
        let messages = field.list()?.iter().map(message).collect();
        Some((name.to_owned(), messages))
    };
    Values {
        variables: root.section("variables").fields().filter_map(variable).collect(),
        placeholders: root
            .section("placeholders")
            .fields()
            .filter_map(placeholder)
            .collect(),
    }
}
