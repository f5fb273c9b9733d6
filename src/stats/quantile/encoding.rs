//! A sketch as bytes, and back.
//!
//! Owns the format: equal sketches give equal bytes, and bytes that a sketch cannot have given are refused. It
//! never trusts what it reads. Called by whatever stores or sends sketches.
//!
//! One byte of version; the number of bins; unless that is 0 the minimum and the maximum, the lowest key
//! (zigzag), and for every bin its distance to the bin before less one (not for the lowest) and its count;
//! four bytes of FNV-1a over all of it. Floats and the checksum are little-endian, whole numbers are LEB128 in
//! their shortest form.

use super::sketch::{HIGHEST_KEY, Sketch, key_of};

/// The first byte.
const VERSION: u8 = 1;

/// Bytes of the checksum at the end.
const CHECKSUM: usize = 4;

/// The bytes are not those of a sketch; the text says what gave them away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are not a sketch: {0}")]
pub struct Damaged(&'static str);

impl Sketch {
    /// Appends the sketch to `out`: 26 bytes for one value, about three more per occupied bin.
    ///
    /// ```
    /// use serin::stats::quantile::Sketch;
    /// let mut sketch = Sketch::default();
    /// sketch.add(250.0)?;
    /// let mut bytes = Vec::new();
    /// sketch.encode(&mut bytes);
    /// assert_eq!((bytes.len(), Sketch::decode(&bytes)), (26, Ok(sketch)));
    /// # Ok::<(), serin::stats::Undefined>(())
    /// ```
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(VERSION);
        write_number(out, self.keys.len() as u64);
        if self.count > 0 {
            out.extend_from_slice(&self.min.to_le_bytes());
            out.extend_from_slice(&self.max.to_le_bytes());
        }
        let mut before = None;
        for (&key, &count) in self.keys.iter().zip(&self.counts) {
            write_number(
                out,
                match before {
                    None => zigzag(key),
                    Some(before) => i64::from(key - before - 1) as u64,
                },
            );
            write_number(out, count);
            before = Some(key);
        }
        let checksum = checksum(&out[start..]);
        out.extend_from_slice(&checksum.to_le_bytes());
    }

    /// The sketch that [`encode`](Sketch::encode) wrote as exactly these bytes.
    ///
    /// # Errors
    /// [`Damaged`] when a checksum or an invariant does not hold.
    pub fn decode(bytes: &[u8]) -> Result<Sketch, Damaged> {
        let (body, stated) = bytes
            .split_last_chunk::<CHECKSUM>()
            .ok_or(Damaged("they are too few"))?;
        if checksum(body) != u32::from_le_bytes(*stated) {
            return Err(Damaged("their checksum does not hold"));
        }
        let mut reader = Reader(body);
        if reader.byte()? != VERSION {
            return Err(Damaged("their version is unknown"));
        }
        let bins = reader.number()?;
        if bins > Sketch::MAX_BINS as u64 {
            return Err(Damaged("they have too many bins"));
        }
        let mut sketch = Sketch::default();
        if bins > 0 {
            (sketch.min, sketch.max) = (reader.float()?, reader.float()?);
            let bins = bins as usize;
            sketch.keys.reserve_exact(bins);
            sketch.counts.reserve_exact(bins);
            for _ in 0..bins {
                let key = match sketch.keys.last() {
                    None => unzigzag(reader.number()?),
                    Some(&before) => i64::try_from(reader.number()?)
                        .ok()
                        .and_then(|gap| gap.checked_add(i64::from(before) + 1)),
                };
                let key = key
                    .filter(|key| key.unsigned_abs() <= HIGHEST_KEY as u64)
                    .ok_or(Damaged("a bin lies beyond the largest float"))?;
                let count = reader.number()?;
                if count == 0 {
                    return Err(Damaged("a bin is empty"));
                }
                sketch.keys.push(key as i32);
                sketch.counts.push(count);
                sketch.count = sketch.count.saturating_add(count);
            }
            check_extremes(&sketch)?;
        }
        if reader.0.is_empty() {
            Ok(sketch)
        } else {
            Err(Damaged("there are more of them than the sketch has"))
        }
    }
}

/// Minimum and maximum must be values that the bins can hold.
fn check_extremes(sketch: &Sketch) -> Result<(), Damaged> {
    let (min, max) = (sketch.min, sketch.max);
    let negative_zero = |value: f64| value == 0.0 && value.is_sign_negative();
    if !min.is_finite() || !max.is_finite() || min > max || negative_zero(min) || negative_zero(max) {
        return Err(Damaged("its minimum or maximum is no value"));
    }
    let lowest = sketch.keys.first().copied().unwrap_or_default();
    let highest = sketch.keys.last().copied().unwrap_or_default();
    // Only folding moves the smallest value into a higher bin, and only a full sketch folds.
    let folded = sketch.keys.len() == Sketch::MAX_BINS && key_of(min) < lowest;
    let lone = sketch.count == 1 && min != max;
    if key_of(max) != highest || !(key_of(min) == lowest || folded) || lone {
        return Err(Damaged("its minimum or maximum is in none of its bins"));
    }
    Ok(())
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, Damaged> {
        let (&first, rest) = self.0.split_first().ok_or(Damaged("they end early"))?;
        self.0 = rest;
        Ok(first)
    }

    fn float(&mut self) -> Result<f64, Damaged> {
        let (&first, rest) = self.0.split_first_chunk::<8>().ok_or(Damaged("they end early"))?;
        self.0 = rest;
        Ok(f64::from_le_bytes(first))
    }

    fn number(&mut self) -> Result<u64, Damaged> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 {
                    Err(Damaged("a number is not in its shortest form"))
                } else {
                    Ok(value)
                };
            }
        }
        Err(Damaged("a number is too large"))
    }
}

fn write_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// FNV-1a with 32 bits (Fowler, Noll & Vo). Every step can be undone, so no change within one byte goes
/// unnoticed.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash: u32, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

fn zigzag(key: i32) -> u64 {
    let key = i64::from(key);
    ((key << 1) ^ (key >> 63)) as u64
}

fn unzigzag(number: u64) -> Option<i64> {
    Some((number >> 1) as i64 ^ -((number & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::super::sketch::tests::{any_value, sketch_of};
    use super::*;
    use proptest::prelude::*;

    fn bytes_of(sketch: &Sketch) -> Vec<u8> {
        let mut bytes = Vec::new();
        sketch.encode(&mut bytes);
        bytes
    }

    /// The bytes with a checksum that holds, so that the checks behind it are reached.
    fn resealed(mut body: Vec<u8>) -> Vec<u8> {
        let checksum = checksum(&body);
        body.extend_from_slice(&checksum.to_le_bytes());
        body
    }

    #[test]
    fn the_format_stays_as_it_is() {
        let expected = [
            1, 3, 0, 0, 0, 0, 0, 0, 0, 192, 0, 0, 0, 0, 0, 0, 240, 63, 187, 175, 4, 1, 221, 151, 2, 2, 186,
            151, 2, 1,
        ];
        let bytes = bytes_of(&sketch_of(&[1.0, 0.0, -2.0, -0.0]));
        assert_eq!(bytes[..bytes.len() - CHECKSUM], expected);
        assert_eq!(bytes_of(&Sketch::default())[..2], [1, 0]);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = bytes_of(&sketch_of(&[1.0, 5.0, 5.0, -3.0, 0.0, 1e300]));
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Sketch::decode(&damaged).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(Sketch::decode(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn invariants_are_checked_behind_a_good_checksum() {
        let whole = bytes_of(&sketch_of(&[1.0, 0.0, -2.0]));
        let body = &whole[..whole.len() - CHECKSUM];
        let with = |at: usize, byte: u8| {
            let mut body = body.to_vec();
            body[at] = byte;
            Sketch::decode(&resealed(body)).unwrap_err().0
        };
        assert_eq!(with(0, 2), "their version is unknown");
        assert_eq!(with(1, 2), "its minimum or maximum is in none of its bins");
        assert_eq!(with(1, 4), "they end early");
        assert_eq!(with(17, 127), "its minimum or maximum is no value");
        assert_eq!(with(9, 64), "its minimum or maximum is no value");
        assert_eq!(with(21, 0), "a bin is empty");
        let longer = resealed([body, &[0]].concat());
        assert_eq!(
            Sketch::decode(&longer),
            Err(Damaged("there are more of them than the sketch has"))
        );
        assert_eq!(
            Sketch::decode(&resealed(vec![1, 128, 0])),
            Err(Damaged("a number is not in its shortest form"))
        );
        assert_eq!(
            Sketch::decode(&resealed(vec![1, 129, 16])),
            Err(Damaged("they have too many bins"))
        );
    }

    proptest! {
        #[test]
        fn bytes_come_back_as_the_sketch(values in prop::collection::vec(any_value(), 0..200), wide in any::<bool>()) {
            let mut sketch = sketch_of(&values);
            if wide {
                sketch.merge(&sketch_of(&(0..3000).map(|i| 1.1f64.powi(i - 1500)).collect::<Vec<_>>()));
            }
            prop_assert_eq!(Sketch::decode(&bytes_of(&sketch)), Ok(sketch));
        }

        #[test]
        fn what_is_read_is_what_would_be_written(
            values in prop::collection::vec(any_value(), 0..6), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let whole = bytes_of(&sketch_of(&values));
            let mut body = whole[..whole.len() - CHECKSUM].to_vec();
            let at = at.index(body.len());
            body[at] = byte;
            let bytes = resealed(body);
            if let Ok(sketch) = Sketch::decode(&bytes) {
                prop_assert_eq!(bytes_of(&sketch), bytes);
                for q in [0.0, 0.5, 1.0] {
                    prop_assert!(sketch.quantile(q).is_ok() || sketch.count() == 0);
                }
            }
        }
    }
}
