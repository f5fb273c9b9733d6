//! What the decision path leaves behind: one small record per decision, in queues that never make it wait.
//!
//! Owns the queues; never takes a lock, allocates or blocks on the recording side. The data plane records, the
//! writer drains. A full queue drops the record and counts the drop: a decision matters more than its record.

use crate::{
    domain::id::{ArmIndex, Epoch, ExperimentKey, PromptKey},
    routing::answer::Reason,
};
use crossbeam_queue::ArrayQueue;
use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// Stands for "no experiment" in a record.
pub const NO_EXPERIMENT: ExperimentKey = ExperimentKey(u32::MAX);
/// Stands for the deployed version in a record.
pub const DEPLOYED: ArmIndex = ArmIndex(u8::MAX);

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecisionRecord {
    /// The prompt.
    pub prompt: PromptKey,
    /// The experiment, or [`NO_EXPERIMENT`].
    pub experiment: ExperimentKey,
    /// The experiment's epoch; 0 without one.
    pub epoch: Epoch,
    /// The arm, or [`DEPLOYED`].
    pub arm: ArmIndex,
    /// Why.
    pub reason: Reason,
    /// Whether it is an exposure: only a split that the caller did not ask to leave uncounted.
    pub counted: bool,
    /// [`crate::routing::hash::analysis_hash`] of the unit; of no meaning unless counted.
    pub unit_hash: u64,
    /// How long the decision took, when it was timed.
    pub duration_ns: Option<u32>,
}

const _: () = assert!(
    size_of::<DecisionRecord>() <= 40,
    "a record fits a cache line with its queue stamp"
);

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The recording side; clones share the queues.
#[derive(Debug, Clone)]
pub struct DecisionRecorder(Arc<Lanes>);

#[derive(Debug)]
struct Lanes {
    lanes: Box<[ArrayQueue<DecisionRecord>]>,
    next: AtomicUsize,
    dropped: AtomicU64,
}

impl DecisionRecorder {
    /// `lanes` queues (at least one) of `capacity` records each (at least one).
    #[must_use]
    pub fn new(lanes: usize, capacity: usize) -> Self {
        Self(Arc::new(Lanes {
            lanes: (0..lanes.max(1))
                .map(|_| ArrayQueue::new(capacity.max(1)))
                .collect(),
            next: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        }))
    }

    /// Leaves a record for the writer, or drops and counts it when the thread's queue is full.
    #[inline]
    pub fn record(&self, record: DecisionRecord) {
        let lanes = &*self.0;
        let lane = LANE.with(|lane| {
            if lane.get() == usize::MAX {
                // A thread keeps its number for life, so that two workers do not fight over one queue's end.
                lane.set(lanes.next.fetch_add(1, Ordering::Relaxed));
            }
            lane.get()
        });
        if lanes.lanes[lane % lanes.lanes.len()].push(record).is_err() {
            lanes.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records dropped so far because a queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Takes what is queued now; records that arrive meanwhile may be left for the next time.
    pub(super) fn drain(&self, mut visit: impl FnMut(DecisionRecord)) {
        for lane in &self.0.lanes {
            // Bounded by what the queue can hold, so that a fast producer cannot keep the writer here.
            for _ in 0..lane.len() {
                let Some(record) = lane.pop() else { break };
                visit(record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u32) -> DecisionRecord {
        DecisionRecord {
            prompt: PromptKey(n),
            experiment: NO_EXPERIMENT,
            epoch: Epoch(0),
            arm: DEPLOYED,
            reason: Reason::Static,
            counted: false,
            unit_hash: 0,
            duration_ns: Some(100),
        }
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let recorder = DecisionRecorder::new(1, 4);
        for n in 0..6 {
            recorder.record(record(n));
        }
        let mut seen = Vec::new();
        recorder.drain(|record| seen.push(record.prompt.0));
        assert_eq!(seen, [0, 1, 2, 3]);
        assert_eq!(recorder.dropped(), 2);
    }

    #[test]
    fn every_thread_finds_a_queue() {
        let recorder = DecisionRecorder::new(2, 64);
        std::thread::scope(|scope| {
            for n in 0..8 {
                let recorder = &recorder;
                scope.spawn(move || recorder.record(record(n)));
            }
        });
        let mut seen = Vec::new();
        recorder.drain(|record| seen.push(record.prompt.0));
        seen.sort_unstable();
        assert_eq!(seen, (0..8).collect::<Vec<_>>());
    }
}
