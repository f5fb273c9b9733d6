//! Experiments: list, create, read, change, and their results.

use super::{
    Segment, Shared, blocking, body, experiment_id, json, prompts,
    refusal::{self, problem_of},
    view::{ExperimentDetail, ExperimentView},
};
use crate::{
    api::problem::Problem,
    control_plane::{View, decide::Rejection},
    definitions::experiment::experiment_from_json,
    domain::{
        command::{Command, Origin},
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

/// Who changes things here, for the audit log.
pub(super) const ACTOR: &str = "api";

#[derive(Serialize)]
struct Listed {
    revision: Revision,
    experiments: Vec<ExperimentView>,
}

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

pub(super) async fn read(State(shared): State<Shared>, id: Segment) -> Result<Response, Problem> {
    let view = shared.state.plane.view();
    let experiment = existing(&view, &experiment_id(id)?)?;
    Ok(json(StatusCode::OK, &ExperimentDetail::of(&view, &experiment)))
}

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

pub(super) async fn create(State(shared): State<Shared>, request: Request) -> Result<Response, Problem> {
    let design = body::object(request).await?.ok_or_else(no_design)?;
    submit_new(shared, design).await
}

pub(super) async fn create_for_prompt(
    shared: Shared,
    prompt: String,
    request: Request,
) -> Result<Response, Problem> {
    let known = prompts::existing(&shared.state.plane.view(), &prompt)?
        .name
        .clone();
    let mut design = body::object(request).await?.ok_or_else(no_design)?;
    agrees(&design, "prompt", known.as_str(), "PROMPT_MISMATCH")?;
    design.insert("prompt".to_owned(), Value::from(known.as_str()));
    submit_new(shared, design).await
}

pub(super) async fn change(
    State(shared): State<Shared>,
    id: Segment,
    request: Request,
) -> Result<Response, Problem> {
    let id = experiment_id(id)?;
    existing(&shared.state.plane.view(), &id)?;
    let design = body::object(request).await?.ok_or_else(no_design)?;
    agrees(&design, "id", id.as_str(), "ID_MISMATCH")?;
    let spec = checked(&shared, Some(id.as_str()), design)?;
    blocking(move || {
        put(&shared, spec, "changed over the API")?;
        answer(&shared, &id, StatusCode::OK)
    })
    .await
}

async fn submit_new(shared: Shared, design: Map<String, Value>) -> Result<Response, Problem> {
    let spec = checked(&shared, None, design)?;
    blocking(move || {
        let id = spec.id.clone();
        let creating = Arc::clone(&shared.creating);
        let _alone = creating.lock();
        if shared.state.plane.view().catalog.experiments.contains_key(&id) {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "EXPERIMENT_EXISTS",
                format!("experiment `{id}` exists already; change it with PUT /api/v1/experiments/{id}"),
            ));
        }
        put(&shared, spec, "created over the API")?;
        let mut response = answer(&shared, &id, StatusCode::CREATED)?;
        // An id has no character that would need escaping.
        if let Ok(location) = HeaderValue::try_from(format!("/api/v1/experiments/{id}")) {
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    })
    .await
}

fn put(shared: &Shared, spec: ExperimentSpec, reason: &str) -> Result<(), Problem> {
    let command = Command::PutExperiment(Box::new(spec));
    let submitted = shared.state.plane.submit(Origin::new(ACTOR, reason), command);
    submitted.map(drop).map_err(|error| problem_of(&error))
}

fn answer(shared: &Shared, id: &ExperimentId, status: StatusCode) -> Result<Response, Problem> {
    let view = shared.state.plane.view();
    let experiment = existing(&view, id)?;
    Ok(json(status, &ExperimentDetail::of(&view, &experiment)))
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

fn no_design() -> Problem {
    let detail = "the body is empty; it must be the experiment as a JSON object";
    Problem::new(StatusCode::BAD_REQUEST, "BAD_JSON", detail)
}
