//! The steps of an experiment's life.

use super::{
    Segment, Shared,
    audit::EntryView,
    blocking, body, experiment_id,
    experiments::{ACTOR, existing},
    json, outlook,
    refusal::{self, problem_of},
};
use crate::{
    api::problem::Problem,
    domain::{
        command::{Command, Origin},
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

/// The most characters of a reason.
const LONGEST_REASON: usize = 1000;

/// What a step did.
#[derive(Serialize)]
struct Stepped<'a> {
    experiment: &'a ExperimentId,
    state: LifeState,
    revision: Revision,
    events: Vec<EntryView<'a>>,
    /// Of a start: what its stages will see.
    #[serde(skip_serializing_if = "Option::is_none")]
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

type Answer = Result<Response, Problem>;

/// The preflight is told along, whatever it finds: it stops nobody.
pub(super) async fn start(shared: State<Shared>, id: Segment, request: Request) -> Answer {
    let outlook = outlook::before_start(&shared, &id).await;
    let command = |id, _: &mut _| Ok(Command::StartExperiment(id));
    told_step(shared, id, request, Reason::Optional, command, outlook).await
}

pub(super) async fn stop(shared: State<Shared>, id: Segment, request: Request) -> Answer {
    let command = |id, body: &mut Map<String, Value>| {
        Ok(match conclusion(body)? {
            Some(conclusion) => Command::ConcludeExperiment { id, conclusion },
            None => Command::StopExperiment(id),
        })
    };
    told_step(shared, id, request, Reason::Optional, command, None).await
}

pub(super) async fn hold(shared: State<Shared>, id: Segment, request: Request) -> Answer {
    let command = |id| Command::HoldExperiment {
        id,
        cause: HoldCause::Manual,
        breach: None,
    };
    step(shared, id, request, Reason::Optional, command).await
}

pub(super) async fn freeze(shared: State<Shared>, id: Segment, request: Request) -> Answer {
    let command = |id| Command::FreezeExperiment {
        id,
        cause: FreezeCause::Manual,
    };
    step(shared, id, request, Reason::Required, command).await
}

pub(super) async fn resume(shared: State<Shared>, id: Segment, request: Request) -> Answer {
    step(shared, id, request, Reason::Required, Command::ResumeExperiment).await
}

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
    let mut body = body::object(request).await?.unwrap_or_default();
    let command = command(id.clone(), &mut body)?;
    let reason = reason(body, needed)?;
    blocking(move || {
        let plane = &shared.state.plane;
        let submitted = plane
            .submit(Origin::new(ACTOR, reason), command)
            .map_err(|error| problem_of(&error))?;
        let state = existing(&plane.view(), &id)?.state;
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
            state,
            revision: submitted.revision,
            events: submitted
                .events
                .iter()
                .map(|entry| EntryView::of(entry))
                .collect(),
        };
        Ok(json(status, &stepped))
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

pub(super) fn reason(mut body: Map<String, Value>, needed: Reason) -> Result<String, Problem> {
    let written = body.remove("reason");
    let mut mistakes: Vec<Mistake> = body
        .keys()
        .take(1)
        .map(|key| Mistake::new(key, "is unknown here; the only key is `reason`"))
        .collect();
    let reason = match written {
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
    if !mistakes.is_empty() {
        return Err(refusal::invalid_body(&mistakes));
    }
    if needed == Reason::Required && reason.is_empty() {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "REASON_REQUIRED",
            "say why, as {\"reason\":\"…\"}: it is kept in the audit log",
        ));
    }
    Ok(reason)
}
