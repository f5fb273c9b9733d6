//! Keys of receipts: a new one signs from now on, the old ones stay good for what they signed.

use super::{
    Shared,
    audit::EntryView,
    blocking,
    change::{Change, marked},
    internal, json,
    refusal::problem_of,
    steps::{Reason, Said},
};
use crate::{
    api::problem::Problem,
    domain::{command::Command, id::Revision},
};
use axum::{
    extract::{Request, State},
    response::Response,
};
use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// What was done.
#[derive(Serialize, ToSchema)]
pub(super) struct Rotated<'a> {
    #[schema(value_type = u64)]
    revision: Revision,
    events: Vec<EntryView<'a>>,
}

/// Sign receipts with a new key
///
/// Receipts signed before stay good. Nobody ever sees a key: the answer and the audit log show its number.
#[utoipa::path(post, path = "/api/v1/receipt-keys", operation_id = "rotate_receipt_key", tag = "system",
    request_body = Said, responses((status = 201, description = "The key is in use", body = Rotated<'_>)))]
pub(super) async fn rotate(State(shared): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (mut change, body) = Change::read(request).await?;
    let said = Said::read(body.unwrap_or_default(), Reason::Required)?;
    change.also_based_on(said.revision)?;
    change.is_based_on_nothing()?;
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).map_err(|error| {
        tracing::error!(%error, "the system gave no random bytes for a key");
        internal()
    })?;
    blocking(move || {
        let submitted = shared
            .state
            .plane
            .submit(change.origin(said.reason), Command::RotateReceiptKey { secret })
            .map_err(|error| problem_of(&error))?;
        let events: Vec<_> = submitted
            .events
            .iter()
            .map(|entry| EntryView::of(entry))
            .collect();
        let rotated = Rotated {
            revision: submitted.revision,
            events,
        };
        Ok(marked(json(StatusCode::CREATED, &rotated), &submitted))
    })
    .await
}
