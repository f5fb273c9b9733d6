//! Little-endian bytes with a version in front: how everything counted is written down.
//!
//! Owns only the primitives; each type has its own layout beside it. A damaged or foreign text is an error, never a
//! panic and never half a value.

use crate::{routing::hash, stats::quantile::Sketch, store::error::StoreError};

const SEAL_SEED: u64 = 0x5ea1;

/// Why bytes were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// They end early, or go on after the end.
    #[error("{what}: the bytes end at the wrong place")]
    Length {
        /// What was read.
        what: &'static str,
    },
    /// Another version of the layout.
    #[error("{what}: version {found} is not known, only {known} is")]
    Version {
        /// What was read.
        what: &'static str,
        /// The version of the bytes.
        found: u8,
        /// The version this program writes.
        known: u8,
    },
    /// Another number of buckets.
    #[error("{found} buckets do not add to {known}")]
    Buckets {
        /// The number in the bytes.
        found: u16,
        /// The number this program counts with.
        known: u16,
    },
    /// A value that cannot be right.
    #[error("{what}: {problem}")]
    Damaged {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl From<FormatError> for StoreError {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Version { .. } | FormatError::Buckets { .. } => Self::Format(error.to_string()),
            FormatError::Length { .. } | FormatError::Damaged { .. } => Self::Corrupt(error.to_string()),
        }
    }
}

/// Appends to a buffer.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

macro_rules! numbers {
    ($($name:ident: $int:ty),*) => {
        impl Writer<'_> {
            $(#[inline]
            pub(super) fn $name(&mut self, n: $int) {
                self.0.extend_from_slice(&n.to_le_bytes());
            })*
        }

        impl Reader<'_> {
            $(#[inline]
            pub(super) fn $name(&mut self) -> Result<$int, FormatError> {
                Ok(<$int>::from_le_bytes(self.take()?))
            })*
        }
    };
}

impl Writer<'_> {
    /// A number in seven bits per byte, the lowest first: small ones take one byte.
    pub(super) fn varint(&mut self, mut n: u64) {
        while n > 0x7f {
            self.u8(n as u8 | 0x80);
            n >>= 7;
        }
        self.u8(n as u8);
    }

    /// Bytes that another type lays out, with their length in front.
    pub(super) fn block(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.0.len();
        self.u32(0);
        write(self.0);
        let written = length(self.0.len() - at - 4);
        self.0[at..at + 4].copy_from_slice(&written.to_le_bytes());
    }
}

numbers!(u8: u8, u16: u16, u32: u32, u64: u64, u128: u128, f64: f64);

/// Reads from the front.
pub(super) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    /// Reads the version and refuses every other than `known`.
    pub(super) fn version(&mut self, known: u8) -> Result<(), FormatError> {
        let (what, found) = (self.what, self.u8()?);
        if found == known {
            Ok(())
        } else {
            Err(FormatError::Version { what, found, known })
        }
    }

    /// Reads the version and refuses every one that is 0 or newer than `known`.
    pub(super) fn version_up_to(&mut self, known: u8) -> Result<u8, FormatError> {
        let (what, found) = (self.what, self.u8()?);
        if (1..=known).contains(&found) {
            Ok(found)
        } else {
            Err(FormatError::Version { what, found, known })
        }
    }

    /// Reads what [`Writer::varint`] wrote.
    pub(super) fn varint(&mut self) -> Result<u64, FormatError> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(self.damaged("a number is too large"))
    }

    /// Reads as many bytes as [`Writer::block`] wrote.
    pub(super) fn block(&mut self) -> Result<&'a [u8], FormatError> {
        let length = self.count(1)?;
        let (block, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(block)
    }

    /// Reads a sketch in a block of its own.
    pub(super) fn sketch(&mut self) -> Result<Sketch, FormatError> {
        let block = self.block()?;
        Sketch::decode(block).map_err(|_| self.damaged("the sketch cannot be read"))
    }

    /// A count of items of at least `item` bytes each, refused when the rest cannot hold them.
    pub(super) fn count(&mut self, item: usize) -> Result<usize, FormatError> {
        let count = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if count.saturating_mul(item) > self.rest.len() {
            return Err(self.length());
        }
        Ok(count)
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), FormatError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.length())
        }
    }

    pub(super) fn damaged(&self, problem: &'static str) -> FormatError {
        FormatError::Damaged {
            what: self.what,
            problem,
        }
    }

    #[inline]
    fn take<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or_else(|| self.length())?;
        self.rest = rest;
        Ok(*head)
    }

    fn length(&self) -> FormatError {
        FormatError::Length { what: self.what }
    }
}

/// Closes bytes with a checksum: neither the file system nor the database promises that what comes back is what went.
pub(super) fn seal(bytes: &mut Vec<u8>) {
    let sum = hash::unit_hash(bytes, SEAL_SEED);
    bytes.extend_from_slice(&sum.to_le_bytes());
}

/// The bytes that [`seal`] closed.
pub(super) fn unseal<'a>(what: &'static str, sealed: &'a [u8]) -> Result<&'a [u8], FormatError> {
    let (bytes, sum) = sealed.split_last_chunk().ok_or(FormatError::Length { what })?;
    if hash::unit_hash(bytes, SEAL_SEED) == u64::from_le_bytes(*sum) {
        Ok(bytes)
    } else {
        let problem = "the checksum does not fit";
        Err(FormatError::Damaged { what, problem })
    }
}

/// A length as stored; nothing here is ever that long.
pub(super) fn length(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_and_blocks_come_back_and_nothing_else_does() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        let mut bytes = Vec::new();
        for n in numbers {
            Writer(&mut bytes).varint(n);
        }
        Writer(&mut bytes).block(|out| out.extend([7, 8, 9]));
        let mut reader = Reader::new("a test", &bytes);
        for n in numbers {
            assert_eq!(reader.varint(), Ok(n));
        }
        assert_eq!(reader.block(), Ok(&[7, 8, 9][..]));
        reader.end().unwrap();
        for bad in [
            &[0x80][..],
            &[0xff; 11],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ] {
            assert!(Reader::new("a test", bad).varint().is_err(), "{bad:?}");
        }
        assert!(
            Reader::new("a test", &bytes[bytes.len() - 7..bytes.len() - 1])
                .block()
                .is_err()
        );
    }
}
