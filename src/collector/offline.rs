//! The counting without a thread, a disk or a journal: what a simulation counts its traffic with, and a benchmark.
//!
//! Owns the same fold as the writer thread and hands it the same bytes, so that what is measured here is what a server
//! does. Refuses no outcome and finds no duplicate: the caller makes the traffic and knows what is in it. Remembers nothing
//! when it is dropped, unless it was asked to keep what a server has on its disk (`kept`). Reads no clock.
//! Called by simulations and tests.

mod kept;

use super::{
    arm_counts::ArmCounts,
    codec::FormatError,
    entry::{EntryBuilder, ExposureLists},
    guard::GuardSnapshot,
    intake::{Intake, unix_second},
    observation::Observation,
    state::Counts,
};
use crate::domain::{
    Timestamp,
    id::{ArmIndex, Epoch, ExperimentKey},
};
use kept::Kept;
use std::sync::Arc;

/// A request that used an arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposure {
    /// The experiment.
    pub experiment: ExperimentKey,
    /// The epoch of the assignment.
    pub epoch: Epoch,
    /// The arm.
    pub arm: ArmIndex,
    /// [`crate::routing::hash::analysis_hash`] of the unit.
    pub unit_hash: u64,
}

/// Counts in the caller's own thread and memory.
#[derive(Debug)]
pub struct OfflineCollector {
    intake: Intake,
    counts: Counts,
    builder: EntryBuilder,
    exposures: ExposureLists,
    /// The number of the last entry.
    seq: u64,
    /// What a restart finds; none: nothing is kept.
    kept: Option<Kept>,
}

impl OfflineCollector {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(intake: Intake) -> Self {
        let mut counts = Counts::default();
        counts.follow(&intake, None);
        Self {
            intake,
            counts,
            builder: EntryBuilder::default(),
            exposures: ExposureLists::new(),
            seq: 0,
            kept: None,
        }
    }

    /// Swaps what is counted, as after a change of the design; what was counted stays.
    pub fn set_intake(&mut self, intake: Intake) {
        self.counts.follow(&intake, Some(&self.intake));
        self.intake = intake;
    }

    /// Counts one group of exposures and outcomes as of `now`, and says whether that changed the guardrails' evidence.
    ///
    /// # Errors
    /// [`FormatError`] when a value is not finite: some of the group may have been counted.
    pub fn record(
        &mut self,
        outcomes: &[Observation],
        exposures: &[Exposure],
        now: Timestamp,
    ) -> Result<bool, FormatError> {
        self.exposures.values_mut().for_each(Vec::clear);
        for exposure in exposures {
            let arm = (exposure.experiment, exposure.epoch, exposure.arm);
            self.exposures.entry(arm).or_default().push(exposure.unit_hash);
        }
        let now = unix_second(now);
        self.builder.begin(now, &self.exposures);
        for outcome in outcomes {
            self.builder.push(outcome, &outcome.values, outcome.again);
        }
        self.builder.finish();
        let builder = std::mem::take(&mut self.builder);
        let changes = self.fold(builder.sealed());
        self.builder = builder;
        let changed = changes?;
        let settled = self.counts.has_due(now) && !self.counts.settle(now).is_empty();
        Ok(settled || changed)
    }

    /// One journal entry of outcomes made at Unix second `now`, as bytes.
    #[must_use]
    pub fn entry(now: u32, outcomes: &[Observation]) -> Vec<u8> {
        let mut builder = EntryBuilder::default();
        builder.begin(now, &ExposureLists::new());
        for outcome in outcomes {
            builder.push(outcome, &outcome.values, outcome.again);
        }
        builder.finish();
        builder.sealed().to_vec()
    }

    /// Counts the next entry, and says whether that changed the guardrails' evidence.
    ///
    /// # Errors
    /// [`FormatError`] when the bytes are no entry; what came before the damage is counted.
    pub fn fold(&mut self, entry: &[u8]) -> Result<bool, FormatError> {
        self.seq += 1;
        let changes = self.counts.fold(self.seq, entry, &self.intake)?;
        match &mut self.kept {
            Some(kept) => kept.take(entry, self.counts.take_dirty()),
            None => self.counts.take_dirty().for_each(drop),
        }
        // As after a checkpoint, so that finished hours are given up; here nobody keeps them.
        let chunks: Vec<_> = self.counts.take_dirty_chunks().collect();
        chunks
            .into_iter()
            .for_each(|chunk| self.counts.chunk_stored(chunk));
        Ok(!changes.evidence.is_empty() || !changes.absolute.is_empty())
    }

    /// The counts of every epoch and arm of an experiment, ascending. Cheap: nothing is copied.
    #[must_use]
    pub fn arm_counts(&self, experiment: ExperimentKey) -> Vec<((Epoch, ArmIndex), Arc<ArmCounts>)> {
        self.counts.arms(experiment)
    }

    /// The guardrails' evidence; none when the experiment never started or has no guardrails.
    #[must_use]
    pub fn guard(&self, experiment: ExperimentKey) -> Option<GuardSnapshot> {
        self.counts.guard(experiment)
    }
}
