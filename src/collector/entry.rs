//! One journal entry: everything a group commit made durable, in one blob.
//!
//! What is counted is always read back from these bytes, in the live process as after a restart, so a replay cannot
//! count differently. Holds only what is new: duplicates are left out before.

use super::{
    codec::{FormatError, Reader, Writer, length, seal, unseal},
    observation::{Observation, Values},
};
use crate::domain::id::{ArmIndex, Epoch, ExperimentKey, MetricKey};
use std::collections::BTreeMap;

const WHAT: &str = "journal entry";
const VERSION: u8 = 1;
const HAS_RECEIPT: u8 = 1;
const HAS_ID: u8 = 2;

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

    /// Adds an outcome with those of its values that are new.
    pub(super) fn push(&mut self, outcome: &Observation, values: &Values) {
        self.outcomes += 1;
        let mut out = Writer(&mut self.bytes);
        let receipt = outcome.receipt.map_or(0, |_| HAS_RECEIPT);
        out.u8(receipt | outcome.id.map_or(0, |_| HAS_ID));
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
    lists: usize,
}

impl<'a> Entry<'a> {
    /// Checks the seal and reads the head.
    pub(super) fn open(sealed: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, unseal(WHAT, sealed)?);
        reader.version(VERSION)?;
        let now = reader.u32()?;
        let lists = reader.count(13)?;
        Ok(Self { reader, now, lists })
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
            let mut outcome = Observation {
                experiment: ExperimentKey(self.reader.u32()?),
                epoch: Epoch(self.reader.u32()?),
                arm: ArmIndex(self.reader.u8()?),
                unit_hash: self.reader.u64()?,
                second: self.reader.u32()?,
                receipt: None,
                id: None,
                values: Values::default(),
                segments: Default::default(),
                covariates: Default::default(),
                tagging: None,
            };
            if flags & HAS_RECEIPT != 0 {
                outcome.receipt = Some((self.reader.u32()?, self.reader.u32()?));
            }
            if flags & HAS_ID != 0 {
                outcome.id = Some(self.reader.u128()?);
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

    #[test]
    fn comes_back_as_it_went() {
        let outcome = |n: u16| Observation {
            experiment: ExperimentKey(7),
            epoch: Epoch(2),
            arm: ArmIndex(1),
            unit_hash: 99,
            second: 1_000,
            receipt: (n.is_multiple_of(2)).then_some((5, u32::from(n))),
            id: (n.is_multiple_of(3)).then_some(u128::from(n) << 90),
            values: (0..n).map(|key| (MetricKey(key), f64::from(key) / 4.0)).collect(),
            segments: Default::default(),
            covariates: Default::default(),
            tagging: None,
        };
        let exposures = ExposureLists::from([((ExperimentKey(7), Epoch(2), ArmIndex(0)), vec![1, 2, 3])]);
        let mut builder = EntryBuilder::default();
        for _ in 0..2 {
            builder.begin(42, &exposures);
            for n in 0..9 {
                let outcome = outcome(n);
                builder.push(&outcome, &outcome.values);
            }
            builder.finish();
            let bytes = builder.sealed().to_vec();
            let mut entry = Entry::open(&bytes).unwrap();
            assert_eq!(entry.now, 42);
            let mut units = Vec::new();
            entry.exposures(|_, _, _, list| units.extend(list)).unwrap();
            assert_eq!(units, [1, 2, 3]);
            let mut outcomes = Vec::new();
            entry.outcomes(|outcome| outcomes.push(outcome)).unwrap();
            assert_eq!(outcomes, (0..9).map(outcome).collect::<Vec<_>>());
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                assert!(Entry::open(&changed).is_err());
            }
        }
    }
}
