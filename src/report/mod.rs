//! Which version is better: catalog and counts → one typed [`Report`], shared by the API, the command line and the
//! dashboard.
//!
//! Owns what is shown, when, and under which name; the formulas are those of [`stats`](crate::stats). A pure
//! function of its arguments: it reads no clock and no store, and judges no guardrail but repeats what their module
//! found. A figure that cannot be had is a [`Figure::Undefined`] with the reason in its place, never a NaN, a zero or
//! a p-value of 1.
//!
//! In reading order: [`Figure`] is a value or the reason why there is none; `traffic` says who was served and
//! whether the split was the one asked for; `strata` keeps stretches with different splits apart; `metric` compares
//! the arms; `guardrail` is the shape of what the guardrails found.

mod figure;
mod guardrail;
mod metric;
mod strata;
mod traffic;

pub use figure::{ByVariant, Figure};
pub use guardrail::{CandidateStatus, ControlStatus, GuardrailStatus};
pub use metric::{AlwaysValidFigures, Decision, MetricReport, VariantFigures, VersusControl};
pub use traffic::{
    ExposureCounts, OutcomeCounts, SampleRatioReport, SplitVerdict, sample_ratio, served_shares,
};

use crate::{
    collector::arm_counts::ArmCounts,
    domain::{
        Timestamp,
        experiment::{Experiment, State},
        id::{ArmIndex, Epoch, ExperimentId, Revision, VariantName},
        metric::Goal,
    },
};
use serde::Serialize;
use std::sync::Arc;

/// The error rate of every interval and verdict: 95 % intervals.
pub const ALPHA: f64 = 0.05;

/// Counts by epoch and arm, as the collector hands them out.
pub type Counts = [((Epoch, ArmIndex), Arc<ArmCounts>)];

/// What is known about an experiment; the JSON form is the answer of `GET …/results`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Which experiment.
    pub experiment: ExperimentId,
    /// Where it is in its life.
    pub state: State,
    /// Its present epoch.
    pub epoch: Epoch,
    /// The log entry the report was made at.
    pub revision: Revision,
    /// When the report was made.
    pub as_of: Timestamp,
    /// The variant that is better than control on the primary metric; several: the one with the largest difference.
    /// None too while the split is not the one asked for, because the arms then differ in more than their prompt.
    pub winner: Option<VariantName>,
    /// Who was served what.
    pub exposures: ByVariant<ExposureCounts>,
    /// What was reported back.
    pub outcomes: ByVariant<OutcomeCounts>,
    /// Whether units were split as asked.
    pub srm: SampleRatioReport,
    /// The declared metrics in the order of the file, then the built-in ones that were reported.
    pub metrics: Vec<MetricReport>,
    /// What the guardrails found.
    pub guardrails: Vec<GuardrailStatus>,
}

/// Makes the report. Counts of arms or epochs that the experiment does not know are left out, and so are those of
/// arms that its present design no longer has.
#[must_use]
pub fn report(
    experiment: &Experiment,
    counts: &Counts,
    guardrails: Vec<GuardrailStatus>,
    revision: Revision,
    now: Timestamp,
) -> Report {
    let arms = traffic::arms(experiment, counts);
    let srm = sample_ratio(experiment, counts);
    let metrics = metric::reports(experiment, &arms);
    let winner = if srm.verdict == Figure::Known(SplitVerdict::Alarm) {
        None
    } else {
        winner(&metrics)
    };
    Report {
        experiment: experiment.spec.id.clone(),
        state: experiment.state,
        epoch: experiment.epoch(),
        revision,
        as_of: now,
        winner,
        exposures: traffic::exposures(&arms),
        outcomes: traffic::outcomes(&arms),
        srm,
        metrics,
        guardrails,
    }
}

/// The variant with the largest difference in the goal's direction among those that the primary metric calls better.
fn winner(metrics: &[MetricReport]) -> Option<VariantName> {
    let primary = metrics.iter().find(|metric| metric.primary)?;
    let gain = |figures: &VariantFigures| {
        let versus = figures.vs_control.as_ref()?;
        match (versus.verdict, &versus.difference, primary.goal) {
            (Decision::Better, Figure::Known(difference), Goal::Increase) => Some(*difference),
            (Decision::Better, Figure::Known(difference), Goal::Decrease) => Some(-difference),
            _ => None,
        }
    };
    let better = primary
        .variants
        .iter()
        .filter_map(|figures| Some((gain(figures)?, &figures.variant)));
    better
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, variant)| variant.clone())
}
