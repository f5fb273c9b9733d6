//! Who was served what.

use super::{ByVariant, Counts};
use crate::{
    collector::arm_counts::ArmCounts,
    domain::{
        experiment::{Experiment, State},
        id::{ArmIndex, Epoch, VariantName},
    },
};
use serde::Serialize;

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
