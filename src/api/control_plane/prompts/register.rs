//! Registering versions, with their labels, in one transaction.

use super::{
    super::{
        Segment, Shared, blocking,
        body::required,
        change::{Change, marked},
        json,
        refusal::{forbidden, invalid_prompt},
        segment,
    },
    addresses::address,
    existing,
    view::{VersionName, findings, labels},
};
use crate::{
    api::problem::Problem,
    control_plane::{
        SubmitError, Submitted,
        catalog::Catalog,
        decide::{Rejection, is_environment, registered},
        rehearse,
    },
    definitions::registration::{Registration, registration_from_json},
    domain::{
        Timestamp,
        check::LARGEST_DRAFT,
        command::{Command, Origin},
        event::{Event, Recorded},
        id::{Environment, LabelName, PromptName, Revision, VersionNumber},
        prompt::{ENVIRONMENTS, Finding, Prompt, VersionRef},
        token::Role,
    },
};
use axum::{
    extract::{Request, State},
    response::Response,
};
use hyper::{
    StatusCode,
    header::{HeaderValue, LOCATION},
};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// The largest body: a version as large as it may be, with room for how JSON escapes it.
const MAX_BYTES: usize = 2 * LARGEST_DRAFT;

/// Whether a prompt is there already.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Asked {
    First,
    Next,
}

/// A version that is registered.
#[derive(Serialize, ToSchema)]
#[schema(as = Registered)]
pub(in super::super) struct Outcome {
    #[schema(value_type = String)]
    name: PromptName,
    #[serde(flatten)]
    version: VersionName,
    /// Of content and config as they were sent.
    digest: String,
    /// False: this content was there already, as this version.
    created: bool,
    /// What stands against deploying it to the server's environment, and what is worth knowing.
    #[schema(value_type = Vec<Object>)]
    findings: Vec<Finding>,
    /// Of the version.
    labels: Vec<String>,
    /// The log after it.
    #[schema(value_type = u64)]
    revision: Revision,
}

/// Register the first version of a prompt
///
/// `name`, `prompt` (text, or a list of messages), and optionally `type`, `config`, `limitations`, `semver` or `bump`,
/// `commit_message`, `author`, `tags`, `labels`, `category`, `source`, `accept` and `reason`. Every environment without a
/// gate serves it, since there is nothing else. Labels that are environments are deployed to: all of it or nothing.
#[utoipa::path(post, path = "/api/v1/prompts", operation_id = "create_prompt", tag = "prompts",
    request_body(content = Object, description = "The version"), responses(
        (status = 201, description = "The version; `Location` has the prompt's address", body = Outcome)))]
pub(in super::super) async fn create(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let (change, body) = Change::read_up_to(request, MAX_BYTES).await?;
    submit(shared, change, None, body).await
}

/// Register the next version of a prompt
///
/// The same body; `name` may be left out, and without `tags` the prompt keeps those it has. Content that the newest
/// version has, or the version of the same `semver`, is that version again, and only its labels change. Labels that
/// replace what users get need an operator.
#[utoipa::path(put, path = "/api/v1/prompts/{name}", operation_id = "register_prompt", tag = "prompts",
    params(("name" = String, Path, description = "The prompt; slashes may be written as they are")),
    request_body(content = Object, description = "The version"), responses(
        (status = 201, description = "The version", body = Outcome),
        (status = 200, description = "It was there already", body = Outcome)))]
pub(in super::super) async fn change(
    State(shared): State<Shared>,
    name: Segment,
    request: Request,
) -> Result<Response, Problem> {
    let name = existing(&shared.state.plane.view(), &segment(name)?)?
        .name
        .clone();
    let (change, body) = Change::read_up_to(request, MAX_BYTES).await?;
    submit(shared, change, Some(name), body).await
}

async fn submit(
    shared: Shared,
    change: Change,
    name: Option<PromptName>,
    body: Option<serde_json::Map<String, Value>>,
) -> Result<Response, Problem> {
    change.is_based_on_nothing()?;
    let body = Value::Object(required(body, "the version")?);
    let registration =
        registration_from_json(name.as_ref(), &body).map_err(|mistakes| invalid_prompt(&mistakes))?;
    let asked = if name.is_some() { Asked::Next } else { Asked::First };
    blocking(move || {
        let state = &shared.state;
        let origin = change.origin(why(&registration));
        let submitted = state.plane.submit_request(&origin, |catalog| {
            asked.fits(catalog, &registration.name)?;
            let commands = commands(&registration, catalog, &state.environment);
            may_redeploy(&change, catalog, &origin, &commands, state.clock.now())?;
            Ok::<_, Problem>(commands)
        })?;
        answer(&shared, asked, &registration, &submitted)
    })
    .await
}

impl Asked {
    fn fits(self, catalog: &Catalog, name: &PromptName) -> Result<(), Problem> {
        match (self, catalog.prompts.contains_key(name)) {
            (Self::First, false) | (Self::Next, true) => Ok(()),
            (Self::First, true) => {
                let address = address(name);
                let detail =
                    format!("prompt `{name}` exists already; register its next version with PUT {address}");
                Err(Problem::new(StatusCode::CONFLICT, "PROMPT_EXISTS", detail))
            }
            (Self::Next, false) => Err(SubmitError::from(Rejection::UnknownPrompt(name.clone())).into()),
        }
    }
}

fn why(registration: &Registration) -> &str {
    let message = registration.draft.commit_message.as_deref();
    match (registration.reason.as_str(), message) {
        ("", Some(message)) => message,
        ("", None) => "registered over the API",
        (reason, _) => reason,
    }
}

/// The version first, then its labels.
fn commands(registration: &Registration, catalog: &Catalog, environment: &Environment) -> Vec<Command> {
    let name = &registration.name;
    let prompt = catalog.prompts.get(name);
    let known = registered(catalog, name, &registration.draft).map(|version| version.number);
    let number = known.unwrap_or_else(|| next(prompt.map(AsRef::as_ref)));
    let version = VersionRef::Number(number);
    let deployed_to = |label: &LabelName| {
        let is_one = label.as_str() == environment.as_str()
            || is_environment(catalog, prompt.map(AsRef::as_ref), label.as_str());
        is_one.then(|| Environment::new(label.as_str()).ok()).flatten()
    };
    let mut environments: BTreeSet<Environment> =
        registration.labels.iter().filter_map(deployed_to).collect();
    let commands = registration.labels.iter().map(|label| match deployed_to(label) {
        Some(environment) => Command::DeployPrompt {
            name: name.clone(),
            environment,
            version: version.clone(),
            wish: false,
            accept: registration.accept.clone(),
        },
        None => Command::LabelPrompt {
            name: name.clone(),
            label: label.clone(),
            version: Some(version.clone()),
        },
    });
    let commands: Vec<Command> = commands.collect();
    environments.insert(environment.clone());
    environments.extend(ENVIRONMENTS.iter().filter_map(|name| Environment::new(name).ok()));
    let mut draft = registration.draft.clone();
    if let Some(prompt) = prompt.filter(|_| registration.keeps_tags) {
        draft.tags.clone_from(&prompt.tags);
    }
    let register = Command::RegisterPrompt {
        name: name.clone(),
        draft: Box::new(draft),
        environments: environments.into_iter().collect(),
    };
    std::iter::once(register).chain(commands).collect()
}
fn next(prompt: Option<&Prompt>) -> VersionNumber {
    let versions = prompt.map_or(0, |prompt| prompt.versions.len());
    VersionNumber(u32::try_from(versions + 1).unwrap_or(u32::MAX))
}

/// Who registers may give users something they did not have; who replaces what they have, deploys.
fn may_redeploy(
    change: &Change,
    catalog: &Catalog,
    origin: &Origin,
    commands: &[Command],
    now: Timestamp,
) -> Result<(), Problem> {
    if change.role() >= Role::Operator {
        return Ok(());
    }
    let commands: Vec<_> = commands
        .iter()
        .map(|command| (origin.clone(), command.clone()))
        .collect();
    let replaces = |entry: &Recorded| catalog.is_replaced_by(&entry.event);
    // What is refused by itself is told by the one that decides.
    match rehearse(catalog, &commands, now) {
        Ok(entries) if entries.iter().any(replaces) => {
            let detail =
                "a label of the version is an environment, and what its users get is another text by it";
            Err(forbidden(change.actor(), change.role(), Role::Operator, detail))
        }
        _ => Ok(()),
    }
}

fn answer(
    shared: &Shared,
    asked: Asked,
    registration: &Registration,
    submitted: &Submitted,
) -> Result<Response, Problem> {
    let view = shared.state.plane.view();
    let prompt = existing(&view, registration.name.as_str())?;
    let mut created = false;
    let mut number = None;
    for entry in &submitted.events {
        match &entry.event {
            Event::PromptRegistered { version, .. } => {
                created = true;
                number = Some(version.number);
            }
            Event::PromptDeployed { version, .. } => number = number.or(Some(*version)),
            Event::PromptLabelled { version, .. } => number = number.or(*version),
            _ => {}
        }
    }
    let version = match number {
        Some(number) => prompt.numbered(number),
        None => registered(&view.catalog, &prompt.name, &registration.draft),
    };
    let version = version.ok_or_else(super::super::internal)?;
    let outcome = Outcome {
        name: prompt.name.clone(),
        version: VersionName::of(version),
        digest: version.digest.clone(),
        created,
        findings: findings(&view.catalog, &prompt, version, &shared.state.environment),
        labels: labels(&prompt, version),
        revision: submitted.revision,
    };
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut response = json(status, &outcome);
    // An address of a segment in percent signs is a header's value.
    if asked == Asked::First
        && let Ok(location) = HeaderValue::try_from(address(&prompt.name))
    {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(marked(response, submitted))
}
