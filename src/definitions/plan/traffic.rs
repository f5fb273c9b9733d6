//! How much of the traffic a change moves.
//!
//! Everything follows from the hash: who keeps the variant from the weights, who joins or leaves from the enrolled share
//! and the slots. Only of audiences nothing is known.

use crate::domain::{
    allocation::{LayerSlots, stay},
    experiment::{Experiment, ExperimentSpec},
    id::VariantName,
};
use serde::Serialize;

/// One variant before and after.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArmShift {
    /// Which.
    pub variant: VariantName,
    /// Its share of the enrolled units before; 0 when it was not there.
    pub from: f64,
    /// Its share afterwards.
    pub to: f64,
    /// The version its units get from now on, where that changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How traffic moves; shares are of the experiment's audience unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shift {
    /// The share that is enrolled before.
    pub enrolled_from: f64,
    /// And afterwards.
    pub enrolled_to: f64,
    /// Units that were not in and are.
    pub join: f64,
    /// Units that were in and are not: they go to a later experiment or the deployed version.
    pub leave: f64,
    /// Of the units that stay in, the share that gets another variant.
    pub move_between: f64,
    /// Of the units that stay in, the share that keeps its variant.
    pub keep: f64,
    /// In the order of the design.
    pub variants: Vec<ArmShift>,
    /// What cannot be told in shares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<&'static str>,
}

/// What becomes of an experiment's units; none where nothing moves.
pub(super) fn shift(was: Option<&Experiment>, now: &Experiment) -> Option<Shift> {
    let splitting = |experiment: &&Experiment| experiment.state.splits();
    let before = was.filter(splitting);
    let after = Some(now).filter(splitting);
    match (before, after) {
        (None, None) => None,
        (Some(before), Some(after)) => {
            let shift = between(before, after);
            let quiet = shift.join == 0.0
                && shift.leave == 0.0
                && shift.move_between < 1e-9
                && shift.unknown.is_none()
                && shift.variants.iter().all(|arm| arm.version.is_none());
            (!quiet).then_some(shift)
        }
        (None, Some(after)) => Some(at_an_end(after, true)),
        (Some(before), None) => Some(at_an_end(before, false)),
    }
}

fn between(was: &Experiment, now: &Experiment) -> Shift {
    let (from, to) = (region(was), region(now));
    let (before, after): (&ExperimentSpec, &ExperimentSpec) = (&was.spec, &now.spec);
    let same_draw = before.unit == after.unit && before.salt() == after.salt();
    let both = if same_draw {
        common_slots(before.layer.as_ref(), after.layer.as_ref())
            * was.enrolled_share().min(now.enrolled_share())
    } else {
        from * to
    };
    let keep = if same_draw {
        stay(&named(was), &named(now))
    } else {
        // Drawn anew: who has the same variant has it by chance.
        let (old, new) = (shares(was), shares(now));
        old.iter().map(|(name, share)| share * share_of(&new, name)).sum()
    };
    let unknown = if before.audience != after.audience {
        Some("the audience changes: how many units that adds or takes cannot be told from the rule")
    } else if !same_draw {
        Some("the units are drawn anew")
    } else {
        None
    };
    let (old, new) = (shares(was), shares(now));
    let mut variants: Vec<ArmShift> = after
        .variants
        .iter()
        .map(|variant| {
            let earlier = before.variants.iter().find(|other| other.name == variant.name);
            let version = earlier
                .is_some_and(|earlier| earlier.version != variant.version)
                .then(|| variant.version.to_string());
            ArmShift {
                variant: variant.name.clone(),
                from: share_of(&old, variant.name.as_str()),
                to: share_of(&new, variant.name.as_str()),
                version,
            }
        })
        .collect();
    let gone = before
        .variants
        .iter()
        .filter(|variant| after.variants.iter().all(|other| other.name != variant.name));
    variants.extend(gone.map(|variant| ArmShift {
        variant: variant.name.clone(),
        from: share_of(&old, variant.name.as_str()),
        to: 0.0,
        version: None,
    }));
    Shift {
        enrolled_from: from,
        enrolled_to: to,
        join: positive(to - both),
        leave: positive(from - both),
        move_between: positive(1.0 - keep),
        keep,
        variants,
        unknown,
    }
}

/// A start or an end.
fn at_an_end(experiment: &Experiment, starts: bool) -> Shift {
    let enrolled = region(experiment);
    let side = |share: f64| if starts { (0.0, share) } else { (share, 0.0) };
    let (enrolled_from, enrolled_to) = side(enrolled);
    let variants =
        shares(experiment)
            .into_iter()
            .zip(&experiment.spec.variants)
            .map(|((_, share), variant)| {
                let (from, to) = side(share);
                ArmShift {
                    variant: variant.name.clone(),
                    from,
                    to,
                    version: None,
                }
            });
    Shift {
        enrolled_from,
        enrolled_to,
        join: enrolled_to,
        leave: enrolled_from,
        move_between: 0.0,
        keep: 1.0,
        variants: variants.collect(),
        unknown: None,
    }
}

/// The share of the audience that an experiment can have.
fn region(experiment: &Experiment) -> f64 {
    let layer = experiment.spec.layer.as_ref();
    common_slots(layer, layer) * experiment.enrolled_share()
}

/// The share of units that is in the slots of both; no layer has all of them, and two layers are drawn apart.
fn common_slots(a: Option<&LayerSlots>, b: Option<&LayerSlots>) -> f64 {
    let width = |[low, high]: [f64; 2]| (high - low).max(0.0) / 100.0;
    match (a, b) {
        (None, None) => 1.0,
        (Some(one), None) | (None, Some(one)) => width(one.slots),
        (Some(a), Some(b)) if a.name == b.name => {
            width([a.slots[0].max(b.slots[0]), a.slots[1].min(b.slots[1])])
        }
        (Some(a), Some(b)) => width(a.slots) * width(b.slots),
    }
}

fn named(experiment: &Experiment) -> Vec<(&str, f64)> {
    let variants = experiment.spec.variants.iter();
    variants
        .map(|variant| variant.name.as_str())
        .zip(experiment.weights())
        .collect()
}

fn shares(experiment: &Experiment) -> Vec<(&str, f64)> {
    let named = named(experiment);
    let sum: f64 = named.iter().map(|(_, weight)| weight).sum();
    named
        .into_iter()
        .map(|(name, weight)| (name, weight / sum))
        .collect()
}

fn share_of(shares: &[(&str, f64)], name: &str) -> f64 {
    shares
        .iter()
        .find(|(known, _)| *known == name)
        .map_or(0.0, |(_, share)| *share)
}

/// Differences that are only those of floats are none.
fn positive(difference: f64) -> f64 {
    if difference < 1e-12 { 0.0 } else { difference }
}
