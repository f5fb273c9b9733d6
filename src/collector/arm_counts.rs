//! Everything counted for one arm of one experiment in one epoch.
//!
//! What reports read. Additive like the cells it holds.

use super::{
    cells::Cell,
    codec::{FormatError, Reader, Writer},
    reporting::Reporting,
    segment_cells::SegmentCells,
    units::UnitSample,
};
use crate::{
    domain::{id::MetricKey, segment::Segment},
    routing::hash::{self, BUCKETS},
};

const WHAT: &str = "arm counts";
/// Version 1 does not say who reported back.
const VERSION: u8 = 2;

/// The requests that used an arm.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exposures {
    /// How many there were.
    pub requests: u64,
    /// How many there were in each bucket of units; empty before the first.
    pub by_bucket: Box<[u32]>,
    /// The distinct units among them.
    pub units: UnitSample,
}

impl Exposures {
    /// Counts a request of the unit with this analysis hash; says whether its unit changed the sample.
    #[inline]
    pub fn add(&mut self, unit_hash: u64) -> bool {
        if self.by_bucket.is_empty() {
            self.by_bucket = vec![0; BUCKETS].into_boxed_slice();
        }
        self.requests += 1;
        let bucket = &mut self.by_bucket[hash::bucket(unit_hash)];
        *bucket = bucket.saturating_add(1);
        self.units.insert(unit_hash)
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        if self.by_bucket.is_empty() {
            self.by_bucket.clone_from(&other.by_bucket);
        } else {
            for (bucket, more) in self.by_bucket.iter_mut().zip(&other.by_bucket) {
                *bucket = bucket.saturating_add(*more);
            }
        }
        self.units.merge(&other.units);
    }
}

/// The counts of one arm in one epoch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ArmCounts {
    /// The requests that used it.
    pub exposures: Exposures,
    /// Outcomes accepted, however many metrics each had.
    pub accepted: u64,
    /// Which of the requests were reported back, and how soon.
    pub reporting: Reporting,
    /// One cell per metric that was ever reported, in the order of the first report.
    pub cells: Vec<(MetricKey, Cell)>,
    /// The same values once more for each attribute that results are broken down by.
    pub segment_cells: SegmentCells,
}

impl ArmCounts {
    /// The cell of a metric; none before its first value.
    #[must_use]
    pub fn cell(&self, metric: MetricKey) -> Option<&Cell> {
        self.cells
            .iter()
            .find(|(key, _)| *key == metric)
            .map(|(_, cell)| cell)
    }

    /// The cell of a metric in one segment; none before its first value there.
    #[must_use]
    pub fn segment_cell(&self, metric: MetricKey, segment: Segment) -> Option<&Cell> {
        self.segment_cells.get(metric, segment)
    }

    /// Where the cell of a metric is, created when it is new.
    #[inline]
    pub(super) fn place(&mut self, metric: MetricKey) -> usize {
        self.cells
            .iter()
            .position(|(key, _)| *key == metric)
            .unwrap_or_else(|| {
                self.cells.push((metric, Cell::default()));
                self.cells.len() - 1
            })
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.exposures.merge(&other.exposures);
        self.accepted += other.accepted;
        self.reporting.merge(&other.reporting);
        for (metric, cell) in &other.cells {
            let place = self.place(*metric);
            self.cells[place].1.merge(cell);
        }
        self.segment_cells.merge(&other.segment_cells);
    }

    /// Appends the bytes of the counters: without the unit sample and the cells, which are stored by themselves.
    pub(super) fn encode_counters(&self, out: &mut Vec<u8>) {
        let filled = self
            .exposures
            .by_bucket
            .iter()
            .filter(|count| **count > 0)
            .count();
        let mut out = Writer(out);
        out.u8(VERSION);
        out.u64(self.accepted);
        out.u64(self.exposures.requests);
        out.u16(filled as u16);
        for (bucket, count) in (0..).zip(&self.exposures.by_bucket) {
            if *count > 0 {
                out.u16(bucket);
                out.u32(*count);
            }
        }
        self.reporting.encode(&mut out);
    }

    /// Reads what [`ArmCounts::encode_counters`] wrote into these counts.
    pub(super) fn decode_counters(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let mut reader = Reader::new(WHAT, bytes);
        let version = reader.version_up_to(VERSION)?;
        self.accepted = reader.u64()?;
        self.exposures.requests = reader.u64()?;
        let filled = reader.u16()?;
        if filled > 0 {
            self.exposures.by_bucket = vec![0; BUCKETS].into_boxed_slice();
        }
        for _ in 0..filled {
            let bucket = usize::from(reader.u16()?);
            let count = reader.u32()?;
            *self
                .exposures
                .by_bucket
                .get_mut(bucket)
                .ok_or_else(|| reader.damaged("there is no such bucket"))? = count;
        }
        if version > 1 {
            self.reporting = Reporting::read(&mut reader)?;
        }
        reader.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_equals_counting_together() {
        let count = |units: std::ops::Range<u64>| {
            let mut counts = ArmCounts::default();
            for unit in units {
                counts.exposures.add(hash::mix(unit));
                counts.accepted += 1;
                let place = counts.place(MetricKey(1));
                counts.cells[place].1.add(hash::mix(unit), 2.0, None);
            }
            counts
        };
        let mut merged = count(0..50);
        merged.merge(&count(50..200));
        assert_eq!(merged, count(0..200));
        assert_eq!(merged.cell(MetricKey(1)).unwrap().mean(), Some(2.0));
        let mut bytes = Vec::new();
        merged.encode_counters(&mut bytes);
        let mut back = ArmCounts::default();
        back.decode_counters(&bytes).unwrap();
        assert_eq!(back.accepted, 200);
        assert_eq!(back.exposures.by_bucket, merged.exposures.by_bucket);
    }
}
