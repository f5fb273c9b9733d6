//! Storing what is counted, a little with each commit, so that the journal can be trimmed and nobody waits for it.
//!
//! Pieces wait in the order in which they changed. A round stores every piece that waited when it began; after that,
//! the stored pieces cover all journal entries from before the round. A crash in the middle is harmless, because
//! each stored piece says up to which entry it is complete.

use super::{duplicates::Duplicates, minutes::ChunkKey, row_key::RowKey, state::Counts};
use crate::store::sqlite::journal::Writes;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// A piece that changed since it was stored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dirty {
    /// A piece of the counts.
    Counts(RowKey),
    /// An hour of minutes.
    Minutes(ChunkKey),
    /// A run of receipt marks.
    Receipts(u64),
    /// The next row of ids.
    Ids,
}

/// What waits to be stored, and how far the present round is.
#[derive(Debug)]
pub(super) struct Checkpoint {
    waiting: VecDeque<Dirty>,
    round: Option<Round>,
    /// Journal entries up to this one are covered by stored pieces.
    covered: u64,
    next: Instant,
    every: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Round {
    /// Pieces of the round that still wait.
    left: usize,
    /// What the round covers when it is done.
    through: u64,
}

impl Checkpoint {
    pub(super) fn new(every: Duration, now: Instant) -> Self {
        Self {
            waiting: VecDeque::new(),
            round: None,
            covered: 0,
            next: now + every,
            every,
        }
    }

    /// Puts a piece at the end.
    pub(super) fn push(&mut self, dirty: Dirty) {
        self.waiting.push_back(dirty);
    }

    /// Puts everything that changed in the counts at the end.
    pub(super) fn push_changed(&mut self, counts: &mut Counts) {
        self.waiting.extend(counts.take_dirty().map(Dirty::Counts));
        self.waiting
            .extend(counts.take_dirty_chunks().map(Dirty::Minutes));
    }

    /// Begins a round with everything that waits, complete through the entry `folded`.
    pub(super) fn begin(&mut self, now: Instant, folded: u64) {
        self.next = now + self.every;
        if self.round.is_none() {
            let left = self.waiting.len();
            if left == 0 {
                self.covered = folded;
            } else {
                let through = folded;
                self.round = Some(Round { left, through });
            }
        }
    }

    /// Whether it is time for a round.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.round.is_none() && now >= self.next
    }

    /// Whether a round is on its way.
    pub(super) fn in_round(&self) -> bool {
        self.round.is_some()
    }

    /// Journal entries up to this one are covered.
    pub(super) fn covered(&self) -> u64 {
        self.covered
    }

    /// Adds the round's next pieces to a commit until they have `budget` bytes; says how many pieces that were.
    pub(super) fn plan(
        &self,
        budget: usize,
        counts: &Counts,
        seen: &Duplicates,
        folded: u64,
        writes: &mut Writes<'_>,
    ) -> usize {
        let left = self.round.map_or(0, |round| round.left);
        let (mut bytes, mut ids, mut planned) = (0, 0, 0);
        for dirty in self.waiting.iter().take(left) {
            if planned > 0 && bytes >= budget {
                break;
            }
            planned += 1;
            match *dirty {
                Dirty::Counts(key) => {
                    if let Some(row) = counts.encode(key, folded) {
                        bytes += row.data.len();
                        writes.states.push(row);
                    }
                }
                Dirty::Minutes(key) => {
                    if let Some(row) = counts.encode_chunk(key, folded) {
                        bytes += row.data.len();
                        writes.minutes.push(row);
                    }
                }
                Dirty::Receipts(run) => {
                    if let Some(row) = seen.receipts.encode(run) {
                        bytes += row.data.len();
                        writes.receipts.push(row);
                    }
                }
                Dirty::Ids => {
                    if let Some(row) = seen.ids.encode(ids) {
                        bytes += row.data.len();
                        writes.ids.push(row);
                    }
                    ids += 1;
                }
            }
        }
        planned
    }

    /// The first `planned` pieces are on disk as they are now.
    pub(super) fn stored(&mut self, planned: usize, counts: &mut Counts, seen: &mut Duplicates) {
        for dirty in self.waiting.drain(..planned) {
            match dirty {
                Dirty::Counts(key) => counts.stored(key),
                Dirty::Minutes(key) => counts.chunk_stored(key),
                Dirty::Receipts(run) => seen.receipts.stored(run),
                Dirty::Ids => seen.ids.stored(),
            }
        }
        if let Some(round) = &mut self.round {
            round.left -= planned;
            if round.left == 0 {
                self.covered = round.through;
                self.round = None;
            }
        }
    }
}
