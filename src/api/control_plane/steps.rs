//! The steps of an experiment's life.

use super::{
    Segment, Shared,
    audit::EntryView,
    blocking,
    change::{Change, marked, tagged},
    experiment_id,
    experiments::existing,
    json, outlook,
    refusal::{self, problem_of},
};
use crate::{
    api::problem::Problem,
    definitions::registration::LONGEST_REASON,
    domain::{
        command::Command,
        experiment::{Conclusion, FreezeCause, HoldCause, State as LifeState},
        id::{ExperimentId, Revision},
        problem::Problem as Mistake,
    },
    preflight::Preflight,
};
use axum::{
    extract::{Request, State},
    response::Response,
};
use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// What a step did.
#[derive(Serialize, ToSchema)]
pub(super) struct Stepped<'a> {
    #[schema(value_type = String)]
    experiment: &'a ExperimentId,
    /// The state it is in now.
    #[schema(value_type = String, example = "running")]
    state: LifeState,
    /// The log after the step.
    #[schema(value_type = u64)]
    revision: Revision,
    /// What happened.
    events: Vec<EntryView<'a>>,
    /// Of a start: what its stages will see.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    preflight: Option<&'a Preflight>,
    /// Of a start.
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<&'a [String]>,
}

/// Whether a step says why.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Reason {
    Required,
    Optional,
}

/// What is said with a step.
#[derive(Debug, Clone, Default, PartialEq, ToSchema)]
pub(super) struct Said {
    /// Why; kept in the audit log.
    #[schema(max_length = 1000)]
    pub(super) reason: String,
    /// The revision of the experiment that this is based on: refused when it changed since. As `If-Match`.
    #[schema(value_type = Option<u64>)]
    pub(super) revision: Option<Revision>,
}

/// What is said with the end of an experiment.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "only its shape is shown; the members are read one by one, to tell every mistake"
)]
struct SaidOfStop {
    #[schema(inline)]
    #[serde(flatten)]
    said: Said,
    /// What came of it: `ship`, `revert` or `inconclusive`.
    #[schema(value_type = Option<String>, example = "inconclusive")]
    conclusion: Option<Conclusion>,
}

type Answer = Result<Response, Problem>;

/// Start an experiment
///
/// A draft, a scheduled or a stopped one. It pins the versions of its variants. The preflight is told along, whatever
/// it finds: it stops nobody.
#[utoipa::path(post, path = "/api/v1/experiments/{id}/start", operation_id = "start_experiment", tag = "experiments",
    params(("id" = String, Path, description = "The experiment")), request_body = Said, responses(
        (status = 200, description = "What it did", body = Stepped<'_>)))]
pub(super) async fn start(shared: State<Shared>, id: Segment, request: Request) -> Answer {
    let outlook = outlook::before_start(&shared, &id).await;
    let command = |id, _: &mut _| Ok(Command::StartExperiment(id));
    told_step(shared, id, request, Reason::Optional, command, outlook).await
}

/// End an experiment
///
/// Everyone is back on the deployed version.
#[utoipa::path(post, path = "/api/v1/experiments/{id}/stop", operation_id = "stop_experiment", tag = "experiments",
    params(("id" = String, Path, description = "The experiment")), request_body = SaidOfStop, responses(
        (status = 200, description = "What it did", body = Stepped<'_>)))]
pub(super) async fn stop(shared: State<Shared>, id: Segment, request: Request) -> Answer {
    let command = |id, body: &mut Map<String, Value>| {
        Ok(match conclusion(body)? {
            Some(conclusion) => Command::ConcludeExperiment { id, conclusion },
            None => Command::StopExperiment(id),
        })
    };
    told_step(shared, id, request, Reason::Optional, command, None).await
}

/// Hold a rollout
///
/// The split stays, nothing advances.
#[utoipa::path(post, path = "/api/v1/experiments/{id}/hold", operation_id = "hold_experiment", tag = "experiments",
    params(("id" = String, Path, description = "The experiment")), request_body = Said, responses(
        (status = 200, description = "What it did", body = Stepped<'_>)))]
pub(super) async fn hold(shared: State<Shared>, id: Segment, request: Request) -> Answer {
    let command = |id| Command::HoldExperiment {
        id,
        cause: HoldCause::Manual,
        breach: None,
    };
    step(shared, id, request, Reason::Optional, command).await
}

/// Freeze an experiment
///
/// Everyone gets control's version at once, until somebody resumes it. 202 when the store is down: the freeze holds
/// and is written later.
#[utoipa::path(post, path = "/api/v1/experiments/{id}/freeze", operation_id = "freeze_experiment", tag = "experiments",
    params(("id" = String, Path, description = "The experiment")), request_body = Said, responses(
        (status = 200, description = "What it did", body = Stepped<'_>),
        (status = 202, description = "It holds and is not written yet", body = Stepped<'_>)))]
pub(super) async fn freeze(shared: State<Shared>, id: Segment, request: Request) -> Answer {
    let command = |id| Command::FreezeExperiment {
        id,
        cause: FreezeCause::Manual,
    };
    step(shared, id, request, Reason::Required, command).await
}

/// Lift a freeze or a hold
///
/// The evidence of a frozen one starts afresh.
#[utoipa::path(post, path = "/api/v1/experiments/{id}/resume", operation_id = "resume_experiment", tag = "experiments",
    params(("id" = String, Path, description = "The experiment")), request_body = Said, responses(
        (status = 200, description = "What it did", body = Stepped<'_>)))]
pub(super) async fn resume(shared: State<Shared>, id: Segment, request: Request) -> Answer {
    step(shared, id, request, Reason::Required, Command::ResumeExperiment).await
}

/// Give the candidate to everyone
///
/// The last variant's version is deployed and the experiment is over.
#[utoipa::path(post, path = "/api/v1/experiments/{id}/promote", operation_id = "promote_experiment", tag = "experiments",
    params(("id" = String, Path, description = "The experiment")), request_body = Said, responses(
        (status = 200, description = "What it did", body = Stepped<'_>)))]
pub(super) async fn promote(shared: State<Shared>, id: Segment, request: Request) -> Answer {
    step(shared, id, request, Reason::Required, Command::PromoteExperiment).await
}

async fn step(
    shared: State<Shared>,
    id: Segment,
    request: Request,
    needed: Reason,
    command: impl FnOnce(ExperimentId) -> Command,
) -> Answer {
    let command = |id, _: &mut _| Ok(command(id));
    told_step(shared, id, request, needed, command, None).await
}

async fn told_step(
    State(shared): State<Shared>,
    id: Segment,
    request: Request,
    needed: Reason,
    command: impl FnOnce(ExperimentId, &mut Map<String, Value>) -> Result<Command, Problem>,
    preflight: Option<Preflight>,
) -> Answer {
    let id = experiment_id(id)?;
    existing(&shared.state.plane.view(), &id)?;
    let (mut change, body) = Change::read(request).await?;
    let mut body = body.unwrap_or_default();
    let command = command(id.clone(), &mut body)?;
    let said = Said::read(body, needed)?;
    change.also_based_on(said.revision)?;
    blocking(move || {
        let plane = &shared.state.plane;
        let submitted = plane
            .submit_based_on(change.origin(said.reason), command, change.based_on())
            .map_err(|error| problem_of(&error))?;
        let experiment = existing(&plane.view(), &id)?;
        // A step always leaves an entry, unless the store is down and a freeze holds without one.
        let status = if submitted.events.is_empty() {
            StatusCode::ACCEPTED
        } else {
            StatusCode::OK
        };
        let stepped = Stepped {
            warnings: preflight.as_ref().map(|found| found.warnings.as_slice()),
            preflight: preflight.as_ref(),
            experiment: &id,
            state: experiment.state,
            revision: submitted.revision,
            events: submitted
                .events
                .iter()
                .map(|entry| EntryView::of(entry))
                .collect(),
        };
        let response = tagged(json(status, &stepped), experiment.revision);
        Ok(marked(response, &submitted))
    })
    .await
}

/// What came of the experiment, when a stop says so.
fn conclusion(body: &mut Map<String, Value>) -> Result<Option<Conclusion>, Problem> {
    let written = match body.remove("conclusion") {
        None | Some(Value::Null) => return Ok(None),
        Some(written) => written,
    };
    let known = Conclusion::ALL.into_iter().find(|(name, _)| written == *name);
    known.map(|(_, conclusion)| Some(conclusion)).ok_or_else(|| {
        let names = Conclusion::ALL.map(|(name, _)| format!("\"{name}\"")).join(", ");
        refusal::invalid_body(&[Mistake::new("conclusion", format!("must be one of {names}"))])
    })
}

impl Said {
    /// Takes the members of a body, and tells every one that does not belong there.
    pub(super) fn read(mut body: Map<String, Value>, needed: Reason) -> Result<Self, Problem> {
        let (reason, revision) = (body.remove("reason"), body.remove("revision"));
        let mut mistakes: Vec<Mistake> = body
            .keys()
            .take(1)
            .map(|key| Mistake::new(key, "is unknown here; the only keys are `reason` and `revision`"))
            .collect();
        let reason = match reason {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(_) => {
                mistakes.push(Mistake::new("reason", "must be text"));
                String::new()
            }
        };
        if reason.chars().count() > LONGEST_REASON {
            mistakes.push(Mistake::new(
                "reason",
                format!("must have at most {LONGEST_REASON} characters"),
            ));
        }
        let revision = revision.filter(|written| !written.is_null()).and_then(|written| {
            let number = written.as_u64();
            if number.is_none() {
                mistakes.push(Mistake::new("revision", "must be the number of a revision"));
            }
            number.map(Revision)
        });
        if !mistakes.is_empty() {
            return Err(refusal::invalid_body(&mistakes));
        }
        if needed == Reason::Required && reason.is_empty() {
            return Err(refusal::reason_required());
        }
        Ok(Self { reason, revision })
    }
}
