//! First bad outcomes: each unit counts once, ever, on each arm of each guarded measure.
//!
//! Ten errors of one user are one piece of evidence. Units are remembered in 2²⁰ bits by a hash of their own; two
//! units that share a bit count as one, so a collision only drops evidence. What is too young is remembered at once
//! and counted when it has settled.

use super::{
    buckets::Buckets,
    codec::{FormatError, Reader, Writer, length},
    intake::Guarded,
};
use crate::{
    domain::id::Epoch,
    routing::hash::{bucket, mix},
};
use std::collections::BTreeMap;

const VERSION: u8 = 1;
const BITS: u64 = 1 << 20;
const WORDS: usize = (BITS / 64) as usize;
/// The list ends at a quarter of the table's memory, because inserting moves half of it.
const MOST_LISTED: usize = WORDS / 2;
/// Keeps the bits independent of the buckets, which are the hash's remainder.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
/// Outcomes that settle together: a long settling time is cut into about this many slots.
const SLOTS: u32 = 16;

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
        let bit = (mix(unit_hash ^ SEED) & (BITS - 1)) as u32;
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

    fn encode(&self, out: &mut Vec<u8>) {
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

    fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
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

fn table(list: &[u32]) -> Box<[u64]> {
    let mut table = vec![0; WORDS].into_boxed_slice();
    for bit in list {
        table[*bit as usize / 64] |= 1 << (bit % 64);
    }
    table
}

/// When an assignment was made, in the terms of the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    /// The restart block.
    pub(super) block: u8,
    /// The epoch.
    pub(super) epoch: Epoch,
}

/// What an outcome changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Anything that is stored.
    pub(super) state: bool,
    /// A settled bad unit more.
    pub(super) bad_unit: bool,
    /// A settled outcome more, of a measure with an absolute limit.
    pub(super) outcome: bool,
    /// Whether something settles later.
    pub(super) due: Option<u32>,
}

/// The evidence of one guarded measure on one arm.
#[derive(Debug, Clone, Default)]
pub(super) struct BadUnits {
    seen: UnitSet,
    counted: BTreeMap<Moment, u32>,
    /// By the second at which they settle; as many units as bits in `seen` at most.
    pending: BTreeMap<(u32, Moment), u32>,
    absolute: Buckets,
    /// Settled and bad outcomes by the second at which they settle.
    young: BTreeMap<u32, Buckets>,
}

impl BadUnits {
    /// Counts one outcome of a unit assigned at `second`, seen at `now`.
    pub(super) fn count(
        &mut self,
        (second, moment): (u32, Moment),
        unit_hash: u64,
        bad: bool,
        guarded: Guarded,
        now: u32,
    ) -> Changed {
        let mut changed = Changed::default();
        let due = second.saturating_add(guarded.settle_s);
        if bad && self.seen.insert(unit_hash) {
            changed.state = true;
            if due <= now {
                *self.counted.entry(moment).or_default() += 1;
                changed.bad_unit = true;
            } else {
                *self.pending.entry((due, moment)).or_default() += 1;
                changed.due = Some(due);
            }
        }
        if guarded.absolute {
            changed.state = true;
            let sums = if due <= now {
                changed.outcome = true;
                &mut self.absolute
            } else {
                let width = (guarded.settle_s / SLOTS).max(1);
                let slot = due.div_ceil(width).saturating_mul(width);
                changed.due = Some(changed.due.map_or(slot, |due| due.min(slot)));
                self.young.entry(slot).or_default()
            };
            sums.add(bucket(unit_hash), 1.0, f64::from(u8::from(bad)));
        }
        changed
    }

    /// Counts what is old enough now, and says whether anything was.
    pub(super) fn settle(&mut self, now: u32) -> bool {
        let mut settled = false;
        while let Some(first) = self.pending.first_entry() {
            let (due, moment) = *first.key();
            if due > now {
                break;
            }
            *self.counted.entry(moment).or_default() += first.remove();
            settled = true;
        }
        while let Some(first) = self.young.first_entry() {
            if *first.key() > now {
                break;
            }
            self.absolute.merge(&first.remove());
            settled = true;
        }
        settled
    }

    /// When the next settles.
    pub(super) fn next_due(&self) -> Option<u32> {
        let unit = self.pending.first_key_value().map(|((due, _), _)| *due);
        let outcome = self.young.first_key_value().map(|(due, _)| *due);
        unit.into_iter().chain(outcome).min()
    }

    /// Settled bad units by moment.
    pub(super) fn counted(&self) -> impl Iterator<Item = (Moment, u32)> + '_ {
        self.counted.iter().map(|(moment, units)| (*moment, *units))
    }

    /// Bad units that have not settled.
    pub(super) fn pending(&self) -> u64 {
        self.pending.values().copied().map(u64::from).sum()
    }

    /// Settled outcomes, and bad ones among them.
    pub(super) fn absolute(&self) -> &Buckets {
        &self.absolute
    }

    /// Appends the bytes; equal evidence gives equal bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        Writer(out).u8(VERSION);
        self.seen.encode(out);
        let mut writer = Writer(out);
        writer.u32(length(self.counted.len()));
        for (moment, units) in &self.counted {
            writer.u8(moment.block);
            writer.u32(moment.epoch.0);
            writer.u32(*units);
        }
        writer.u32(length(self.pending.len()));
        for ((due, moment), units) in &self.pending {
            writer.u32(*due);
            writer.u8(moment.block);
            writer.u32(moment.epoch.0);
            writer.u32(*units);
        }
        writer.u32(length(self.young.len()));
        for (due, sums) in &self.young {
            Writer(out).u32(*due);
            sums.encode(out);
        }
        self.absolute.encode(out);
    }

    /// Reads what [`BadUnits::encode`] wrote.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let moment = |reader: &mut Reader<'_>| {
            Ok(Moment {
                block: reader.u8()?,
                epoch: Epoch(reader.u32()?),
            })
        };
        reader.version(VERSION)?;
        let mut units = Self {
            seen: UnitSet::read(reader)?,
            ..Self::default()
        };
        for _ in 0..reader.count(9)? {
            let moment = moment(reader)?;
            units.counted.insert(moment, reader.u32()?);
        }
        for _ in 0..reader.count(13)? {
            let key = (reader.u32()?, moment(reader)?);
            units.pending.insert(key, reader.u32()?);
        }
        for _ in 0..reader.count(9)? {
            let due = reader.u32()?;
            units.young.insert(due, Buckets::read(reader)?);
        }
        units.absolute = Buckets::read(reader)?;
        Ok(units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Moment = Moment {
        block: 2,
        epoch: Epoch(3),
    };

    fn bytes(units: &BadUnits) -> Vec<u8> {
        let mut bytes = Vec::new();
        units.encode(&mut bytes);
        bytes
    }

    fn back(bytes: &[u8]) -> Result<BadUnits, FormatError> {
        let mut reader = Reader::new("bad units", bytes);
        let units = BadUnits::read(&mut reader)?;
        reader.end()?;
        Ok(units)
    }

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

    #[test]
    fn young_ones_count_when_they_settle_and_only_once() {
        let guarded = Guarded {
            settle_s: 5,
            absolute: true,
        };
        let mut units = BadUnits::default();
        let first = units.count((100, AT), 1, true, guarded, 101);
        assert_eq!((first.bad_unit, first.due), (false, Some(105)));
        units.count((100, AT), 1, true, guarded, 102);
        assert!(!units.count((101, AT), 2, false, guarded, 102).outcome);
        assert_eq!((units.pending(), units.counted().count()), (1, 0));
        assert_eq!(units.next_due(), Some(105));
        assert!(!units.settle(104));
        assert!(units.settle(105));
        assert_eq!(units.counted().collect::<Vec<_>>(), [(AT, 1)]);
        assert_eq!(units.absolute().total(), (2.0, 2.0));
        // Too late to wait: enters at once.
        assert!(units.count((101, AT), 3, true, guarded, 106).bad_unit);
        assert!(!units.count((103, AT), 3, true, guarded, 106).bad_unit);
        units.settle(108);
        assert_eq!(units.counted().collect::<Vec<_>>(), [(AT, 2)]);
        assert_eq!(units.absolute().total(), (5.0, 4.0));
        assert_eq!(units.next_due(), None);
    }

    #[test]
    fn bytes_come_back() {
        let guarded = Guarded {
            settle_s: 320,
            absolute: true,
        };
        let mut units = BadUnits::default();
        for unit in 0..10_000_u32 {
            units.count((unit / 20, AT), mix(u64::from(unit)), unit % 7 != 0, guarded, 600);
        }
        assert!(units.young.len() <= SLOTS as usize + 1, "{}", units.young.len());
        let written = bytes(&units);
        assert_eq!(bytes(&back(&written).unwrap()), written);
        let mut foreign = written.clone();
        foreign[0] = 3;
        assert!(matches!(
            back(&foreign),
            Err(FormatError::Version { found: 3, .. })
        ));
        assert!(back(&written[..written.len() - 1]).is_err());
        units.settle(2_000);
        assert_eq!(units.pending(), 0);
        assert_eq!(units.absolute().total().0, 10_000.0);
    }
}
