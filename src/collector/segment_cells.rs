//! The cells of one arm by metric and segment.
//!
//! Additive like the cells it holds. A report that looks at the counts while the writer goes on counting costs the
//! writer a copy of what it changes: each cell is shared by itself, so that it copies one and not hundreds.

use super::cells::Cell;
use crate::domain::{id::MetricKey, segment::Segment};
use std::sync::Arc;

/// The cells of one arm by metric and segment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SegmentCells(Vec<(MetricKey, BySegment)>);

/// Ascending.
type BySegment = Vec<(Segment, Arc<Cell>)>;

impl SegmentCells {
    /// The cell of a metric in one segment; none before its first value there.
    #[must_use]
    pub fn get(&self, metric: MetricKey, segment: Segment) -> Option<&Cell> {
        let cells = self.of_metric(metric);
        let place = cells.binary_search_by_key(&segment, |(known, _)| *known).ok()?;
        Some(&cells[place].1)
    }

    /// The segments of a metric with something in them, ascending.
    pub fn segments(&self, metric: MetricKey) -> impl Iterator<Item = (Segment, &Cell)> {
        self.of_metric(metric)
            .iter()
            .map(|(segment, cell)| (*segment, &**cell))
    }

    /// Metrics and segments with something in them: metrics ascending, and the segments of each.
    pub fn iter(&self) -> impl Iterator<Item = (MetricKey, Segment, &Cell)> {
        self.0
            .iter()
            .flat_map(|(metric, cells)| cells.iter().map(|(segment, cell)| (*metric, *segment, &**cell)))
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (metric, segment, cell) in other.iter() {
            self.cell_mut(metric, segment).merge(cell);
        }
    }

    /// The cell of a metric in one segment, created when it is new.
    #[inline]
    pub(super) fn cell_mut(&mut self, metric: MetricKey, segment: Segment) -> &mut Cell {
        let place = match self.0.binary_search_by_key(&metric, |(known, _)| *known) {
            Ok(place) => place,
            Err(place) => {
                self.0.insert(place, (metric, Vec::new()));
                place
            }
        };
        let cells = &mut self.0[place].1;
        let place = match cells.binary_search_by_key(&segment, |(known, _)| *known) {
            Ok(place) => place,
            Err(place) => {
                cells.insert(place, (segment, Arc::default()));
                place
            }
        };
        Arc::make_mut(&mut cells[place].1)
    }

    fn of_metric(&self, metric: MetricKey) -> &[(Segment, Arc<Cell>)] {
        let place = self.0.binary_search_by_key(&metric, |(known, _)| *known);
        place.map_or(&[], |place| &self.0[place].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::segment::SegmentCodes;

    fn counted(units: std::ops::Range<u64>) -> SegmentCells {
        let mut cells = SegmentCells::default();
        for unit in units {
            let value = usize::try_from(unit % 3).unwrap();
            let codes = SegmentCodes::default().with(0, Some(value)).with(1, None);
            for segment in codes.segments(2) {
                for metric in [MetricKey(4), MetricKey(1)] {
                    cells.cell_mut(metric, segment).add(unit, 2.0, None);
                }
            }
        }
        cells
    }

    #[test]
    fn merging_equals_counting_together_in_any_order() {
        let whole = counted(0..90);
        let mut forth = counted(0..20);
        forth.merge(&counted(20..90));
        let mut back = counted(20..90);
        back.merge(&counted(0..20));
        assert_eq!((&forth, &back), (&whole, &whole));
        let segments: Vec<_> = whole
            .segments(MetricKey(1))
            .map(|(segment, cell)| (segment, cell.n))
            .collect();
        let codes = [0, 1, 2, 16 + 14].map(Segment);
        assert_eq!(
            segments,
            codes.into_iter().zip([30, 30, 30, 90]).collect::<Vec<_>>()
        );
        assert_eq!(whole.iter().count(), 8);
        assert!(whole.get(MetricKey(1), Segment(3)).is_none());
        assert!(whole.get(MetricKey(2), Segment(0)).is_none());
    }
}
