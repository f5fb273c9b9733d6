//! Keys of receipts: a new one signs from now on, the old ones stay good for what they signed.

use super::{
    Shared,
    audit::EntryView,
    blocking, body,
    experiments::ACTOR,
    internal, json,
    refusal::problem_of,
    steps::{Reason, reason},
};
use crate::{
    api::problem::Problem,
    domain::command::{Command, Origin},
};
use axum::{
    extract::{Request, State},
    response::Response,
};
use hyper::StatusCode;
use serde_json::json as object;

/// Draws a new key. Nobody ever sees it: the answer and the audit log show its number.
pub(super) async fn rotate(State(shared): State<Shared>, request: Request) -> Result<Response, Problem> {
    let reason = reason(body::object(request).await?.unwrap_or_default(), Reason::Required)?;
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).map_err(|error| {
        tracing::error!(%error, "the system gave no random bytes for a key");
        internal()
    })?;
    blocking(move || {
        let submitted = shared
            .state
            .plane
            .submit(Origin::new(ACTOR, reason), Command::RotateReceiptKey { secret })
            .map_err(|error| problem_of(&error))?;
        let events: Vec<_> = submitted
            .events
            .iter()
            .map(|entry| EntryView::of(entry))
            .collect();
        Ok(json(
            StatusCode::CREATED,
            &object!({"revision": submitted.revision, "events": events}),
        ))
    })
    .await
}
