//! The deployments of a prompt to one environment.

use super::{
    super::{Segment, Shared, json, refusal::bad_query, segment},
    existing,
    view::VersionName,
};
use crate::{
    api::problem::Problem,
    domain::{
        Timestamp,
        id::{Environment, ExperimentId, PromptName, Revision, VersionNumber},
        problem::Problem as Mistake,
        prompt::{Deployment, Finding, Prompt, running_at},
    },
};
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Of which environment, and at which time.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct Wanted {
    /// The server's when it is absent.
    environment: Option<String>,
    /// The time that `running` is told for, such as `2026-12-01T08:00:00Z`; now when it is absent.
    at: Option<String>,
}

/// A deployment as it happened.
#[derive(Serialize, ToSchema)]
#[schema(as = Deployment)]
struct DeploymentView {
    #[schema(value_type = String)]
    environment: Environment,
    #[serde(flatten)]
    version: VersionName,
    /// The version before.
    #[schema(value_type = Option<u32>)]
    previous: Option<VersionNumber>,
    at: Timestamp,
    actor: String,
    reason: String,
    /// Of what is served since.
    digest: String,
    /// The warnings that somebody accepted.
    #[schema(value_type = Vec<Object>)]
    accepted: Vec<Finding>,
    /// The experiment whose candidate it was, when it was promoted.
    #[schema(value_type = Option<String>)]
    experiment: Option<ExperimentId>,
    rollback: bool,
    /// The log entry.
    #[schema(value_type = u64)]
    revision: Revision,
}

/// What an environment served, and when.
#[derive(Serialize, ToSchema)]
#[schema(as = DeploymentHistory)]
pub(in super::super) struct History {
    #[schema(value_type = String)]
    name: PromptName,
    /// Newest first.
    deployments: Vec<DeploymentView>,
    /// What was served at the time; null before the first deployment.
    running: Option<DeploymentView>,
}

/// What an environment served
///
/// Every deployment and rollback with who, when and why, and which of them was in force at a time.
#[utoipa::path(get, path = "/api/v1/prompts/{name}/deployments", operation_id = "prompt_deployments", tag = "prompts",
    params(("name" = String, Path, description = "The prompt; slashes may be written as they are"), Wanted),
    responses((status = 200, description = "The deployments", body = History)))]
pub(in super::super) async fn read(
    State(shared): State<Shared>,
    name: Segment,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let view = shared.state.plane.view();
    let prompt = existing(&view, &segment(name)?)?;
    let Query(wanted) = wanted.map_err(|error| bad_query(&[Mistake::new("", error.body_text())]))?;
    let (environment, at) = wanted.understood(&shared)?;
    let history = History {
        name: prompt.name.clone(),
        deployments: prompt
            .history(&environment)
            .rev()
            .map(|deployment| DeploymentView::of(&prompt, deployment))
            .collect(),
        running: running_at(prompt.history(&environment), at)
            .map(|deployment| DeploymentView::of(&prompt, deployment)),
    };
    Ok(json(StatusCode::OK, &history))
}

impl Wanted {
    fn understood(&self, shared: &Shared) -> Result<(Environment, Timestamp), Problem> {
        let mut mistakes = Vec::new();
        let environment = self.environment.as_deref().map(|written| {
            Environment::new(written).map_err(|error| {
                mistakes.push(Mistake::new("environment", error.to_string()));
            })
        });
        let at = self.at.as_deref().map(|written| {
            written.parse().map_err(|_| {
                let problem =
                    "must be a time such as 2026-12-01T08:00:00Z; a `+` in an address is written `%2B`";
                mistakes.push(Mistake::new("at", problem));
            })
        });
        match (environment.transpose(), at.transpose()) {
            (Ok(environment), Ok(at)) => Ok((
                environment.unwrap_or_else(|| shared.state.environment.clone()),
                at.unwrap_or_else(|| shared.state.clock.now()),
            )),
            _ => Err(bad_query(&mistakes)),
        }
    }
}

impl DeploymentView {
    fn of(prompt: &Prompt, deployment: &Deployment) -> Self {
        Self {
            environment: deployment.environment.clone(),
            version: VersionName::numbered(prompt, deployment.version),
            previous: deployment.previous,
            at: deployment.at,
            actor: deployment.actor.clone(),
            reason: deployment.reason.clone(),
            digest: deployment.digest.clone(),
            accepted: deployment.basis.accepted.clone(),
            experiment: deployment.basis.experiment.clone(),
            rollback: deployment.is_rollback(),
            revision: deployment.revision,
        }
    }
}
