//! Evidence for a version: evaluations of its content, and what reviewers say of it.

use super::{
    super::{
        Shared, blocking,
        body::{members, required},
        change::{Change, marked},
        json,
        refusal::invalid_body,
    },
    addresses::{VersionAddress, existing_version},
    existing,
    view::findings,
};
use crate::{
    api::problem::Problem,
    control_plane::{Submitted, View},
    definitions::evaluation::evaluation_from_json,
    domain::{
        command::Command,
        event::Event,
        id::{Environment, PromptName, Revision, VersionNumber},
        problem::Problem as Mistake,
        prompt::{
            ENVIRONMENTS, EvaluationBundle, Finding, Prompt, PromptVersion, Review, ReviewKind,
            ReviewVerdict, Severity, VersionRef, review::is_same_person,
        },
    },
};
use axum::{
    extract::{Request, State},
    response::Response,
};
use hyper::StatusCode;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// Whether a version could be deployed to an environment now.
#[derive(Serialize, ToSchema)]
#[schema(as = GateState)]
struct GateView {
    passes: bool,
    /// What a deployment would be refused with; warnings could be accepted.
    #[schema(value_type = Vec<Object>)]
    missing: Vec<Finding>,
}

/// An evaluation that was attached.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Evaluated {
    #[schema(value_type = String)]
    name: PromptName,
    #[schema(value_type = u32)]
    version: VersionNumber,
    /// Of what was evaluated.
    digest: String,
    /// Whether it met its own threshold.
    passed: bool,
    #[schema(value_type = HashMap<String, GateView>)]
    gates: BTreeMap<Environment, GateView>,
    /// The log after it.
    #[schema(value_type = u64)]
    revision: Revision,
}

/// Attach an evaluation
///
/// The body is the bundle: `score`, `threshold`, and optionally `digest`, `segments`, `compared_with`, `regressions`,
/// `latency_increase`, `cost_increase`, `expected_changes` and `run`. With a `digest` it is refused for other content.
#[utoipa::path(post, path = "/api/v1/prompts/{name}/versions/{version}/evaluation", operation_id = "evaluate_prompt",
    tag = "prompts", params(("name" = String, Path, description = "The prompt; slashes may be written as they are"),
        ("version" = String, Path, description = "A semver or a number")),
    request_body(content = Object, description = "The bundle"), responses(
        (status = 201, description = "It was attached, and this is what the gates say", body = Evaluated),
        (status = 200, description = "It was the newest already", body = Evaluated)))]
pub(in super::super) async fn evaluate(
    State(shared): State<Shared>,
    address: VersionAddress,
    request: Request,
) -> Result<Response, Problem> {
    let (prompt, version) = existing_version(&shared.state.plane.view(), address)?;
    let (change, body) = Change::read(request).await?;
    change.is_based_on_nothing()?;
    let bundle = bundle(&prompt, Value::Object(required(body, "the bundle")?))?;
    blocking(move || {
        let command = Command::EvaluatePrompt {
            name: prompt.name.clone(),
            version: VersionRef::Number(version.number),
            bundle: Box::new(bundle),
        };
        let plane = &shared.state.plane;
        let submitted = plane.submit(change.origin("evaluated"), command)?;
        let view = plane.view();
        let prompt = existing(&view, prompt.name.as_str())?;
        let attached = submitted.events.iter().find_map(|entry| match &entry.event {
            Event::PromptEvaluated { evaluation, .. } => Some(evaluation.as_ref()),
            _ => None,
        });
        let newest = || {
            let record = prompt.record(version.number)?;
            record.evaluations.last().map(|record| &record.bundle)
        };
        let bundle = attached.or_else(newest);
        let evaluated = Evaluated {
            name: prompt.name.clone(),
            version: version.number,
            digest: bundle
                .and_then(|bundle| bundle.digest.clone())
                .unwrap_or_default(),
            passed: bundle.is_some_and(EvaluationBundle::passed),
            gates: gates(&shared, &view, &prompt, &version),
            revision: submitted.revision,
        };
        Ok(answer(&evaluated, &submitted))
    })
    .await
}

fn bundle(prompt: &Prompt, body: Value) -> Result<EvaluationBundle, Problem> {
    let read = evaluation_from_json(&body);
    let (mut bundle, compared_with) = read.map_err(|mistakes| invalid_body(&mistakes))?;
    if let Some(reference) = compared_with {
        let unknown = || {
            let problem = format!("prompt `{}` has no version {reference}", prompt.name);
            invalid_body(&[Mistake::new("compared_with", problem)])
        };
        bundle.compared_with = Some(prompt.version(&reference).ok_or_else(unknown)?.number);
    }
    Ok(bundle)
}

/// What a reviewer says.
#[derive(ToSchema)]
#[schema(as = ReviewRequest)]
#[expect(
    dead_code,
    reason = "only its shape is shown; the members are read one by one, to tell every mistake"
)]
struct Said {
    /// `product` or `technical`.
    #[schema(example = "product")]
    kind: String,
    /// `approve` or `reject`.
    #[schema(example = "approve")]
    verdict: String,
    /// Required to reject.
    comment: Option<String>,
    /// Who reviewed; with tokens it is the token's name and may be absent.
    reviewer: Option<String>,
}

/// A review that was given.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Reviewed {
    #[schema(value_type = String)]
    name: PromptName,
    #[schema(value_type = u32)]
    version: VersionNumber,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    review: Review,
    #[schema(value_type = HashMap<String, GateView>)]
    gates: BTreeMap<Environment, GateView>,
    /// The log after it.
    #[schema(value_type = u64)]
    revision: Revision,
}

/// Approve or reject a version
///
/// Its author reviews nothing of their own, and one person stands for one kind.
#[utoipa::path(post, path = "/api/v1/prompts/{name}/versions/{version}/reviews", operation_id = "review_prompt",
    tag = "prompts", params(("name" = String, Path, description = "The prompt; slashes may be written as they are"),
        ("version" = String, Path, description = "A semver or a number")),
    request_body = Said, responses(
        (status = 201, description = "It was given, and this is what the gates say", body = Reviewed),
        (status = 200, description = "It had been given already", body = Reviewed)))]
pub(in super::super) async fn review(
    State(shared): State<Shared>,
    address: VersionAddress,
    request: Request,
) -> Result<Response, Problem> {
    let (prompt, version) = existing_version(&shared.state.plane.view(), address)?;
    let (change, body) = Change::read(request).await?;
    change.is_based_on_nothing()?;
    let holder = (!shared.state.access.is_open()).then(|| change.actor().to_owned());
    let review = members(required(body, "the review")?, |root| {
        let kind = root.required("kind", "\"product\" or \"technical\"");
        let kind = kind.and_then(|field| field.choice(&ReviewKind::ALL));
        let verdict = root.required("verdict", "\"approve\" or \"reject\"");
        let verdict = verdict.and_then(|field| field.choice(&ReviewVerdict::ALL));
        let comment = root.optional("comment").and_then(|field| field.text());
        let reviewer = match &holder {
            Some(holder) => root
                .optional("reviewer")
                .map_or(Some(holder.as_str()), |field| field.text()),
            None => root
                .required("reviewer", "who reviewed it, while no token says so")
                .and_then(|field| field.text()),
        };
        Some(Review {
            kind: kind?,
            verdict: verdict?,
            reviewer: reviewer?.trim().to_owned(),
            comment: comment.map(str::to_owned),
        })
    })?;
    if let Some(holder) = holder.filter(|holder| !is_same_person(holder, &review.reviewer)) {
        let detail = format!(
            "a review is by whoever sends it: the token is `{holder}`'s, so `reviewer` must be absent"
        );
        return Err(Problem::new(StatusCode::FORBIDDEN, "OTHER_REVIEWER", detail));
    }
    blocking(move || {
        let did = match review.verdict {
            ReviewVerdict::Approve => "approved",
            ReviewVerdict::Reject => "rejected",
        };
        let reason = format!("{did} as {}", review.kind);
        let command = Command::ReviewPrompt {
            name: prompt.name.clone(),
            version: VersionRef::Number(version.number),
            review: review.clone(),
        };
        let plane = &shared.state.plane;
        let submitted = plane.submit(change.origin(reason), command)?;
        let view = plane.view();
        let prompt = existing(&view, prompt.name.as_str())?;
        let reviewed = Reviewed {
            name: prompt.name.clone(),
            version: version.number,
            review,
            gates: gates(&shared, &view, &prompt, &version),
            revision: submitted.revision,
        };
        Ok(answer(&reviewed, &submitted))
    })
    .await
}

/// What each environment that is known here would say to a deployment.
fn gates(
    shared: &Shared,
    view: &View,
    prompt: &Prompt,
    version: &PromptVersion,
) -> BTreeMap<Environment, GateView> {
    let catalog = &view.catalog;
    let named = ENVIRONMENTS.iter().filter_map(|name| Environment::new(name).ok());
    let gated = catalog.gates.keys().cloned();
    let served = prompt.deployed.keys().cloned();
    let mut environments: BTreeSet<Environment> = named.chain(gated).chain(served).collect();
    environments.insert(shared.state.environment.clone());
    let state = |environment: Environment| {
        let mut missing = findings(catalog, prompt, version, &environment);
        missing.retain(|finding| finding.severity != Severity::Note);
        let passes = missing.is_empty();
        (environment, GateView { passes, missing })
    };
    environments.into_iter().map(state).collect()
}

/// Created when it was not there before.
fn answer(evidence: &impl Serialize, submitted: &Submitted) -> Response {
    let status = if submitted.events.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    marked(json(status, evidence), submitted)
}
