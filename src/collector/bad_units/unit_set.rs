//! Which units had a bad outcome already, in 2²⁰ bits. Owns nothing but the bits; the bad units around it ask and count.

use crate::{
    collector::codec::{FormatError, Reader, Writer, length},
    routing::hash::mix,
};

const BITS: u64 = 1 << 20;
const WORDS: usize = (BITS / 64) as usize;
/// The list ends at a quarter of the table's memory, because inserting moves half of it.
const MOST_LISTED: usize = WORDS / 2;
/// Keeps the bits independent of the buckets, which are the hash's remainder.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// A set of units, by bit.
#[derive(Debug, Clone)]
pub(super) enum UnitSet {
    Listed(Vec<u32>),
    Table(Box<[u64]>),
}

impl Default for UnitSet {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl UnitSet {
    /// Adds the unit with this analysis hash and says whether its bit was free.
    pub(super) fn insert(&mut self, unit_hash: u64) -> bool {
        let bit = bit(unit_hash);
        match self {
            Self::Listed(list) => {
                let Err(place) = list.binary_search(&bit) else {
                    return false;
                };
                list.insert(place, bit);
                if list.len() > MOST_LISTED {
                    *self = Self::Table(table(list));
                }
                true
            }
            Self::Table(table) => {
                let (word, mask) = (&mut table[bit as usize / 64], 1 << (bit % 64));
                let free = *word & mask == 0;
                *word |= mask;
                free
            }
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut out = Writer(out);
        match self {
            Self::Listed(list) => {
                out.u32(length(list.len()));
                for bit in list {
                    out.u32(*bit);
                }
            }
            Self::Table(table) => {
                out.u32(u32::MAX);
                for word in table {
                    out.u64(*word);
                }
            }
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let listed = reader.u32()?;
        if listed == u32::MAX {
            let words: Result<Box<[u64]>, _> = (0..WORDS).map(|_| reader.u64()).collect();
            return Ok(Self::Table(words?));
        }
        if listed as usize > MOST_LISTED {
            return Err(reader.damaged("the list is too long"));
        }
        let mut list: Vec<u32> = Vec::with_capacity(listed as usize);
        for _ in 0..listed {
            let bit = reader.u32()?;
            if u64::from(bit) >= BITS || list.last().is_some_and(|last| *last >= bit) {
                return Err(reader.damaged("the units are out of order"));
            }
            list.push(bit);
        }
        Ok(Self::Listed(list))
    }
}

/// The bit of the unit with this analysis hash.
pub(super) fn bit(unit_hash: u64) -> u32 {
    (mix(unit_hash ^ SEED) & (BITS - 1)) as u32
}

fn table(list: &[u32]) -> Box<[u64]> {
    let mut table = vec![0; WORDS].into_boxed_slice();
    for bit in list {
        table[*bit as usize / 64] |= 1 << (bit % 64);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_and_table_remember_alike() {
        let (mut small, mut large) = (UnitSet::default(), UnitSet::Table(table(&[])));
        let mut new = 0;
        for unit in 0..30_000_u64 {
            let unit = mix(unit % 20_000);
            let first = small.insert(unit);
            assert_eq!(first, large.insert(unit));
            new += usize::from(first);
        }
        assert!(matches!(small, UnitSet::Table(_)));
        assert!((19_700..20_000).contains(&new), "{new}");
    }
}
