//! One journal entry: everything a group commit made durable, in one blob.
//!
//! What is counted is always read back from these bytes, in the live process as after a restart, so a replay cannot
//! count differently. Holds only what is new: duplicates are left out before. Entries of older versions are read as
//! well, since an upgrade finds them in the journal: version 1 knows neither segments nor covariates, version 2 does not
//! say which outcome was its receipt's first.

use super::{
    codec::{FormatError, Reader, Writer, length, seal, unseal},
    observation::{Observation, Values},
};
use crate::domain::{
    id::{ArmIndex, Epoch, ExperimentKey, MetricKey},
    metric::{Covariates, MOST_COVARIATES},
    segment::SegmentCodes,
};
use std::collections::BTreeMap;

const WHAT: &str = "journal entry";
const VERSION: u8 = 3;
const HAS_RECEIPT: u8 = 1;
const HAS_ID: u8 = 2;
const HAS_SEGMENTS: u8 = 4;
const HAS_COVARIATE: [u8; MOST_COVARIATES] = [8, 16];
const IS_AGAIN: u8 = 32;
/// Every flag of a version; what is set beyond them cannot be right.
const FLAGS: [u8; 3] = [3, 31, 63];

/// Exposures by arm: the analysis hash of each request's unit.
pub(super) type ExposureLists = BTreeMap<(ExperimentKey, Epoch, ArmIndex), Vec<u64>>;

/// Writes an entry.
#[derive(Debug, Default)]
pub(super) struct EntryBuilder {
    bytes: Vec<u8>,
    outcomes_at: usize,
    outcomes: u32,
    exposures: bool,
}

impl EntryBuilder {
    /// Begins an entry made at Unix second `now`; memory of the last one is used again.
    pub(super) fn begin(&mut self, now: u32, exposures: &ExposureLists) {
        self.bytes.clear();
        self.outcomes = 0;
        self.exposures = !exposures.is_empty();
        let mut out = Writer(&mut self.bytes);
        out.u8(VERSION);
        out.u32(now);
        out.u32(length(exposures.len()));
        for ((experiment, epoch, arm), units) in exposures {
            out.u32(experiment.0);
            out.u32(epoch.0);
            out.u8(arm.0);
            out.u32(length(units.len()));
            for unit in units {
                out.u64(*unit);
            }
        }
        self.outcomes_at = self.bytes.len();
        Writer(&mut self.bytes).u32(0);
    }

    /// Adds an outcome with those of its values that are new; `again` when its receipt has reported before.
    pub(super) fn push(&mut self, outcome: &Observation, values: &Values, again: bool) {
        self.outcomes += 1;
        let mut out = Writer(&mut self.bytes);
        let segments = outcome.segments;
        let covariates = HAS_COVARIATE.into_iter().zip(outcome.covariates.0);
        let mut flags = outcome.receipt.map_or(0, |_| HAS_RECEIPT) | outcome.id.map_or(0, |_| HAS_ID);
        if segments != SegmentCodes::default() {
            flags |= HAS_SEGMENTS;
        }
        if again {
            flags |= IS_AGAIN;
        }
        for (flag, covariate) in covariates.clone() {
            flags |= covariate.map_or(0, |_| flag);
        }
        out.u8(flags);
        out.u32(outcome.experiment.0);
        out.u32(outcome.epoch.0);
        out.u8(outcome.arm.0);
        out.u64(outcome.unit_hash);
        out.u32(outcome.second);
        if let Some((process, sequence)) = outcome.receipt {
            out.u32(process);
            out.u32(sequence);
        }
        if let Some(id) = outcome.id {
            out.u128(id);
        }
        if flags & HAS_SEGMENTS != 0 {
            out.u16(segments.0);
        }
        for (_, covariate) in covariates {
            if let Some(covariate) = covariate {
                out.u32(covariate.to_bits());
            }
        }
        out.u16(u16::try_from(values.len()).unwrap_or(u16::MAX));
        for (metric, value) in values.iter().take(usize::from(u16::MAX)) {
            out.u16(metric.0);
            out.f64(value);
        }
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.outcomes == 0 && !self.exposures
    }

    /// Closes the entry.
    pub(super) fn finish(&mut self) {
        self.bytes[self.outcomes_at..self.outcomes_at + 4].copy_from_slice(&self.outcomes.to_le_bytes());
        seal(&mut self.bytes);
    }

    /// The bytes, after [`EntryBuilder::finish`].
    pub(super) fn sealed(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads an entry: first the exposures, then the outcomes.
pub(super) struct Entry<'a> {
    reader: Reader<'a>,
    /// The Unix second it was made at.
    pub(super) now: u32,
    flags: u8,
    lists: usize,
}

impl<'a> Entry<'a> {
    /// Checks the seal and reads the head.
    pub(super) fn open(sealed: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, unseal(WHAT, sealed)?);
        let flags = match reader.u8()? {
            found @ 1..=VERSION => FLAGS[usize::from(found) - 1],
            found => {
                let (what, known) = (WHAT, VERSION);
                return Err(FormatError::Version { what, found, known });
            }
        };
        let now = reader.u32()?;
        let lists = reader.count(13)?;
        Ok(Self {
            reader,
            now,
            flags,
            lists,
        })
    }

    /// Visits each exposure.
    pub(super) fn exposures(
        &mut self,
        mut visit: impl FnMut(ExperimentKey, Epoch, ArmIndex, &mut dyn Iterator<Item = u64>),
    ) -> Result<(), FormatError> {
        for _ in 0..std::mem::take(&mut self.lists) {
            let experiment = ExperimentKey(self.reader.u32()?);
            let epoch = Epoch(self.reader.u32()?);
            let arm = ArmIndex(self.reader.u8()?);
            let count = self.reader.count(8)?;
            let mut units = (0..count).map_while(|_| self.reader.u64().ok());
            visit(experiment, epoch, arm, &mut units);
            // Whatever the visitor left.
            units.for_each(drop);
        }
        Ok(())
    }

    /// Visits each outcome, after [`Entry::exposures`].
    pub(super) fn outcomes(mut self, mut visit: impl FnMut(Observation)) -> Result<(), FormatError> {
        for _ in 0..self.reader.count(24)? {
            let flags = self.reader.u8()?;
            if flags & !self.flags != 0 {
                return Err(self.reader.damaged("a flag is unknown"));
            }
            let mut outcome = Observation {
                experiment: ExperimentKey(self.reader.u32()?),
                epoch: Epoch(self.reader.u32()?),
                arm: ArmIndex(self.reader.u8()?),
                unit_hash: self.reader.u64()?,
                second: self.reader.u32()?,
                receipt: None,
                id: None,
                values: Values::default(),
                segments: SegmentCodes::default(),
                covariates: Covariates::default(),
                again: flags & IS_AGAIN != 0,
                tagging: None,
            };
            if flags & HAS_RECEIPT != 0 {
                outcome.receipt = Some((self.reader.u32()?, self.reader.u32()?));
            }
            if flags & HAS_ID != 0 {
                outcome.id = Some(self.reader.u128()?);
            }
            if flags & HAS_SEGMENTS != 0 {
                outcome.segments = SegmentCodes(self.reader.u16()?);
            }
            for (flag, covariate) in HAS_COVARIATE.into_iter().zip(&mut outcome.covariates.0) {
                if flags & flag != 0 {
                    *covariate = Some(f32::from_bits(self.reader.u32()?));
                }
            }
            if outcome
                .covariates
                .0
                .iter()
                .flatten()
                .any(|known| !known.is_finite())
            {
                return Err(self.reader.damaged("a covariate is not finite"));
            }
            for _ in 0..self.reader.u16()? {
                let metric = MetricKey(self.reader.u16()?);
                let value = self.reader.f64()?;
                if !value.is_finite() {
                    return Err(self.reader.damaged("a value is not finite"));
                }
                outcome.values.push(metric, value);
            }
            visit(outcome);
        }
        self.reader.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry of version 1 as the first release wrote it: three exposures and `outcome(1)` to `outcome(3)`.
    const OLD: &str = "\
        012a00000001000000070000000200000000030000000100000000000000020000000000000003000000000000000300\
        0000000700000002000000016300000000000000e8030000010000000000000000000000010700000002000000016300\
        000000000000e803000005000000020000000200000000000000000000000100000000000000d03f0207000000020000\
        00016300000000000000e803000000000000000000000000000c00000000030000000000000000000000010000000000\
        0000d03f0200000000000000e03f18d8e6a01074e0cd";

    fn outcome(n: u16) -> Observation {
        Observation {
            experiment: ExperimentKey(7),
            epoch: Epoch(2),
            arm: ArmIndex(1),
            unit_hash: 99,
            second: 1_000,
            receipt: (n.is_multiple_of(2)).then_some((5, u32::from(n))),
            id: (n.is_multiple_of(3)).then_some(u128::from(n) << 90),
            values: (0..n).map(|key| (MetricKey(key), f64::from(key) / 4.0)).collect(),
            segments: SegmentCodes::default(),
            covariates: Covariates::default(),
            again: false,
            tagging: None,
        }
    }

    /// With every combination of what is known of a request.
    fn profiled(n: u16) -> Observation {
        let covariate = |bit: u16| (n & bit != 0).then_some(f32::from(n) - 0.5);
        let segments = SegmentCodes::default();
        Observation {
            segments: if n & 1 != 0 {
                segments.with(2, Some(usize::from(n)))
            } else {
                segments
            },
            covariates: Covariates([covariate(2), covariate(4)]),
            again: n & 8 != 0,
            ..outcome(n)
        }
    }

    fn exposures() -> ExposureLists {
        ExposureLists::from([((ExperimentKey(7), Epoch(2), ArmIndex(0)), vec![1, 2, 3])])
    }

    fn read(bytes: &[u8]) -> (u32, Vec<u64>, Vec<Observation>) {
        let mut entry = Entry::open(bytes).unwrap();
        let now = entry.now;
        let (mut units, mut outcomes) = (Vec::new(), Vec::new());
        entry.exposures(|_, _, _, list| units.extend(list)).unwrap();
        entry.outcomes(|outcome| outcomes.push(outcome)).unwrap();
        (now, units, outcomes)
    }

    #[test]
    fn comes_back_as_it_went() {
        let mut builder = EntryBuilder::default();
        for _ in 0..2 {
            builder.begin(42, &exposures());
            for n in 0..9 {
                let outcome = profiled(n);
                builder.push(&outcome, &outcome.values, outcome.again);
            }
            builder.finish();
            let bytes = builder.sealed().to_vec();
            let expected = (42, vec![1, 2, 3], (0..9).map(profiled).collect());
            assert_eq!(read(&bytes), expected);
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                assert!(Entry::open(&changed).is_err());
            }
        }
    }

    #[test]
    fn an_old_entry_is_read_and_a_new_one_is_no_longer_without_need() {
        let old: Vec<u8> = (0..OLD.len() / 2)
            .map(|at| u8::from_str_radix(&OLD[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        assert_eq!(read(&old), (42, vec![1, 2, 3], (1..4).map(outcome).collect()));

        let mut builder = EntryBuilder::default();
        builder.begin(42, &exposures());
        for n in 1..4 {
            let outcome = outcome(n);
            builder.push(&outcome, &outcome.values, outcome.again);
        }
        builder.finish();
        // Only the version and with it the seal differ.
        let body = 1..old.len() - 8;
        assert_eq!(builder.sealed()[body.clone()], old[body]);
    }

    #[test]
    fn what_no_version_knows_is_refused() {
        let mut builder = EntryBuilder::default();
        builder.begin(42, &ExposureLists::new());
        let outcome = profiled(3);
        builder.push(&outcome, &outcome.values, outcome.again);
        builder.finish();
        let changed = |at: usize, to: u8| {
            let mut bytes = builder.sealed()[..builder.sealed().len() - 8].to_vec();
            bytes[at] = to;
            seal(&mut bytes);
            Entry::open(&bytes).and_then(|entry| entry.outcomes(|_| {}))
        };
        // Version, second, number of lists and of outcomes, then the flags of the first outcome.
        let flags = 1 + 4 + 4 + 4;
        assert_eq!(changed(0, VERSION), Ok(()));
        for version in [0, 4, 255] {
            assert!(matches!(changed(0, version), Err(FormatError::Version { .. })));
        }
        assert!(changed(flags, 64).is_err());
        assert!(changed(0, 1).is_err(), "version 1 has no segments");
    }
}
