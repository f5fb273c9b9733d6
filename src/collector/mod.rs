//! Counts what happened: outcomes and exposures in, cells and evidence out.
//!
//! [`Collector`] is the handle everybody holds. The data plane records decisions ([`exposures`]) and submits outcomes
//! that the [`intake`] has resolved; one writer thread journals them, counts them and answers; reports read
//! [`arm_counts`], guardrails read [`guard`] and are woken by [`signals`]. The decision path touches nothing here but
//! the recorder's queues.

pub mod arm_counts;
pub(crate) mod bad_units;
pub mod buckets;
pub mod cells;
mod checkpoint;
pub mod codec;
mod duplicates;
mod entry;
mod examples;
pub mod exposures;
#[cfg(test)]
mod full_disk;
pub mod guard;
mod id_marks;
pub mod intake;
mod keyed;
mod minutes;
pub mod observation;
pub mod offline;
mod receipt_marks;
pub mod reporting;
mod row_key;
pub mod segment_cells;
pub mod series;
mod shared;
pub mod signals;
mod state;
pub mod totals;
pub mod units;
mod writer;

use crate::{
    clock::Clock,
    domain::id::{ArmIndex, Epoch, ExperimentKey},
    store::{
        error::StoreError,
        sqlite::journal::{Journal, StateRow},
    },
};
use arm_counts::ArmCounts;
use exposures::DecisionRecorder;
use guard::GuardSnapshot;
use intake::Intake;
use observation::Observation;
use parking_lot::Mutex;
use prometheus::Histogram;
use shared::Shared;
use signals::EvidenceChanges;
use std::{
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{self, Sender},
    },
    thread::JoinHandle,
    time::Duration,
};
use tokio::{sync::oneshot, time::Instant};
use totals::Totals;
use writer::{Message, Submission, Writer};

/// How the collector spends memory, disk and time.
#[derive(Debug, Clone)]
pub struct CollectorOptions {
    /// How often everything that changed is stored and the journal trimmed.
    pub checkpoint_every: Duration,
    /// Outcomes that may wait for the writer, a batch counting as one more; more are refused as overloaded.
    pub most_queued: usize,
    /// Bytes of the checkpoint that one commit carries, about.
    pub checkpoint_bytes: usize,
    /// Queues of decision records: one per worker thread of the data plane.
    pub decision_lanes: usize,
    /// Records each of them holds.
    pub decision_capacity: usize,
    /// Ids of outcomes remembered per generation; two generations are kept.
    pub most_ids: usize,
    /// Memory for the marks of receipts that have reported; the others are read back from the store.
    pub receipt_memory_bytes: usize,
    /// Days for which counts by minute are kept.
    pub timeseries_days: u32,
}

impl Default for CollectorOptions {
    fn default() -> Self {
        Self {
            checkpoint_every: Duration::from_secs(10),
            checkpoint_bytes: 64 << 10,
            most_queued: 200_000,
            decision_lanes: 16,
            decision_capacity: 16_384,
            most_ids: 1_800_000,
            receipt_memory_bytes: 16 << 20,
            timeseries_days: 90,
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

impl From<StoreError> for SubmitError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::StorageFull,
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// The handle on everything counted; clones share it. When the last one goes, the writer thread ends without a
/// checkpoint, as after a crash; [`Collector::shutdown`] is the orderly way.
#[derive(Clone)]
pub struct Collector(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    clock: Clock,
    recorder: DecisionRecorder,
    most_queued: usize,
    timeseries_days: u32,
    /// None only while it is dropped.
    sender: Option<Sender<Message>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Collector {
    /// Reads back what is stored, replays the journal and starts the writer thread.
    ///
    /// # Errors
    /// [`StoreError`] when the journal cannot be read, or holds what this program does not understand.
    pub fn open(
        journal: Journal,
        clock: Clock,
        intake: Intake,
        options: CollectorOptions,
        metrics: CollectorMetrics,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared::new(intake));
        let recorder = DecisionRecorder::new(options.decision_lanes, options.decision_capacity);
        let (most_queued, timeseries_days) = (options.most_queued, options.timeseries_days);
        let writer = Writer::open(
            journal,
            clock.clone(),
            Arc::clone(&shared),
            recorder.clone(),
            options,
            metrics,
        )?;
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("serin-outcomes".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self(Arc::new(Handle {
            shared,
            clock,
            recorder,
            most_queued,
            timeseries_days,
            sender: Some(sender),
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// Swaps what may be reported; how long receipts are remembered stays as it was at [`Collector::open`]. Call it before the routing table of the same change goes live, or the first
    /// outcomes of a new epoch are refused.
    pub fn set_intake(&self, intake: Intake) {
        self.0.shared.intake.store(Arc::new(intake));
    }

    /// What may be reported now.
    #[must_use]
    pub fn intake(&self) -> Arc<Intake> {
        self.0.shared.intake.load_full()
    }

    /// Where decisions leave their records.
    #[must_use]
    pub fn recorder(&self) -> &DecisionRecorder {
        &self.0.recorder
    }

    /// Journals and counts a batch; returns once it is on disk and counted, so that whoever reads afterwards finds
    /// it. Resolve the outcomes against [`Collector::intake`] first.
    ///
    /// # Errors
    /// [`SubmitError`]: nothing of the batch was counted, and it may be sent again.
    pub async fn submit(&self, outcomes: Vec<Observation>) -> Result<Accepted, SubmitError> {
        if outcomes.is_empty() {
            return Ok(Accepted::default());
        }
        let (answer, answered) = oneshot::channel();
        let submission = Submission {
            outcomes,
            arrived: Instant::now(),
            answer,
        };
        let (weight, queued) = (submission.weight(), &self.0.shared.queued);
        if queued.fetch_add(weight, Ordering::Relaxed) + weight > self.0.most_queued {
            queued.fetch_sub(weight, Ordering::Relaxed);
            return Err(SubmitError::Overloaded);
        }
        self.ask(Message::Submit(submission), answered).await?
    }

    /// Counts a refused outcome, of a known experiment or of none.
    pub fn count_rejected(&self, experiment: Option<ExperimentKey>) {
        self.0.shared.tally.lock().rejected(experiment);
    }

    /// The counts of every epoch and arm of an experiment, ascending. Cheap: nothing is copied.
    #[must_use]
    pub fn arm_counts(&self, experiment: ExperimentKey) -> Vec<((Epoch, ArmIndex), Arc<ArmCounts>)> {
        self.0.shared.counts.read().arms(experiment)
    }

    /// The guardrails' evidence; none when the experiment never started or has no guardrails.
    #[must_use]
    pub fn guard(&self, experiment: ExperimentKey) -> Option<GuardSnapshot> {
        self.0.shared.counts.read().guard(experiment)
    }

    /// Tells when evidence changed, from now on.
    #[must_use]
    pub fn subscribe_bad(&self) -> EvidenceChanges {
        self.0.shared.signals.subscribe()
    }

    /// The tagged outcomes kept of an experiment, of one tag or of all, newest first, each as a JSON object.
    ///
    /// # Errors
    /// [`SubmitError`] when the store cannot be read.
    pub async fn examples(
        &self,
        experiment: ExperimentKey,
        tag: Option<&str>,
    ) -> Result<Vec<String>, SubmitError> {
        let (answer, answered) = oneshot::channel();
        let tag = tag.map(str::to_owned);
        let question = Message::Examples {
            experiment,
            tag,
            answer,
        };
        self.ask(question, answered).await?
    }

    /// Days for which counts by minute are kept.
    #[must_use]
    pub fn timeseries_days(&self) -> u32 {
        self.0.timeseries_days
    }

    /// Totals since the process began.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let backlog = self.0.shared.backlog.load(Ordering::Relaxed);
        self.0
            .shared
            .tally
            .lock()
            .totals(self.0.recorder.dropped(), backlog)
    }

    /// Whether the last write to the store worked.
    #[must_use]
    pub fn store_up(&self) -> bool {
        self.0.shared.store_up.load(Ordering::Relaxed)
    }

    /// Everything counted, as bytes that are equal for equal counts: to compare two collectors by.
    #[must_use]
    pub fn encoded_counts(&self) -> Vec<StateRow> {
        let mut counts = self.0.shared.counts.write();
        counts.settle(intake::unix_second(self.0.clock.now()));
        counts.encode_all()
    }

    /// Takes nothing more, answers what waits, stores everything and ends the writer thread.
    ///
    /// # Errors
    /// [`StoreError`] when the last checkpoint failed; the journal still has what it would have stored.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        self.0.shared.stopping.store(true, Ordering::Release);
        let (answer, answered) = oneshot::channel();
        // A thread that is gone already was shut down before.
        let result = self
            .ask(Message::Shutdown(answer), answered)
            .await
            .unwrap_or(Ok(()));
        self.0.join();
        result
    }

    async fn ask<T>(&self, message: Message, answered: oneshot::Receiver<T>) -> Result<T, SubmitError> {
        let sent = self
            .0
            .sender
            .as_ref()
            .is_some_and(|sender| sender.send(message).is_ok());
        let gone = || {
            if self.0.shared.stopping.load(Ordering::Acquire) {
                SubmitError::ShuttingDown
            } else {
                self.0.shared.store_up.store(false, Ordering::Relaxed);
                SubmitError::Unavailable("the writer thread has ended".to_owned())
            }
        };
        if !sent {
            return Err(gone());
        }
        answered.await.map_err(|_| gone())
    }
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

impl Handle {
    fn join(&self) {
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writer thread of outcomes panicked");
        }
        self.shared.signals.end();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The thread ends when nobody can send any more; the journal is free to be opened again after that.
        self.sender = None;
        self.join();
    }
}
