//! The report over counts made by hand: numbers that can be checked with a pencil, and the cases without any.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected has failed"
)]

mod adjusted;
mod case;
mod corrections;
mod extremes;
mod segments;
#[path = "../support/mod.rs"]
mod support;

use case::{Case, close, design, near, reason};
use serde_json::{Value as Json, json};
use serin::{
    domain::{
        command::Command,
        guardrail::{Limit, OnBreach, Verdict},
        id::{ArmIndex, Epoch, MetricName, VariantName},
    },
    report::{
        CandidateStatus, ControlStatus, Decision, Figure, GuardrailStatus, SplitVerdict, sample_ratio,
        served_shares,
    },
    routing::hash::mix,
};
use support::id;

#[test]
fn units_of_one_request_give_the_ordinary_t_test() {
    let mut case = Case::new();
    // Means 1.5 and 2.5, both with variance 50/39 and 40 units: t = 1 / √(2·50/39/40), 78 degrees of freedom.
    let cycle = |base: f64| (0..40).map(move |n| base + f64::from(n % 4));
    case.values(0, "minutes", cycle(0.0))
        .values(1, "minutes", cycle(1.0));
    let control = case.figures("minutes", "control");
    assert_eq!(control.n, 40);
    close(&control.mean, 1.5);
    close(&control.se, (50.0f64 / 39.0 / 40.0).sqrt());
    near(&control.ci, 1.137_88, 1.862_12);
    assert_eq!(control.vs_control, None);
    let versus = case.versus("minutes");
    close(&versus.difference, 1.0);
    close(&versus.t, 3.949_683_5);
    close(&versus.dof, 78.0);
    close(&versus.p, 1.704_562e-4);
    near(&versus.ci, 0.495_95, 1.504_05);
    close(&versus.relative, 2.0 / 3.0);
    let (low, high) = versus.relative_ci.known().copied().unwrap();
    assert!(low > 0.0 && low < 2.0 / 3.0 && high > 2.0 / 3.0);
    close(&versus.effect_size, (39.0f64 / 50.0).sqrt());
    // τ = 0.075, x = τ²/SE² = 0.08775: an interval of ± 8.678 standard errors.
    near(&versus.always_valid.ci, -1.197_2, 3.197_2);
    close(&versus.always_valid.p, 0.555_893_3);
    assert_eq!(versus.verdict, Decision::NotYet);
    close(&versus.p_adjusted, 1.704_562e-4);
    // Fewer minutes are the goal, and the candidate takes 3.95 standard errors more.
    close(&versus.chance_to_beat, 3.913e-5);
    // What is lost by it is all of the difference, but for a sliver: SE·φ(3.9497) less what the sliver loses.
    close(&versus.expected_loss, 1.000_002_1);
}

#[test]
fn a_clear_difference_is_a_verdict_in_the_direction_of_the_goal() {
    let mut case = Case::new();
    case.rate(0, 4_000, 10_000).rate(1, 6_000, 10_000);
    case.units(0, 0..500).units(1, 500..1_000);
    let report = case.report();
    assert_eq!(case.versus("resolved").verdict, Decision::Better);
    assert_eq!(report.winner.unwrap().as_str(), "friendly");
    assert_eq!(report.srm.verdict, Figure::Known(SplitVerdict::Ok));
    let cycle = |base: f64| (0..4_000).map(move |n| base + f64::from(n % 4));
    case.values(0, "minutes", cycle(10.0))
        .values(1, "minutes", cycle(20.0));
    // Fewer minutes are better.
    assert_eq!(case.versus("minutes").verdict, Decision::Worse);
    // The same numbers on arms that got other units than they should are no win.
    case.units(1, 1_000..1_200);
    let report = case.report();
    assert_eq!(report.srm.verdict, Figure::Known(SplitVerdict::Alarm));
    assert_eq!(report.winner, None);
}

#[test]
fn the_best_of_several_wins() {
    let mut design = design([50, 50]);
    let third = json!({"name": "brief", "version": "1.1.0", "weight": 50});
    design["variants"].as_array_mut().unwrap().push(third);
    let mut case = Case::of(design);
    case.rate(0, 4_000, 10_000)
        .rate(1, 5_000, 10_000)
        .rate(2, 6_000, 10_000);
    let report = case.report();
    assert_eq!(report.metrics[0].variants.len(), 3);
    assert_eq!(report.winner.unwrap().as_str(), "brief");
}

#[test]
fn nothing_is_said_without_data() {
    let case = Case::new();
    let report = case.report();
    assert_eq!(
        report.metrics.len(),
        2,
        "declared ones are there, built-in ones only with data"
    );
    assert_eq!(report.winner, None);
    assert_eq!(reason(&report.srm.p), "no unit was counted yet");
    assert_eq!(report.exposures.of("control").unwrap().units, 0);
    let control = case.figures("resolved", "control");
    assert_eq!(
        (control.n, reason(&control.mean)),
        (0, "nothing was reported yet")
    );
    let versus = case.versus("resolved");
    assert!(reason(&versus.p).starts_with("collecting: nothing was reported on both"));
    assert_eq!(
        reason(&versus.difference),
        "nothing was reported on both arms yet"
    );
    assert_eq!(versus.verdict, Decision::NotYet);
}

#[test]
fn small_samples_show_means_and_keep_silent_about_the_rest() {
    let mut case = Case::new();
    case.values(0, "minutes", [2.0]).values(1, "minutes", [3.0, 5.0]);
    let control = case.figures("minutes", "control");
    close(&control.mean, 2.0);
    assert!(reason(&control.se).contains("1 clusters, at least 2 needed"));
    assert!(case.figures("minutes", "friendly").se.known().is_some());
    let versus = case.versus("minutes");
    close(&versus.difference, 2.0);
    close(&versus.relative, 1.0);
    for silent in [&versus.t, &versus.dof, &versus.p, &versus.always_valid.p] {
        assert!(reason(silent).starts_with("collecting: "), "{silent:?}");
    }
    for silent in [&versus.ci, &versus.relative_ci, &versus.always_valid.ci] {
        assert!(reason(silent).starts_with("collecting: "), "{silent:?}");
    }
}

#[test]
fn a_rate_needs_events_on_both_arms() {
    let mut case = Case::new();
    case.rate(0, 50, 100).rate(1, 9, 100);
    let versus = case.versus("resolved");
    assert_eq!(
        reason(&versus.p),
        "collecting: 9 clusters with an event on `friendly`, shown from 10"
    );
    close(&versus.difference, 0.09 - 0.5);
    case = Case::new();
    case.rate(0, 50, 100).rate(1, 10, 100);
    assert!(case.versus("resolved").p.known().is_some());
}

#[test]
fn zeros_are_reasons_and_never_numbers() {
    let mut case = Case::new();
    case.values(0, "minutes", [0.1; 50])
        .values(1, "minutes", [0.1; 50]);
    let versus = case.versus("minutes");
    assert!(reason(&versus.p).starts_with("zero variance"));
    assert!(reason(&versus.effect_size).starts_with("zero variance"));
    assert!(reason(&case.figures("minutes", "control").se).starts_with("zero variance"));
    close(&case.figures("minutes", "control").mean, 0.1);

    let signs = |n: i32| f64::from(n % 2 * 2 - 1);
    case = Case::new();
    case.values(0, "minutes", (0..50).map(signs));
    case.values(1, "minutes", (0..50).map(|n| 1.0 + signs(n)));
    let versus = case.versus("minutes");
    assert!(reason(&versus.relative).starts_with("control's mean is 0"));
    assert!(reason(&versus.relative_ci).starts_with("control's mean is 0"));
    assert!(reason(&versus.always_valid.ci).starts_with("control's mean is 0"));
    assert_eq!(versus.verdict, Decision::NotYet);
    close(&versus.difference, 1.0);
    assert!(versus.p.known().is_some());

    case = Case::new();
    case.values(0, "minutes", (0..50).map(|n| 0.01 + signs(n)));
    case.values(1, "minutes", (0..50).map(|n| 0.6 + signs(n)));
    assert!(reason(&case.versus("minutes").relative_ci).contains("not clearly different from 0"));

    let text = serde_json::to_string(&case.report()).unwrap();
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
}

#[test]
fn a_changed_split_does_not_turn_the_sign() {
    let mut case = Case::of(design([95, 5]));
    // Everybody resolves more in the second epoch, in which the candidate has more traffic.
    case.rate(0, 950, 9_500).rate(1, 40, 500);
    case.world.put(&design([50, 50])).unwrap();
    case.rate(0, 1_500, 5_000).rate(1, 1_400, 5_000);
    let mean = |variant| *case.figures("resolved", variant).mean.known().unwrap();
    assert!(
        mean("friendly") > mean("control") + 0.09,
        "the sums show a large gain"
    );
    let versus = case.versus("resolved");
    let difference = *versus.difference.known().unwrap();
    assert!((-0.025..-0.015).contains(&difference), "{difference}");
    assert!(*versus.t.known().unwrap() < 0.0 && *versus.effect_size.known().unwrap() < 0.0);

    // Without an error to weight by, the strata still are compared one by one.
    case = Case::of(design([95, 5]));
    case.rate(0, 1, 10).rate(1, 0, 1);
    case.world.put(&design([50, 50])).unwrap();
    case.rate(0, 5, 5).rate(1, 5, 5);
    let versus = case.versus("resolved");
    assert!(reason(&versus.p).starts_with("collecting: "));
    assert!(*versus.difference.known().unwrap() < 0.0);
}

#[test]
fn units_that_come_back_after_a_pause_are_no_new_evidence() {
    let mut case = Case::new();
    let values = |base: f64| (0..40).map(move |n| base + f64::from(n * n % 7));
    case.values(0, "minutes", values(0.0))
        .values(1, "minutes", values(1.0));
    case.units(0, 0..150).units(1, 150..250);
    let (once, split) = (case.versus("minutes"), case.report().srm);
    case.world
        .submit(Command::HoldExperiment {
            id: id("e"),
            cause: serin::domain::experiment::HoldCause::Manual,
            breach: None,
        })
        .unwrap();
    assert_eq!(case.experiment().epoch(), Epoch(2));
    case.values(0, "minutes", values(0.0))
        .values(1, "minutes", values(1.0));
    case.units(0, 0..150).units(1, 150..250);
    let twice = case.versus("minutes");
    close(&twice.p, *once.p.known().unwrap());
    close(&twice.difference, 1.0);
    assert_eq!(case.figures("minutes", "control").n, 80);
    let report = case.report();
    assert_eq!(report.srm, split);
    assert_eq!(report.exposures.of("control").unwrap().units, 150);
    assert_eq!(report.exposures.of("control").unwrap().requests, 300);
}

#[test]
fn the_split_is_judged_on_distinct_units_and_the_shares_of_their_time() {
    let mut case = Case::of(design([90, 10]));
    case.units(0, 0..900).units(1, 900..1_000);
    case.world.put(&design([50, 50])).unwrap();
    case.units(0, 2_000..2_510).units(1, 3_000..3_490);
    let ok = case.report().srm;
    assert_eq!(ok.verdict, Figure::Known(SplitVerdict::Ok));
    // 1410 and 590 where 1400 and 600 were expected: χ² = 100/1400 + 100/600.
    close(&ok.p, 0.625_585);
    assert!(ok.evidence_ratio().unwrap() < 0.1);

    case = Case::new();
    case.units(0, 0..600).units(1, 600..1_000);
    let alarm = case.report().srm;
    assert_eq!(alarm.verdict, Figure::Known(SplitVerdict::Alarm));
    assert!(alarm.evidence_ratio().unwrap() > 1.0);

    case = Case::new();
    case.units(0, 0..5).units(1, 5..9);
    let few = case.report().srm;
    assert!(reason(&few.p).starts_with("collecting: 4.5 units"), "{few:?}");
    assert_eq!(few.evidence_ratio(), Some(0.0));
}

#[test]
fn more_units_than_the_samples_hold_are_still_counted_fairly() {
    let mut case = Case::of(design([25, 75]));
    // The arm depends on other bits than the sample's order.
    for unit in 1..=300_000u64 {
        let arm = u8::from(!mix(unit ^ 0xabcd_ef01_2345).is_multiple_of(4));
        case.counts
            .entry((Epoch(1), ArmIndex(arm)))
            .or_default()
            .exposures
            .add(mix(unit));
    }
    let report = case.report();
    assert_eq!(
        report.srm.verdict,
        Figure::Known(SplitVerdict::Ok),
        "{:?}",
        report.srm
    );
    let units = report.exposures.of("friendly").unwrap().units as f64;
    assert!((units / 225_000.0 - 1.0).abs() < 0.02, "{units}");
}

#[test]
fn strangers_are_left_out() {
    let mut case = Case::new();
    case.rate(0, 20, 40).rate(1, 20, 40);
    let known = case.report();
    let stranger = case.counts.values().next().unwrap().clone();
    case.counts.insert((Epoch(1), ArmIndex(7)), stranger.clone());
    case.counts.insert((Epoch(9), ArmIndex(0)), stranger);
    assert_eq!(case.report(), known);
    assert_eq!(sample_ratio(&case.experiment(), &[]), known.srm);
}

#[test]
fn built_in_metrics_appear_with_their_data() {
    let mut case = Case::new();
    case.values(1, "latency_ms", [812.5]);
    let report = case.report();
    let names: Vec<&str> = report
        .metrics
        .iter()
        .map(|metric| metric.metric.as_str())
        .collect();
    assert_eq!(names, ["resolved", "minutes", "latency_ms"]);
    assert!(!report.metrics[2].primary);
}

#[test]
fn who_is_served_what() {
    let case = Case::of(design([75, 25]));
    let shares = |case: &Case, unroutable| {
        let shares = served_shares(&case.experiment(), unroutable);
        [*shares.of("control").unwrap(), *shares.of("friendly").unwrap()]
    };
    assert_eq!(shares(&case, false), [0.75, 0.25]);
    assert_eq!(shares(&case, true), [0.0, 0.0]);
    case.world.freeze("e");
    assert_eq!(shares(&case, false), [1.0, 0.0]);
    case.world.submit(Command::StopExperiment(id("e"))).unwrap();
    assert_eq!(shares(&case, false), [0.0, 0.0]);
}

/// Each of the texts, after the one before it.
fn in_order(text: &str, keys: &[&str]) {
    let mut rest = text;
    for key in keys {
        let quoted = format!("\"{key}\":");
        let at = rest
            .find(&quoted)
            .unwrap_or_else(|| panic!("{key} is not where it belongs in {text}"));
        rest = &rest[at + quoted.len()..];
    }
}

#[test]
fn the_json_has_the_shape_of_the_contract() {
    let mut case = Case::new();
    case.rate(0, 30, 60)
        .rate(1, 40, 60)
        .units(0, 0..50)
        .units(1, 50..100);
    let mut report = case.report();
    report.guardrails.push(GuardrailStatus {
        metric: MetricName::new("latency_ms").unwrap(),
        limit: Limit::MaxRatio(1.25),
        above: Some(4000.0),
        state: Verdict::NoData,
        evidence: Figure::Known(0.12),
        control: ControlStatus {
            bad_units: 41,
            rate: Figure::Known(0.0217),
        },
        candidate: CandidateStatus {
            variant: VariantName::new("friendly").unwrap(),
            bad_units: 44,
            rate: Figure::undefined("no data yet"),
        },
        name: "latency_ms>4000".to_owned(),
        on_breach: OnBreach::Freeze,
        ratio_ci: None,
    });
    let text = serde_json::to_string(&report).unwrap();
    in_order(
        &text,
        &[
            "experiment",
            "state",
            "epoch",
            "revision",
            "as_of",
            "winner",
            "exposures",
            "control",
            "requests",
            "units",
            "friendly",
            "outcomes",
            "control",
            "accepted",
            "friendly",
            "srm",
            "p",
            "verdict",
            "metrics",
            "metric",
            "kind",
            "goal",
            "primary",
            "variants",
            "variant",
            "n",
            "mean",
            "se",
            "ci",
            "variant",
            "n",
            "mean",
            "se",
            "ci",
            "vs_control",
            "difference",
            "ci",
            "relative",
            "relative_ci",
            "t",
            "dof",
            "p",
            "p_adjusted",
            "effect_size",
            "always_valid",
            "ci",
            "p",
            "chance_to_beat",
            "expected_loss",
            "verdict",
            "guardrails",
            "metric",
            "limit",
            "state",
            "evidence",
            "control",
            "bad_units",
            "rate",
            "candidate",
            "variant",
            "bad_units",
            "rate",
        ],
    );
    let json: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(json["experiment"], "e");
    assert_eq!(json["state"], "running");
    assert_eq!((&json["epoch"], &json["revision"]), (&json!(1), &json!(17)));
    assert_eq!(json["as_of"], "2026-12-01T00:00:00Z");
    assert_eq!(json["winner"], Json::Null);
    assert_eq!(
        json["exposures"]["friendly"],
        json!({"requests": 50, "units": 50})
    );
    assert_eq!(
        (&json["srm"]["p"], &json["srm"]["verdict"]),
        (&json!(1.0), &json!("ok"))
    );
    assert_eq!(
        json["srm"]["units"][1],
        json!({"variant": "friendly", "observed": 50, "expected": 50.0})
    );
    let metric = &json["metrics"][0];
    assert_eq!(
        (&metric["kind"], &metric["goal"]),
        (&json!("rate"), &json!("increase"))
    );
    assert_eq!(metric["variants"][0].get("vs_control"), None);
    assert_eq!(metric["variants"][0]["ci"].as_array().unwrap().len(), 2);
    let versus = &metric["variants"][1]["vs_control"];
    assert_eq!(versus["verdict"], "not_yet");
    assert_eq!(versus["p_adjusted"], versus["p"]);
    let guardrail = &json["guardrails"][0];
    assert_eq!(guardrail["limit"], json!({"max_ratio": 1.25}));
    assert_eq!(guardrail["state"], "no_data");
    assert_eq!(
        guardrail["candidate"]["rate"],
        json!({"undefined": "no data yet"})
    );
}

#[test]
fn other_content_on_an_arm_is_counted_from_nothing() {
    let mut case = Case::new();
    case.rate(0, 30, 100).rate(1, 90, 100);
    case.world.register("p", "1.2.0", "newest").unwrap();
    let mut design = design([50, 50]);
    design["variants"][1]["version"] = "1.2.0".into();
    case.world.put(&design).unwrap();
    case.rate(0, 30, 100).rate(1, 30, 100);
    let (control, friendly) = (
        case.figures("resolved", "control"),
        case.figures("resolved", "friendly"),
    );
    assert_eq!(
        (control.n, friendly.n),
        (200, 100),
        "what 1.1.0 did is not 1.2.0's"
    );
    assert_eq!(friendly.mean.known(), Some(&0.3));
}
