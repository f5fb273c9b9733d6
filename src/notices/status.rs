//! How an endpoint is doing, for metrics.

use crate::domain::id::Revision;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// What one endpoint took and did not take, since the process began.
#[derive(Debug)]
pub struct Status {
    name: String,
    delivered: AtomicU64,
    failed: AtomicU64,
    /// Unix seconds; 0 before the first.
    last_success: AtomicI64,
    standing: Standing,
}

/// How far an endpoint is.
#[derive(Debug)]
pub(super) enum Standing {
    /// A webhook: the last entry of the log that it has behind it.
    Through(AtomicU64),
    /// Alerts that Alertmanager was not told of, or not of their end.
    Waiting(AtomicU64),
}

impl Status {
    pub(super) fn new(name: &str, standing: Standing) -> Self {
        Self {
            name: name.to_owned(),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last_success: AtomicI64::new(0),
            standing,
        }
    }

    /// The endpoint's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Messages that were taken.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Relaxed)
    }

    /// Attempts that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// The second of the last message that was taken, since 1970; none before the first.
    #[must_use]
    pub fn last_success(&self) -> Option<i64> {
        Some(self.last_success.load(Relaxed)).filter(|second| *second != 0)
    }

    /// Entries of a log that ends at `revision` which are still to be told; for Alertmanager the alerts that are.
    #[must_use]
    pub fn pending(&self, revision: Revision) -> u64 {
        match &self.standing {
            Standing::Through(through) => revision.0.saturating_sub(through.load(Relaxed)),
            Standing::Waiting(waiting) => waiting.load(Relaxed),
        }
    }

    pub(super) fn count_delivered(&self, second: i64) {
        self.delivered.fetch_add(1, Relaxed);
        self.last_success.store(second, Relaxed);
    }

    pub(super) fn count_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// Notes the last entry it has behind it, or how many alerts wait.
    pub(super) fn stand(&self, number: u64) {
        let (Standing::Through(place) | Standing::Waiting(place)) = &self.standing;
        place.store(number, Relaxed);
    }
}
