//! How those who are told of transitions are doing, as series.

use super::{
    approximate,
    families::{Families, Labels},
};
use crate::{domain::id::Revision, notices::status::Status};
use std::sync::Arc;

/// Adds the series of every endpoint; `revision` is the end of the log.
pub(super) fn add_to(
    families: &mut Families,
    statuses: &[Arc<Status>],
    revision: Revision,
) -> Result<(), prometheus::Error> {
    let labels: Labels<'_> = &["endpoint", "result"];
    let attempts = families.counter(
        "serin_notifications_total",
        "Attempts to tell an endpoint of a transition or its alerts, by whether it took them.",
        labels,
    )?;
    let pending = families.gauge(
        "serin_notifications_pending",
        "Entries of the control log that an endpoint has not been taken through yet; of Alertmanager, alerts.",
        &["endpoint"],
    )?;
    let last = families.gauge(
        "serin_notification_last_success_timestamp_seconds",
        "When an endpoint last took something, in seconds since 1970.",
        &["endpoint"],
    )?;
    for status in statuses {
        let name = status.name();
        attempts.add(&[name, "delivered"], status.delivered());
        attempts.add(&[name, "failed"], status.failed());
        pending.set(&[name], approximate(status.pending(revision)));
        if let Some(second) = status.last_success() {
            last.set(&[name], approximate(u64::try_from(second).unwrap_or(0)));
        }
    }
    Ok(())
}
