//! From a refusal to a status: the one place where this API decides which.

use crate::{
    api::{access::Refused, problem::Problem},
    collector,
    control_plane::{RefusedCommand, SubmitAllError, SubmitError, decide::Rejection},
    definitions::mistake::Mistakes,
    domain::{
        id::ExperimentId,
        problem::Problem as Mistake,
        token::{Role, TokenError},
    },
    store::error::StoreError,
};
use axum::response::{IntoResponse, Response};
use hyper::{
    StatusCode,
    header::{HeaderValue, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};

/// The most of a name from an address that is repeated in an answer.
const LONGEST_ECHO: usize = 80;

/// The answer to a command that did not go through.
#[must_use]
pub fn problem_of(error: &SubmitError) -> Problem {
    match error {
        SubmitError::Rejected(rejection) => rejected(rejection),
        SubmitError::Store(error) => store_failed(error),
        SubmitError::Stale {
            present, based_on, ..
        } => Problem::new(StatusCode::CONFLICT, "REVISION_CONFLICT", error.to_string())
            .with("revision", present.map(|present| present.0))
            .with("based_on", based_on.0),
        SubmitError::KeyReused(_) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "IDEMPOTENCY_KEY_REUSED",
            error.to_string(),
        ),
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        problem_of(&error)
    }
}

impl From<SubmitAllError> for Problem {
    fn from(error: SubmitAllError) -> Self {
        match error {
            SubmitAllError::Rejected(all) => refused_together(&all),
            SubmitAllError::Store(error) => store_failed(&error),
        }
    }
}

/// The answer to a request of several commands. Its code is that of the first that was refused, which may be why the
/// others were; what several environments ask for is told together.
fn refused_together(all: &[RefusedCommand]) -> Problem {
    let Some(first) = all.first() else {
        return super::internal();
    };
    let mut problem = rejected(&first.rejection);
    let Rejection::NotDeployable { missing, .. } = &first.rejection else {
        return problem;
    };
    let mut missing = missing.clone();
    for other in &all[1..] {
        let Rejection::NotDeployable { missing: more, .. } = &other.rejection else {
            continue;
        };
        problem.detail = format!("{}; {}", problem.detail, other.rejection);
        let new: Vec<_> = more
            .iter()
            .filter(|finding| !missing.contains(finding))
            .cloned()
            .collect();
        missing.extend(new);
    }
    problem.with("missing", json!(missing))
}

/// The answer to a caller who is not let in, with the challenge of RFC 6750. Says nothing of the token but what its
/// holder may know.
pub(super) fn not_admitted(refused: &Refused) -> Response {
    let unauthenticated = |detail| Problem::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", detail);
    let (problem, challenge) = match refused {
        Refused::Missing => (
            unauthenticated(
                "this needs a token, sent as `Authorization: Bearer …`; the command line takes it from SERIN_TOKEN \
                 or --token-file"
                    .to_owned(),
            ),
            "Bearer realm=\"serin\"",
        ),
        Refused::Unreadable => (
            unauthenticated("the `Authorization` header must be there once, as `Bearer` and a token".to_owned()),
            "Bearer realm=\"serin\", error=\"invalid_request\"",
        ),
        Refused::Unknown => (
            unauthenticated(TokenError::Unknown.to_string()),
            "Bearer realm=\"serin\", error=\"invalid_token\"",
        ),
        Refused::Expired(at) => (
            unauthenticated(TokenError::Expired(*at).to_string()),
            "Bearer realm=\"serin\", error=\"invalid_token\", error_description=\"the token expired\"",
        ),
        Refused::TooLow { name, role, needed } => (
            forbidden(name, *role, *needed, "the caller may not do this"),
            "Bearer realm=\"serin\", error=\"insufficient_scope\"",
        ),
    };
    let mut response = IntoResponse::into_response(problem);
    let headers = response.headers_mut();
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

/// The answer to a caller whose role is too low for what it asks, with the reason why more is needed.
pub(super) fn forbidden(name: &str, role: Role, needed: Role, why: &str) -> Problem {
    let detail = format!("{why}: it needs the role {needed}, and the token `{name}` has the role {role}");
    Problem::new(StatusCode::FORBIDDEN, "FORBIDDEN", detail)
        .with("required_role", needed.as_str())
        .with("role", role.as_str())
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
            return invalid_prompt(problems);
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

/// A version with mistakes, or something that is said of a prompt.
pub(super) fn invalid_prompt(problems: &[Mistake]) -> Problem {
    mistaken(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_PROMPT", problems)
}

/// A body that is JSON but not what is asked for here.
pub(super) fn invalid_body(problems: &[Mistake]) -> Problem {
    mistaken(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_BODY", problems)
}

/// A change that has to say why.
pub(super) fn reason_required() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "REASON_REQUIRED",
        "say why, as {\"reason\":\"…\"}: it is kept in the audit log",
    )
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
