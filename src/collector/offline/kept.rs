//! What a server has on its disk, in memory: stored pieces of the counts and the journal since. So a simulation can end
//! a process at any moment and go on with what the next one reads back.
//!
//! Owns which pieces are stored and how far the journal is trimmed; the forms of both are the writer thread's. Counts by
//! minute are left out, since nothing is judged by them.

use super::OfflineCollector;
use crate::{
    collector::{
        codec::FormatError,
        intake::{Intake, unix_second},
        row_key::RowKey,
        state::Counts,
    },
    domain::Timestamp,
    store::sqlite::journal::{STATE_KEY, StateRow},
};
use std::collections::{BTreeMap, VecDeque};

#[derive(Debug, Default)]
pub(super) struct Kept {
    rows: BTreeMap<[u8; STATE_KEY], StateRow>,
    /// Pieces that changed since they were stored, in that order.
    waiting: VecDeque<RowKey>,
    /// The number of the entry before the first of `journal`.
    trimmed: u64,
    journal: Vec<Vec<u8>>,
}

impl Kept {
    pub(super) fn take(&mut self, entry: &[u8], changed: impl Iterator<Item = RowKey>) {
        self.journal.push(entry.to_vec());
        self.waiting.extend(changed);
    }
}

impl OfflineCollector {
    /// Keeps from now on what a restart needs; to be asked for before anything is counted.
    #[must_use]
    pub fn keeping(mut self) -> Self {
        self.kept = Some(Kept::default());
        self
    }

    /// Stores up to so many of the pieces that wait for it, as a round of the checkpoint does, and trims the journal
    /// when all of them are stored. Does nothing where nothing is kept.
    pub fn checkpoint(&mut self, pieces: usize) {
        let Some(kept) = &mut self.kept else { return };
        for key in kept.waiting.drain(..pieces.min(kept.waiting.len())) {
            if let Some(row) = self.counts.encode(key, self.seq) {
                kept.rows.insert(row.key, row);
            }
            self.counts.stored(key);
        }
        if kept.waiting.is_empty() {
            kept.journal.clear();
            kept.trimmed = self.seq;
        }
    }

    /// Ends, and begins again at `now` with what is kept: stored pieces first, then the journal, then what has settled.
    /// Without anything kept that is nothing.
    ///
    /// # Errors
    /// [`FormatError`] when what was kept cannot be read.
    pub fn restarted(self, intake: Intake, now: Timestamp) -> Result<Self, FormatError> {
        let Kept {
            rows,
            trimmed,
            journal,
            ..
        } = self.kept.unwrap_or_default();
        let mut counts = Counts::default();
        counts.follow(&intake, None);
        for row in rows.values() {
            counts.restore(row)?;
        }
        let mut again = Self {
            intake,
            counts,
            seq: trimmed,
            kept: Some(Kept {
                rows,
                trimmed,
                ..Kept::default()
            }),
            builder: self.builder,
            exposures: self.exposures,
        };
        for entry in &journal {
            again.fold(entry)?;
        }
        again.counts.settle(unix_second(now));
        Ok(again)
    }
}
