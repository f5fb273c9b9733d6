//! The API of people and CI: experiments, their life and results, the audit log, and what Prometheus scrapes.
//!
//! Owns routes, JSON shapes and the statuses of refusals. Decides nothing: every change is a command to the
//! [`ControlPlane`], under the actor `api`. Nothing that touches the store or walks all experiments runs on the
//! runtime's own thread. `app` calls [`serve`] on a runtime of its own, so that a heavy report slows no decision.
//!
//! There are no tokens yet, so whoever reaches the listener may do everything; `guard` sees to it that a web page
//! cannot reach it through somebody's browser.

mod apply;
mod audit;
mod body;
mod events;
mod experiments;
mod guard;
mod keys;
mod ops;
mod outlook;
mod performance;
mod prompts;
mod refusal;
mod serving;
mod steps;
mod timeseries;
mod view;

pub use refusal::problem_of;
pub use serving::serve;

use crate::{
    api::{metrics::Metrics, problem::Problem},
    clock::Clock,
    collector::Collector,
    control_plane::ControlPlane,
    domain::{
        experiment::Experiment,
        id::{Environment, ExperimentId},
    },
    report::{AaStatus, GuardrailStatus, ReportingStatus},
    routing::live::LiveTable,
};
use axum::{
    Json, Router,
    extract::rejection::PathRejection,
    http::Method,
    middleware,
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use hyper::StatusCode;
use parking_lot::Mutex;
use serde::Serialize;
use std::{fmt, sync::Arc};

/// What the guardrails of an experiment find now.
///
/// The flag asks for the bounds of each ratio, which cost a hundred times the rest: for a report, not for a scrape.
pub type Assess = Arc<dyn Fn(&Experiment, bool) -> Vec<GuardrailStatus> + Send + Sync>;

/// What the continuous A/A tests of an experiment find now; the flag is as for [`Assess`].
pub type AssessAa = Arc<dyn Fn(&Experiment, bool) -> Vec<AaStatus> + Send + Sync>;

/// Whether what an experiment decided is reported back.
pub type AssessReporting = Arc<dyn Fn(&Experiment) -> ReportingStatus + Send + Sync>;

/// What the handlers work with; clones share it.
#[derive(Clone)]
pub struct ControlState {
    /// Where commands go.
    pub plane: Arc<ControlPlane>,
    /// The table in force, for its age and its counters.
    pub table: Arc<LiveTable>,
    /// Where counts come from.
    pub collector: Collector,
    /// The environment of experiments that name none.
    pub environment: Environment,
    /// The time of reports.
    pub clock: Clock,
    /// What is scraped.
    pub metrics: Arc<Metrics>,
    /// What the guardrails find.
    pub assess: Assess,
    /// What the same tests find where there is nothing to find.
    pub assess_aa: AssessAa,
    /// What is reported back.
    pub assess_reporting: AssessReporting,
}

impl fmt::Debug for ControlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlState")
            .field("plane", &self.plane)
            .finish_non_exhaustive()
    }
}

/// What handlers share besides the state they were given.
#[derive(Clone)]
struct Shared {
    state: ControlState,
    /// Held from "there is none" to "now there is", so that of two creations of one id one is refused.
    creating: Arc<Mutex<()>>,
}

/// Every route of this listener.
pub fn router(state: ControlState) -> Router {
    let shared = Shared {
        state,
        creating: Arc::default(),
    };
    Router::new()
        .route(
            "/api/v1/experiments",
            get(experiments::list).post(experiments::create),
        )
        .route("/api/v1/prompts/{*call}", any(prompts::call))
        .route(
            "/api/v1/experiments/{id}",
            get(experiments::read).put(experiments::change),
        )
        .route("/api/v1/experiments/{id}/results", get(experiments::results))
        .route("/api/v1/experiments/{id}/timeseries", get(timeseries::read))
        .route("/api/v1/experiments/{id}/start", post(steps::start))
        .route("/api/v1/experiments/{id}/stop", post(steps::stop))
        .route("/api/v1/experiments/{id}/hold", post(steps::hold))
        .route("/api/v1/experiments/{id}/freeze", post(steps::freeze))
        .route("/api/v1/experiments/{id}/resume", post(steps::resume))
        .route("/api/v1/experiments/{id}/promote", post(steps::promote))
        .route("/api/v1/experiments/{id}/preflight", get(outlook::read))
        .route("/api/v1/apply", post(apply::apply))
        .route("/api/v1/receipt-keys", post(keys::rotate))
        .route("/api/v1/audit", get(audit::read))
        .route("/api/v1/events", get(events::read))
        .route("/metrics", get(ops::metrics))
        .route("/healthz", get(ops::healthy))
        .route("/readyz", get(ops::ready))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(guard::guard))
        .with_state(shared)
}

async fn unknown_route() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "NOT_FOUND",
        "there is nothing at this address",
    )
}

// The router adds the methods that are allowed, as the `Allow` header.
async fn wrong_method(method: Method) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        format!("{method} is not possible at this address"),
    )
}

/// Runs what may wait for the store, or takes long, away from the runtime's own thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let finished = tokio::task::spawn_blocking(work).await;
    finished.unwrap_or_else(|error| {
        tracing::error!(%error, "a request of the control plane failed");
        Err(internal())
    })
}

fn internal() -> Problem {
    let detail = "an internal error, which has been logged";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", detail)
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    (status, Json(body)).into_response()
}

/// A part of the address, percent-decoded.
type Segment = Result<axum::extract::Path<String>, PathRejection>;

fn segment(segment: Segment) -> Result<String, Problem> {
    let unreadable = |_| {
        let detail = "the address is not UTF-8 after decoding its percent signs";
        Problem::new(StatusCode::BAD_REQUEST, "BAD_ADDRESS", detail)
    };
    segment.map(|axum::extract::Path(text)| text).map_err(unreadable)
}

/// The id in the address; what cannot be an id names no experiment.
fn experiment_id(text: Segment) -> Result<ExperimentId, Problem> {
    let text = segment(text)?;
    ExperimentId::new(&text).map_err(|_| refusal::unknown_experiment(&text))
}
