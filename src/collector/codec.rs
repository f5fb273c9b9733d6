//! Little-endian bytes with a version in front: how everything counted is written down.
//!
//! Owns only the primitives; each type has its own layout beside it. A damaged or foreign text is an error, never a
//! panic and never half a value.

use crate::{routing::hash, store::error::StoreError};

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
