//! The counts as rows: which have to be stored, what is in them, and how they are taken back.

use super::{Counts, ExperimentCounts, Shard, Stored, part_bit, shard_mut};
use crate::{
    collector::{
        arm_counts::ArmCounts,
        cells::Cell,
        codec::{FormatError, seal, unseal},
        guard::Guard,
        row_key::{Piece, RowKey, WHOLE_SAMPLE},
        units::UnitSample,
    },
    domain::id::{ArmIndex, Epoch},
    store::sqlite::journal::StateRow,
};
use std::sync::Arc;

const WHAT: &str = "state";

impl Counts {
    /// Pieces that have to be stored again, in the order in which they changed.
    pub(in crate::collector) fn take_dirty(&mut self) -> impl Iterator<Item = RowKey> + '_ {
        self.dirty.rows.drain(..)
    }

    /// A piece as it is stored, complete through the entry `through`; none when it is gone.
    pub(in crate::collector) fn encode(&self, key: RowKey, through: u64) -> Option<StateRow> {
        let counts = self.experiments.get(&key.experiment)?;
        let mut data = Vec::new();
        match key.piece {
            Piece::Guard(metric) => counts.guard.as_ref()?.encode(metric, key.arm, &mut data)?,
            Piece::Counters => counts.of(key)?.encode_counters(&mut data),
            Piece::Cell(metric) => counts.of(key)?.cell(metric)?.encode(&mut data),
            Piece::SegmentCell(metric, segment) => {
                counts.of(key)?.segment_cell(metric, segment)?.encode(&mut data);
            }
            Piece::Units(WHOLE_SAMPLE) => counts.of(key)?.exposures.units.encode(&mut data),
            Piece::Units(part) => counts.of(key)?.exposures.units.encode_part(part, &mut data),
        }
        seal(&mut data);
        let key = key.to_bytes();
        Some(StateRow { key, through, data })
    }

    /// Notes that a piece was stored as it is now.
    pub(in crate::collector) fn stored(&mut self, key: RowKey) {
        let Some(counts) = self.experiments.get_mut(&key.experiment) else {
            return;
        };
        if let Piece::Guard(metric) = key.piece {
            if let Some(arm) = counts
                .guard
                .as_mut()
                .and_then(|guard| guard.arm_mut(metric, key.arm))
            {
                arm.dirty = false;
            }
            return;
        }
        let Some(shard) = counts.shard_mut(key.epoch, key.arm) else {
            return;
        };
        match key.piece {
            Piece::Counters => shard.counters.dirty = false,
            Piece::Units(part) => shard.dirty_parts &= !part_bit(part),
            Piece::Cell(metric) => {
                if let Some(place) = shard.counts.cells.iter().position(|(key, _)| *key == metric) {
                    shard.cells[place].dirty = false;
                }
            }
            Piece::SegmentCell(metric, segment) => {
                if let Some(stored) = shard.segment_cells.get_mut(&(metric, segment)) {
                    stored.dirty = false;
                }
            }
            Piece::Guard(_) => {}
        }
    }

    /// Takes a stored piece back, after [`Counts::follow`] and before the first fold.
    pub(in crate::collector) fn restore(&mut self, row: &StateRow) -> Result<(), FormatError> {
        let key = RowKey::from_bytes(row.key)?;
        let data = unseal(WHAT, &row.data)?;
        let counts = self.experiments.entry(key.experiment).or_default();
        if let Piece::Guard(metric) = key.piece {
            if let Some(guard) = &mut counts.guard {
                guard.restore(metric, key.arm, row.through, data)?;
                self.settling.insert(key.experiment);
            }
            return Ok(());
        }
        let shard = shard_mut(&mut counts.shards, key.epoch, key.arm);
        let stored = Stored {
            through: row.through,
            dirty: false,
        };
        let counts = Arc::make_mut(&mut shard.counts);
        match key.piece {
            Piece::Counters => {
                counts.decode_counters(data)?;
                shard.counters = stored;
            }
            // Taking a unit twice changes nothing, so samples need not know how far they were stored.
            Piece::Units(_) => counts.exposures.units.restore(&UnitSample::decode(data)?),
            Piece::Cell(metric) => {
                let place = counts.place(metric);
                counts.cells[place].1 = Cell::decode(data)?;
                shard.cells.resize(counts.cells.len(), Stored::default());
                shard.cells[place] = stored;
            }
            Piece::SegmentCell(metric, segment) => {
                *counts.segment_cells.cell_mut(metric, segment) = Cell::decode(data)?;
                shard.segment_cells.insert((metric, segment), stored);
            }
            Piece::Guard(_) => {}
        }
        Ok(())
    }

    /// Everything there is, in a form that is equal for equal counts.
    pub(in crate::collector) fn encode_all(&self) -> Vec<StateRow> {
        let mut keys = Vec::new();
        for (experiment, counts) in &self.experiments {
            for shard in &counts.shards {
                let key = |piece| RowKey {
                    experiment: *experiment,
                    epoch: shard.epoch,
                    arm: shard.arm,
                    piece,
                };
                keys.push(key(Piece::Counters));
                keys.push(key(Piece::Units(WHOLE_SAMPLE)));
                keys.extend(
                    shard
                        .counts
                        .cells
                        .iter()
                        .map(|(metric, _)| key(Piece::Cell(*metric))),
                );
                let segments = shard.counts.segment_cells.iter();
                keys.extend(segments.map(|(metric, segment, _)| key(Piece::SegmentCell(metric, segment))));
            }
            keys.extend(
                counts
                    .guard
                    .iter()
                    .flat_map(Guard::keys)
                    .map(|(metric, arm)| RowKey {
                        experiment: *experiment,
                        epoch: Epoch(0),
                        arm,
                        piece: Piece::Guard(metric),
                    }),
            );
        }
        let mut rows: Vec<_> = keys.into_iter().filter_map(|key| self.encode(key, 0)).collect();
        rows.extend(self.latest_rows());
        rows.sort_unstable();
        rows
    }
}

impl ExperimentCounts {
    pub(super) fn shard(&self, epoch: Epoch, arm: ArmIndex) -> Option<&Shard> {
        self.shards
            .iter()
            .find(|shard| (shard.epoch, shard.arm) == (epoch, arm))
    }

    pub(super) fn shard_mut(&mut self, epoch: Epoch, arm: ArmIndex) -> Option<&mut Shard> {
        self.shards
            .iter_mut()
            .find(|shard| (shard.epoch, shard.arm) == (epoch, arm))
    }

    fn of(&self, key: RowKey) -> Option<&ArmCounts> {
        self.shard(key.epoch, key.arm).map(|shard| &*shard.counts)
    }
}
