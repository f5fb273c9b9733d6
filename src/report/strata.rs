//! Stretches with different splits, kept apart.
//!
//! While the split between two arms changes, time and arm go together, and sums over all of it can show the opposite
//! of what happened (Simpson's paradox). So arms are compared within stretches of one split, and only the
//! comparisons are combined. Epochs with the same split between the two arms are one stratum: there is no such
//! danger between them, and units that come back after a pause stay one cluster instead of passing for new evidence.

use super::{ALPHA, traffic::Arm};
use crate::{
    collector::cells::Cell,
    domain::{
        experiment::Experiment,
        id::{ArmIndex, Epoch, MetricKey},
    },
    stats::{
        Undefined,
        cluster::{ArmSummary, compare},
        difference::{Difference, combine},
    },
};

/// Shares closer than this are the same split, computed twice.
const SAME_SHARE: f64 = 1e-9;

/// Both arms over all epochs with one split between them.
pub(super) struct Stratum {
    share: f64,
    control: Cell,
    candidate: Cell,
}

/// The strata in which both arms reported the metric, in the order of their first epochs.
pub(super) fn strata(
    experiment: &Experiment,
    metric: MetricKey,
    control: &Arm<'_>,
    candidate: &Arm<'_>,
) -> Vec<Stratum> {
    let mut strata: Vec<Stratum> = Vec::new();
    for (epoch, counts) in &candidate.counts {
        let of_control = control.counts.iter().find(|(other, _)| other == epoch);
        let (Some(share), Some(theirs), Some(ours)) = (
            share_of(experiment, *epoch, control.index, candidate.index),
            of_control.and_then(|(_, counts)| counts.cell(metric)),
            counts.cell(metric),
        ) else {
            continue;
        };
        match strata
            .iter_mut()
            .find(|stratum| (stratum.share - share).abs() < SAME_SHARE)
        {
            Some(stratum) => {
                stratum.control.merge(theirs);
                stratum.candidate.merge(ours);
            }
            None => strata.push(Stratum {
                share,
                control: theirs.clone(),
                candidate: ours.clone(),
            }),
        }
    }
    strata.retain(|stratum| stratum.control.n > 0 && stratum.candidate.n > 0);
    strata
}

/// The candidate's share of the two arms in an epoch; none when one of them had none.
fn share_of(experiment: &Experiment, epoch: Epoch, control: ArmIndex, candidate: ArmIndex) -> Option<f64> {
    let shares = &experiment.epoch_record(epoch)?.shares;
    let share = |arm| shares.iter().find(|share| share.arm == arm).map(|share| share.share);
    let (control, candidate) = (share(control)?, share(candidate)?);
    Some(candidate / (candidate + control))
}

/// The comparison of the strata in which both arms have enough behind them to be shown. The others are left out:
/// the variance of a few clusters errs in the harmful direction, and would rule the weights.
///
/// # Errors
/// Why there is none, of the stratum with the most data.
pub(super) fn compared(strata: &[Stratum], rate: bool, names: [&str; 2]) -> Result<Difference, String> {
    let mut comparisons = Vec::with_capacity(strata.len());
    let mut missing: Option<(u64, String)> = None;
    for stratum in strata {
        match stratum.compare(rate, names) {
            Ok(comparison) => comparisons.push(comparison),
            Err(reason) => {
                let size = stratum.control.n.min(stratum.candidate.n);
                if missing.as_ref().is_none_or(|(largest, _)| size > *largest) {
                    missing = Some((size, reason));
                }
            }
        }
    }
    match (comparisons.is_empty(), missing) {
        (false, _) => combine(&comparisons).map_err(|reason| reason.to_string()),
        (true, Some((_, reason))) => Err(reason),
        (true, None) => Err(format!(
            "collecting: nothing was reported on both `{}` and `{}` yet",
            names[0], names[1]
        )),
    }
}

impl Stratum {
    fn compare(&self, rate: bool, [control, candidate]: [&str; 2]) -> Result<Difference, String> {
        let ready = |cell: &Cell, name: &str| {
            let arm = summary(cell).map_err(|reason| waiting(reason, name))?;
            arm.ready(rate).map_err(|reason| waiting(reason, name))?;
            Ok::<_, String>(arm)
        };
        let (control, candidate) = (ready(&self.control, control)?, ready(&self.candidate, candidate)?);
        compare(&control, &candidate, ALPHA).map_err(|reason| reason.to_string())
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
pub(super) fn summary(cell: &Cell) -> Result<ArmSummary, Undefined> {
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
pub(super) fn plain(strata: &[Stratum]) -> Option<(f64, f64)> {
    let (mut weights, mut base, mut difference) = (0.0, 0.0, 0.0);
    for stratum in strata {
        let (control, candidate) = (stratum.control.mean()?, stratum.candidate.mean()?);
        #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
        let (n, m) = (stratum.control.n as f64, stratum.candidate.n as f64);
        let weight = n * m / (n + m);
        weights += weight;
        base += weight * control;
        difference += weight * (candidate - control);
    }
    (weights > 0.0).then(|| (base / weights, difference / weights))
}
