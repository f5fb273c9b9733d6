//! Sums by bucket of units: what the variance between units is computed from.
//!
//! Additive in any order; the same hash puts a unit into the same bucket in every arm. Few filled buckets are kept
//! as a sorted list, many as a table, and nobody outside can tell which.

use super::codec::{FormatError, Reader, Writer};
use crate::routing::hash::BUCKETS;

const WHAT: &str = "buckets";
const VERSION: u8 = 1;
/// The list takes 18 bytes per filled bucket, the table 16 KiB: the list ends where a third is filled, well before
/// they are equal, because inserting moves half of it.
const MOST_LISTED: usize = BUCKETS / 3;
const K: u16 = BUCKETS as u16;

/// How many buckets there are.
pub const COUNT: usize = BUCKETS;

/// Σ denominator and Σ numerator for each of [`BUCKETS`] buckets of units.
#[derive(Debug, Clone)]
pub struct Buckets(Form);

#[derive(Debug, Clone)]
enum Form {
    Listed { at: Vec<u16>, sums: Vec<(f64, f64)> },
    Table(Box<[(f64, f64)]>),
}

impl Default for Buckets {
    fn default() -> Self {
        Self(Form::Listed {
            at: Vec::new(),
            sums: Vec::new(),
        })
    }
}

impl Buckets {
    /// Adds to a bucket, a number below [`BUCKETS`].
    #[inline]
    pub fn add(&mut self, bucket: usize, den: f64, num: f64) {
        debug_assert!(bucket < BUCKETS);
        let sums = match &mut self.0 {
            Form::Table(table) => &mut table[bucket % BUCKETS],
            Form::Listed { at, sums } => {
                let bucket = (bucket % BUCKETS) as u16;
                match at.binary_search(&bucket) {
                    Ok(place) => &mut sums[place],
                    Err(place) => {
                        insert(at, place, bucket);
                        insert(sums, place, (den, num));
                        if at.len() > MOST_LISTED {
                            self.spread();
                        }
                        return;
                    }
                }
            }
        };
        sums.0 += den;
        sums.1 += num;
    }

    /// The sums of one bucket: (Σ denominator, Σ numerator).
    #[must_use]
    pub fn sums(&self, bucket: usize) -> (f64, f64) {
        match &self.0 {
            Form::Table(table) => table.get(bucket).copied().unwrap_or_default(),
            Form::Listed { at, sums } => u16::try_from(bucket)
                .ok()
                .and_then(|bucket| at.binary_search(&bucket).ok())
                .map_or((0.0, 0.0), |place| sums[place]),
        }
    }

    /// The filled buckets in order: (bucket, Σ denominator, Σ numerator).
    pub fn filled(&self) -> impl Iterator<Item = (usize, f64, f64)> + '_ {
        let (listed, table): (Option<_>, &[(f64, f64)]) = match &self.0 {
            Form::Listed { at, sums } => (Some(at.iter().zip(sums)), &[]),
            Form::Table(table) => (None, table),
        };
        let listed = listed
            .into_iter()
            .flatten()
            .map(|(&bucket, &(den, num))| (usize::from(bucket), den, num));
        let table = table
            .iter()
            .enumerate()
            .map(|(bucket, &(den, num))| (bucket, den, num))
            .filter(|&(_, den, num)| den != 0.0 || num != 0.0);
        listed.chain(table)
    }

    /// How many buckets are filled.
    #[must_use]
    pub fn count_filled(&self) -> usize {
        match &self.0 {
            Form::Listed { at, .. } => at.len(),
            Form::Table(_) => self.filled().count(),
        }
    }

    /// (Σ denominator, Σ numerator) over all buckets.
    #[must_use]
    pub fn total(&self) -> (f64, f64) {
        self.filled()
            .fold((0.0, 0.0), |(den, num), (_, d, n)| (den + d, num + n))
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, den, num) in other.filled() {
            self.add(bucket, den, num);
        }
    }

    /// Appends the bytes; equal sums give equal bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let filled = self.count_filled();
        let mut out = Writer(out);
        out.u8(VERSION);
        out.u16(K);
        if filled > MOST_LISTED {
            out.u16(u16::MAX);
            for bucket in 0..BUCKETS {
                let (den, num) = self.sums(bucket);
                out.f64(den);
                out.f64(num);
            }
        } else {
            out.u16(filled as u16);
            for (bucket, den, num) in self.filled() {
                out.u16(bucket as u16);
                out.f64(den);
                out.f64(num);
            }
        }
    }

    /// Reads what [`Buckets::encode`] wrote.
    ///
    /// # Errors
    /// [`FormatError`]: another version, another number of buckets, or damaged bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, bytes);
        let buckets = Self::read(&mut reader)?;
        reader.end()?;
        Ok(buckets)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        reader.version(VERSION)?;
        let (found, known) = (reader.u16()?, K);
        if found != known {
            return Err(FormatError::Buckets { found, known });
        }
        let mut buckets = Self::default();
        let listed = reader.u16()?;
        let count = if listed == u16::MAX { K } else { listed };
        let mut next = 0;
        for n in 0..count {
            let bucket = if listed == u16::MAX { n } else { reader.u16()? };
            if bucket < next || bucket >= K {
                return Err(reader.damaged("the buckets are out of order"));
            }
            next = bucket + 1;
            let (den, num) = (reader.f64()?, reader.f64()?);
            if !den.is_finite() || !num.is_finite() {
                return Err(reader.damaged("a sum is not finite"));
            }
            if den != 0.0 || num != 0.0 {
                buckets.add(usize::from(bucket), den, num);
            }
        }
        Ok(buckets)
    }

    fn spread(&mut self) {
        let mut table = vec![(0.0, 0.0); BUCKETS].into_boxed_slice();
        for (bucket, den, num) in self.filled() {
            table[bucket] = (den, num);
        }
        self.0 = Form::Table(table);
    }
}

impl PartialEq for Buckets {
    fn eq(&self, other: &Self) -> bool {
        self.filled().eq(other.filled())
    }
}

/// Inserts with a growth of a quarter: ten thousand half-empty lists would be the memory of the whole program.
fn insert<T>(list: &mut Vec<T>, place: usize, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 4).max(4));
    }
    list.insert(place, item);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled_with(buckets: impl IntoIterator<Item = usize>) -> Buckets {
        let mut sums = Buckets::default();
        for bucket in buckets {
            sums.add(bucket, 1.0, bucket as f64);
        }
        sums
    }

    #[test]
    fn list_and_table_answer_alike() {
        for count in [0, 1, MOST_LISTED - 1, MOST_LISTED, MOST_LISTED + 1, BUCKETS] {
            let up = filled_with((0..count).map(|n| n * 7 % BUCKETS));
            let down = filled_with((0..count).rev().map(|n| n * 7 % BUCKETS));
            assert_eq!(up, down);
            assert_eq!(up.count_filled(), count);
            assert_eq!(matches!(up.0, Form::Table(_)), count > MOST_LISTED);
            let mut table = up.clone();
            table.spread();
            assert_eq!(table, up);
            let bytes = |sums: &Buckets| {
                let mut bytes = Vec::new();
                sums.encode(&mut bytes);
                bytes
            };
            assert_eq!(bytes(&table), bytes(&up));
            assert_eq!(Buckets::decode(&bytes(&up)).unwrap(), up);
            for bucket in 0..BUCKETS {
                assert_eq!(table.sums(bucket), up.sums(bucket));
            }
        }
    }

    #[test]
    fn merging_adds() {
        let mut sums = filled_with(0..300);
        sums.merge(&filled_with(200..600));
        assert_eq!(sums.total().0, 700.0);
        assert_eq!(sums.sums(250), (2.0, 500.0));
        assert_eq!(sums.sums(700), (0.0, 0.0));
    }

    #[test]
    fn foreign_bytes_are_refused() {
        let mut bytes = Vec::new();
        filled_with(0..3).encode(&mut bytes);
        let check = |at: usize, to: u8| {
            let mut changed = bytes.clone();
            changed[at] = to;
            Buckets::decode(&changed).unwrap_err()
        };
        assert_eq!(
            check(0, 2),
            FormatError::Version {
                what: WHAT,
                found: 2,
                known: 1
            }
        );
        assert_eq!(
            check(2, 8),
            FormatError::Buckets {
                found: 2048,
                known: 1024
            }
        );
        assert!(matches!(check(5, 9), FormatError::Damaged { .. }));
        assert!(Buckets::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(Buckets::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}
