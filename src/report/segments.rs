//! The results once more, for one value of one attribute at a time.
//!
//! Looking at many values finds differences that are not there, so all comparisons of all segments are corrected
//! together, whatever the metric.

use super::{
    comparison::{MetricInput, metric_report},
    correction::{comparisons, false_discoveries},
    metric::MetricReport,
    strata::arm_inputs,
    traffic::Arm,
};
use crate::domain::{
    experiment::{Experiment, MIN_UNITS},
    id::AttributeName,
    metric::{Measure, MeasureSource},
    segment::{Segment, SegmentAttribute, SegmentValue},
};
use serde::Serialize;

/// What a value is called that the design does not name.
const OTHER: &str = "(other)";
/// What a request without the attribute is called.
const MISSING: &str = "(missing)";

/// The results of one value of one attribute.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentReport {
    /// The attribute.
    pub attribute: AttributeName,
    /// The value; `(other)` for all that are not named in the design, `(missing)` where there was none.
    pub value: String,
    /// The declared metrics; where there are none, the built-in ones that were reported.
    pub metrics: Vec<MetricReport>,
}

/// Every segment with data, in the order of the attributes and values.
pub(super) fn segments(
    experiment: &Experiment,
    arms: &[Arm<'_>],
    observed_s: Option<f64>,
) -> Vec<SegmentReport> {
    let declared = |measure: &&Measure| matches!(measure.source, MeasureSource::Declared { .. });
    let any_declared = experiment.measures.iter().any(|measure| declared(&measure));
    let measures = experiment.measures.iter().filter(|measure| match measure.source {
        MeasureSource::Declared { .. } => true,
        MeasureSource::BuiltIn => !any_declared,
        MeasureSource::Above { .. } => false,
    });
    let measures: Vec<&Measure> = measures.collect();
    let mut reports = Vec::new();
    for (place, attribute) in experiment.segments.iter().enumerate() {
        let Some(wanted) = experiment.spec.segments.get(&attribute.attribute) else {
            continue;
        };
        for (segment, value) in values(place, attribute) {
            // Values that the design no longer names were counted by name all the same.
            if matches!(segment.value(), SegmentValue::Named(_)) && !wanted.contains(&value) {
                continue;
            }
            let metrics = measures.iter().filter_map(|measure| {
                let input = input(experiment, measure, arms, segment, observed_s)?;
                Some(metric_report(&input))
            });
            let metrics: Vec<_> = metrics.collect();
            if !metrics.is_empty() {
                reports.push(SegmentReport {
                    attribute: attribute.attribute.clone(),
                    value,
                    metrics,
                });
            }
        }
    }
    let all = reports.iter_mut().flat_map(|report| &mut report.metrics);
    false_discoveries(all.flat_map(comparisons).collect());
    reports
}

/// Every segment of an attribute with its name.
fn values(place: usize, attribute: &SegmentAttribute) -> Vec<(Segment, String)> {
    let named = attribute.values.iter().enumerate();
    let named = named.map(|(value, name)| (Segment::new(place, SegmentValue::Named(value)), name.clone()));
    let rest = [(SegmentValue::Other, OTHER), (SegmentValue::Missing, MISSING)];
    let rest = rest.map(|(value, name)| (Segment::new(place, value), name.to_owned()));
    named.chain(rest).collect()
}

fn input<'a>(
    experiment: &'a Experiment,
    measure: &'a Measure,
    arms: &[Arm<'a>],
    segment: Segment,
    observed_s: Option<f64>,
) -> Option<MetricInput<'a>> {
    let arms = arm_inputs(
        experiment,
        arms,
        |_| 0,
        |counts| counts.segment_cell(measure.key, segment),
    );
    let reported = arms.iter().any(|arm| arm.whole.n > 0);
    reported.then(|| MetricInput {
        measure,
        arms,
        min_units: experiment.spec.min_units.unwrap_or(MIN_UNITS),
        observed_s,
    })
}
