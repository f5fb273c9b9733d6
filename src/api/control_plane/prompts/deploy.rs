//! Deployments and rollbacks.

use super::{
    super::{
        Segment, Shared, blocking,
        body::{members, required},
        change::marked,
        json,
        refusal::reason_required,
    },
    addresses::asked_of_prompt,
    existing,
    view::VersionName,
};
use crate::{
    api::problem::Problem,
    control_plane::{Submitted, View},
    definitions::{
        reader::Table,
        registration::{accepted, reason},
    },
    domain::{
        command::Command,
        event::Event,
        experiment::FreezeCause,
        id::{Environment, ExperimentId, PromptName, Revision, VersionNumber},
        prompt::{Deployment, Finding, Prompt},
    },
};
use axum::{
    extract::{Request, State},
    response::Response,
};
use hyper::StatusCode;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Which version is to be served where.
#[derive(ToSchema)]
#[schema(as = DeployRequest)]
#[expect(
    dead_code,
    reason = "only its shape is shown; the members are read one by one, to tell every mistake"
)]
struct Wanted {
    /// A semver or a number.
    version: String,
    /// The server's when it is absent.
    environment: Option<String>,
    reason: Option<String>,
    /// Warnings that are accepted, by code or by code and place: `variable_added:question`.
    accept: Option<Vec<String>>,
}

/// What an environment is to serve again.
#[derive(ToSchema)]
#[schema(as = RollbackRequest)]
#[expect(
    dead_code,
    reason = "only its shape is shown; the members are read one by one, to tell every mistake"
)]
struct Back {
    /// The server's when it is absent.
    environment: Option<String>,
    /// A version that was deployed there before; absent: the previous one.
    target_version: Option<String>,
    /// Why; kept in the audit log.
    #[schema(max_length = 1000)]
    reason: String,
}

/// What an environment serves.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Deployed {
    #[schema(value_type = String)]
    name: PromptName,
    #[schema(value_type = String)]
    environment: Environment,
    #[serde(flatten)]
    version: VersionName,
    /// The version before.
    #[schema(value_type = Option<u32>)]
    previous: Option<VersionNumber>,
    /// Of what is served.
    digest: String,
    /// The warnings that went along.
    #[schema(value_type = Vec<Object>)]
    accepted: Vec<Finding>,
    /// Of a rollback: the experiments that it froze.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    frozen: Option<Vec<ExperimentId>>,
    /// The log after it.
    #[schema(value_type = u64)]
    revision: Revision,
}

/// Serve a version in an environment
///
/// Refused with everything that is missing (`NOT_DEPLOYABLE`); the warnings among it can be accepted. What is served
/// already is no deployment.
#[utoipa::path(post, path = "/api/v1/prompts/{name}/deploy", operation_id = "deploy_prompt", tag = "prompts",
    params(("name" = String, Path, description = "The prompt; slashes may be written as they are")),
    request_body = Wanted, responses((status = 200, description = "What is served now", body = Deployed)))]
pub(in super::super) async fn deploy(
    State(shared): State<Shared>,
    name: Segment,
    request: Request,
) -> Result<Response, Problem> {
    let (name, change, body) = asked_of_prompt(&shared, name, request).await?;
    let (version, environment, accept, reason) = members(required(body, "`version`")?, |root| {
        let version = root.required("version", "the version to serve, by semver or by number");
        let version = version.and_then(|field| field.version());
        let environment = environment(root, &shared);
        let (accept, reason) = (accepted(root), reason(root));
        Some((version?, environment?, accept, reason))
    })?;
    blocking(move || {
        let command = Command::DeployPrompt {
            name: name.clone(),
            environment: environment.clone(),
            version,
            wish: false,
            accept,
        };
        let plane = &shared.state.plane;
        let submitted = plane.submit(change.origin(reason), command)?;
        let prompt = existing(&plane.view(), name.as_str())?;
        let deployment = caused(&prompt, &environment, &submitted)?;
        let deployed = Deployed::of(&prompt, deployment, None, submitted.revision);
        Ok(marked(json(StatusCode::OK, &deployed), &submitted))
    })
    .await
}

/// Serve again what was served before
///
/// At once, without a gate. The experiments of the prompt in the environment are frozen. 202 when the store is down: it
/// holds and is written later.
#[utoipa::path(post, path = "/api/v1/prompts/{name}/rollback", operation_id = "roll_back_prompt", tag = "prompts",
    params(("name" = String, Path, description = "The prompt; slashes may be written as they are")),
    request_body = Back, responses(
        (status = 200, description = "What is served now", body = Deployed),
        (status = 202, description = "It holds and is not written yet", body = Deployed)))]
pub(in super::super) async fn roll_back(
    State(shared): State<Shared>,
    name: Segment,
    request: Request,
) -> Result<Response, Problem> {
    let (name, change, body) = asked_of_prompt(&shared, name, request).await?;
    let (environment, target, reason) = members(body.unwrap_or_default(), |root| {
        let environment = environment(root, &shared);
        let target = root.optional("target_version").map(|field| field.version());
        let reason = reason(root);
        Some((
            environment?,
            target.map_or(Some(None), |target| target.map(Some))?,
            reason,
        ))
    })?;
    if reason.is_empty() {
        return Err(reason_required());
    }
    blocking(move || {
        let command = Command::RollBackPrompt {
            name: name.clone(),
            environment: environment.clone(),
            target,
        };
        let plane = &shared.state.plane;
        let submitted = plane.submit(change.origin(reason), command)?;
        let view = plane.view();
        let prompt = existing(&view, name.as_str())?;
        let deployment = caused(&prompt, &environment, &submitted)?;
        // Written or not, what was served before leaves no entry either.
        let waits = submitted.events.is_empty() && view.unrecorded > 0;
        let status = if waits {
            StatusCode::ACCEPTED
        } else {
            StatusCode::OK
        };
        let frozen = frozen(&view, deployment, &submitted);
        let deployed = Deployed::of(&prompt, deployment, Some(frozen), submitted.revision);
        Ok(marked(json(status, &deployed), &submitted))
    })
    .await
}

fn environment(root: &mut Table<'_>, shared: &Shared) -> Option<Environment> {
    match root.optional("environment") {
        Some(field) => field.name(Environment::new),
        None => Some(shared.state.environment.clone()),
    }
}

/// The deployment that a change made, or the one in force where nothing had to change or nothing is written yet.
fn caused<'p>(
    prompt: &'p Arc<Prompt>,
    environment: &Environment,
    submitted: &Submitted,
) -> Result<&'p Deployment, Problem> {
    let mut entries = submitted.events.iter();
    let entry = entries.find(|entry| matches!(entry.event, Event::PromptDeployed { .. }));
    let made = entry.and_then(|entry| {
        let mut history = prompt.history(environment);
        history.find(|deployment| deployment.revision == entry.revision)
    });
    made.or_else(|| prompt.deployment(environment))
        .ok_or_else(super::super::internal)
}

/// The experiments that a rollback froze.
fn frozen(view: &View, deployment: &Deployment, submitted: &Submitted) -> Vec<ExperimentId> {
    if !submitted.events.is_empty() {
        let frozen = submitted.events.iter().filter_map(|entry| match &entry.event {
            Event::ExperimentFrozen { id, .. } => Some(id.clone()),
            _ => None,
        });
        return frozen.collect();
    }
    // What is not written yet came into force as one entry.
    let experiments = view.catalog.experiments.values();
    let by_this = experiments.filter(|experiment| {
        experiment.freeze.as_ref().is_some_and(|freeze| {
            freeze.revision == deployment.revision && matches!(freeze.cause, FreezeCause::RolledBack { .. })
        })
    });
    by_this.map(|experiment| experiment.spec.id.clone()).collect()
}

impl Deployed {
    fn of(
        prompt: &Prompt,
        deployment: &Deployment,
        frozen: Option<Vec<ExperimentId>>,
        revision: Revision,
    ) -> Self {
        Self {
            name: prompt.name.clone(),
            environment: deployment.environment.clone(),
            version: VersionName::numbered(prompt, deployment.version),
            previous: deployment.previous,
            digest: deployment.digest.clone(),
            accepted: deployment.basis.accepted.clone(),
            frozen,
            revision,
        }
    }
}
