//! Covariates taken out, and quantiles.

use crate::case::{Case, close, design, reason};
use serde_json::json;
use serin::{
    report::{AdjustedFigures, Decision},
    routing::hash::mix,
};

const UNITS: u64 = 2_000;

/// A number in [0, 1) of a unit and a purpose.
fn draw(unit: u64, purpose: u64) -> f64 {
    (mix(unit ^ purpose << 40) >> 11) as f64 / 2f64.powi(53)
}

/// Minutes that are mostly what the unit needed before; `gain` is what the candidate takes off them. Every
/// `skipped`-th unit comes without the covariate.
fn counted(gain: f64, shift: f64, skipped: u64) -> Case {
    let mut wanted = design([50, 50]);
    wanted["metrics"][1]["covariate"] = json!("minutes_before");
    let mut case = Case::of(wanted);
    let key = case.experiment().measure("minutes").unwrap().key;
    assert_eq!(case.experiment().measure("minutes").unwrap().covariate, Some(0));
    for arm in [0u8, 1] {
        case.values(arm, "minutes", []);
        let counts = case.arm(arm);
        let cell = &mut counts
            .cells
            .iter_mut()
            .find(|(other, _)| *other == key)
            .unwrap()
            .1;
        for unit in 0..UNITS {
            let unit = mix(2 * unit + u64::from(arm) + 1);
            let before = 10.0 * draw(unit, 1);
            let value = 5.0 + before + draw(unit, 2) - gain * f64::from(arm);
            cell.add(unit, value, None);
            cell.add_to_sketch(value);
            if skipped == 0 || !unit.is_multiple_of(skipped) {
                cell.add_covariate(unit, before + shift * f64::from(arm));
            }
        }
    }
    case
}

fn adjusted(case: &Case) -> AdjustedFigures {
    case.versus("minutes").cuped.unwrap()
}

#[test]
fn a_covariate_finds_what_is_lost_in_the_spread() {
    let case = counted(0.05, 0.0, 0);
    let plain = case.versus("minutes");
    assert!(*plain.p.known().unwrap() > 0.05, "{plain:?}");
    assert_ne!(plain.verdict, Decision::Better);
    let cuped = adjusted(&case);
    // 100/12 of the variance is known beforehand, 1/12 is not.
    let saved = *cuped.variance_saved.known().unwrap();
    assert!((saved - 0.99).abs() < 0.005, "{saved}");
    let (low, high) = *cuped.ci.known().unwrap();
    assert!(low < -0.05 && -0.05 < high && high - low < 0.05, "{low} {high}");
    assert!(*cuped.p.known().unwrap() < 1e-6);
    assert_eq!(cuped.covered, (1.0, 1.0));
    assert_eq!(cuped.verdict, Decision::Better, "fewer minutes are the goal");
}

#[test]
fn values_without_the_covariate_count_all_the_same() {
    let case = counted(0.15, 0.0, 4);
    let cuped = adjusted(&case);
    assert!((cuped.covered.0 - 0.75).abs() < 0.05, "{:?}", cuped.covered);
    let saved = *cuped.variance_saved.known().unwrap();
    assert!(saved > 0.3 && saved < 0.9, "{saved}");
    let (low, high) = *cuped.ci.known().unwrap();
    let (plain_low, plain_high) = *case.versus("minutes").ci.known().unwrap();
    assert!(high - low < plain_high - plain_low);
    assert!(low < -0.15 && -0.15 < high, "{low} {high}");
}

#[test]
fn a_covariate_that_the_arms_differ_in_is_not_one() {
    let cuped = adjusted(&counted(0.15, 1.0, 0));
    let why = reason(&cuped.difference);
    assert!(
        why.starts_with("the covariate itself differs between the arms"),
        "{why}"
    );
    assert_eq!(cuped.verdict, Decision::NotYet);
}

#[test]
fn a_metric_without_a_covariate_has_nothing_to_take_out() {
    let mut case = Case::new();
    case.rate(0, 30, 60).rate(1, 40, 60);
    assert_eq!(case.versus("resolved").cuped, None);
    let none_came = counted(0.0, 0.0, 1);
    assert_eq!(
        reason(&adjusted(&none_came).p),
        "no value came with the covariate yet"
    );
    assert_eq!(adjusted(&none_came).covered, (0.0, 0.0));
}

#[test]
fn quantiles_are_those_of_the_raw_values() {
    let case = counted(2.0, 0.0, 0);
    let figures = case.figures("minutes", "friendly");
    let median = &figures.quantiles[0];
    assert_eq!(median.q, 0.5);
    let value = *median.value.known().unwrap();
    // 5 + 5 + 0.5 − 2, within the sketch's 1 % and the sample's error.
    assert!((value - 8.5).abs() < 0.4, "{value}");
    let (low, high) = *median.ci.known().unwrap();
    assert!(low < value && value < high);
    let versus = case.versus("minutes");
    let of_median = &versus.quantiles[0];
    let (low, high) = *of_median.ci.known().unwrap();
    assert!(low < -2.0 && -2.0 < high && high < 0.0, "{low} {high}");
    assert_eq!(
        figures.quantiles.iter().map(|of| of.q).collect::<Vec<_>>(),
        [0.5, 0.95, 0.99]
    );
    close(&of_median.difference, *of_median.difference.known().unwrap());
}
