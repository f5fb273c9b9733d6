//! Whether the split was the one asked for: by distinct units, and by traffic.
//!
//! Two figures with two meanings. The sample ratio counts distinct units: an alarm means that units were lost or
//! counted on one arm only, and no comparison can be trusted. The traffic balance counts requests: it also moves when a
//! version really makes people come back more, so it is shown and alarms nobody.

use super::{
    Counts, Figure,
    strata::{SAME_SHARE, share_of},
    traffic::Arm,
};
use crate::{
    collector::{buckets, units::UnitSample},
    domain::{
        experiment::{ArmShare, EpochRecord, Experiment},
        id::{ArmIndex, VariantName},
    },
    stats::{
        distribution::log_mean_exp,
        sample_ratio::{
            ALARM_P, SampleRatio, TrafficBalance, bucket_traffic, chi_square, log_bayes_factor, sequential_p,
        },
    },
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Units an arm must be expected to have before the chi-square approximation holds.
const LEAST_EXPECTED_UNITS: f64 = 5.0;

/// How firmly the sequential form believes in the split asked for: as if so many units had been split right before. The
/// largest finds small deviations among very many units, the smaller ones find large ones early.
const CONCENTRATIONS: [f64; 3] = [100.0, 1_000.0, 10_000.0];

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
    /// The probability of a deviation this large under the split asked for, when looked at once.
    pub p: Figure<f64>,
    /// What follows from it.
    pub verdict: Figure<SplitVerdict>,
    /// The p-value that may be looked at all the time: what a monitor should watch.
    pub always_valid_p: Figure<f64>,
    /// Distinct units by arm, with how many were expected, over all epochs.
    pub units: Vec<UnitsOfArm>,
    #[serde(skip)]
    log_e: Option<f64>,
}

/// The distinct units of one arm that the check counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnitsOfArm {
    /// The arm.
    pub variant: VariantName,
    /// How many came.
    pub observed: u64,
    /// How many should have, each epoch with its own shares.
    pub expected: f64,
}

impl SampleRatioReport {
    /// How far the evidence of a wrong split has come, valid at every look: ln E / ln 1000; 0 is none and from 1 on
    /// there is an alarm.
    #[must_use]
    pub fn evidence_ratio(&self) -> Option<f64> {
        Some((self.log_e? / -ALARM_P.ln()).max(0.0))
    }
}

/// The check on distinct units over all epochs in which units were split, each with its own shares.
///
/// A unit counts in the first epoch it came in, and nowhere else: counted again in every epoch it comes back in, one
/// accidental surplus would be multiplied by every pause of the experiment. Where more units came than the samples
/// hold, those below one common hash are counted, which no assignment depends on.
#[must_use]
pub fn sample_ratio(experiment: &Experiment, counts: &Counts) -> SampleRatioReport {
    let split = FirstSeen::of(experiment, counts);
    let tally = split.tally();
    let test = split.test(experiment, &tally);
    let log_e = split.log_evidence();
    let verdict = test.clone().map(|test| {
        if test.alarm() {
            SplitVerdict::Alarm
        } else {
            SplitVerdict::Ok
        }
    });
    let name = |arm: &ArmIndex| experiment.arm_name(*arm).cloned();
    let units = tally.iter().filter_map(|(arm, (observed, expected))| {
        Some(UnitsOfArm {
            variant: name(arm)?,
            observed: *observed,
            expected: *expected,
        })
    });
    SampleRatioReport {
        units: units.collect(),
        p: Figure::of(test.as_ref().map(|test| test.p)),
        verdict: Figure::of(verdict),
        always_valid_p: Figure::of(log_e.ok_or("no unit was counted yet").map(sequential_p)),
        log_e,
    }
}

/// Units by the epoch and arm in which they were first seen.
struct FirstSeen {
    epochs: Vec<EpochUnits>,
    /// How many times the range of hashes that are counted for the sequential form was halved.
    level: u32,
}

/// The units of earlier samples, ascending. Samples come ascending too, so they are merged: in a set every unit would cost
/// a cache miss, and rollouts are looked at all the time.
#[derive(Default)]
struct SeenUnits(Vec<u64>);

impl SeenUnits {
    /// Takes a sample, and leaves in it what was not seen before.
    fn take(&mut self, sample: &mut Vec<u64>) {
        let mut known = self.0.iter().peekable();
        sample.retain(|hash| {
            while known.next_if(|known| *known < hash).is_some() {}
            known.peek() != Some(&hash)
        });
        self.0.extend_from_slice(sample);
        // Two ascending runs, which this sort joins in one pass.
        self.0.sort();
    }
}

struct EpochUnits {
    arms: Vec<ArmUnits>,
}

#[derive(Clone, Copy)]
struct ArmUnits {
    arm: ArmIndex,
    share: f64,
    /// Of the units that every sample still holds.
    units: u64,
    /// Of those below the present level's fixed bound.
    below_level: u64,
}

impl FirstSeen {
    fn of(experiment: &Experiment, counts: &Counts) -> Self {
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
        // Bounds that do not depend on the data: 2⁶⁴, 2⁶³, 2⁶² …; the largest one that the samples reach.
        let level = (u64::BITS - highest.checked_add(1).map_or(u64::BITS, u64::ilog2)).min(u64::BITS - 1);
        let bound = u64::MAX >> level;
        // A single epoch cannot see a unit again.
        let mut seen = (epochs.len() > 1).then(SeenUnits::default);
        let mut first_seen = |sample: &UnitSample| {
            if let (None, u64::MAX, Some(units)) = (&seen, highest, sample.exact()) {
                return (units, units);
            }
            let mut hashes = sample.hashes();
            hashes.retain(|hash| *hash <= highest);
            if let Some(seen) = &mut seen {
                seen.take(&mut hashes);
            }
            let below = hashes.iter().filter(|hash| **hash <= bound).count();
            (hashes.len() as u64, below as u64)
        };
        let mut count = |(share, sample): (ArmShare, Option<&UnitSample>)| {
            let (units, below_level) = sample.map_or((0, 0), &mut first_seen);
            ArmUnits {
                arm: share.arm,
                share: share.share,
                units,
                below_level,
            }
        };
        let epochs = epochs
            .into_iter()
            .map(|arms| EpochUnits {
                arms: arms.into_iter().map(&mut count).collect(),
            })
            .collect();
        Self { epochs, level }
    }

    /// Observed and expected units by arm.
    fn tally(&self) -> BTreeMap<ArmIndex, (u64, f64)> {
        let mut tally: BTreeMap<ArmIndex, (u64, f64)> = BTreeMap::new();
        for epoch in &self.epochs {
            let total = epoch.arms.iter().map(|arm| arm.units).sum::<u64>() as f64;
            for arm in &epoch.arms {
                let (observed, expected) = tally.entry(arm.arm).or_default();
                *observed += arm.units;
                *expected += arm.share * total;
            }
        }
        tally.retain(|_, (_, expected)| *expected > 0.0);
        tally
    }

    /// Pearson's chi-square.
    fn test(
        &self,
        experiment: &Experiment,
        tally: &BTreeMap<ArmIndex, (u64, f64)>,
    ) -> Result<SampleRatio, String> {
        let (observed, expected): (Vec<u64>, Vec<f64>) = tally.values().copied().unzip();
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

    /// ln E against the split asked for: the Dirichlet-multinomial Bayes factor of each split, multiplied, as the mean
    /// over [`CONCENTRATIONS`].
    ///
    /// Units below a bound that does not depend on the data are a fixed sample, and counting its first-seen units is a
    /// fair game. As the samples fill up the bound is halved again and again; the process of each bound has a weight of
    /// 1/((i + 1)(i + 2)) in a mixture of which only the present one is still known, so its weight is what the halving
    /// costs: ln 2 at first, ln 6 once it was halved.
    fn log_evidence(&self) -> Option<f64> {
        let mut splits: Vec<Vec<ArmUnits>> = Vec::new();
        for epoch in &self.epochs {
            let alike = |split: &&mut Vec<ArmUnits>| {
                split.len() == epoch.arms.len()
                    && split.iter().zip(&epoch.arms).all(|(known, new)| {
                        known.arm == new.arm && (known.share - new.share).abs() < SAME_SHARE
                    })
            };
            match splits.iter_mut().find(alike) {
                Some(split) => {
                    for (known, new) in split.iter_mut().zip(&epoch.arms) {
                        known.below_level += new.below_level;
                    }
                }
                None => splits.push(epoch.arms.clone()),
            }
        }
        let (mut log_e, mut counted) = ([0.0; CONCENTRATIONS.len()], false);
        for split in splits {
            let (observed, shares): (Vec<u64>, Vec<f64>) =
                split.iter().map(|arm| (arm.below_level, arm.share)).unzip();
            for (log_e, concentration) in log_e.iter_mut().zip(CONCENTRATIONS) {
                // Fails only for a split in which nobody was counted yet.
                if let Ok(more) = log_bayes_factor(&observed, &shares, concentration) {
                    *log_e += more;
                    counted = true;
                }
            }
        }
        let level = f64::from(self.level);
        counted.then(|| log_mean_exp(&log_e) - ((level + 1.0) * (level + 2.0)).ln())
    }
}

/// The share of requests, not of units, that one candidate got of its and control's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrafficBalanceReport {
    /// The candidate.
    pub variant: VariantName,
    /// Its share of the requests of both arms.
    pub share: Figure<f64>,
    /// Its share of their units by design.
    pub expected: f64,
    /// The probability of a deviation this large if both arms' units send alike many requests.
    pub p: Figure<f64>,
}

/// The traffic of each candidate against control, in the split that carried the most requests.
pub(super) fn traffic_balance(experiment: &Experiment, arms: &[Arm<'_>]) -> Vec<TrafficBalanceReport> {
    let Some((control, candidates)) = arms.split_first() else {
        return Vec::new();
    };
    candidates
        .iter()
        .filter_map(|arm| balance_of(experiment, control, arm))
        .collect()
}

fn balance_of(experiment: &Experiment, control: &Arm<'_>, arm: &Arm<'_>) -> Option<TrafficBalanceReport> {
    struct Traffic {
        share: f64,
        control: Vec<u64>,
        candidate: Vec<u64>,
    }
    let add = |to: &mut Vec<u64>, counts: &[u32]| {
        to.iter_mut()
            .zip(counts)
            .for_each(|(sum, more)| *sum += u64::from(*more));
    };
    let mut splits: Vec<Traffic> = Vec::new();
    for (epoch, counts) in &arm.counts {
        let of_control = control.counts.iter().find(|(other, _)| other == epoch);
        let (Some(share), Some((_, base))) =
            (share_of(experiment, *epoch, control.index, arm.index), of_control)
        else {
            continue;
        };
        let place = splits
            .iter()
            .position(|split| (split.share - share).abs() < SAME_SHARE);
        let place = place.unwrap_or_else(|| {
            splits.push(Traffic {
                share,
                control: vec![0; buckets::COUNT],
                candidate: vec![0; buckets::COUNT],
            });
            splits.len() - 1
        });
        add(&mut splits[place].control, &base.exposures.by_bucket);
        add(&mut splits[place].candidate, &counts.exposures.by_bucket);
    }
    let requests = |split: &Traffic| split.control.iter().chain(&split.candidate).sum::<u64>();
    let split = splits.iter().max_by_key(|split| requests(split))?;
    let balance = bucket_traffic(&split.control, &split.candidate, split.share);
    let figure =
        |of: fn(&TrafficBalance) -> f64| Figure::of(balance.as_ref().map(of).map_err(ToString::to_string));
    Some(TrafficBalanceReport {
        variant: arm.name.clone(),
        share: figure(|balance| balance.share),
        expected: split.share,
        p: figure(|balance| balance.p),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_new_in_its_first_sample_only() {
        let mut seen = SeenUnits::default();
        let mut new_of = |sample: &[u64]| {
            let mut sample = sample.to_vec();
            seen.take(&mut sample);
            sample
        };
        assert_eq!(new_of(&[3, 5, 9]), [3, 5, 9]);
        assert_eq!(new_of(&[1, 5, 7, 9, u64::MAX]), [1, 7, u64::MAX]);
        assert_eq!(new_of(&[]), [0; 0]);
        assert_eq!(new_of(&[0, 1, 3, 4, 7, 9, u64::MAX]), [0, 4]);
    }
}
