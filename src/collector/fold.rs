//! The counting by itself: entries in, counts out, without a thread and without a store.
//!
//! What the writer thread does between a commit and its answers, for a benchmark of it and for whoever counts
//! entries in memory. Never does IO and reads no clock.

use super::{
    arm_counts::ArmCounts,
    codec::FormatError,
    entry::{EntryBuilder, ExposureLists},
    intake::Intake,
    observation::Observation,
    state::Counts,
};
use crate::domain::id::{ArmIndex, Epoch, ExperimentKey};
use std::sync::Arc;

/// Counts that live as long as this does.
#[derive(Debug)]
pub struct Fold {
    intake: Intake,
    counts: Counts,
    last: u64,
}

impl Fold {
    /// No counts yet, under these designs.
    #[must_use]
    pub fn new(intake: Intake) -> Self {
        let mut counts = Counts::default();
        counts.follow(&intake, None);
        Self {
            intake,
            counts,
            last: 0,
        }
    }

    /// One journal entry made at Unix second `now`, as bytes.
    #[must_use]
    pub fn entry(now: u32, outcomes: &[Observation]) -> Vec<u8> {
        let mut builder = EntryBuilder::default();
        builder.begin(now, &ExposureLists::new());
        for outcome in outcomes {
            builder.push(outcome, &outcome.values);
        }
        builder.finish();
        builder.sealed().to_vec()
    }

    /// Counts the next entry.
    ///
    /// # Errors
    /// [`FormatError`] when the bytes are no entry; what came before the damage is counted.
    pub fn fold(&mut self, entry: &[u8]) -> Result<(), FormatError> {
        self.last += 1;
        self.counts.fold(self.last, entry, &self.intake)?;
        // As the writer does after each entry; here nobody stores them.
        self.counts.take_dirty().for_each(drop);
        self.counts.take_dirty_chunks().for_each(drop);
        Ok(())
    }

    /// The counts of every epoch and arm of an experiment, ascending.
    #[must_use]
    pub fn arm_counts(&self, experiment: ExperimentKey) -> Vec<((Epoch, ArmIndex), Arc<ArmCounts>)> {
        self.counts.arms(experiment)
    }
}
