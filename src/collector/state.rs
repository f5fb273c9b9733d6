//! All counts of the process, by experiment: the fold of the journal.
//!
//! Owns cells, exposures and guard evidence, and which of them changed since they were stored. Deterministic: entries
//! folded in order give the same state in a live process and after a restart, where a piece that was stored later
//! than an entry skips it. Does no IO; only the writer changes it, under a lock that readers share.

mod count;
mod hours;
mod rows;

use super::{
    arm_counts::ArmCounts,
    codec::FormatError,
    entry::Entry,
    guard::{Guard, GuardSnapshot},
    intake::Intake,
    keyed::KeyMap,
    minutes::{ArmHours, ChunkKey, Moment},
    row_key::RowKey,
    units::PARTS,
};
use crate::domain::{
    id::{ArmIndex, Epoch, ExperimentKey, MetricKey},
    segment::Segment,
};
use hours::OpenHours;
pub(super) use hours::chunk_of;
use std::{collections::BTreeSet, sync::Arc};

/// A sample of at least this many units is stored in parts.
const SAMPLE_IN_PARTS: usize = 8_192;

/// What a fold changed that somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Experiments with a bad unit more.
    pub(super) evidence: BTreeSet<ExperimentKey>,
    /// Experiments with an outcome more of a measure with an absolute limit.
    pub(super) absolute: BTreeSet<ExperimentKey>,
}

/// All counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    experiments: KeyMap<ExperimentKey, ExperimentCounts>,
    dirty: Dirtied,
    hours: OpenHours,
    /// Experiments with assignments that settle later.
    settling: BTreeSet<ExperimentKey>,
}

/// Pieces that changed since they were last taken, and were not waiting to be stored before.
#[derive(Debug, Default)]
struct Dirtied {
    rows: Vec<RowKey>,
    chunks: Vec<ChunkKey>,
}

#[derive(Debug, Default)]
struct ExperimentCounts {
    /// Ascending by epoch and arm.
    shards: Vec<Shard>,
    guard: Option<Guard>,
}

/// The counts of one arm in one epoch, and how much of them is stored.
#[derive(Debug)]
struct Shard {
    epoch: Epoch,
    arm: ArmIndex,
    /// Shared with readers: the writer copies it only while one of them looks at it.
    counts: Arc<ArmCounts>,
    counters: Stored,
    /// As the cells in `counts`.
    cells: Vec<Stored>,
    /// As the cells by segment in `counts`.
    segment_cells: KeyMap<(MetricKey, Segment), Stored>,
    hours: ArmHours,
    /// One bit per part of the unit sample that waits to be stored.
    dirty_parts: u16,
}

/// How much of a piece is stored.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stored {
    /// The journal entry up to which it has everything; read from the store, for replay.
    through: u64,
    dirty: bool,
}

impl Counts {
    /// Follows a new design; experiments that are as in `previous` are left alone.
    pub(super) fn follow(&mut self, intake: &Intake, previous: Option<&Intake>) {
        for design in intake.experiments() {
            let key = design.experiment().key;
            let before = previous.and_then(|previous| previous.experiment(key));
            if before.is_some_and(|before| Arc::ptr_eq(before.experiment(), design.experiment())) {
                continue;
            }
            match self.experiments.get_mut(&key) {
                Some(counts) => counts.guard = Guard::follow(counts.guard.take(), design),
                None => {
                    if let Some(guard) = Guard::follow(None, design) {
                        self.experiments.entry(key).or_default().guard = Some(guard);
                    }
                }
            }
        }
    }

    /// Counts everything in a journal entry that is not counted yet.
    pub(super) fn fold(&mut self, seq: u64, bytes: &[u8], intake: &Intake) -> Result<Changes, FormatError> {
        let mut changes = Changes::default();
        let mut entry = Entry::open(bytes)?;
        let now = entry.now;
        let moment = Moment::of(now);
        self.open_hour(moment.hour);
        let known = self.dirty.chunks.len();
        entry.exposures(|experiment, epoch, arm, units| {
            let counts = self.experiments.entry(experiment).or_default();
            counts.expose(
                (seq, now, moment),
                (experiment, epoch, arm),
                units,
                &mut self.dirty,
            );
        })?;
        entry.outcomes(|outcome| {
            let counts = self.experiments.entry(outcome.experiment).or_default();
            let design = intake.experiment(outcome.experiment);
            let changed = counts.count((seq, now, moment), &outcome, design, &mut self.dirty);
            if changed.evidence {
                changes.evidence.insert(outcome.experiment);
            }
            if changed.absolute {
                changes.absolute.insert(outcome.experiment);
            }
            if changed.settling {
                self.settling.insert(outcome.experiment);
            }
        })?;
        self.hours.dirtied(moment.hour, self.dirty.chunks.len() - known);
        Ok(changes)
    }

    /// Whether [`Counts::settle`] has anything to do.
    pub(super) fn has_due(&self, now: u32) -> bool {
        self.settling.iter().any(|key| {
            let guard = self.experiments.get(key).and_then(|counts| counts.guard.as_ref());
            guard.and_then(Guard::next_due).is_some_and(|due| due <= now)
        })
    }

    /// Counts what is old enough now; says which experiments that changed.
    pub(super) fn settle(&mut self, now: u32) -> BTreeSet<ExperimentKey> {
        let mut settled = BTreeSet::new();
        let experiments = &mut self.experiments;
        self.settling.retain(|key| {
            let Some(guard) = experiments.get_mut(key).and_then(|counts| counts.guard.as_mut()) else {
                return false;
            };
            if guard.settle(now) {
                settled.insert(*key);
            }
            guard.next_due().is_some()
        });
        settled
    }

    /// The counts of every epoch and arm of an experiment.
    pub(super) fn arms(&self, experiment: ExperimentKey) -> Vec<((Epoch, ArmIndex), Arc<ArmCounts>)> {
        let shards = self
            .experiments
            .get(&experiment)
            .map_or(&[][..], |counts| &counts.shards);
        shards
            .iter()
            .map(|shard| ((shard.epoch, shard.arm), Arc::clone(&shard.counts)))
            .collect()
    }

    /// The evidence of an experiment.
    pub(super) fn guard(&self, experiment: ExperimentKey) -> Option<GuardSnapshot> {
        Some(self.experiments.get(&experiment)?.guard.as_ref()?.snapshot())
    }
}

/// The shard of an epoch and arm, created when it is new.
#[inline]
fn shard_mut(shards: &mut Vec<Shard>, epoch: Epoch, arm: ArmIndex) -> &mut Shard {
    // From the back, because the present epoch is the last one.
    let place = shards
        .iter()
        .rposition(|shard| (shard.epoch, shard.arm) <= (epoch, arm));
    let place = match place {
        Some(place) if (shards[place].epoch, shards[place].arm) == (epoch, arm) => place,
        before => {
            let place = before.map_or(0, |before| before + 1);
            shards.insert(place, Shard::new(epoch, arm));
            place
        }
    };
    &mut shards[place]
}

impl Shard {
    fn new(epoch: Epoch, arm: ArmIndex) -> Self {
        Self {
            epoch,
            arm,
            counts: Arc::default(),
            counters: Stored::default(),
            cells: Vec::new(),
            segment_cells: KeyMap::default(),
            hours: ArmHours::default(),
            dirty_parts: 0,
        }
    }
}

fn part_bit(part: u8) -> u16 {
    1 << part.min(PARTS)
}
