//! The control log, as it may be shown.

use super::{Shared, blocking, json, refusal::store_failed};
use crate::{
    api::problem::Problem,
    domain::{
        Timestamp,
        event::{Event, Recorded},
        id::Revision,
    },
};
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use hyper::StatusCode;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

/// The most entries of one answer.
const MOST_ENTRIES: usize = 1000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only entries after this one.
    #[serde(default)]
    after: u64,
    /// The most entries; 1 to 1000.
    #[serde(default = "usual_entries")]
    limit: usize,
}

fn usual_entries() -> usize {
    100
}

/// A part of the log.
#[derive(Serialize, ToSchema)]
pub(super) struct Audit<'a> {
    /// The log's last entry.
    #[schema(value_type = u64)]
    revision: Revision,
    entries: Vec<EntryView<'a>>,
    /// Whether there are later entries; ask again after the last one of these.
    more: bool,
}

/// An entry without its secrets.
#[derive(Serialize, ToSchema)]
#[schema(as = Entry)]
pub(super) struct EntryView<'a> {
    #[schema(value_type = u64)]
    revision: Revision,
    at: Timestamp,
    /// A token's name, `file:<path>`, `guardrail:<name>`, `api`, `schedule`, `settings` or `system`.
    actor: &'a str,
    reason: &'a str,
    /// The key under which the request may be sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<&'a str>,
    /// What happened: `type` says what, the other members depend on it.
    #[serde(serialize_with = "without_secrets")]
    #[schema(value_type = Object)]
    event: &'a Event,
}

impl<'a> EntryView<'a> {
    pub(super) fn of(entry: &'a Recorded) -> Self {
        Self {
            revision: entry.revision,
            at: entry.at,
            actor: &entry.actor,
            reason: &entry.reason,
            idempotency_key: entry
                .idempotency
                .as_ref()
                .map(|idempotency| idempotency.key.as_str()),
            event: &entry.event,
        }
    }
}

/// Whoever has a key that receipts are signed with can forge outcomes.
fn without_secrets<S: Serializer>(event: &Event, serializer: S) -> Result<S::Ok, S::Error> {
    match event {
        Event::ReceiptKeyAdded { key_id, .. } => {
            json!({"type": "receipt_key_added", "key_id": key_id}).serialize(serializer)
        }
        other => other.serialize(serializer),
    }
}

/// The control log
///
/// Every change: who, when, why and what, oldest first.
#[utoipa::path(get, path = "/api/v1/audit", operation_id = "audit", tag = "system", params(Wanted),
    responses((status = 200, description = "Entries", body = Audit<'_>)))]
pub(super) async fn read(
    State(shared): State<Shared>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let refused = |detail| Problem::new(StatusCode::BAD_REQUEST, "BAD_QUERY", detail);
    let Query(wanted) = wanted.map_err(|error| refused(error.body_text()))?;
    if !(1..=MOST_ENTRIES).contains(&wanted.limit) {
        return Err(refused(format!("`limit` must be 1 to {MOST_ENTRIES}")));
    }
    blocking(move || {
        let plane = &shared.state.plane;
        // One more than asked for tells whether there is more.
        let mut entries = plane
            .history(Revision(wanted.after), wanted.limit + 1)
            .map_err(|error| store_failed(&error))?;
        let more = entries.len() > wanted.limit;
        entries.truncate(wanted.limit);
        let audit = Audit {
            revision: plane.view().catalog.revision,
            entries: entries.iter().map(EntryView::of).collect(),
            more,
        };
        Ok(json(StatusCode::OK, &audit))
    })
    .await
}
