//! "Look again": which experiments' evidence changed, for whoever watches the guardrails.
//!
//! Signals of one experiment are merged until they are taken, so a slow watcher costs one entry per experiment.

use crate::domain::id::ExperimentKey;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{sync::Notify, time::Instant};

/// An experiment whose evidence changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvidenceChange {
    /// The experiment.
    pub experiment: ExperimentKey,
    /// When the oldest outcome behind this signal arrived; for assignments that settled, when they did.
    pub since: Instant,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: Mutex<BTreeMap<ExperimentKey, Instant>>,
    wake: Notify,
    ended: AtomicBool,
}

/// The watcher's end. Any number may be subscribed; each sees every change.
#[derive(Debug)]
pub struct EvidenceChanges(Arc<Waiting>);

impl EvidenceChanges {
    /// Waits until something changed and takes all of it, in the order of the keys; none once the collector is gone.
    pub async fn next(&mut self) -> Option<Vec<EvidenceChange>> {
        loop {
            let changes = self.take();
            if !changes.is_empty() {
                return Some(changes);
            }
            if self.0.ended.load(Ordering::Acquire) {
                return None;
            }
            // A wake-up from before this line is kept for it.
            self.0.wake.notified().await;
        }
    }

    /// Takes what changed since the last call, without waiting.
    pub fn take(&mut self) -> Vec<EvidenceChange> {
        std::mem::take(&mut *self.0.changes.lock())
            .into_iter()
            .map(|(experiment, since)| EvidenceChange { experiment, since })
            .collect()
    }
}

/// The writer's end.
#[derive(Debug, Default)]
pub(super) struct Signals(Mutex<Vec<Weak<Waiting>>>);

impl Signals {
    pub(super) fn subscribe(&self) -> EvidenceChanges {
        let waiting = Arc::new(Waiting::default());
        self.0.lock().push(Arc::downgrade(&waiting));
        EvidenceChanges(waiting)
    }

    pub(super) fn raise(&self, changes: &BTreeMap<ExperimentKey, Instant>) {
        if changes.is_empty() {
            return;
        }
        self.0.lock().retain(|waiting| {
            let Some(waiting) = waiting.upgrade() else {
                return false;
            };
            let mut waits = waiting.changes.lock();
            for (experiment, since) in changes {
                waits
                    .entry(*experiment)
                    .and_modify(|oldest| *oldest = (*oldest).min(*since))
                    .or_insert(*since);
            }
            drop(waits);
            waiting.wake.notify_one();
            true
        });
    }

    pub(super) fn end(&self) {
        for waiting in self.0.lock().drain(..).filter_map(|waiting| waiting.upgrade()) {
            waiting.ended.store(true, Ordering::Release);
            waiting.wake.notify_one();
        }
    }
}
