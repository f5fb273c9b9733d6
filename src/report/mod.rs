//! Which version is better: catalog and counts → one typed [`Report`], shared by the API, the command line and the
//! dashboard.
//!
//! Owns what is shown, when, and under which name; the formulas are those of [`stats`](crate::stats). A pure
//! function of its arguments: it reads no clock and no store, and judges no guardrail but repeats what their module
//! found. A figure that cannot be had is a [`Figure::Undefined`] with the reason in its place, never a NaN, a zero or
//! a p-value of 1.
//!
//! In reading order: [`Figure`] is a value or the reason why there is none; `traffic` says who was served, and
//! `sample_ratio` whether the split was the one asked for; `strata` keeps stretches with different splits apart;
//! `quantiles` and `adjusted` (CUPED) are further views of the same cells; `comparison` turns the cells of one metric into the figures of `metric`, for a whole experiment, a segment of it or
//! a file of rows; `correction` makes them fair to many comparisons; `segments` repeats them by value of an attribute;
//! `guardrail` and `reporting` are the shapes of what the guardrails found. [`performance`] is another question: how the
//! versions of one prompt have done over time.

mod adjusted;
mod comparison;
mod correction;
mod figure;
mod guardrail;
mod metric;
pub mod performance;
pub mod prompt_diff;
mod quantiles;
mod reporting;
mod sample_ratio;
mod segments;
mod strata;
mod traffic;

pub use comparison::{ArmInput, MetricInput, metric_report};
pub use correction::correct;
pub use figure::{ByVariant, Figure};
pub use guardrail::{AaStatus, CandidateStatus, ControlStatus, GuardrailStatus};
pub use metric::{
    AdjustedFigures, AlwaysValidFigures, Decision, MetricReport, PowerFigures, VariantFigures, VersusControl,
};
pub use quantiles::{QuantileDifferenceFigures, QuantileFigures};
pub use reporting::{ArmReportingStatus, ReportingStatus, SilenceStatus};
pub use sample_ratio::{SampleRatioReport, SplitVerdict, TrafficBalanceReport, UnitsOfArm, sample_ratio};
pub use segments::SegmentReport;
pub use strata::Stratum;
pub use traffic::{ExposureCounts, OutcomeCounts, served_shares};

use crate::{
    collector::arm_counts::ArmCounts,
    domain::{
        Timestamp,
        experiment::{Experiment, MIN_UNITS, State},
        id::{ArmIndex, Epoch, ExperimentId, Revision, VariantName},
        metric::{Goal, MeasureSource},
    },
};
use serde::Serialize;
use std::sync::Arc;
use strata::arm_inputs;
use traffic::Arm;

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
    /// Whether the arms' units sent alike many requests.
    pub traffic: Vec<TrafficBalanceReport>,
    /// The declared metrics in the order of the file, then the built-in ones that were reported.
    pub metrics: Vec<MetricReport>,
    /// The same by value of the attributes that the design names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<SegmentReport>,
    /// What the guardrails found.
    pub guardrails: Vec<GuardrailStatus>,
    /// What the continuous A/A tests found; whoever shows them fills it in.
    pub aa: Vec<AaStatus>,
    /// Whether what was decided is reported back; whoever shows it fills it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reporting: Option<ReportingStatus>,
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
    let observed_s = observed_s(experiment, now);
    let exposures = traffic::exposures(&arms);
    let mut metrics = metrics(experiment, &arms, &exposures, observed_s);
    correct(&mut metrics);
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
        exposures,
        outcomes: traffic::outcomes(&arms),
        srm,
        traffic: sample_ratio::traffic_balance(experiment, &arms),
        metrics,
        segments: segments::segments(experiment, &arms, observed_s),
        guardrails,
        aa: Vec::new(),
        reporting: None,
    }
}

/// The declared metrics in the order of the file, then the built-in ones with data.
fn metrics<'a>(
    experiment: &'a Experiment,
    arms: &[Arm<'a>],
    exposures: &ByVariant<ExposureCounts>,
    observed_s: Option<f64>,
) -> Vec<MetricReport> {
    let mut reports = Vec::new();
    for measure in &experiment.measures {
        if matches!(measure.source, MeasureSource::Above { .. }) {
            continue;
        }
        let units = |arm: &Arm<'_>| exposures.of(arm.name.as_str()).map_or(0, |counts| counts.units);
        let arms = arm_inputs(experiment, arms, units, |counts| counts.cell(measure.key));
        let reported = arms.iter().any(|arm| arm.whole.n > 0);
        if reported || matches!(measure.source, MeasureSource::Declared { .. }) {
            reports.push(metric_report(&MetricInput {
                measure,
                arms,
                min_units: experiment.spec.min_units.unwrap_or(MIN_UNITS),
                observed_s,
            }));
        }
    }
    reports
}

/// Seconds in which units were split; none before the first.
fn observed_s(experiment: &Experiment, now: Timestamp) -> Option<f64> {
    let begins = experiment.epochs.iter();
    let ends = begins.clone().skip(1).map(|record| record.since).chain([now]);
    let splitting = begins.zip(ends).filter(|(record, _)| record.state.splits());
    let seconds: f64 = splitting
        .map(|(record, end)| end.duration_since(record.since).as_secs_f64().max(0.0))
        .sum();
    (seconds > 0.0).then_some(seconds)
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
