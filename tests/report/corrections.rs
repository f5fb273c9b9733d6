//! Many comparisons, practical equivalence, and what is shown when.

use crate::case::{Case, close, design, reason};
use serde_json::json;
use serin::{
    report::{Decision, Figure},
    routing::hash::mix,
    stats::power::{Goal, progress::detectable_always_valid},
};

/// Control and two candidates, one primary and two other metrics.
fn three_arms() -> Case {
    let mut design = design([50, 50]);
    let variants = design["variants"].as_array_mut().unwrap();
    variants.push(json!({"name": "terse", "version": "1.1.0", "weight": 50}));
    let metrics = design["metrics"].as_array_mut().unwrap();
    metrics.push(json!({"name": "stars", "kind": "mean", "goal": "increase"}));
    Case::of(design)
}

/// `n` values that repeat 0, 1, 2, 3 above a base: variance 1.25 of the population.
fn spread(base: f64, n: usize) -> impl Iterator<Item = f64> {
    (0..n).map(move |place| base + (place % 4) as f64)
}

/// `n` units with about that rate, each in a bucket of its own choice.
fn rate(case: &mut Case, arm: u8, rate: f64, n: u64) {
    let draw = |unit: u64| (mix(unit + (u64::from(arm) << 40) + 7) >> 11) as f64 / 2f64.powi(53);
    case.values(
        arm,
        "resolved",
        (0..n).map(|unit| f64::from(u8::from(draw(unit) < rate))),
    );
}

#[test]
fn the_primary_metric_is_corrected_over_its_variants() {
    let mut case = three_arms();
    for (arm, share) in [(0, 0.30), (1, 0.33), (2, 0.34)] {
        rate(&mut case, arm, share, 2_000);
    }
    let report = case.report();
    let versus = [1, 2].map(|variant: usize| report.metrics[0].variants[variant].vs_control.clone().unwrap());
    let holm = |p: [f64; 2]| {
        let least = (2.0 * p[0].min(p[1])).min(1.0);
        p.map(|own| {
            if own == p[0].min(p[1]) {
                least
            } else {
                own.max(least)
            }
        })
    };
    let fixed = versus.each_ref().map(|versus| *versus.p.known().unwrap());
    let always = versus
        .each_ref()
        .map(|versus| *versus.always_valid.p.known().unwrap());
    assert_ne!(fixed[0], fixed[1]);
    for (place, versus) in versus.iter().enumerate() {
        close(&versus.p_adjusted, holm(fixed)[place]);
        close(&versus.always_valid.p_adjusted, holm(always)[place]);
    }
}

#[test]
fn other_metrics_share_one_false_discovery_rate() {
    let mut case = three_arms();
    for (arm, minutes, stars) in [(0, 0.0, 0.0), (1, 0.12, 0.1), (2, 0.02, 0.3)] {
        case.values(arm, "minutes", spread(5.0 + minutes, 1_000));
        case.values(arm, "stars", spread(2.0 + stars, 1_000));
    }
    let report = case.report();
    let others = report.metrics.iter().filter(|metric| !metric.primary);
    let comparisons = others
        .flat_map(|metric| &metric.variants)
        .filter_map(|arm| arm.vs_control.as_ref());
    let mut p: Vec<(f64, f64)> = comparisons
        .map(|versus| (*versus.p.known().unwrap(), *versus.p_adjusted.known().unwrap()))
        .collect();
    p.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(p.len(), 4);
    // Benjamini–Hochberg by hand: p·m/rank, made monotone from the largest on.
    let mut least = 1.0f64;
    for (rank, (p, adjusted)) in p.iter().enumerate().rev() {
        least = least.min(p * 4.0 / (rank + 1) as f64);
        assert!(
            (adjusted - least).abs() < 1e-12,
            "{rank}: {adjusted} is not {least}"
        );
    }
}

#[test]
fn a_difference_that_stands_only_alone_is_not_known_yet() {
    let friendly = |arms: u8, share: f64| {
        let mut case = if arms == 2 { three_arms() } else { Case::new() };
        rate(&mut case, 0, 0.3, 10_000);
        rate(&mut case, 1, share, 10_000);
        if arms == 2 {
            rate(&mut case, 2, 0.3, 10_000);
        }
        case.report().metrics[0].variants[1].vs_control.clone().unwrap()
    };
    // The smallest difference that stands alone: it does not when two are looked at.
    let (share, alone) = (0..100)
        .map(|step| 0.3 + f64::from(step) * 0.0005)
        .map(|share| (share, friendly(1, share)))
        .find(|(_, versus)| versus.verdict == Decision::Better)
        .unwrap();
    let p = *alone.always_valid.p.known().unwrap();
    assert!(p < 0.05 && p > 0.025, "{p}");
    assert!(alone.always_valid.ci.known().unwrap().0 > 0.0);
    let of_two = friendly(2, share);
    assert_eq!(of_two.always_valid.p, alone.always_valid.p);
    assert!(*of_two.always_valid.p_adjusted.known().unwrap() > 0.05);
    assert_eq!(of_two.verdict, Decision::NotYet);
}

#[test]
fn an_interval_within_the_margin_is_no_difference() {
    let verdict = |margin: Option<f64>| {
        let mut wanted = design([50, 50]);
        if let Some(margin) = margin {
            wanted["metrics"][0]["margin"] = json!(margin);
        }
        let mut case = Case::of(wanted);
        rate(&mut case, 0, 0.5, 60_000);
        rate(&mut case, 1, 0.5, 60_000);
        let versus = case.versus("resolved");
        let (low, high) = *versus.always_valid.ci.known().unwrap();
        assert!(
            -0.025 < low && low < 0.0 && 0.0 < high && high < 0.025,
            "{low} {high}"
        );
        (case.report().metrics[0].margin, versus.verdict)
    };
    assert_eq!(verdict(None), (0.05, Decision::NoDifference));
    assert_eq!(verdict(Some(0.01)), (0.01, Decision::NotYet));
}

#[test]
fn fewer_units_than_asked_for_are_not_judged() {
    let mut wanted = design([50, 50]);
    wanted.as_object_mut().unwrap().remove("min_units");
    let mut case = Case::of(wanted.clone());
    case.rate(0, 30, 90).rate(1, 60, 90);
    let few = case.versus("resolved");
    close(&few.difference, 1.0 / 3.0);
    // 90 of 1,024 buckets are what 94 units fill.
    assert_eq!(
        reason(&few.p),
        "collecting: 94 units on `control`, shown from 100"
    );
    assert_eq!(few.p_adjusted, few.p);
    assert_eq!(reason(&few.chance_to_beat), reason(&few.p));
    assert_eq!(few.verdict, Decision::NotYet);

    let mut case = Case::of(wanted.clone());
    case.rate(0, 40, 120).rate(1, 60, 120);
    assert!(case.versus("resolved").p.known().is_some());

    wanted["min_units"] = json!(90);
    let mut case = Case::of(wanted);
    case.rate(0, 30, 90).rate(1, 60, 90);
    assert!(case.versus("resolved").p.known().is_some());
}

#[test]
fn a_rate_needs_requests_without_the_event_too() {
    let mut case = Case::new();
    case.rate(0, 55, 60).rate(1, 60, 60);
    assert!(
        reason(&case.versus("resolved").p).contains("clusters with a request without the event on `control`"),
        "{:?}",
        case.versus("resolved").p
    );
}

#[test]
fn what_can_be_found_and_when() {
    let mut case = Case::new();
    rate(&mut case, 0, 0.3, 2_000);
    rate(&mut case, 1, 0.3, 2_000);
    let power = case.versus("resolved").power;
    let (low, high) = *case.versus("resolved").always_valid.ci.known().unwrap();
    let detectable = *power.detectable.known().unwrap();
    // The interval's half width, and 0.84 standard errors of reserve for a power of 80 %.
    let half = 0.5 * (high - low);
    assert!(
        detectable > half && detectable < 1.5 * half,
        "{detectable} {half}"
    );
    let base = *case.figures("resolved", "control").mean.known().unwrap();
    close(&power.detectable_relative, detectable / base);
    assert_eq!(power.worth_finding, 0.05);
    assert_eq!(
        reason(&power.days_left),
        "how long this took to count is not known"
    );

    let day = serin::domain::Timestamp::from_second(crate::support::now().as_second() + 86_400).unwrap();
    let counts: Vec<_> = case
        .counts
        .iter()
        .map(|(key, counts)| (*key, std::sync::Arc::new(counts.clone())))
        .collect();
    let report = serin::report::report(
        &case.experiment(),
        &counts,
        Vec::new(),
        serin::domain::id::Revision(1),
        day,
    );
    let days = report.metrics[0].variants[1]
        .vs_control
        .as_ref()
        .unwrap()
        .power
        .days_left
        .clone();
    let days = *days.known().unwrap();
    // One day has passed, and the error falls with the root of the traffic.
    let versus = case.versus("resolved");
    let se = versus.difference.known().unwrap() / versus.t.known().unwrap() / (1.0 + days).sqrt();
    let (goal, worth) = (
        Goal {
            alpha: 0.05,
            power: 0.8,
        },
        0.05 * base,
    );
    let found = detectable_always_valid(se, worth, goal).unwrap();
    assert!((found / worth - 1.0).abs() < 1e-6, "{days} {found} {worth}");
}

#[test]
fn repeats_are_told() {
    let mut case = Case::new();
    // 40 units with 25 equal requests each: one request counts as a 25th.
    for arm in [0, 1] {
        for _ in 0..25 {
            case.values(arm, "minutes", (0..40).map(|unit| f64::from(unit % 4)));
        }
    }
    let figures = case.figures("minutes", "friendly");
    let effect = *figures.design_effect.known().unwrap();
    assert!((effect / 25.6 - 1.0).abs() < 0.01, "{effect}");
    close(&figures.n_eff, 40.0);
    assert_eq!(figures.units, 41.0);
    assert_eq!(figures.clipped, None);
    assert_eq!(
        figures.heaviest_bucket.known().map(|part| *part < 0.1),
        Some(true)
    );
    assert_eq!(figures.quantiles, []);
    assert_ne!(figures.se, Figure::Known(0.0));
}
