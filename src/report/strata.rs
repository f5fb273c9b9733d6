//! Stretches with different splits, kept apart.
//!
//! While the split between two arms changes, time and arm go together, and sums over all of it can show the opposite
//! of what happened (Simpson's paradox). So arms are compared within stretches of one split, and only the
//! comparisons are combined. Epochs with the same split between the two arms are one stratum: there is no such
//! danger between them, and units that come back after a pause stay one cluster instead of passing for new evidence.

use super::{ALPHA, comparison::ArmInput, traffic::Arm};
use crate::{
    collector::{arm_counts::ArmCounts, buckets, cells::Cell},
    domain::{
        experiment::Experiment,
        id::{ArmIndex, Epoch},
    },
    stats::{
        Undefined,
        cluster::{ArmSummary, compare, compare_paired, correlation, influences},
        difference::{Difference, combine_dependent},
    },
};
use std::borrow::Cow;

/// Shares closer than this are the same split, computed twice.
pub(super) const SAME_SHARE: f64 = 1e-9;

/// Both arms of a comparison while the split between them was one and the same.
#[derive(Debug, Clone)]
pub struct Stratum<'a> {
    /// The candidate's share of the two arms, in (0, 1).
    pub share: f64,
    /// What control reported.
    pub control: Cow<'a, Cell>,
    /// What the candidate reported.
    pub candidate: Cow<'a, Cell>,
    /// Whether a unit meets both arms, because requests were randomised and not units: then what the arms have in
    /// common, bucket by bucket, is taken out.
    pub paired: bool,
}

/// What both arms must have before they are compared.
#[derive(Clone, Copy)]
pub(super) struct Gate<'a> {
    /// Whether the metric is a rate, which needs events, and requests without one.
    pub(super) rate: bool,
    /// Distinct units on each arm.
    pub(super) min_units: u32,
    /// The arms' names, control first.
    pub(super) names: [&'a str; 2],
    /// Distinct units behind the arms.
    pub(super) units: [f64; 2],
    /// Summaries that were made already.
    pub(super) summaries: &'a Summaries<'a>,
}

/// The summary of each arm as a whole: with one stratum it is the stratum's too, and takes as long as the test.
pub(super) struct Summaries<'a>(Vec<(&'a Cell, Result<ArmSummary, Undefined>)>);

impl<'a> Summaries<'a> {
    /// Those of these cells.
    pub(super) fn of(cells: impl Iterator<Item = &'a Cell>) -> Self {
        Self(cells.map(|cell| (cell, summary(cell))).collect())
    }

    /// The summary of a cell, one of those or not.
    pub(super) fn get(&self, cell: &Cell) -> Result<ArmSummary, Undefined> {
        let known = self.0.iter().find(|(known, _)| std::ptr::eq(*known, cell));
        known.map_or_else(|| summary(cell), |(_, summary)| *summary)
    }
}

/// What a metric's figures are made from: of every arm the cell that `cell` picks, as a whole and by strata against
/// control, with the units that `units` knows of.
pub(super) fn arm_inputs<'a>(
    experiment: &Experiment,
    arms: &[Arm<'a>],
    units: impl Fn(&Arm<'a>) -> u64,
    cell: impl Fn(&'a ArmCounts) -> Option<&'a Cell> + Copy,
) -> Vec<ArmInput<'a>> {
    let input = |(index, arm): (usize, &Arm<'a>)| ArmInput {
        name: arm.name,
        units: units(arm),
        whole: whole(arm, cell),
        strata: if index == 0 {
            Vec::new()
        } else {
            strata(experiment, &arms[0], arm, cell)
        },
    };
    arms.iter().enumerate().map(input).collect()
}

/// The cell of every epoch, added up.
fn whole<'a>(arm: &Arm<'a>, cell: impl Fn(&'a ArmCounts) -> Option<&'a Cell>) -> Cow<'a, Cell> {
    let mut cells = arm.counts.iter().filter_map(|(_, counts)| cell(counts));
    let mut whole = cells
        .next()
        .map_or_else(|| Cow::Owned(Cell::default()), Cow::Borrowed);
    cells.for_each(|cell| whole.to_mut().merge(cell));
    whole
}

/// The strata in which both arms have the cell that `cell` picks, in the order of their first epochs.
fn strata<'a>(
    experiment: &Experiment,
    control: &Arm<'a>,
    candidate: &Arm<'a>,
    cell: impl Fn(&'a ArmCounts) -> Option<&'a Cell>,
) -> Vec<Stratum<'a>> {
    let mut strata: Vec<Stratum<'_>> = Vec::new();
    for (epoch, counts) in &candidate.counts {
        let of_control = control.counts.iter().find(|(other, _)| other == epoch);
        let (Some(share), Some(theirs), Some(ours)) = (
            share_of(experiment, *epoch, control.index, candidate.index),
            of_control.and_then(|(_, counts)| cell(counts)),
            cell(counts),
        ) else {
            continue;
        };
        match strata
            .iter_mut()
            .find(|stratum| (stratum.share - share).abs() < SAME_SHARE)
        {
            Some(stratum) => {
                stratum.control.to_mut().merge(theirs);
                stratum.candidate.to_mut().merge(ours);
            }
            None => strata.push(Stratum {
                share,
                control: Cow::Borrowed(theirs),
                candidate: Cow::Borrowed(ours),
                paired: false,
            }),
        }
    }
    strata.retain(|stratum| stratum.control.n > 0 && stratum.candidate.n > 0);
    strata
}

/// The candidate's share of the two arms in an epoch; none when one of them had none.
pub(super) fn share_of(
    experiment: &Experiment,
    epoch: Epoch,
    control: ArmIndex,
    candidate: ArmIndex,
) -> Option<f64> {
    let shares = &experiment.epoch_record(epoch)?.shares;
    let share = |arm| {
        shares
            .iter()
            .find(|share| share.arm == arm)
            .map(|share| share.share)
    };
    let (control, candidate) = (share(control)?, share(candidate)?);
    Some(candidate / (candidate + control))
}

/// The comparison of the strata in which both arms have enough behind them to be shown. The others are left out:
/// the variance of a few clusters errs in the harmful direction, and would rule the weights.
///
/// # Errors
/// Why there is none, of the stratum with the most data.
pub(super) fn compared(strata: &[Stratum<'_>], gate: &Gate<'_>) -> Result<Difference, String> {
    enough_units(strata, gate)?;
    let mut comparisons: Vec<(Difference, &Stratum<'_>)> = Vec::with_capacity(strata.len());
    let mut missing: Option<(u64, String)> = None;
    for stratum in strata {
        match stratum.compare(gate) {
            Ok(comparison) => comparisons.push((comparison, stratum)),
            Err(reason) => {
                let size = stratum.control.n.min(stratum.candidate.n);
                if missing.as_ref().is_none_or(|(largest, _)| size > *largest) {
                    missing = Some((size, reason));
                }
            }
        }
    }
    match (comparisons.is_empty(), missing) {
        (false, _) => together(&comparisons),
        (true, Some((_, reason))) => Err(reason),
        (true, None) => Err(format!(
            "collecting: nothing was reported on both `{}` and `{}` yet",
            gate.names[0], gate.names[1]
        )),
    }
}

/// Comparisons of several strata as one. Units that came back after the split was changed are in more than one of them,
/// so the strata are not independent; how much they have in common is read from the buckets.
pub(super) fn together(comparisons: &[(Difference, &Stratum<'_>)]) -> Result<Difference, String> {
    let differences: Vec<Difference> = comparisons.iter().map(|(comparison, _)| *comparison).collect();
    let influences: Vec<Vec<f64>> = match comparisons {
        [_] => Vec::new(),
        several => several
            .iter()
            .map(|(_, stratum)| influences(stratum.pairs()))
            .collect(),
    };
    combine_dependent(&differences, |one, other| {
        correlation(&influences[one], &influences[other])
    })
    .map_err(|reason| reason.to_string())
}

/// Whether both arms have the units that the design asks for.
pub(super) fn enough_units(strata: &[Stratum<'_>], gate: &Gate<'_>) -> Result<(), String> {
    for (units, name) in gate.units.into_iter().zip(gate.names) {
        if units.round() < f64::from(gate.min_units) && !strata.is_empty() {
            return Err(format!(
                "collecting: {units:.0} units on `{name}`, shown from {}",
                gate.min_units
            ));
        }
    }
    Ok(())
}

impl Stratum<'_> {
    pub(super) fn compare(&self, gate: &Gate<'_>) -> Result<Difference, String> {
        let ready = |cell: &Cell, name: &str| {
            let arm = gate.summaries.get(cell).map_err(|reason| waiting(reason, name))?;
            arm.ready(gate.rate).map_err(|reason| waiting(reason, name))?;
            Ok::<_, String>(arm)
        };
        let [control, candidate] = gate.names;
        let (control, candidate) = (ready(&self.control, control)?, ready(&self.candidate, candidate)?);
        let test = if self.paired {
            compare_paired(self.pairs(), ALPHA)
        } else {
            compare(&control, &candidate, ALPHA)
        };
        test.map_err(|reason| reason.to_string())
    }

    /// Denominator and numerator of each bucket, on control and on the candidate.
    fn pairs(&self) -> impl Iterator<Item = ((f64, f64), (f64, f64))> + Clone + '_ {
        (0..buckets::COUNT).map(|bucket| {
            (
                self.control.buckets.sums(bucket),
                self.candidate.buckets.sums(bucket),
            )
        })
    }
}

/// Too little data on an arm, in words.
fn waiting(reason: Undefined, arm: &str) -> String {
    match reason {
        Undefined::Collecting { what, have, needed } => {
            // Rounded down, so that 29.96 of 30 does not read as enough.
            let have = (have * 10.0).floor() / 10.0;
            format!("collecting: {have} {what} on `{arm}`, shown from {needed}")
        }
        Undefined::InsufficientData { what, have, needed } => {
            format!("collecting: {have} {what} on `{arm}`, at least {needed} needed")
        }
        other => other.to_string(),
    }
}

/// The summary of a cell, with its buckets as clusters.
///
/// # Errors
/// Those of [`ArmSummary::from_clusters`].
fn summary(cell: &Cell) -> Result<ArmSummary, Undefined> {
    let clusters: Vec<(f64, f64)> = cell
        .buckets
        .filled()
        .map(|(_, denominator, numerator)| (denominator, numerator))
        .collect();
    ArmSummary::from_clusters(clusters.iter().copied())
}

/// Control's mean and the difference to it without any error: means of the strata, weighted as by Mantel and
/// Haenszel with n_A·n_B/(n_A + n_B), which needs no variance and so exists from the first values on.
///
/// Differences 1 and 2 from 10 and 10, then from 10 and 30 values have weights 5 and 7.5: together 1.6.
pub(super) fn plain(strata: &[Stratum<'_>]) -> Option<(f64, f64)> {
    let (mut weights, mut base, mut difference) = (0.0, 0.0, 0.0);
    for stratum in strata {
        let (control, candidate) = (stratum.control.mean()?, stratum.candidate.mean()?);
        let (n, m) = (stratum.control.n as f64, stratum.candidate.n as f64);
        let weight = n * m / (n + m);
        weights += weight;
        base += weight * control;
        difference += weight * (candidate - control);
    }
    (weights > 0.0).then(|| (base / weights, difference / weights))
}
