//! Who was served what, and whether the split was the one asked for.

use super::{ByVariant, Counts, Figure};
use crate::{
    collector::{arm_counts::ArmCounts, units::UnitSample},
    domain::{
        experiment::{EpochRecord, Experiment, State},
        id::{ArmIndex, Epoch, VariantName},
    },
    stats::sample_ratio::{ALARM_P, SampleRatio, chi_square},
};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// Units an arm must be expected to have before the chi-square approximation holds.
const LEAST_EXPECTED_UNITS: f64 = 5.0;

/// A variant of the present design with everything counted for what it serves now, while units were split.
pub(super) struct Arm<'a> {
    /// Its name.
    pub(super) name: &'a VariantName,
    /// Its place among all arms.
    pub(super) index: ArmIndex,
    /// By epoch, ascending.
    pub(super) counts: Vec<(Epoch, &'a ArmCounts)>,
}

/// The arms of the present design, control first.
pub(super) fn arms<'a>(experiment: &'a Experiment, counts: &'a Counts) -> Vec<Arm<'a>> {
    let names = experiment.spec.variants.iter().map(|variant| &variant.name);
    names
        .filter_map(|name| {
            let index = experiment.arm(name.as_str())?;
            let counted = |((epoch, arm), counts): &'a ((Epoch, ArmIndex), _)| {
                (*arm == index && experiment.counts_for(*epoch, index))
                    .then_some((*epoch, AsRef::as_ref(counts)))
            };
            let mut counts: Vec<_> = counts.iter().filter_map(counted).collect();
            counts.sort_by_key(|(epoch, _)| *epoch);
            Some(Arm { name, index, counts })
        })
        .collect()
}

/// The share of the enrolled units that gets each variant now: the split's while units are split, all of control
/// while frozen, none otherwise and while the experiment takes no part in decisions (`unroutable`).
#[must_use]
pub fn served_shares(experiment: &Experiment, unroutable: bool) -> ByVariant<f64> {
    let control = experiment.spec.control().map(|control| &control.name);
    let split = experiment
        .epochs
        .last()
        .map_or(&[][..], |record| record.shares.as_slice());
    let of = |name: &VariantName| {
        let frozen_to = experiment.state == State::Frozen && control == Some(name);
        let share = || {
            let arm = experiment.arm(name.as_str())?;
            Some(split.iter().find(|share| share.arm == arm)?.share)
        };
        match (unroutable, frozen_to) {
            (true, _) => 0.0,
            (false, true) => 1.0,
            (false, false) => share().unwrap_or(0.0),
        }
    };
    let variants = experiment.spec.variants.iter();
    ByVariant(
        variants
            .map(|variant| (variant.name.clone(), of(&variant.name)))
            .collect(),
    )
}

/// The requests of one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ExposureCounts {
    /// How many requests used it.
    pub requests: u64,
    /// How many distinct units they came from; exact up to 65,536, then within about 0.4 %.
    pub units: u64,
}

/// The outcomes of one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OutcomeCounts {
    /// How many were counted, however many metrics each had.
    pub accepted: u64,
}

pub(super) fn exposures(arms: &[Arm<'_>]) -> ByVariant<ExposureCounts> {
    let of = |arm: &Arm<'_>| {
        let requests = arm
            .counts
            .iter()
            .map(|(_, counts)| counts.exposures.requests)
            .sum();
        // A unit that came in several epochs is one unit.
        let mut samples = arm.counts.iter().map(|(_, counts)| &counts.exposures.units);
        let estimate = match (samples.next(), samples.next()) {
            (None, _) => 0.0,
            (Some(only), None) => only.estimate(),
            (Some(first), Some(second)) => {
                let mut all = first.clone();
                [second]
                    .into_iter()
                    .chain(samples)
                    .for_each(|sample| all.merge(sample));
                all.estimate()
            }
        };
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count: not negative, and far below 2^53"
        )]
        let units = estimate.round() as u64;
        (arm.name.clone(), ExposureCounts { requests, units })
    };
    ByVariant(arms.iter().map(of).collect())
}

pub(super) fn outcomes(arms: &[Arm<'_>]) -> ByVariant<OutcomeCounts> {
    let of = |arm: &Arm<'_>| {
        let accepted = arm.counts.iter().map(|(_, counts)| counts.accepted).sum();
        (arm.name.clone(), OutcomeCounts { accepted })
    };
    ByVariant(arms.iter().map(of).collect())
}

/// Whether the arms got the units they should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitVerdict {
    /// Nothing speaks against it.
    Ok,
    /// They did not: p < 0.001 and an arm at least 0.1 % off. No comparison of the arms can be trusted.
    Alarm,
}

/// The check of the split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SampleRatioReport {
    /// The probability of a deviation this large under the split asked for.
    pub p: Figure<f64>,
    /// What follows from it.
    pub verdict: Figure<SplitVerdict>,
}

impl SampleRatioReport {
    fn new(test: Result<SampleRatio, String>) -> Self {
        let verdict = test.clone().map(|test| {
            if test.alarm() {
                SplitVerdict::Alarm
            } else {
                SplitVerdict::Ok
            }
        });
        Self {
            p: Figure::of(test.map(|test| test.p)),
            verdict: Figure::of(verdict),
        }
    }

    /// How far the evidence of a wrong split has come: ln p / ln 0.001, 0 is none and from 1 on there is an alarm.
    #[must_use]
    pub fn evidence_ratio(&self) -> Option<f64> {
        // p may underflow to 0, whose logarithm is not finite.
        let ratio = self.p.known()?.max(f64::MIN_POSITIVE).ln() / ALARM_P.ln();
        let alarm = *self.verdict.known()? == SplitVerdict::Alarm;
        // A deviation too small to matter is no alarm however many units prove it.
        Some(if alarm {
            ratio.max(1.0)
        } else {
            ratio.clamp(0.0, 0.999)
        })
    }
}

/// Pearson's chi-square on distinct units over all epochs in which units were split, each with its own shares.
///
/// A unit counts in the first epoch it came in, and nowhere else: counted again in every epoch it comes back in, one
/// accidental surplus would be multiplied by every pause of the experiment. Where more units came than the samples
/// hold, those below one common hash are counted, which no assignment depends on.
#[must_use]
pub fn sample_ratio(experiment: &Experiment, counts: &Counts) -> SampleRatioReport {
    SampleRatioReport::new(test_split(experiment, counts))
}

fn test_split(experiment: &Experiment, counts: &Counts) -> Result<SampleRatio, String> {
    let sample = |epoch, arm| {
        let found = counts.iter().find(|(key, _)| *key == (epoch, arm));
        found.map(|(_, counts)| &counts.exposures.units)
    };
    let of_epoch = |record: &EpochRecord| {
        let shares = record.shares.iter();
        shares
            .map(|share| (*share, sample(record.epoch, share.arm)))
            .collect::<Vec<_>>()
    };
    let epochs: Vec<_> = experiment
        .epochs
        .iter()
        .filter(|record| record.shares.len() > 1)
        .map(of_epoch)
        .filter(|arms| arms.iter().any(|(_, sample)| sample.is_some()))
        .collect();
    let samples = epochs.iter().flatten().filter_map(|(_, sample)| *sample);
    let highest = samples
        .filter(|sample| !sample.is_exact())
        .filter_map(|sample| sample.hashes().last().copied())
        .min()
        .unwrap_or(u64::MAX);
    // A single epoch cannot see a unit again.
    let mut seen = (epochs.len() > 1).then(HashSet::new);
    let mut first_seen = |sample: &UnitSample| {
        let mut hashes = sample.hashes();
        hashes.retain(|hash| *hash <= highest && seen.as_mut().is_none_or(|seen| seen.insert(*hash)));
        hashes.len() as u64
    };
    let mut tally: BTreeMap<ArmIndex, (u64, f64)> = BTreeMap::new();
    for arms in &epochs {
        let units: Vec<u64> = arms
            .iter()
            .map(|(_, sample)| sample.map_or(0, &mut first_seen))
            .collect();
        #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
        let total = units.iter().sum::<u64>() as f64;
        for ((share, _), units) in arms.iter().zip(units) {
            let (observed, expected) = tally.entry(share.arm).or_default();
            *observed += units;
            *expected += share.share * total;
        }
    }
    tally.retain(|_, (_, expected)| *expected > 0.0);
    let (observed, expected): (Vec<u64>, Vec<f64>) = tally.into_values().unzip();
    if expected.len() < 2 {
        let split = experiment.epochs.iter().any(|record| record.shares.len() > 1);
        let reason = if split {
            "no unit was counted yet"
        } else {
            "units were never split between two arms"
        };
        return Err(reason.to_owned());
    }
    let least = expected.iter().copied().fold(f64::INFINITY, f64::min);
    if least < LEAST_EXPECTED_UNITS {
        return Err(format!(
            "collecting: {least:.1} units expected on the smallest arm, judged from {LEAST_EXPECTED_UNITS}"
        ));
    }
    chi_square(&observed, &expected).map_err(|reason| reason.to_string())
}
