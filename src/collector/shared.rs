//! What the handle and the writer thread share.

use super::{intake::Intake, signals::Signals, state::Counts, totals::Tally};
use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

/// Everything readers may look at. The decision path touches none of it.
#[derive(Debug)]
pub(super) struct Shared {
    /// What may be reported.
    pub(super) intake: ArcSwap<Intake>,
    /// Everything counted; only the writer changes it.
    pub(super) counts: RwLock<Counts>,
    /// Totals for metrics.
    pub(super) tally: Mutex<Tally>,
    /// Who waits for evidence.
    pub(super) signals: Signals,
    /// Whether the last write worked.
    pub(super) store_up: AtomicBool,
    /// Nothing more is taken.
    pub(super) stopping: AtomicBool,
    /// Outcomes that wait for the writer, and one more per batch.
    pub(super) queued: AtomicUsize,
    /// Journal entries that are still there.
    pub(super) backlog: AtomicU64,
}

impl Shared {
    pub(super) fn new(intake: Intake) -> Self {
        Self {
            intake: ArcSwap::from_pointee(intake),
            counts: RwLock::default(),
            tally: Mutex::default(),
            signals: Signals::default(),
            store_up: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
            queued: AtomicUsize::new(0),
            backlog: AtomicU64::new(0),
        }
    }
}
