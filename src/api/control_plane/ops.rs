//! Is it alive, is it ready, and what Prometheus scrapes.

use super::{ControlState, Shared, blocking, internal, json};
use crate::{
    api::{
        metrics::{Assessed, CONTENT_TYPE as METRICS_CONTENT_TYPE, Snapshot},
        problem::Problem,
    },
    domain::experiment::Experiment,
    report::sample_ratio,
};
use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use hyper::{StatusCode, header::CONTENT_TYPE};
use serde_json::json;

/// Is the process alive?
#[utoipa::path(get, path = "/healthz", operation_id = "healthy", tag = "system",
    responses((status = 200, description = "It is", body = Object)))]
pub(super) async fn healthy() -> Response {
    json(StatusCode::OK, &json!({"status": "ok"}))
}

/// Is it ready?
///
/// There is a control plane only once a table is published, so whoever asks finds one.
#[utoipa::path(get, path = "/readyz", operation_id = "ready", tag = "system",
    responses((status = 200, description = "It is, with the revision that is served", body = Object)))]
pub(super) async fn ready(State(shared): State<Shared>) -> Response {
    let revision = shared.state.table.load().revision;
    json(StatusCode::OK, &json!({"status": "ready", "revision": revision}))
}

/// What Prometheus scrapes
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "system",
    responses((status = 200, description = "The text format", body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(shared): State<Shared>) -> Result<Response, Problem> {
    blocking(move || {
        let state = &shared.state;
        let text = state.metrics.render(&snapshot(state)).map_err(|error| {
            tracing::error!(%error, "the metrics cannot be written");
            internal()
        })?;
        Ok(([(CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response())
    })
    .await
}

fn snapshot(state: &ControlState) -> Snapshot {
    let view = state.plane.view();
    let begun = |experiment: &Experiment| experiment.state.is_live() && experiment.started.is_some();
    let assessed = view
        .catalog
        .experiments
        .values()
        .filter(|experiment| begun(experiment))
        .map(|experiment| Assessed {
            id: experiment.spec.id.clone(),
            guardrails: (state.assess)(experiment, false),
            aa: (state.assess_aa)(experiment, false),
            reporting: (state.assess_reporting)(experiment),
            srm_evidence: sample_ratio(experiment, &state.collector.arm_counts(experiment.key))
                .evidence_ratio(),
        })
        .collect();
    Snapshot {
        view,
        table: state.table.load().clone(),
        totals: state.collector.totals(),
        store_up: state.collector.store_up(),
        assessed,
        now: state.clock.now(),
    }
}
