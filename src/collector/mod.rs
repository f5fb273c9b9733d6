//! Counts what happened: outcomes and exposures in, cells and evidence out.
//!
//! [`Collector`] is the handle everybody holds. The data plane records decisions ([`exposures`]) and submits outcomes
//! that the [`intake`] has resolved; one writer thread journals them, counts them and answers; reports read
//! [`arm_counts`], guardrails read [`guard`] and are woken by [`signals`]. The decision path touches nothing here but
//! the recorder's queues.

pub mod arm_counts;
pub mod buckets;
pub mod cells;
pub mod codec;
pub mod exposures;
pub mod guard;
pub mod intake;
pub mod observation;
pub mod signals;
pub mod totals;
pub mod units;

use crate::{
    clock::Clock,
    domain::id::{ArmIndex, Epoch, ExperimentKey},
    store::{error::StoreError, sqlite::journal::Journal},
};
use arm_counts::ArmCounts;
use exposures::DecisionRecorder;
use guard::GuardSnapshot;
use intake::Intake;
use observation::Observation;
use prometheus::Histogram;
use signals::EvidenceChanges;
use std::{sync::Arc, time::Duration};
use totals::Totals;

/// How the collector spends memory, disk and time.
#[derive(Debug, Clone)]
pub struct CollectorOptions {
    /// How often everything that changed is stored and the journal trimmed.
    pub checkpoint_every: Duration,
    /// Outcomes that may wait for the writer; more are refused as overloaded.
    pub most_queued: usize,
    /// Queues of decision records: one per worker thread of the data plane.
    pub decision_lanes: usize,
    /// Records each of them holds.
    pub decision_capacity: usize,
    /// Ids of outcomes remembered per generation; two generations are kept.
    pub most_ids: usize,
    /// Memory for the marks of receipts that have reported; the others are read back from the store.
    pub receipt_memory_bytes: usize,
}

impl Default for CollectorOptions {
    fn default() -> Self {
        Self {
            checkpoint_every: Duration::from_secs(10),
            most_queued: 200_000,
            decision_lanes: 16,
            decision_capacity: 16_384,
            most_ids: 1_800_000,
            receipt_memory_bytes: 16 << 20,
        }
    }
}

/// Histograms in seconds, registered by whoever owns the registry.
#[derive(Debug, Clone)]
pub struct CollectorMetrics {
    /// `serin_decision_duration_seconds`.
    pub decision_duration: Histogram,
    /// `serin_store_commit_duration_seconds`.
    pub commit_duration: Histogram,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Counted and on disk.
    pub accepted: u32,
    /// Seen before.
    pub duplicates: u32,
    /// Of the accepted: for an epoch that is no longer the one units are split in.
    pub late: u32,
}

/// Why a batch was not taken; none of it was counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// No space is left.
    #[error("no space left to store outcomes")]
    StorageFull,
    /// The store failed.
    #[error("outcomes cannot be stored: {0}")]
    Unavailable(String),
    /// Too much is waiting already.
    #[error("too many outcomes are waiting")]
    Overloaded,
    /// The process is ending.
    #[error("the collector is shutting down")]
    ShuttingDown,
}

/// The handle on everything counted; clones share it.
#[derive(Debug, Clone)]
pub struct Collector {
    recorder: DecisionRecorder,
}

impl Collector {
    /// Reads back what is stored, replays the journal and starts the writer thread.
    ///
    /// # Errors
    /// [`StoreError`] when the journal cannot be read, or holds what this program does not understand.
    pub fn open(
        _journal: Journal,
        _clock: Clock,
        _intake: Intake,
        options: CollectorOptions,
        _metrics: CollectorMetrics,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            recorder: DecisionRecorder::new(options.decision_lanes, options.decision_capacity),
        })
    }

    /// Swaps what may be reported. Call it before the routing table of the same change goes live.
    pub fn set_intake(&self, _intake: Intake) {}

    /// What may be reported now.
    #[must_use]
    pub fn intake(&self) -> Arc<Intake> {
        todo_intake()
    }

    /// Where decisions leave their records.
    #[must_use]
    pub fn recorder(&self) -> &DecisionRecorder {
        &self.recorder
    }

    /// Journals and counts a batch; returns once it is on disk and counted.
    ///
    /// # Errors
    /// [`SubmitError`]: nothing of the batch was counted, and it may be sent again.
    pub async fn submit(&self, _observations: Vec<Observation>) -> Result<Accepted, SubmitError> {
        Err(SubmitError::Overloaded)
    }

    /// Counts a refused outcome.
    pub fn count_rejected(&self, _experiment: Option<ExperimentKey>) {}

    /// The counts of every epoch and arm of an experiment, ascending. Cheap: nothing is copied.
    #[must_use]
    pub fn arm_counts(&self, _experiment: ExperimentKey) -> Vec<((Epoch, ArmIndex), Arc<ArmCounts>)> {
        Vec::new()
    }

    /// The guardrails' evidence; none when the experiment never started or has no guardrails.
    #[must_use]
    pub fn guard(&self, _experiment: ExperimentKey) -> Option<GuardSnapshot> {
        None
    }

    /// Tells when evidence changed.
    #[must_use]
    pub fn subscribe_bad(&self) -> EvidenceChanges {
        signals::Signals::default().subscribe()
    }

    /// Totals since the process began.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::default()
    }

    /// Whether the last write to the store worked.
    #[must_use]
    pub fn store_up(&self) -> bool {
        true
    }

    /// Takes nothing more, stores everything and ends the writer thread.
    ///
    /// # Errors
    /// [`StoreError`] when the last checkpoint failed; the journal then has what it would have stored.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn todo_intake() -> Arc<Intake> {
    Arc::new(Intake::compile(
        std::iter::empty(),
        std::iter::empty(),
        crate::routing::receipt::ReceiptKeys::default(),
        Duration::ZERO,
    ))
}
