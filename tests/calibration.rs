//! How often the product is wrong about users who do not exist: the studies of `serin simulate`, small enough for every
//! run of the tests.
//!
//! The seeds are fixed, so the figures are the same on every run. Each bound is the promise itself; a figure misses it
//! when it lies beyond by more than three standard errors of the simulation at this size. For a share of n runs and a
//! promise p those are 3·√(p(1 − p)/n): with the 6 % of a test at its level of 5 % and 1,000 runs,
//! 2.3 points.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that meets the unexpected has failed"
)]

use serde_json::Value;
use serin::simulation::{Bound, Plan, Row, Size, Study};
use std::{num::NonZeroUsize, process::Command};

/// The figures of the cases with this text in their names; panics when one misses its bound.
fn within_bounds(study: Study, case: &str, runs: u64) -> Vec<Row> {
    let rows = figures(study, case, runs);
    let missed: Vec<&Row> = rows.iter().filter(|row| row.holds == Some(false)).collect();
    assert!(missed.is_empty(), "{missed:#?}");
    assert!(rows.iter().any(|row| row.holds.is_some()), "nothing was promised");
    rows
}

fn figures(study: Study, case: &str, runs: u64) -> Vec<Row> {
    let plan = Plan {
        seed: 3,
        size: Size::Runs(runs),
        only: Some(case),
        threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        progress: &|_| {},
    };
    study.run(&plan).unwrap()
}

#[test]
fn equal_arms_of_returning_users_are_told_apart_no_more_often_than_stated() {
    for row in within_bounds(Study::SameArms, "500 users, 50 %", 1_000) {
        assert!(row.naively.unwrap() > 0.4, "naive tests are no better: {row:?}");
    }
    for row in within_bounds(Study::SameArms, "5,000 users, 5 %", 100) {
        assert!(row.naively.unwrap() > 0.4, "{row:?}");
    }
}

#[test]
fn looking_a_hundred_times_does_not_raise_the_error_of_the_always_valid_interval() {
    let rows = within_bounds(Study::AlwaysValid, "1,000 users, 50 %", 150);
    // The other interval must not be looked at so often.
    assert!(rows.iter().any(|row| row.naively.unwrap() > 0.1), "{rows:#?}");
}

#[test]
fn intervals_hold_the_true_difference_and_verdicts_are_right() {
    let rows = within_bounds(Study::OtherArms, "10,000 users, 50 %", 60);
    for row in rows.iter().filter(|row| row.figure == "found by p below 0.05") {
        // Five standard errors of 60 runs at a power of 0.9: the test is not merely careful.
        let expected = row.nominal.unwrap();
        assert!((row.value - expected).abs() < 0.2, "{row:?}");
    }
    let naively = rows.iter().filter_map(|row| row.naively);
    assert!(naively.into_iter().all(|coverage| coverage < 0.7), "{rows:#?}");
}

#[test]
fn a_growing_share_and_a_drifting_base_bias_nothing() {
    for row in within_bounds(Study::Simpson, "others come, no effect", 60) {
        if row.figure == "false positives" {
            assert!(row.naively.unwrap() > 0.3, "{row:?}");
        }
    }
    let rows = within_bounds(Study::Simpson, "fails a tenth more", 60);
    assert!(
        rows[0].naively.unwrap() > 0.7,
        "the sums of all requests see a better candidate: {rows:#?}"
    );
    assert!(rows[1].value < 0.0 && rows[1].naively.unwrap() > 0.0, "{rows:#?}");
}

#[test]
fn users_that_come_back_after_a_reweight_are_no_new_evidence() {
    within_bounds(Study::Simpson, "come back", 300);
}

#[test]
fn equal_candidates_are_frozen_no_more_often_than_stated() {
    for row in within_bounds(Study::FalseFreezes, "5,000 users", 200) {
        assert!(row.naively.unwrap() > 0.05, "{row:?}");
    }
}

#[test]
fn halves_of_control_raise_false_alarms_no_more_often_than_stated() {
    for row in within_bounds(Study::FalseFreezes, "halves of control", 300) {
        assert!(row.naively.unwrap() > 0.05, "{row:?}");
    }
}

#[test]
fn regressions_are_frozen_within_twice_the_least_possible_time() {
    let rows = within_bounds(Study::Delay, "from the start, a user per request", 100);
    assert_eq!(rows.len(), 4);
    for row in rows {
        assert_eq!((row.bound, row.without), (Bound::AtMost(2.0), 0));
    }
}

#[test]
fn late_regressions_are_frozen_within_three_and_a_half_times_the_least_possible_time() {
    let rows = within_bounds(Study::Delay, "with a block", 30);
    assert_eq!(rows.len(), 4);
    for row in rows {
        assert_eq!((row.bound, row.without), (Bound::AtMost(3.5), 0));
    }
}

#[test]
fn a_right_split_is_left_alone_and_a_wrong_one_found() {
    for row in within_bounds(Study::SampleRatio, "2,000 users", 500) {
        assert!(row.naively.unwrap() > 0.4, "{row:?}");
    }
    within_bounds(Study::SampleRatio, "51/49", 20);
}

/// The share or mean of one figure of one kind of day.
fn of(rows: &[Row], case: &str, figure: &str) -> f64 {
    let found = rows.iter().find(|row| row.case == case && row.figure == figure);
    found.unwrap_or_else(|| panic!("{case}: no {figure}")).value
}

#[test]
fn a_healthy_canary_is_promoted_within_a_day() {
    let rows = within_bounds(Study::Rollout, "healthy", 2);
    assert_eq!(of(&rows, "healthy", "promoted"), 1.0);
    // Its stages alone take 15 and a quarter.
    let hours = of(&rows, "healthy", "time to the end");
    assert!((15.25..24.0).contains(&hours), "{hours}");
}

#[test]
fn a_bad_canary_is_frozen_before_many_have_met_it() {
    let rows = within_bounds(Study::Rollout, "times as bad", 10);
    let harm = |times| of(&rows, &format!("{times} times as bad"), "bad answers until then");
    for times in [2, 4] {
        for case in [
            format!("{times} times as bad"),
            format!("{times} times as bad from stage 3 on"),
        ] {
            assert_eq!(of(&rows, &case, "frozen by a guardrail"), 1.0, "{case}");
        }
    }
    assert!(harm(4) < harm(2) && harm(2) < 100.0, "{rows:#?}");
}

#[test]
fn a_silent_canary_is_frozen_as_blind_where_it_falls_silent() {
    for case in ["the candidate reports nothing", "nobody reports anything"] {
        let rows = within_bounds(Study::Rollout, case, 12);
        assert_eq!(of(&rows, case, "frozen blind"), 1.0);
        // Ten minutes of patience, counted from the first request that nothing was heard of.
        let minutes = 60.0 * of(&rows, case, "time to the end");
        assert!((10.0..12.0).contains(&minutes), "{case}: {minutes}");
    }
    // Where control speaks and there is traffic enough to compare, that is found out sooner.
    let case = "the candidate goes silent in stage 3";
    let rows = within_bounds(Study::Rollout, case, 4);
    let by = |how| of(&rows, case, how);
    assert_eq!(by("frozen by a guardrail") + by("frozen blind"), 1.0);
}

#[test]
fn a_canary_that_flaps_passes_no_stage_and_is_frozen_at_its_deadline() {
    let rows = within_bounds(Study::Rollout, "5 minutes", 1);
    for case in [
        "nothing is reported for 2 of 5 minutes",
        "the store fails for 30 s of 5 minutes",
    ] {
        assert_eq!(of(&rows, case, "frozen at a deadline"), 1.0);
        assert_eq!(of(&rows, case, "passed while in doubt"), 0.0);
    }
    let late = within_bounds(Study::Rollout, "every 4 minutes", 1);
    assert!(
        late.iter()
            .any(|row| row.figure == "passed while in doubt" && row.value == 0.0)
    );
}

#[test]
fn a_restart_at_any_moment_of_a_day_leaves_the_same_history() {
    within_bounds(Study::Rollout, "restarted at random moments", 8);
}

#[test]
fn two_replicas_in_any_order_leave_one_history() {
    within_bounds(Study::Rollout, "two replicas in any order", 8);
}

#[test]
fn the_command_says_what_it_did_and_fails_when_a_bound_is_missed() {
    let case = "2 times as bad, from the start, a user per request";
    let simulate = |seed: u64, json: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        command.args(["simulate", "--runs", "1", "--study", "delay", "--case", case]);
        command
            .args(["--seed", &seed.to_string()])
            .args(json)
            .output()
            .unwrap()
    };
    // One run is beyond twice the bound now and then, and the mean of one run has no error.
    let (mut kept, mut missed) = (None, None);
    for seed in 1..=60 {
        let output = simulate(seed, &["--json"]);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let (row, code) = (&said["rows"][0], output.status.code());
        assert_eq!((&said["seed"], &said["runs"]), (&seed.into(), &"1".into()));
        assert_eq!(
            (row["runs"].as_u64(), row["bound"]["at_most"].as_f64()),
            (Some(1), Some(2.0))
        );
        let holds = row["value"].as_f64().unwrap() <= 2.0;
        assert_eq!(
            (row["holds"].as_bool(), code),
            (Some(holds), Some(i32::from(!holds)))
        );
        let found = if holds { &mut kept } else { &mut missed };
        found.get_or_insert(seed);
        if let (Some(kept), Some(missed)) = (kept, missed) {
            let text = |seed| String::from_utf8(simulate(seed, &[]).stdout).unwrap();
            assert!(text(kept).contains("all 1 bounds hold") && text(kept).contains("1 to 200 requests"));
            assert!(text(missed).contains("MISSED"));
            return;
        }
    }
    panic!("{kept:?} {missed:?}");
}
