//! `serin plan` against the golden values of `tests/reference`, and every bound of its options.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected has failed")]

use serde_json::Value as Json;
use std::{fs, process::Command};

fn serin(arguments: &[&str]) -> (i32, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_serin"))
        .arg("plan")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

fn json(arguments: &[&str]) -> Json {
    let (code, out, errors) = serin(&[arguments, &["--json"]].concat());
    assert_eq!((code, errors.as_str()), (0, ""), "{arguments:?}");
    serde_json::from_str(&out).unwrap()
}

fn reference() -> Vec<Json> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/power.json");
    let file: Json = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn number(value: &Json) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn sizes_of_means_are_the_golden_ones() {
    let mut checked = 0;
    for case in reference() {
        let input = &case["input"];
        if case["kind"] != "means_normal" || input["sd_a"] != input["sd_b"] {
            continue;
        }
        let (sd, delta, ratio) = (
            number(&input["sd_a"]),
            number(&input["delta"]),
            number(&input["ratio_b_over_a"]),
        );
        let text = |value: f64| value.to_string();
        // A baseline of which the difference is a twentieth.
        let answer = json(&[
            "--baseline",
            &text(delta.abs() * 20.0),
            "--sd",
            &text(sd),
            "--mde",
            "0.05",
            "--alpha",
            &text(number(&input["alpha"])),
            "--power",
            &text(number(&input["power"])),
            "--share",
            &text(ratio / (1.0 + ratio)),
            "--design-effect",
            &text(number(&input["design_effect"])),
        ]);
        let rows = answer["effects"].as_array().unwrap();
        let row = rows.iter().find(|row| row["effect"] == 0.05).unwrap();
        let requests = &row["fixed"]["requests"];
        assert_eq!(requests["control"], case["expected"]["n_a"], "{}", case["id"]);
        assert_eq!(requests["candidate"], case["expected"]["n_b"], "{}", case["id"]);
        checked += 1;
    }
    assert!(checked >= 3, "{checked}");
}

#[test]
fn sizes_of_rates_are_the_golden_ones() {
    let mut checked = 0;
    for case in reference() {
        let (input, expected) = (&case["input"], &case["expected"]);
        if case["kind"] != "proportions" || number(&input["p_b"]) < number(&input["p_a"]) {
            continue;
        }
        let (from, to) = (number(&input["p_a"]), number(&input["p_b"]));
        let ratio = number(&input["ratio_b_over_a"]);
        let text = |value: f64| value.to_string();
        let answer = json(&[
            "--baseline",
            &text(from),
            "--mde",
            &text(to / from - 1.0),
            "--alpha",
            &text(number(&input["alpha"])),
            "--power",
            &text(number(&input["power"])),
            "--share",
            &text(ratio / (1.0 + ratio)),
        ]);
        let rows = answer["effects"].as_array().unwrap();
        let wanted = to / from - 1.0;
        let row = rows
            .iter()
            .find(|row| (number(&row["effect"]) - wanted).abs() < 1e-12)
            .unwrap();
        let larger = number(&expected["n_a_pooled_exact"]).max(number(&expected["n_a_unpooled_exact"]));
        let control = number(&row["fixed"]["requests"]["control"]);
        assert!(
            (control - larger.ceil()).abs() <= 1.0,
            "{}: {control} {larger}",
            case["id"]
        );
        checked += 1;
    }
    assert!(checked >= 3, "{checked}");
}

#[test]
fn sizes_and_effects_are_inverse() {
    let options = [
        "--baseline",
        "0.2",
        "--requests-per-unit",
        "10",
        "--icc",
        "0.3",
        "--units-per-day",
        "500",
    ];
    let answer = json(&[&options[..], &["--mde", "0.04", "--mde", "0.08"]].concat());
    assert!((number(&answer["design_effect"]) - 3.7).abs() < 1e-12);
    let row = &answer["effects"][1];
    for form in ["fixed", "always_valid"] {
        let units = number(&row[form]["units"]["all"]);
        assert!((number(&row[form]["requests"]["all"]) / units - 10.0).abs() < 0.01);
        assert!((number(&row[form]["days"]) - units / 500.0).abs() < 0.01);
        let found = json(&[&options[..], &["--units", &units.to_string()]].concat());
        let effect = number(&found["detectable"][form]["effect"]);
        assert!((effect / 0.08 - 1.0).abs() < 2e-3, "{form}: {effect}");
    }
    // 3.9 standard errors instead of 2.8: 1.9 times the size.
    let times = number(&row["always_valid"]["units"]["all"]) / number(&row["fixed"]["units"]["all"]);
    assert!((1.85..2.0).contains(&times), "{times}");
    // Two units find nothing.
    let nothing = json(&["--baseline", "0.2", "--units", "2"]);
    assert!(nothing["detectable"]["fixed"].is_null());
}

#[test]
fn a_mean_that_is_negative_and_several_candidates_are_planned_for() {
    let answer = json(&[
        "--baseline",
        "-4",
        "--sd",
        "2",
        "--mde",
        "0.1",
        "--variants",
        "3",
        "--rps",
        "0.5",
    ]);
    assert_eq!(answer["alpha_per_comparison"], 0.025);
    let row = answer["effects"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["effect"] == 0.1)
        .unwrap();
    assert_eq!(row["difference"], 0.4);
    // (2.2414 + 0.8416)² · 2 · 4 / 0.16 = 475.2
    assert_eq!(
        row["fixed"]["requests"],
        serde_json::json!({"control": 476, "candidate": 476, "all": 1428})
    );
    assert!((number(&row["fixed"]["days"]) - 1428.0 / 43_200.0).abs() < 1e-9);
}

#[test]
fn a_guardrail_is_told_in_candidate_requests() {
    let answer = json(&[
        "--guardrail",
        "--baseline",
        "0.02",
        "--ratio",
        "2",
        "--share",
        "0.05",
        "--rps",
        "10",
    ]);
    let freeze = &answer["freezes"][0];
    // θ = 0.0952, KL = 0.01722: 267 bad requests, 25.5 of them the candidate's, at a rate of 4 %.
    assert!((number(&freeze["bound"]) - 636.6).abs() < 1.0, "{freeze}");
    assert!((number(&freeze["expected"][1]) / number(&freeze["bound"]) - 2.0).abs() < 1e-12);
    assert!((number(&freeze["expected_s"][0]) - number(&freeze["expected"][0]) / 0.5).abs() < 1e-9);
    let (code, out, _) = serin(&["--guardrail", "--baseline", "0.02", "--share", "0.05"]);
    assert_eq!(code, 0);
    for part in ["1.2 to 2 times that bound", "10 ×", "Wald 1945"] {
        assert!(out.contains(part), "{part} is not in\n{out}");
    }
}

#[test]
fn tables_and_pictures_name_what_they_show() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("power.svg");
    let (code, out, errors) = serin(&[
        "--baseline",
        "0.1",
        "--mde",
        "0.1",
        "--plot",
        &picture.display().to_string(),
    ]);
    assert_eq!((code, errors.as_str()), (0, ""));
    let line = out.lines().find(|line| line.contains("10 % → 11 %")).unwrap();
    assert!(line.contains("14,751") && line.contains("29,502"), "{out}");
    let svg = fs::read_to_string(picture).unwrap();
    for part in [
        "The chance to find an effect",
        "power in %",
        "units of all variants",
        "always valid, at one look",
        "10 % → 11 %",
        "power sought: 80 %",
    ] {
        assert!(svg.contains(part), "{part} is not in the picture");
    }
}

#[test]
fn wrong_options_are_told_with_their_bounds() {
    for (arguments, told) in [
        (
            &["--baseline", "1.2"][..],
            "--baseline: a rate must be greater than 0 and less than 1",
        ),
        (&["--baseline", "0"], "must be a number finite and not 0"),
        (&[], "--baseline"),
        (
            &["--baseline", "0.5", "--mde", "1.5"],
            "--mde 1.5: raises the rate to 1.25; must stay below 1",
        ),
        (&["--baseline", "0.5", "--mde=-1"], "--mde"),
        (
            &["--baseline", "0.5", "--power", "1"],
            "greater than 0 and less than 1",
        ),
        (
            &["--baseline", "0.5", "--power", "0.04"],
            "--power: must be greater than --alpha",
        ),
        (
            &["--baseline", "0.5", "--share", "0.5", "--variants", "3"],
            "must be less than 0.5",
        ),
        (
            &["--baseline", "0.5", "--requests-per-unit", "3"],
            "needs --icc or --design-effect",
        ),
        (&["--baseline", "0.5", "--icc", "0.3"], "--requests-per-unit"),
        (
            &["--baseline", "0.5", "--requests-per-unit", "3", "--icc", "1.1"],
            "between 0 and 1",
        ),
        (&["--baseline", "0.5", "--design-effect", "0.5"], "at least 1"),
        (
            &["--baseline", "0.5", "--design-effect", "4", "--units", "100"],
            "without --requests-per-unit",
        ),
        (
            &["--baseline", "0.5", "--rps", "1", "--units-per-day", "2"],
            "cannot be used with",
        ),
        (&["--baseline", "0.5", "--ratio", "2"], "--guardrail"),
        (
            &["--baseline", "0.5", "--guardrail", "--ratio", "1"],
            "greater than 1",
        ),
        (
            &["--baseline", "0.5", "--guardrail", "--ratio", "3"],
            "--ratio 3: the bad rate would be 1.5; must be at most 2",
        ),
        (&["--baseline", "0.5", "--sd", "0"], "finite and greater than 0"),
    ] {
        let (code, out, errors) = serin(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {errors}");
        assert!(
            errors.contains(told),
            "{arguments:?}: {told:?} is not in {errors}"
        );
    }
    let (code, _, errors) = serin(&["--baseline", "1e-300", "--mde", "1e-12"]);
    assert_eq!(code, 1);
    assert!(
        errors.contains("cannot be planned for") && errors.contains("sample size"),
        "{errors}"
    );
}
