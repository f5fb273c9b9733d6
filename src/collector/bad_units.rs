//! First bad outcomes: each unit counts once, ever, on each arm of each guarded measure.
//!
//! Ten errors of one user are one piece of evidence. Units are remembered in 2²⁰ bits by a hash of their own; two
//! units that share a bit count as one, so a collision only drops evidence. What is too young is remembered at once
//! and counted when it has settled. Each unit is counted in one of two hidden halves too, at no cost to good outcomes.

mod halves;
mod unit_set;

use super::{
    buckets::Buckets,
    codec::{FormatError, Reader, Writer, length},
    intake::Guarded,
};
use crate::{domain::id::Epoch, routing::hash::bucket};
pub(super) use halves::HalvedUnits;
pub(crate) use halves::half;
use std::collections::BTreeMap;
use unit_set::UnitSet;

/// Version 1 had no halves.
const VERSION: u8 = 2;
/// Outcomes that settle together: a long settling time is cut into about this many slots.
const SLOTS: u32 = 16;

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
    counted: BTreeMap<Moment, HalvedUnits>,
    /// By the second at which they settle; as many units as bits in `seen` at most.
    pending: BTreeMap<(u32, Moment), HalvedUnits>,
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
                self.counted.entry(moment).or_default().add(unit_hash);
                changed.bad_unit = true;
            } else {
                self.pending.entry((due, moment)).or_default().add(unit_hash);
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
            self.counted.entry(moment).or_default().merge(first.remove());
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
    pub(super) fn counted(&self) -> impl Iterator<Item = (Moment, HalvedUnits)> + '_ {
        self.counted.iter().map(|(moment, units)| (*moment, *units))
    }

    /// Bad units that have not settled.
    pub(super) fn pending(&self) -> u64 {
        self.pending.values().map(|units| u64::from(units.all)).sum()
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
            units.encode(&mut writer);
        }
        writer.u32(length(self.pending.len()));
        for ((due, moment), units) in &self.pending {
            writer.u32(*due);
            writer.u8(moment.block);
            writer.u32(moment.epoch.0);
            units.encode(&mut writer);
        }
        writer.u32(length(self.young.len()));
        for (due, sums) in &self.young {
            Writer(out).u32(*due);
            sums.encode(out);
        }
        self.absolute.encode(out);
    }

    /// Reads what [`BadUnits::encode`] wrote, in this version or an earlier one.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let moment = |reader: &mut Reader<'_>| {
            Ok(Moment {
                block: reader.u8()?,
                epoch: Epoch(reader.u32()?),
            })
        };
        let with_halves = reader.version_up_to(VERSION)? > 1;
        let mut units = Self {
            seen: UnitSet::read(reader)?,
            ..Self::default()
        };
        for _ in 0..reader.count(9)? {
            let moment = moment(reader)?;
            units
                .counted
                .insert(moment, HalvedUnits::read(reader, with_halves)?);
        }
        for _ in 0..reader.count(13)? {
            let key = (reader.u32()?, moment(reader)?);
            units.pending.insert(key, HalvedUnits::read(reader, with_halves)?);
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
    use crate::routing::hash::mix;

    const AT: Moment = Moment {
        block: 2,
        epoch: Epoch(3),
    };

    fn bytes(units: &BadUnits) -> Vec<u8> {
        let mut bytes = Vec::new();
        units.encode(&mut bytes);
        bytes
    }

    fn all(units: &BadUnits) -> Vec<(Moment, u32)> {
        units
            .counted()
            .map(|(moment, units)| (moment, units.all))
            .collect()
    }

    fn back(bytes: &[u8]) -> Result<BadUnits, FormatError> {
        let mut reader = Reader::new("bad units", bytes);
        let units = BadUnits::read(&mut reader)?;
        reader.end()?;
        Ok(units)
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
        assert_eq!(all(&units), [(AT, 1)]);
        assert_eq!(units.absolute().total(), (2.0, 2.0));
        // Too late to wait: enters at once.
        assert!(units.count((101, AT), 3, true, guarded, 106).bad_unit);
        assert!(!units.count((103, AT), 3, true, guarded, 106).bad_unit);
        units.settle(108);
        assert_eq!(all(&units), [(AT, 2)]);
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

    /// What this very count left behind before there were halves: 24 units at one moment, settled, and 16 at another
    /// of which ten bad ones are young.
    #[test]
    fn bytes_of_version_1_are_read_and_go_on() {
        let stored: Vec<u8> = include_str!("../../tests/stored/bad_units_v1.hex")
            .trim()
            .as_bytes()
            .chunks(2)
            .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
            .collect();
        let guarded = Guarded {
            settle_s: 60,
            absolute: true,
        };
        let later = Moment {
            block: 7,
            epoch: Epoch(4),
        };
        let mut before = back(&stored).unwrap();
        let mut now = BadUnits::default();
        for unit in 0..40_u32 {
            let at = if unit < 24 { (100, AT) } else { (650 + unit, later) };
            let unit_hash = mix(u64::from(unit));
            now.count(at, unit_hash, unit % 3 != 0, guarded, 700);
            assert!(
                !before
                    .count(
                        at,
                        unit_hash,
                        unit % 3 != 0,
                        Guarded {
                            absolute: false,
                            ..guarded
                        },
                        700
                    )
                    .state
            );
        }
        now.settle(715);
        assert_eq!((before.pending(), before.next_due()), (10, now.next_due()));
        assert_eq!((all(&before), before.pending()), (all(&now), now.pending()));
        assert_eq!(before.absolute(), now.absolute());
        let halves = |units: &BadUnits| units.counted().map(|(_, units)| units.halves).collect::<Vec<_>>();
        assert_eq!(halves(&before), [[0, 0]]);
        let [[first, second]] = halves(&now)[..] else {
            panic!("one moment has settled");
        };
        assert_eq!(first + second, 16);
        // From here on units are in halves, and are stored so.
        for units in [&mut before, &mut now] {
            assert!(units.count((100, AT), mix(1_000), true, guarded, 720).bad_unit);
            units.settle(2_000);
        }
        assert_eq!(all(&before), all(&now));
        assert_eq!(halves(&before)[0].iter().sum::<u32>(), 1);
        let again = bytes(&before);
        assert_eq!((again[0], bytes(&back(&again).unwrap())), (VERSION, again));
    }
}
