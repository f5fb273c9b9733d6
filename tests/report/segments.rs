//! Results by value of an attribute, counted by the fold itself.

use crate::{
    case::design,
    support::{World, now},
};
use serde_json::json;
use serin::{
    collector::{intake::Intake, observation::Observation, offline::OfflineCollector},
    domain::{
        experiment::Experiment,
        id::{ArmIndex, Revision},
        metric::Covariates,
        segment::SegmentCodes,
    },
    report::{Report, SegmentReport, VersusControl, report},
    routing::{hash::mix, receipt::ReceiptKeys},
};
use std::{sync::Arc, time::Duration};

/// 4,000 units, half of them from DE, a third of the rest from FR, the others from elsewhere or nowhere; the candidate
/// resolves more in DE only. `countries` are those that the design names.
fn counted(countries: &[&str]) -> (Arc<Experiment>, Report) {
    let mut wanted = design([50, 50]);
    wanted["segments"] = json!({"country": countries});
    let world = World::with(&[wanted]);
    let view = world.plane.view();
    let experiment = Arc::clone(&view.catalog.experiments["e"]);
    let intake = Intake::compile(
        view.catalog.experiments.values(),
        view.catalog.prompts.values(),
        ReceiptKeys::default(),
        Duration::from_secs(3_600),
    );
    let mut collector = OfflineCollector::new(intake);
    let resolved = experiment.measure("resolved").unwrap().key;
    let named = |country: &str| {
        experiment.segments[0]
            .values
            .iter()
            .position(|value| value == country)
    };
    let outcomes: Vec<Observation> = (0..4_000u64)
        .map(|unit| {
            let arm = ArmIndex(u8::try_from(unit % 2).unwrap());
            let (country, gain) = match unit / 2 % 6 {
                0..3 => (Some("DE"), 0.2 * f64::from(arm.0)),
                3 => (Some("FR"), 0.0),
                4 => (Some("NL"), 0.0),
                _ => (None, 0.0),
            };
            let draw = (mix(unit + 99) >> 11) as f64 / 2f64.powi(53);
            let codes = SegmentCodes::default();
            Observation {
                experiment: experiment.key,
                epoch: experiment.epoch(),
                arm,
                unit_hash: mix(unit + 1),
                second: 0,
                receipt: None,
                id: None,
                segments: country.map_or(codes, |country| codes.with(0, named(country))),
                covariates: Covariates::default(),
                values: [(resolved, f64::from(u8::from(draw < 0.3 + gain)))]
                    .into_iter()
                    .collect(),
                again: false,
                tagging: None,
            }
        })
        .collect();
    collector.record(&outcomes, &[], now()).unwrap();
    let counts = collector.arm_counts(experiment.key);
    let report = report(&experiment, &counts, Vec::new(), Revision(1), now());
    (experiment, report)
}

fn versus<'r>(report: &'r Report, value: &str) -> &'r VersusControl {
    let segment = report
        .segments
        .iter()
        .find(|segment| segment.value == value)
        .unwrap();
    segment.metrics[0].variants[1].vs_control.as_ref().unwrap()
}

#[test]
fn each_value_has_its_own_results_and_they_add_up() {
    let (_, report) = counted(&["DE", "FR"]);
    let names: Vec<_> = report
        .segments
        .iter()
        .map(|segment| segment.value.as_str())
        .collect();
    assert_eq!(names, ["DE", "FR", "(other)", "(missing)"]);
    assert!(
        report
            .segments
            .iter()
            .all(|segment| segment.attribute.as_str() == "country")
    );
    // The other metric of the design was never reported.
    assert!(report.segments.iter().all(|segment| segment.metrics.len() == 1));
    let n = |segment: &SegmentReport, variant: usize| segment.metrics[0].variants[variant].n;
    for variant in [0, 1] {
        let parts: u64 = report.segments.iter().map(|segment| n(segment, variant)).sum();
        assert_eq!(parts, report.metrics[0].variants[variant].n);
    }
    assert_eq!(n(&report.segments[0], 0), 1_001);
    let difference = *versus(&report, "DE").difference.known().unwrap();
    assert!((difference - 0.2).abs() < 0.06, "{difference}");
}

#[test]
fn segments_are_corrected_together() {
    let (_, report) = counted(&["DE", "FR"]);
    let mut p: Vec<(f64, f64)> = report
        .segments
        .iter()
        .map(|segment| versus(&report, &segment.value))
        .map(|versus| (*versus.p.known().unwrap(), *versus.p_adjusted.known().unwrap()))
        .collect();
    p.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut least = 1.0f64;
    for (rank, (p, adjusted)) in p.iter().enumerate().rev() {
        least = least.min(p * 4.0 / (rank + 1) as f64);
        assert!(
            (adjusted - least).abs() < 1e-12,
            "{rank}: {adjusted} is not {least}"
        );
    }
    // The experiment's own metrics are another family.
    let whole = report.metrics[0].variants[1].vs_control.as_ref().unwrap();
    assert_eq!(whole.p_adjusted, whole.p);
}

#[test]
fn values_that_are_not_named_are_one_segment() {
    let (_, report) = counted(&["DE"]);
    let names: Vec<_> = report
        .segments
        .iter()
        .map(|segment| segment.value.as_str())
        .collect();
    assert_eq!(names, ["DE", "(other)", "(missing)"]);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["segments"][1]["attribute"], "country");
    assert_eq!(json["segments"][1]["metrics"][0]["metric"], "resolved");
}
