//! Experiments: list, create, read, change, and their results.

use super::{
    Segment, Shared, blocking, body,
    change::{Change, marked, tagged},
    experiment_id, json, prompts,
    refusal::{self, problem_of},
    segment,
    view::{ExperimentDetail, ExperimentView},
};
use crate::{
    api::problem::Problem,
    control_plane::{Submitted, View, decide::Rejection},
    definitions::experiment::experiment_from_json,
    domain::{
        command::Command,
        experiment::{Experiment, ExperimentSpec},
        id::{ExperimentId, Revision},
    },
    report::report,
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
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::ToSchema;

/// Every experiment.
#[derive(Serialize, ToSchema)]
pub(super) struct Listed {
    /// The log's last entry.
    #[schema(value_type = u64)]
    revision: Revision,
    experiments: Vec<ExperimentView>,
}

/// All experiments
#[utoipa::path(get, path = "/api/v1/experiments", operation_id = "list_experiments", tag = "experiments",
    responses((status = 200, description = "With state and shares", body = Listed)))]
pub(super) async fn list(State(shared): State<Shared>) -> Result<Response, Problem> {
    blocking(move || {
        let view = shared.state.plane.view();
        let experiments = view.catalog.experiments.values();
        let listed = Listed {
            revision: view.catalog.revision,
            experiments: experiments
                .map(|experiment| ExperimentView::of(&view, experiment))
                .collect(),
        };
        Ok(json(StatusCode::OK, &listed))
    })
    .await
}

/// One experiment
///
/// Its design, its arms and its history. `ETag` is its revision, for a later `If-Match`.
#[utoipa::path(get, path = "/api/v1/experiments/{id}", operation_id = "read_experiment", tag = "experiments",
    params(("id" = String, Path, description = "The experiment")),
    responses((status = 200, description = "The experiment", body = ExperimentDetail)))]
pub(super) async fn read(State(shared): State<Shared>, id: Segment) -> Result<Response, Problem> {
    let view = shared.state.plane.view();
    let experiment = existing(&view, &experiment_id(id)?)?;
    let response = json(StatusCode::OK, &ExperimentDetail::of(&view, &experiment));
    Ok(tagged(response, experiment.revision))
}

/// What was measured
///
/// Per metric and variant: estimates, intervals, tests and a verdict; the guardrails; the sample ratio. A figure that
/// cannot be had yet is `{"undefined":"reason"}` in its place.
#[utoipa::path(get, path = "/api/v1/experiments/{id}/results", operation_id = "experiment_results", tag = "experiments",
    params(("id" = String, Path, description = "The experiment")),
    responses((status = 200, description = "The report", body = Object)))]
pub(super) async fn results(State(shared): State<Shared>, id: Segment) -> Result<Response, Problem> {
    let id = experiment_id(id)?;
    blocking(move || {
        let state = &shared.state;
        let view = state.plane.view();
        let experiment = existing(&view, &id)?;
        let counts = state.collector.arm_counts(experiment.key);
        let guardrails = (state.assess)(&experiment, true);
        let now = state.clock.now();
        let mut report = report(&experiment, &counts, guardrails, view.catalog.revision, now);
        report.aa = (state.assess_aa)(&experiment, true);
        report.reporting = Some((state.assess_reporting)(&experiment));
        Ok(json(StatusCode::OK, &report))
    })
    .await
}

/// Create an experiment
///
/// The body is the design, with the keys of the file and its id as `id`.
#[utoipa::path(post, path = "/api/v1/experiments", operation_id = "create_experiment", tag = "experiments",
    request_body(content = Object, description = "The design"),
    responses((status = 201, description = "The experiment; `Location` has its address", body = ExperimentDetail)))]
pub(super) async fn create(State(shared): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (change, design) = Change::read(request).await?;
    submit_new(shared, change, body::required(design, "the experiment")?).await
}

/// Create an experiment on a prompt
///
/// The same with the prompt in the address.
#[utoipa::path(post, path = "/api/v1/prompts/{name}/experiments", operation_id = "create_experiment_on_prompt",
    tag = "prompts",
    params(("name" = String, Path, description = "The prompt; slashes may be written as they are")),
    request_body(content = Object, description = "The design; `prompt` may be left out"),
    responses((status = 201, description = "The experiment; `Location` has its address", body = ExperimentDetail)))]
pub(super) async fn create_for_prompt(
    State(shared): State<Shared>,
    prompt: Segment,
    request: Request,
) -> Result<Response, Problem> {
    let known = prompts::existing(&shared.state.plane.view(), &segment(prompt)?)?
        .name
        .clone();
    let (change, design) = Change::read(request).await?;
    let mut design = body::required(design, "the experiment")?;
    agrees(&design, "prompt", known.as_str(), "PROMPT_MISMATCH")?;
    design.insert("prompt".to_owned(), Value::from(known.as_str()));
    submit_new(shared, change, design).await
}

/// Change an experiment
///
/// The body is the whole design. Raising a share moves nobody who is in; a change of the split begins a new epoch.
#[utoipa::path(put, path = "/api/v1/experiments/{id}", operation_id = "change_experiment", tag = "experiments",
    params(("id" = String, Path, description = "The experiment")),
    request_body(content = Object, description = "The design"),
    responses((status = 200, description = "The experiment as it is now", body = ExperimentDetail)))]
pub(super) async fn change(
    State(shared): State<Shared>,
    id: Segment,
    request: Request,
) -> Result<Response, Problem> {
    let id = experiment_id(id)?;
    existing(&shared.state.plane.view(), &id)?;
    let (change, design) = Change::read(request).await?;
    let design = body::required(design, "the experiment")?;
    agrees(&design, "id", id.as_str(), "ID_MISMATCH")?;
    let spec = checked(&shared, Some(id.as_str()), design)?;
    blocking(move || {
        let submitted = put(&shared, &change, spec, "changed over the API")?;
        answer(&shared, &id, StatusCode::OK, &submitted)
    })
    .await
}

async fn submit_new(shared: Shared, change: Change, design: Map<String, Value>) -> Result<Response, Problem> {
    change.is_based_on_nothing()?;
    let spec = checked(&shared, None, design)?;
    blocking(move || {
        const REASON: &str = "created over the API";
        let id = spec.id.clone();
        let creating = Arc::clone(&shared.creating);
        let _alone = creating.lock();
        let plane = &shared.state.plane;
        // What is there may be what this very request created.
        if plane.view().catalog.experiments.contains_key(&id) && !plane.knows(&change.origin(REASON)) {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "EXPERIMENT_EXISTS",
                format!("experiment `{id}` exists already; change it with PUT /api/v1/experiments/{id}"),
            ));
        }
        let submitted = put(&shared, &change, spec, REASON)?;
        let mut response = answer(&shared, &id, StatusCode::CREATED, &submitted)?;
        // An id has no character that would need escaping.
        if let Ok(location) = HeaderValue::try_from(format!("/api/v1/experiments/{id}")) {
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    })
    .await
}

fn put(shared: &Shared, change: &Change, spec: ExperimentSpec, reason: &str) -> Result<Submitted, Problem> {
    let command = Command::PutExperiment(Box::new(spec));
    let plane = &shared.state.plane;
    let submitted = plane.submit_based_on(change.origin(reason), command, change.based_on());
    submitted.map_err(|error| problem_of(&error))
}

fn answer(
    shared: &Shared,
    id: &ExperimentId,
    status: StatusCode,
    submitted: &Submitted,
) -> Result<Response, Problem> {
    let view = shared.state.plane.view();
    let experiment = existing(&view, id)?;
    let response = json(status, &ExperimentDetail::of(&view, &experiment));
    Ok(marked(tagged(response, experiment.revision), submitted))
}

fn checked(shared: &Shared, id: Option<&str>, design: Map<String, Value>) -> Result<ExperimentSpec, Problem> {
    experiment_from_json(id, &Value::Object(design), &shared.state.environment)
        .map_err(|problems| refusal::invalid(&problems))
}

/// What the body says of itself must be what the address says.
fn agrees(design: &Map<String, Value>, key: &str, address: &str, code: &'static str) -> Result<(), Problem> {
    match design.get(key) {
        Some(Value::String(written)) if written != address => {
            let detail = format!("`{key}` must be `{address}`, as in the address, or absent");
            Err(Problem::new(StatusCode::BAD_REQUEST, code, detail))
        }
        _ => Ok(()),
    }
}

pub(super) fn existing(view: &View, id: &ExperimentId) -> Result<Arc<Experiment>, Problem> {
    let found = view.catalog.experiments.get(id);
    found
        .cloned()
        .ok_or_else(|| problem_of(&Rejection::UnknownExperiment(id.to_string()).into()))
}
