//! How the units of a file were split: by unit or by request, and as it was meant or not.

use super::{tally::Tally, units::UnitCounts};
use crate::{
    cli::figures::{count, percent},
    domain::id::VariantName,
    report::{Figure, SplitVerdict, UnitsOfArm},
    stats::sample_ratio::chi_square,
};
use anyhow::{Result, bail};
use serde::Serialize;

/// From this share of units on more than one variant on, requests were randomised and not units. Fewer are strays: a
/// mixed-up id, a changed split. A file of single visits and randomised requests has few of them too, and then the
/// variants share so little that comparing them as independent is right.
const REQUESTS_RANDOMISED_FROM: f64 = 0.01;
/// Units an arm must be expected to have before the chi-square approximation holds.
const LEAST_EXPECTED_UNITS: f64 = 5.0;

/// The split that was meant.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Weights {
    Equal,
    Of(Vec<(String, f64)>),
}

/// What was randomised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Randomised {
    Units,
    Requests,
}

/// The check of the split.
#[derive(Debug, Serialize)]
pub(super) struct Split {
    pub(super) p: Figure<f64>,
    pub(super) verdict: Figure<SplitVerdict>,
    pub(super) units: Vec<UnitsOfArm>,
}

/// What was randomised, with a note where units are on several variants.
pub(super) fn randomised(units: &UnitCounts, notes: &mut Vec<String>) -> Randomised {
    if units.on_several == 0 {
        return Randomised::Units;
    }
    let share = units.on_several as f64 / units.total as f64;
    let several = format!(
        "{} of {} units ({}) are on more than one variant",
        count(units.on_several * units.scale),
        count(units.total * units.scale),
        percent(share)
    );
    if share >= REQUESTS_RANDOMISED_FROM {
        notes.push(format!(
            "{several}: requests were randomised, so what a unit does alike on both is taken out (paired comparison)"
        ));
        Randomised::Requests
    } else {
        notes.push(format!(
            "{several}: taken for strays, counted where each row says; find out why, they blur every difference"
        ));
        Randomised::Units
    }
}

/// The check of the split on units that are on one variant only.
///
/// # Errors
/// The weights name other variants than the file.
pub(super) fn split(
    tally: &Tally,
    order: &[usize],
    units: &UnitCounts,
    randomised: Randomised,
    weights: Option<&Weights>,
) -> Result<Split> {
    let unknown = |reason: &str| Split {
        p: Figure::undefined(reason),
        verdict: Figure::undefined(reason),
        units: Vec::new(),
    };
    let Some(weights) = weights else {
        return Ok(unknown(
            "not checked, because the split that was meant is not known",
        ));
    };
    let weights: Vec<f64> = match weights {
        Weights::Equal => vec![1.0; tally.variants.len()],
        Weights::Of(named) => {
            if let Some((name, _)) = named
                .iter()
                .find(|(name, _)| !tally.variants.iter().any(|variant| variant.as_str() == name))
            {
                bail!("--weights: no row is of variant `{name}`");
            }
            let of = |variant: &VariantName| named.iter().find(|(name, _)| name == variant.as_str());
            let mut weights = Vec::with_capacity(tally.variants.len());
            for variant in &tally.variants {
                match of(variant) {
                    Some((_, weight)) => weights.push(*weight),
                    None => {
                        bail!("--weights: variant `{variant}` has none; name all or write --weights equal")
                    }
                }
            }
            weights
        }
    };
    if randomised == Randomised::Requests {
        return Ok(unknown(
            "not checked, because requests were randomised and not units",
        ));
    }
    let total: f64 = weights.iter().sum();
    let all = units.only_on.iter().sum::<u64>() as f64;
    let expected: Vec<f64> = weights.iter().map(|weight| weight / total * all).collect();
    let of_arms = order.iter().map(|&place| UnitsOfArm {
        variant: tally.variants[place].clone(),
        observed: units.only_on[place],
        expected: expected[place],
    });
    let least = expected.iter().copied().fold(f64::INFINITY, f64::min);
    let test = if least < LEAST_EXPECTED_UNITS {
        Err(format!(
            "collecting: {least:.1} units expected on the smallest arm, judged from {LEAST_EXPECTED_UNITS}"
        ))
    } else {
        chi_square(&units.only_on, &expected).map_err(|reason| reason.to_string())
    };
    let verdict = test.clone().map(|test| {
        if test.alarm() {
            SplitVerdict::Alarm
        } else {
            SplitVerdict::Ok
        }
    });
    Ok(Split {
        p: Figure::of(test.map(|test| test.p)),
        verdict: Figure::of(verdict),
        units: of_arms.collect(),
    })
}
