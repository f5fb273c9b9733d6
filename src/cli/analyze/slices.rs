//! One metric over time: cells by slice of time, as many as a picture shows and no more.
//!
//! Rows come in any order, and when they end is not known before the last. So slices begin short, and become longer
//! as the time they must cover grows: every length is a multiple of the one before, so slices add up to longer ones.

use crate::collector::cells::Cell;
use std::collections::BTreeMap;

/// The most slices kept.
const MOST: usize = 120;
const SECOND: i64 = 1000;
const DAY: i64 = 86_400 * SECOND;
/// Lengths of a slice in milliseconds; then days, doubling.
const LENGTHS: [i64; 9] = [
    SECOND,
    10 * SECOND,
    60 * SECOND,
    300 * SECOND,
    900 * SECOND,
    3600 * SECOND,
    3 * 3600 * SECOND,
    12 * 3600 * SECOND,
    DAY,
];

/// The slices of one metric.
#[derive(Debug)]
pub(super) struct Slices {
    length: i64,
    /// Number of the slice since 1970 → cells by variant.
    slices: BTreeMap<i64, Vec<Cell>>,
}

impl Default for Slices {
    fn default() -> Self {
        Self {
            length: LENGTHS[0],
            slices: BTreeMap::new(),
        }
    }
}

impl Slices {
    /// The cell of a variant at a time in milliseconds since 1970.
    pub(super) fn cell(&mut self, time: i64, variant: usize) -> &mut Cell {
        let slice = time.div_euclid(self.length);
        if !self.slices.contains_key(&slice) && self.slices.len() == MOST {
            self.lengthen();
            return self.cell(time, variant);
        }
        let cells = self.slices.entry(slice).or_default();
        if cells.len() <= variant {
            cells.resize_with(variant + 1, Cell::default);
        }
        &mut cells[variant]
    }

    /// The ends of the slices in milliseconds since 1970, with what all rows up to then add up to.
    pub(super) fn running(&self) -> impl Iterator<Item = (i64, Vec<Cell>)> + '_ {
        self.slices
            .iter()
            .scan(Vec::new(), |sums: &mut Vec<Cell>, (slice, cells)| {
                add(sums, cells);
                Some(((slice + 1) * self.length, sums.clone()))
            })
    }

    fn lengthen(&mut self) {
        let longer = LENGTHS.into_iter().find(|length| *length > self.length);
        let longer = longer.unwrap_or(self.length.saturating_mul(2));
        let times = longer / self.length;
        self.length = longer;
        for (slice, cells) in std::mem::take(&mut self.slices) {
            add(self.slices.entry(slice.div_euclid(times)).or_default(), &cells);
        }
    }
}

fn add(sums: &mut Vec<Cell>, cells: &[Cell]) {
    if sums.len() < cells.len() {
        sums.resize_with(cells.len(), Cell::default);
    }
    for (sum, cell) in sums.iter_mut().zip(cells) {
        sum.merge(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_grow_with_the_time_they_cover() {
        let (mut slices, mut whole) = (Slices::default(), Cell::default());
        // Every hour of forty days, backwards.
        for hour in (0..960u16).rev() {
            let time = 1_795_000_000_000 + i64::from(hour) * 3_600_000;
            slices.cell(time, 1).add(hour.into(), hour.into(), None);
            whole.add(hour.into(), hour.into(), None);
        }
        assert_eq!(slices.length, 12 * 3_600_000);
        let running: Vec<_> = slices.running().collect();
        assert!((80..=82).contains(&running.len()), "{}", running.len());
        assert!(
            running
                .windows(2)
                .all(|pair| pair[0].0 < pair[1].0 && pair[0].1[1].n < pair[1].1[1].n)
        );
        let (end, last) = running.last().unwrap();
        assert!(*end > 1_795_000_000_000 + 959 * 3_600_000);
        assert_eq!((last[0].n, &last[1]), (0, &whole));
    }
}
