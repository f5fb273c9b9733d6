//! The cell: everything the statistics need of one metric on one arm in one epoch.
//!
//! Sums and counts only, so cells of several processes add in any order. Clipping happens here, before anything is
//! summed; the sketch alone sees raw values. Values that are not finite never get this far.

use super::{
    buckets::Buckets,
    codec::{FormatError, Reader, Writer},
};
use crate::{routing::hash, stats::quantile::Sketch};

const WHAT: &str = "cell";
/// Version 1 ended after the buckets.
const VERSION: u8 = 2;
const HAS_COVARIATE: u8 = 1;
const HAS_SKETCH: u8 = 2;
/// A first value of at least this size becomes the shift. Below it, squares keep ten digits of the variance without
/// one, and without one a cell does not depend on the order of its values.
const SHIFT_FROM: f64 = 1e6;

/// The sums of one metric.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cell {
    /// Denominators (1 per value) and values, by bucket of units.
    pub buckets: Buckets,
    /// Values counted.
    pub n: u64,
    /// Of these, how many were larger than the cap and counted as the cap.
    pub clipped: u64,
    /// What is subtracted from each value before it is squared; 0 unless the values are very large.
    pub shift: f64,
    /// Σ(x − shift).
    pub sum_shifted: f64,
    /// Σ(x − shift)².
    pub sum_sq_shifted: f64,
    /// Of the values that came with the metric's covariate: how many, and the sum of the covariate, by bucket of
    /// units. Boxed, because few metrics have one.
    pub covariate: Option<Box<Buckets>>,
    /// The distribution of the raw values, unclipped, for a metric that is a number. It has fewer values than the
    /// cell when the cell is older than the sketch.
    pub sketch: Option<Box<Sketch>>,
}

impl Cell {
    /// Counts one finite value of the unit with this analysis hash, clipped to `cap`.
    #[inline]
    pub fn add(&mut self, unit_hash: u64, value: f64, cap: Option<f64>) {
        let value = match cap {
            Some(cap) if value > cap => {
                self.clipped += 1;
                cap
            }
            _ => value,
        };
        if self.n == 0 && value.abs() >= SHIFT_FROM {
            self.shift = value;
        }
        self.n += 1;
        let shifted = value - self.shift;
        self.sum_shifted += shifted;
        self.sum_sq_shifted = shifted.mul_add(shifted, self.sum_sq_shifted);
        self.buckets.add(hash::bucket(unit_hash), 1.0, value);
    }

    /// Counts the covariate that came with a value of the unit; not finite is as good as absent.
    #[inline]
    pub fn add_covariate(&mut self, unit_hash: u64, covariate: f64) {
        if covariate.is_finite() {
            self.covariate
                .get_or_insert_default()
                .add(hash::bucket(unit_hash), 1.0, covariate);
        }
    }

    /// Adds a raw value to the sketch.
    #[inline]
    pub fn add_to_sketch(&mut self, value: f64) {
        // Only values that are not finite are refused, and none gets this far.
        let _ = self.sketch.get_or_insert_default().add(value);
    }

    /// Σx.
    #[must_use]
    pub fn sum(&self) -> f64 {
        (self.n as f64).mul_add(self.shift, self.sum_shifted)
    }

    /// The mean per value; none before the first.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum() / self.n as f64)
    }

    /// Adds all of `other`. With unequal shifts, `other`'s sums are moved to this cell's:
    /// Σ(x − s) = Σ(x − t) + n(t − s), Σ(x − s)² = Σ(x − t)² + 2(t − s)Σ(x − t) + n(t − s)².
    pub fn merge(&mut self, other: &Self) {
        if self.n == 0 {
            self.shift = other.shift;
        }
        let (moved, n) = (other.shift - self.shift, other.n as f64);
        self.sum_shifted += moved.mul_add(n, other.sum_shifted);
        self.sum_sq_shifted += other.sum_sq_shifted + moved * (2.0 * other.sum_shifted + n * moved);
        self.n += other.n;
        self.clipped += other.clipped;
        self.buckets.merge(&other.buckets);
        if let Some(covariate) = &other.covariate {
            self.covariate.get_or_insert_default().merge(covariate);
        }
        if let Some(sketch) = &other.sketch {
            self.sketch.get_or_insert_default().merge(sketch);
        }
    }

    /// Appends the bytes; equal cells give equal bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer(out);
        writer.u8(VERSION);
        writer.u64(self.n);
        writer.u64(self.clipped);
        writer.f64(self.shift);
        writer.f64(self.sum_shifted);
        writer.f64(self.sum_sq_shifted);
        self.buckets.encode(out);
        let covariate = self.covariate.as_ref().map_or(0, |_| HAS_COVARIATE);
        Writer(out).u8(covariate | self.sketch.as_ref().map_or(0, |_| HAS_SKETCH));
        if let Some(covariate) = &self.covariate {
            covariate.encode(out);
        }
        if let Some(sketch) = &self.sketch {
            Writer(out).block(|out| sketch.encode(out));
        }
    }

    /// Reads what [`Cell::encode`] wrote, of this version or an older one.
    ///
    /// # Errors
    /// [`FormatError`]: another version, another number of buckets, or damaged bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, bytes);
        let version = reader.version_up_to(VERSION)?;
        let mut cell = Self {
            n: reader.u64()?,
            clipped: reader.u64()?,
            shift: reader.f64()?,
            sum_shifted: reader.f64()?,
            sum_sq_shifted: reader.f64()?,
            buckets: Buckets::read(&mut reader)?,
            covariate: None,
            sketch: None,
        };
        let parts = if version > 1 { reader.u8()? } else { 0 };
        if parts & !(HAS_COVARIATE | HAS_SKETCH) != 0 {
            return Err(reader.damaged("it has parts that are not known"));
        }
        if parts & HAS_COVARIATE != 0 {
            cell.covariate = Some(Box::new(Buckets::read(&mut reader)?));
        }
        if parts & HAS_SKETCH != 0 {
            cell.sketch = Some(Box::new(reader.sketch()?));
        }
        reader.end()?;
        Ok(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(values: &[f64], cap: Option<f64>) -> Cell {
        let mut cell = Cell::default();
        for (unit, value) in (0..).zip(values) {
            cell.add(unit, *value, cap);
        }
        cell
    }

    #[test]
    fn sums_clip_and_come_back() {
        let cell = cell(&[1.0, 2.0, 10.0], Some(4.0));
        assert_eq!((cell.n, cell.clipped), (3, 1));
        assert_eq!((cell.sum(), cell.sum_sq_shifted), (7.0, 21.0));
        assert_eq!(cell.buckets.total(), (3.0, 7.0));
        let mut bytes = Vec::new();
        cell.encode(&mut bytes);
        assert_eq!(Cell::decode(&bytes).unwrap(), cell);
        bytes[0] = 9;
        assert_eq!(
            Cell::decode(&bytes).unwrap_err(),
            FormatError::Version {
                what: WHAT,
                found: 9,
                known: 2
            }
        );
    }

    /// A cell as version 1 stored it, written out by hand.
    #[test]
    fn cells_of_version_1_are_read() {
        let mut bytes = vec![1];
        let mut writer = Writer(&mut bytes);
        writer.u64(2);
        writer.u64(1);
        for sum in [0.0, 5.0, 17.0] {
            writer.f64(sum);
        }
        let cell = cell(&[1.0, 9.0], Some(4.0));
        cell.buckets.encode(&mut bytes);
        assert_eq!(Cell::decode(&bytes).unwrap(), cell);
        // What version 2 adds is no part of it.
        bytes.push(0);
        assert!(Cell::decode(&bytes).is_err());
    }

    #[test]
    fn covariates_and_sketches_merge_in_any_order_and_come_back() {
        let part = |units: std::ops::Range<u64>| {
            let mut cell = Cell::default();
            for unit in units {
                let value = f64::from(u32::try_from(unit * 37 % 101).unwrap());
                cell.add(hash::mix(unit), value, Some(50.0));
                cell.add_to_sketch(value);
                if unit.is_multiple_of(3) {
                    cell.add_covariate(hash::mix(unit), value / 2.0);
                }
            }
            cell
        };
        let whole = part(0..300);
        let (covariate, sketch) = (whole.covariate.as_ref().unwrap(), whole.sketch.as_ref().unwrap());
        assert_eq!(covariate.total().0, 100.0);
        // Raw values: the largest is above the cap.
        assert_eq!((sketch.count(), sketch.max()), (300, Some(100.0)));
        let parts = [part(0..50), Cell::default(), part(50..51), part(51..300)];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
            let mut merged = Cell::default();
            for place in order {
                merged.merge(&parts[place]);
            }
            assert_eq!(merged, whole);
            let mut bytes = Vec::new();
            merged.encode(&mut bytes);
            assert_eq!(Cell::decode(&bytes).unwrap(), whole);
            assert!(Cell::decode(&bytes[..bytes.len() - 1]).is_err());
        }
        let mut empty = Cell::default();
        empty.add_covariate(1, f64::NAN);
        empty.add_covariate(1, f64::INFINITY);
        assert_eq!(empty, Cell::default());
    }

    #[test]
    fn unequal_shifts_merge_exactly_enough() {
        let mut all = cell(&[1e9, 1e9 + 1.0, 1e9 + 2.0], None);
        all.merge(&cell(&[1e9 + 4.0, 1e9 + 3.0], None));
        all.merge(&Cell::default());
        assert_eq!(all.n, 5);
        assert_eq!(all.shift, 1e9);
        assert_eq!(all.sum_shifted, 10.0);
        assert_eq!(all.sum_sq_shifted, 30.0);
        let mut empty = Cell::default();
        empty.merge(&all);
        assert_eq!(empty, all);
    }
}
