//! The API of people and CI: experiments, their life and results, the audit log, and what Prometheus scrapes.
//!
//! Owns routes, JSON shapes and the statuses of refusals. Decides nothing: every change is a command to the
//! [`ControlPlane`], under the name of the caller's token. Nothing that touches the store or walks all experiments runs on the
//! runtime's own thread. `app` calls [`serve`] on a runtime of its own, so that a heavy report slows no decision.
//!
//! `calls` is the table of who may make which call; `access` stands before each. Without tokens whoever reaches the
//! listener may do everything under the actor `api`, and `guard` sees to it that a web page cannot reach it through
//! somebody's browser.

mod access;
mod apply;
mod audit;
mod body;
mod calls;
mod change;
mod events;
mod examples;
mod experiments;
mod guard;
mod keys;
mod openapi;
mod ops;
mod outlook;
mod performance;
mod prompts;
mod refusal;
mod serving;
mod steps;
mod timeseries;
mod view;

pub use access::Access;
pub use openapi::{document, document_json};
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
use access::{Gate, gate};
use axum::{
    Json, Router,
    extract::{Request, rejection::PathRejection},
    handler::Handler as _,
    http::Method,
    middleware,
    response::{IntoResponse, Response},
    routing::any_service,
};
use bytes::Bytes;
use calls::{Call, calls};
use hyper::StatusCode;
use parking_lot::Mutex;
use prompts::Tails;
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
    /// Who may make which call.
    pub access: Arc<Access>,
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
    /// The OpenAPI document.
    document: Bytes,
}

/// Every route of this listener.
pub fn router(state: ControlState) -> Router {
    let document = document_json().unwrap_or_else(|error| {
        tracing::error!(%error, "the OpenAPI document cannot be written");
        String::from("{}")
    });
    let access = Arc::clone(&state.access);
    let shared = Shared {
        state,
        creating: Arc::default(),
        document: document.into(),
    };
    let calls = calls();
    let tails = Tails::of(
        calls
            .iter()
            .flat_map(|(_, (_, documented, _))| documented.paths.keys()),
    );
    let routes = gated(calls, &shared)
        .layer(middleware::from_fn_with_state(access, guard::guard))
        .with_state(shared);
    let routes = any_service(routes);
    // Around the router, because what is changed inside it has been routed already.
    Router::new().fallback(move |mut request: Request| async move {
        if let Some(uri) = tails.one_segment(request.uri()) {
            *request.uri_mut() = uri;
        }
        routes.call(request, ()).await
    })
}

/// The routes of these calls, each behind its gate.
fn gated(calls: Vec<Call>, shared: &Shared) -> Router<Shared> {
    let mut router = Router::new();
    for (least, (_, paths, handler)) in calls {
        let shared = shared.clone();
        let handler = handler.route_layer(middleware::from_fn_with_state(Gate { shared, least }, gate));
        for path in paths.paths.keys() {
            router = router.route(path, handler.clone());
        }
    }
    router
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
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
    segment
        .map(|axum::extract::Path(text)| text)
        .map_err(unreadable_address)
}

fn unreadable_address(_: PathRejection) -> Problem {
    let detail = "the address is not UTF-8 after decoding its percent signs";
    Problem::new(StatusCode::BAD_REQUEST, "BAD_ADDRESS", detail)
}

/// The id in the address; what cannot be an id names no experiment.
fn experiment_id(text: Segment) -> Result<ExperimentId, Problem> {
    let text = segment(text)?;
    ExperimentId::new(&text).map_err(|_| refusal::unknown_experiment(&text))
}
