//! A set of definitions, applied as a whole or not at all: `serin apply` and CI.
//!
//! Owns the answer's shape. What changes is decided by the control plane, what it means is told by
//! [`crate::definitions::plan`].

use super::{
    Shared, blocking,
    change::Change,
    json, outlook,
    refusal::{forbidden, invalid_set, store_failed},
};
use crate::{
    api::problem::Problem,
    control_plane::{SubmitAllError, catalog::Catalog, rehearse},
    definitions::{
        mistake::Mistakes,
        plan::Plan,
        reconcile::Reconciliation,
        set::{AppliedSet, set_from_json},
    },
    domain::{event::Recorded, id::Revision, token::Role},
    preflight::Preflight,
};
use axum::{
    extract::{Request, State},
    response::Response,
};
use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::ToSchema;

/// The largest set.
const MAX_BYTES: usize = 32 << 20;

/// What was or would be done.
#[derive(Serialize, ToSchema)]
pub(super) struct Applied {
    set: String,
    dry_run: bool,
    /// The log afterwards; of a dry run, the log it was made at.
    #[schema(value_type = u64)]
    log_revision: Revision,
    /// What changes, how much of the traffic moves, and warnings.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    plan: Plan,
    /// Of every experiment that is made or changed and has guardrails.
    #[schema(value_type = Vec<Object>)]
    preflight: Vec<Preflight>,
}

/// Apply a set of definitions
///
/// All of it or nothing. The same set again changes nothing, so no `Idempotency-Key` is needed; one that is sent is
/// kept in the log. A set that gives users another version by moving a label needs an operator.
#[utoipa::path(post, path = "/api/v1/apply", operation_id = "apply", tag = "system",
    request_body(content = Object, description = "`set`, `files`, and optionally `dry_run` and `reason`"),
    responses((status = 200, description = "What changed, or would", body = Applied)))]
pub(super) async fn apply(State(shared): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (change, body) = Change::read_up_to(request, MAX_BYTES).await?;
    change.is_based_on_nothing()?;
    let body = body.unwrap_or_default();
    let submitting = shared.clone();
    let (mut applied, after) = blocking(move || submit(&submitting, &change, &body)).await?;
    // It stops nothing, so what cannot be read is left out.
    let designs: Vec<_> = applied.plan.designs(&after).cloned().collect();
    for experiment in designs {
        let wanted = outlook::Wanted::default();
        if let Ok(Some(found)) = outlook::of(&shared, &after, &experiment, &wanted).await {
            let named = |warning: &String| format!("{}: {warning}", found.experiment);
            applied.plan.warnings.extend(found.warnings.iter().map(named));
            if !experiment.spec.guardrails.is_empty() {
                applied.preflight.push(found);
            }
        }
    }
    Ok(json(StatusCode::OK, &applied))
}

fn submit(
    shared: &Shared,
    change: &Change,
    body: &Map<String, Value>,
) -> Result<(Applied, Catalog), Problem> {
    let state = &shared.state;
    let set =
        set_from_json(body, &state.environment, change.actor()).map_err(|mistakes| invalid_set(&mistakes))?;
    let AppliedSet {
        name,
        definitions,
        dry_run,
    } = set;
    let before = state.plane.view();
    let reconciliation = Reconciliation::new(&before.catalog, &definitions, &state.environment);
    let refused = |mistakes: Mistakes| invalid_set(&mistakes);
    let rehearsed = if dry_run || change.role() < Role::Operator {
        rehearse(&before.catalog, &reconciliation.commands, state.clock.now())
            .map_err(|all| refused(reconciliation.mistakes(&all)))?
    } else {
        Vec::new()
    };
    let replaces = |entry: &Recorded| before.catalog.is_replaced_by(&entry.event);
    if change.role() < Role::Operator && rehearsed.iter().any(replaces) {
        let detail = "the set moves a label, which gives users another text";
        return Err(forbidden(change.actor(), change.role(), Role::Operator, detail));
    }
    let (entries, log_revision) = if dry_run {
        let entries = rehearsed;
        let entries = entries.into_iter().map(Arc::new).collect();
        (entries, before.catalog.revision)
    } else {
        let submitted = state.plane.submit_all(&reconciliation.commands);
        let submitted = submitted.map_err(|error| match error {
            SubmitAllError::Rejected(all) => refused(reconciliation.mistakes(&all)),
            SubmitAllError::Store(error) => store_failed(&error),
        })?;
        (submitted.events, submitted.revision)
    };
    let mut after = before.catalog.clone();
    for entry in &entries {
        after.apply(entry);
    }
    let applied = Applied {
        set: name,
        dry_run,
        log_revision,
        plan: Plan::of(&before.catalog, &after, &entries, &definitions),
        preflight: Vec::new(),
    };
    Ok((applied, after))
}
