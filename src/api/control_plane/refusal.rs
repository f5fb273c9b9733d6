//! From a refusal to a status: the one place where this API decides which.

use crate::{
    api::problem::Problem,
    collector,
    control_plane::{SubmitError, decide::Rejection},
    definitions::mistake::Mistakes,
    domain::{id::ExperimentId, problem::Problem as Mistake},
    store::error::StoreError,
};
use hyper::StatusCode;
use serde_json::{Value, json};

/// The most of a name from an address that is repeated in an answer.
const LONGEST_ECHO: usize = 80;

/// The answer to a command that did not go through.
#[must_use]
pub fn problem_of(error: &SubmitError) -> Problem {
    match error {
        SubmitError::Rejected(rejection) => rejected(rejection),
        SubmitError::Store(error) => store_failed(error),
    }
}

fn rejected(rejection: &Rejection) -> Problem {
    let (status, code) = match rejection {
        Rejection::UnknownPrompt(_) => (StatusCode::NOT_FOUND, "PROMPT_NOT_FOUND"),
        Rejection::UnknownVersion { .. } => (StatusCode::NOT_FOUND, "VERSION_NOT_FOUND"),
        Rejection::UnknownExperiment(_) => (StatusCode::NOT_FOUND, "EXPERIMENT_NOT_FOUND"),
        Rejection::Immutable { .. } => (StatusCode::CONFLICT, "VERSION_IMMUTABLE"),
        Rejection::OtherType { .. } => (StatusCode::CONFLICT, "PROMPT_TYPE_FIXED"),
        Rejection::Invalid { problems, .. } => return invalid(problems),
        Rejection::WrongState { .. } => (StatusCode::CONFLICT, "WRONG_STATE"),
        Rejection::InvalidPrompt { problems, .. } => {
            return mistaken(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_PROMPT", problems);
        }
        Rejection::Composition { .. } => (StatusCode::CONFLICT, "COMPOSITION_REFUSED"),
        Rejection::ManagedLabel { .. } => (StatusCode::CONFLICT, "LABEL_MANAGED"),
        Rejection::ProtectedLabel { .. } => (StatusCode::CONFLICT, "LABEL_PROTECTED"),
        Rejection::NotDeployable { .. } => (StatusCode::CONFLICT, "NOT_DEPLOYABLE"),
        Rejection::OtherContent { .. } => (StatusCode::CONFLICT, "OTHER_CONTENT"),
        Rejection::OwnVersion { .. } => (StatusCode::CONFLICT, "OWN_VERSION"),
        Rejection::SameReviewer { .. } => (StatusCode::CONFLICT, "SAME_REVIEWER"),
        Rejection::NoPreviousVersion { .. } => (StatusCode::CONFLICT, "NO_PREVIOUS_VERSION"),
        Rejection::NeverDeployed { .. } => (StatusCode::CONFLICT, "NEVER_DEPLOYED"),
    };
    let problem = Problem::new(status, code, rejection.to_string());
    match rejection {
        Rejection::WrongState { state, allowed, .. } => problem
            .with("state", state.as_str())
            .with("allowed", allowed.clone()),
        Rejection::NotDeployable { missing, .. } => problem.with("missing", json!(missing)),
        _ => problem,
    }
}

/// A design with mistakes, each named by its field.
pub(super) fn invalid(problems: &[Mistake]) -> Problem {
    mistaken(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_EXPERIMENT", problems)
}

/// A body that is JSON but not what is asked for here.
pub(super) fn invalid_body(problems: &[Mistake]) -> Problem {
    mistaken(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_BODY", problems)
}

/// Query parameters that are wrong, each named.
pub(super) fn bad_query(problems: &[Mistake]) -> Problem {
    mistaken(StatusCode::BAD_REQUEST, "BAD_QUERY", problems)
}

/// A metric that an experiment does not have.
pub(super) fn unknown_metric(experiment: &ExperimentId, name: &str, known: &str) -> Problem {
    let name: String = name.chars().take(LONGEST_ECHO).collect();
    let problem = format!("experiment `{experiment}` has no `{name}`; it has {known}");
    mistaken(
        StatusCode::BAD_REQUEST,
        "UNKNOWN_METRIC",
        &[Mistake::new("metric", problem)],
    )
}

fn mistaken(status: StatusCode, code: &'static str, problems: &[Mistake]) -> Problem {
    let listed: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let members: Vec<Value> = problems
        .iter()
        .map(|mistake| json!({"field": mistake.field, "problem": mistake.problem}))
        .collect();
    Problem::new(status, code, listed.join("; ")).with("problems", members)
}

/// A set of definitions with mistakes, each named by the file it stands for and the field.
pub(super) fn invalid_set(mistakes: &Mistakes) -> Problem {
    let members: Vec<Value> = mistakes.0.iter().map(|mistake| json!(mistake)).collect();
    let (status, code) = (StatusCode::UNPROCESSABLE_ENTITY, "INVALID_SET");
    let detail = mistakes.to_string().replace('\n', "; ");
    Problem::new(status, code, detail).with("problems", members)
}

pub(super) fn unknown_experiment(id: &str) -> Problem {
    let id: String = id.chars().take(LONGEST_ECHO).collect();
    rejected(&Rejection::UnknownExperiment(id))
}

/// Counts that could not be read.
pub(super) fn collector_failed(error: &collector::SubmitError) -> Problem {
    let (status, code) = match error {
        collector::SubmitError::StorageFull => (StatusCode::INSUFFICIENT_STORAGE, "STORAGE_FULL"),
        collector::SubmitError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE"),
        collector::SubmitError::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED"),
        collector::SubmitError::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "SHUTTING_DOWN"),
    };
    Problem::new(status, code, error.to_string())
}

pub(super) fn store_failed(error: &StoreError) -> Problem {
    let (status, code) = match error {
        StoreError::Full => (StatusCode::INSUFFICIENT_STORAGE, "STORAGE_FULL"),
        StoreError::Unavailable(_) | StoreError::Conflict { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE")
        }
        // Trying again does not help.
        StoreError::Corrupt(_) | StoreError::Format(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "STORE_UNREADABLE")
        }
    };
    Problem::new(status, code, error.to_string())
}
