//! The cell: everything the statistics need of one metric on one arm in one epoch.
//!
//! Sums only, so cells of several processes add in any order. Clipping happens here, before anything is summed;
//! values that are not finite never get this far.

use super::{
    buckets::Buckets,
    codec::{FormatError, Reader, Writer},
};
use crate::routing::hash;

const WHAT: &str = "cell";
const VERSION: u8 = 1;
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

    /// Σx.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn sum(&self) -> f64 {
        (self.n as f64).mul_add(self.shift, self.sum_shifted)
    }

    /// The mean per value; none before the first.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum() / self.n as f64)
    }

    /// Adds all of `other`. With unequal shifts, `other`'s sums are moved to this cell's:
    /// Σ(x − s) = Σ(x − t) + n(t − s), Σ(x − s)² = Σ(x − t)² + 2(t − s)Σ(x − t) + n(t − s)².
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
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
    }

    /// Reads what [`Cell::encode`] wrote.
    ///
    /// # Errors
    /// [`FormatError`]: another version, another number of buckets, or damaged bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, bytes);
        reader.version(VERSION)?;
        let cell = Self {
            n: reader.u64()?,
            clipped: reader.u64()?,
            shift: reader.f64()?,
            sum_shifted: reader.f64()?,
            sum_sq_shifted: reader.f64()?,
            buckets: Buckets::read(&mut reader)?,
        };
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
                known: 1
            }
        );
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
