//! The hours whose minutes are in memory: each of them whole, so that a row in the store is always the whole of its
//! hour and of its series.
//!
//! The hour of the newest entry is open. Before an entry of another hour is counted, the writer reads back what is
//! stored of that one; as a rule nothing, because it is new. A clock that jumps back, or forth and back, so finds
//! the minutes it had left and goes on with them. An hour that is no longer the newest entry's is given up as soon
//! as all of it is stored.

use super::{Counts, Stored, shard_mut};
use crate::{
    collector::{
        codec::{FormatError, seal, unseal},
        minutes::{ArmHour, Chunk, ChunkKey, Growing},
        series::Series,
    },
    domain::id::{ArmIndex, Epoch, ExperimentKey},
    store::sqlite::journal::{MinuteRow, STATE_KEY, StateRow},
};
use std::{collections::BTreeSet, sync::Arc};

const WHAT: &str = "hour of minutes";

/// Which hours are in memory.
#[derive(Debug, Default)]
pub(super) struct OpenHours {
    open: Vec<OpenHour>,
    /// That of the newest entry.
    latest: Option<u32>,
}

#[derive(Debug)]
struct OpenHour {
    hour: u32,
    /// Chunks that wait to be stored.
    waiting: usize,
}

impl OpenHours {
    fn get_mut(&mut self, hour: u32) -> Option<&mut OpenHour> {
        self.open.iter_mut().find(|open| open.hour == hour)
    }

    /// So many chunks more wait to be stored.
    pub(super) fn dirtied(&mut self, hour: u32, chunks: usize) {
        if let Some(open) = self.get_mut(hour) {
            open.waiting += chunks;
        }
    }
}

/// One series of one arm in one open hour.
pub(in crate::collector) struct OpenChunk<'a> {
    pub(in crate::collector) epoch: Epoch,
    pub(in crate::collector) arm: ArmIndex,
    pub(in crate::collector) series: Series,
    pub(in crate::collector) hour: u32,
    pub(in crate::collector) chunk: &'a Chunk,
}

impl Counts {
    /// Whether an hour's minutes are in memory, all of them.
    pub(in crate::collector) fn is_open(&self, hour: u32) -> bool {
        self.hours.open.iter().any(|open| open.hour == hour)
    }

    /// Whether an hour is the newest entry's, or the one about to be journalled: it stays in memory.
    pub(in crate::collector) fn is_latest(&self, hour: u32) -> bool {
        self.hours.latest == Some(hour)
    }

    /// Makes an hour the newest entry's, after [`Counts::restore_chunk`] has taken back what is stored of it.
    pub(in crate::collector) fn open_hour(&mut self, hour: u32) {
        if self.hours.latest == Some(hour) {
            return;
        }
        self.hours.latest = Some(hour);
        if !self.is_open(hour) {
            self.hours.open.push(OpenHour { hour, waiting: 0 });
        }
        self.give_up_stored();
    }

    /// Takes a stored chunk of an hour back that is not open.
    pub(in crate::collector) fn restore_chunk(&mut self, row: &MinuteRow) -> Result<(), FormatError> {
        let chunk = chunk_of(row)?;
        let (experiment, epoch, arm) = (ExperimentKey(row.experiment), Epoch(row.epoch), ArmIndex(row.arm));
        let counts = self.experiments.entry(experiment).or_default();
        let shard = shard_mut(&mut counts.shards, epoch, arm);
        let hour = shard.hours.at(row.hour);
        let growing = match Series::from_code(row.series)? {
            Series::Requests => &mut hour.requests,
            Series::Outcomes => &mut hour.outcomes,
            Series::Metric(metric) => {
                let place = Arc::make_mut(&mut shard.counts).place(metric);
                shard.cells.resize(shard.counts.cells.len(), Stored::default());
                hour.metric(place)
            }
        };
        let stored = Stored {
            through: row.through,
            dirty: false,
        };
        *growing = Growing { stored, chunk };
        Ok(())
    }

    /// Forgets what was taken back of an hour that could not be read as a whole.
    pub(in crate::collector) fn forget_hour(&mut self, hour: u32) {
        let shards = self
            .experiments
            .values_mut()
            .flat_map(|counts| &mut counts.shards);
        shards.for_each(|shard| shard.hours.forget(hour));
    }

    /// Chunks that have to be stored again, in the order in which they changed.
    pub(in crate::collector) fn take_dirty_chunks(&mut self) -> impl Iterator<Item = ChunkKey> + '_ {
        self.dirty.chunks.drain(..)
    }

    /// A chunk as it is stored, complete through the entry `through`; none when it is gone.
    pub(in crate::collector) fn encode_chunk(&self, key: ChunkKey, through: u64) -> Option<MinuteRow> {
        let shard = self.experiments.get(&key.experiment)?.shard(key.epoch, key.arm)?;
        let growing = shard
            .hours
            .get(key.hour)?
            .series(key.series, shard.place(key.series))?;
        let mut data = Vec::new();
        growing.chunk.encode(&mut data);
        seal(&mut data);
        Some(MinuteRow {
            experiment: key.experiment.0,
            series: key.series.code(),
            hour: key.hour,
            epoch: key.epoch.0,
            arm: key.arm.0,
            through,
            data,
        })
    }

    /// Notes that a chunk was stored as it is now.
    pub(in crate::collector) fn chunk_stored(&mut self, key: ChunkKey) {
        let shard = self
            .experiments
            .get_mut(&key.experiment)
            .and_then(|counts| counts.shard_mut(key.epoch, key.arm));
        let Some(shard) = shard else { return };
        let place = shard.place(key.series);
        let Some(hour) = shard.hours.get_mut(key.hour) else {
            return;
        };
        let growing = match (key.series, place) {
            (Series::Requests, _) => &mut hour.requests,
            (Series::Outcomes, _) => &mut hour.outcomes,
            (Series::Metric(_), Some(place)) => hour.metric(place),
            (Series::Metric(_), None) => return,
        };
        growing.stored.dirty = false;
        if let Some(open) = self.hours.get_mut(key.hour) {
            open.waiting = open.waiting.saturating_sub(1);
            if open.waiting == 0 {
                self.give_up_stored();
            }
        }
    }

    /// Every chunk of an experiment that is in memory.
    pub(in crate::collector) fn open_chunks(
        &self,
        experiment: ExperimentKey,
    ) -> impl Iterator<Item = OpenChunk<'_>> {
        let shards = self
            .experiments
            .get(&experiment)
            .map_or(&[][..], |counts| &counts.shards);
        shards.iter().flat_map(move |shard| {
            self.hours.open.iter().flat_map(move |open| {
                let known = shard.hours.get(open.hour);
                known
                    .into_iter()
                    .flat_map(move |hour| shard.series_of(hour))
                    .map(move |(series, chunk)| OpenChunk {
                        epoch: shard.epoch,
                        arm: shard.arm,
                        series,
                        hour: open.hour,
                        chunk,
                    })
            })
        })
    }

    /// Every series that there ever was of an experiment.
    pub(in crate::collector) fn series(&self, experiment: ExperimentKey) -> BTreeSet<Series> {
        let shards = self
            .experiments
            .get(&experiment)
            .map_or(&[][..], |counts| &counts.shards);
        let metrics = shards.iter().flat_map(|shard| &shard.counts.cells);
        let metrics = metrics.map(|(metric, _)| Series::Metric(*metric));
        metrics.chain([Series::Requests, Series::Outcomes]).collect()
    }

    /// The hours in memory.
    pub(in crate::collector) fn open_hours(&self) -> Vec<u32> {
        self.hours.open.iter().map(|open| open.hour).collect()
    }

    /// The chunks of the newest entry's hour, as bytes that are equal for equal chunks: to compare, not to store.
    /// Older hours may be in memory or not.
    pub(super) fn latest_rows(&self) -> Vec<StateRow> {
        let latest = self.hours.latest;
        let of_experiment = |experiment: &ExperimentKey| {
            let experiment = *experiment;
            let chunks = self.open_chunks(experiment);
            chunks
                .filter(|open| Some(open.hour) == latest)
                .map(move |open| latest_row(experiment, &open))
        };
        self.experiments.keys().flat_map(of_experiment).collect()
    }

    fn give_up_stored(&mut self) {
        let Self {
            hours, experiments, ..
        } = self;
        hours.open.retain(|open| {
            let keep = open.waiting > 0 || hours.latest == Some(open.hour);
            if !keep {
                let shards = experiments.values_mut().flat_map(|counts| &mut counts.shards);
                shards.for_each(|shard| shard.hours.forget(open.hour));
            }
            keep
        });
    }
}

impl super::Shard {
    fn place(&self, series: Series) -> Option<usize> {
        let Series::Metric(metric) = series else {
            return None;
        };
        self.counts.cells.iter().position(|(key, _)| *key == metric)
    }

    /// The series of an hour with something in them.
    fn series_of<'a>(&'a self, hour: &'a ArmHour) -> impl Iterator<Item = (Series, &'a Chunk)> {
        let keys = self.counts.cells.iter().map(|(key, _)| Series::Metric(*key));
        [
            (Series::Requests, &hour.requests),
            (Series::Outcomes, &hour.outcomes),
        ]
        .into_iter()
        .chain(keys.zip(hour.metrics()))
        .map(|(series, growing)| (series, &growing.chunk))
        .filter(|(_, chunk)| !chunk.is_empty())
    }
}

/// With a key that no stored row has.
fn latest_row(experiment: ExperimentKey, open: &OpenChunk<'_>) -> StateRow {
    let mut key = [u8::MAX; STATE_KEY];
    key[..4].copy_from_slice(&experiment.0.to_be_bytes());
    key[4..8].copy_from_slice(&open.epoch.0.to_be_bytes());
    key[8] = open.arm.0;
    let mut data = open.hour.to_be_bytes().to_vec();
    data.extend(open.series.code().to_be_bytes());
    open.chunk.encode(&mut data);
    let through = 0;
    StateRow { key, through, data }
}

/// What a stored row holds.
pub(in crate::collector) fn chunk_of(row: &MinuteRow) -> Result<Chunk, FormatError> {
    Chunk::decode(unseal(WHAT, &row.data)?)
}
