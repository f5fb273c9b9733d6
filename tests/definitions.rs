//! Definition files: what they mean, and that every mistake in them is told at once with file, line and field.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed helper is a failed test"
)]

use serin::{
    definitions::{
        experiment::experiment_from_json,
        load::{DefinitionDirs, Definitions, load},
        mistake::Mistakes,
        watch::Watcher,
    },
    domain::{
        check,
        experiment::{ExperimentKind, ExperimentSpec, WantedStatus},
        guardrail::Limit,
        id::Environment,
        problem::Problem,
        prompt::{PromptContent, PromptType, VersionRef},
        rollout::OnComplete,
    },
};
use std::{fmt::Write as _, fs, path::Path, time::Duration};
use tempfile::TempDir;

const GOOD: &str = r#"prompt = "reply"
kind = "canary"
status = "running"
owner = "support"
unit = "user"
audience = 'country in ["DE"]'
traffic = 0.5
salt = "pepper"
start = 2026-12-01T01:00:00+01:00
end = 2026-12-31T00:00:00Z
layer = { name = "support", slots = [0, 30] }

[[variants]]
name = "control"
version = "1.0.0"
weight = 50

[[variants]]
name = "friendly"
version = 2
weight = 50

[[metrics]]
name = "resolved"
kind = "rate"
goal = "increase"
primary = true

[[metrics]]
name = "length"
kind = "mean"
goal = "decrease"
cap = 60_000

[[guardrails]]
metric = "fallback"
max_ratio = 1.25
on_breach = "hold"
settle = "5s"

[[guardrails]]
metric = "latency_ms"
above = 4000
max_rate = 0.05

[rollout]
stages = [{ share = 0.01, for = "15m", min_outcomes = 500 }, { share = 1, for = "1h" }]
on_complete = "promote"

[overrides]
friendly = ["qa-1", 7]
"#;

const GOOD_PROMPT: &str = "prompt = 'Answer {{question}}'\n";

fn production() -> Environment {
    Environment::new("production").unwrap()
}

/// A folder with these files, `prompts` and `experiments` always there.
fn folder(files: &[(&str, &str)]) -> (TempDir, DefinitionDirs) {
    let root = tempfile::tempdir().unwrap();
    let dirs = DefinitionDirs {
        prompts: root.path().join("prompts"),
        experiments: root.path().join("experiments"),
    };
    fs::create_dir(&dirs.prompts).unwrap();
    fs::create_dir(&dirs.experiments).unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    (root, dirs)
}

fn told(root: &TempDir, mistakes: &Mistakes) -> String {
    let prefix = format!("{}/", root.path().display());
    mistakes.to_string().replace(&prefix, "")
}

/// Loads these files and expects exactly these mistakes, each given by its beginning; a `…` stands for any text.
#[track_caller]
fn check(files: &[(&str, &str)], expected: &[&str]) {
    let (root, dirs) = folder(files);
    expect(&root, load(&dirs, &production()), expected);
}

#[track_caller]
fn expect(root: &TempDir, result: Result<Definitions, Mistakes>, expected: &[&str]) {
    let told = match result {
        Ok(_) => String::new(),
        Err(mistakes) => told(root, &mistakes),
    };
    let lines: Vec<&str> = told.lines().collect();
    let fits = |line: &str, pattern: &str| {
        let mut rest = line;
        pattern.split('…').enumerate().all(|(index, part)| {
            let found = if index == 0 {
                rest.starts_with(part).then_some(0)
            } else {
                rest.find(part)
            };
            found.inspect(|at| rest = &rest[at + part.len()..]).is_some()
        })
    };
    let mut missing: Vec<&&str> = expected.iter().collect();
    missing.retain(|pattern| !lines.iter().any(|line| fits(line, pattern)));
    assert!(
        missing.is_empty() && lines.len() == expected.len(),
        "missing {missing:#?} in\n{told}"
    );
}

#[track_caller]
fn loaded(files: &[(&str, &str)]) -> Definitions {
    let (root, dirs) = folder(files);
    load(&dirs, &production()).unwrap_or_else(|mistakes| panic!("{}", told(&root, &mistakes)))
}

/// [`GOOD`] with one piece of text replaced, as `experiments/a.toml`.
#[track_caller]
fn check_changed(from: &str, to: &str, expected: &[&str]) {
    assert!(GOOD.contains(from), "{from}");
    let text = GOOD.replacen(from, to, 1);
    let expected: Vec<String> = expected
        .iter()
        .map(|e| format!("experiments/a.toml:{e}"))
        .collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check(&[("experiments/a.toml", &text)], &expected);
}

#[test]
fn a_full_experiment_is_read_as_written() {
    let definitions = loaded(&[("experiments/a.b-1.toml", GOOD)]);
    let spec = &definitions.experiments[0].spec;
    assert_eq!(spec.id.as_str(), "a.b-1");
    assert_eq!(spec.environment.as_str(), "production");
    assert_eq!(
        (spec.kind, spec.status),
        (ExperimentKind::Canary, WantedStatus::Running)
    );
    assert_eq!(spec.start.unwrap().to_string(), "2026-12-01T00:00:00Z");
    assert_eq!(spec.layer.as_ref().unwrap().slots, [0.0, 30.0]);
    assert_eq!(
        spec.variants[0].version,
        VersionRef::Semver("1.0.0".parse().unwrap())
    );
    assert_eq!(spec.variants[1].version, "2".parse().unwrap());
    assert_eq!(spec.metrics[1].cap, Some(60_000.0));
    assert_eq!(spec.guardrails[0].settle, Duration::from_secs(5));
    assert_eq!(spec.guardrails[1].limit, Limit::MaxRate(0.05));
    let rollout = spec.rollout.as_ref().unwrap();
    assert_eq!(
        (rollout.stages[0].min_outcomes, rollout.on_complete),
        (500, OnComplete::Promote)
    );
    assert_eq!(rollout.stages[1].duration, Duration::from_secs(3600));
    assert_eq!(spec.overrides["friendly"], ["qa-1", "7"]);
}

#[test]
fn absent_keys_take_their_defaults() {
    let text = "prompt = 'p'\nunit = 'user'\n[[variants]]\nname = 'a'\nversion = 1\nweight = 1\n\
        [[variants]]\nname = 'b'\nversion = 2\nweight = 3\n[[guardrails]]\nmetric = 'error'\nmax_ratio = 2\n";
    let definitions = loaded(&[("experiments/a.toml", text)]);
    let spec = &definitions.experiments[0].spec;
    assert_eq!(
        (spec.kind, spec.status),
        (ExperimentKind::Experiment, WantedStatus::Draft)
    );
    assert_eq!(spec.traffic, 1.0);
    assert_eq!(spec.salt(), "a");
    assert_eq!(
        (spec.guardrails[0].on_breach, spec.guardrails[0].settle),
        (None, Duration::ZERO)
    );
    assert!(spec.audience.is_none() && spec.rollout.is_none() && spec.overrides.is_empty());
}

#[test]
fn json_and_toml_give_the_same_design() {
    let text = GOOD.replace("cap = 60_000", "covariate = \"past\"\nmde = 0.1\nmargin = 0.2");
    let text = text.replace("traffic = 0.5", "min_units = 7");
    let text = format!("{text}[segments]\ncountry = [\"DE\", \"FR\"]\n");
    let definitions = loaded(&[("experiments/a.toml", &text)]);
    let from_file = &definitions.experiments[0].spec;
    assert_eq!(from_file.min_units, Some(7));
    let json = serde_json::to_value(from_file).unwrap();
    let read = |id| experiment_from_json(id, &json, &production());
    assert_eq!(read(None).as_ref(), Ok(from_file));
    assert_eq!(read(Some("a")).as_ref(), Ok(from_file));
    let other = read(Some("b")).unwrap_err();
    assert!(other[0].to_string().starts_with("id: must be `b`"), "{other:?}");
    assert_eq!(
        serde_json::from_value::<ExperimentSpec>(json).unwrap(),
        *from_file
    );
}

#[test]
fn json_has_the_rules_of_files_and_null_is_absent() {
    let body = serde_json::json!({
        "prompt": "p", "unit": null, "traffic": "all", "weight": 1,
        "start": "2026-12-01T00:00:00",
        "variants": [{"name": "a", "version": 0, "weight": -1}],
    });
    let problems = experiment_from_json(None, &body, &production()).unwrap_err();
    let fields: Vec<&str> = problems.iter().map(|p| p.field.as_str()).collect();
    let expected = [
        "id",
        "unit",
        "traffic",
        "start",
        "variants[0].version",
        "weight",
        "variants",
        "variants[0].weight",
    ];
    assert_eq!(fields, expected, "{problems:#?}");
    assert!(experiment_from_json(Some("a"), &serde_json::json!([]), &production()).is_err());
}

#[test]
fn what_is_there_must_have_the_right_type() {
    check_changed("\"reply\"", "7", &["1: prompt: expected text, found 7"]);
    check_changed(
        "\"reply\"",
        "'a|b'",
        &["1: prompt: prompt `a|b` is not a valid name: 1 to 255…"],
    );
    check_changed(
        "0.5",
        "'half'",
        &["7: traffic: expected a number, found text \"half\""],
    );
    check_changed(
        "primary = true",
        "primary = 1",
        &["27: metrics[0].primary: expected true or false, found 1"],
    );
    check_changed(
        "weight = 50",
        "weight = []",
        &["16: variants[0].weight: expected a number, found a list"],
    );
    check_changed(
        "500",
        "0.5",
        &["47: rollout.stages[0].min_outcomes: expected a whole number from 0 to…found 0.5"],
    );
    check_changed(
        "500",
        "-1",
        &["47: rollout.stages[0].min_outcomes: expected a whole number from 0 to…found -1"],
    );
    check_changed(
        "500",
        &"9".repeat(60),
        &["47: rollout.stages[0].min_outcomes: expected a whole number from 0 to…"],
    );
    check_changed(
        "\"15m\"",
        "15",
        &["47: rollout.stages[0].for: expected a duration in quotes, such as…found 15"],
    );
    check_changed(
        "\"5s\"",
        "\"5\"",
        &["39: guardrails[0].settle: `5` is not a duration; write a number and a unit…"],
    );
    check_changed(
        "slots = [0, 30]",
        "slots = [0]",
        &["11: layer.slots: must be [lower, upper], 2 numbers…found 1"],
    );
    check_changed(
        "version = 2",
        "version = 'two'",
        &["20: variants[1].version: `two` is neither a semver…"],
    );
    check_changed(
        "version = 2",
        "version = 0",
        &["20: variants[1].version: expected a version number from 1…found 0"],
    );
    check_changed(
        "[\"qa-1\", 7]",
        "'qa-1'",
        &["51: overrides.friendly: expected a list, found text \"qa-1\""],
    );
    check_changed(
        "layer = { name = \"support\", slots = [0, 30] }",
        "layer = 'support'",
        &["11: layer: expected a table, found text \"support\""],
    );
}

#[test]
fn words_are_chosen_from_a_list() {
    check_changed(
        "\"canary\"",
        "\"canari\"",
        &["2: kind: expected one of \"experiment\", \"canary\", found \"canari\", did you mean \"canary\"?"],
    );
    check_changed(
        "\"running\"",
        "\"live\"",
        &["3: status: expected one of \"draft\", \"running\", \"stopped\", found \"live\""],
    );
    check_changed(
        "\"hold\"",
        "false",
        &["38: guardrails[0].on_breach: expected one of \"freeze\", \"hold\", \"alert\", found false"],
    );
    check_changed(
        "\"promote\"",
        "'Promote'",
        &[
            "48: rollout.on_complete: expected one of \"promote\", \"hold\", found \"Promote\", did you mean \"promote\"?",
        ],
    );
    check_changed(
        "kind = \"rate\"\ngoal = \"increase\"",
        "kind = \"ratio\"\ngoal = \"up\"",
        &[
            "25: metrics[0].kind: expected one of \"rate\", \"mean\"…",
            "26: metrics[0].goal: expected one of \"increase\", \"decrease\", found \"up\"",
        ],
    );
}

#[test]
fn times_need_an_offset() {
    check_changed(
        "2026-12-31T00:00:00Z",
        "2026-12-31T00:00:00",
        &["10: end: \"2026-12-31T00:00:00\" has no time zone; write it like 2026-12-01T00:00:00Z or…"],
    );
    check_changed(
        "2026-12-31T00:00:00Z",
        "2026-12-31",
        &["10: end: \"2026-12-31\" has no time zone…"],
    );
    check_changed(
        "2026-12-31T00:00:00Z",
        "12:00:00",
        &["10: end: expected a date and time such as 2026-12-01T00:00:00Z, found \"12:00:00\""],
    );
    check_changed("2026-12-31T00:00:00Z", "'2026-12-31T00:00:00Z'", &[]);
    check_changed(
        "2026-12-31T00:00:00Z",
        "2026-12-01T00:00:00Z",
        &["10: end: must be after `start` (2026-12-01T00:00:00Z), found…"],
    );
}

#[test]
fn unknown_and_missing_keys_are_named() {
    check_changed(
        "traffic = 0.5",
        "trafic = 0.5",
        &["7: trafic: unknown key, did you mean `traffic`?"],
    );
    check_changed(
        "salt = \"pepper\"",
        "zzzzzzzz = 1",
        &["8: zzzzzzzz: unknown key, allowed here: prompt, environment, kind, status, unit, owner…"],
    );
    check_changed("salt = \"pepper\"", "id = \"a\"", &["8: id: unknown key, …"]);
    check_changed(
        "unit = \"user\"\n",
        "",
        &["1: unit: is required: the context attribute that is randomised, such as \"user\""],
    );
    check_changed(
        "name = \"friendly\"\n",
        "",
        &["18: variants[1].name: is required: the variant's name"],
    );
    check_changed(
        "weight = 50",
        "weigth = 50",
        &[
            "13: variants[0].weight: is required: a number greater than 0",
            "16: variants[0].weigth: unknown key, did you mean `weight`?",
        ],
    );
    check_changed(
        "share = 0.01, for = \"15m\", min",
        "share = 0.01, min",
        &["47: rollout.stages[0].for: is required: the least time the stage lasts, such as \"15m\""],
    );
    check_changed(
        "max_ratio = 1.25\n",
        "",
        &["35: guardrails[0].max_ratio: is required: a limit, either `max_ratio`…`max_rate`…"],
    );
    check_changed(
        "max_ratio = 1.25\n",
        "max_ratio = 1.25\nmax_rate = 0.5\n",
        &["38: guardrails[0].max_rate: a guardrail has one limit…"],
    );
    check_changed(
        "goal = \"decrease\"\n",
        "",
        &["29: metrics[1].goal: is required: \"increase\" or \"decrease\"…"],
    );
}

#[test]
fn weights_traffic_and_shares_keep_their_bounds() {
    for (weight, found) in [
        ("0", "0"),
        ("-1", "-1"),
        ("inf", "inf"),
        ("nan", "NaN"),
        ("1e999", "inf"),
    ] {
        let problem =
            format!("16: variants[0].weight: must be a finite number greater than 0, found {found}");
        check_changed("weight = 50", &format!("weight = {weight}"), &[&problem]);
    }
    let all_zero = GOOD.replace("weight = 50", "weight = 0");
    check(
        &[("experiments/a.toml", &all_zero)],
        &[
            "experiments/a.toml:16: variants[0].weight: must be a finite number greater than 0, found 0",
            "experiments/a.toml:21: variants[1].weight: must be a finite number greater than 0, found 0",
        ],
    );
    let huge = GOOD.replace("weight = 50", "weight = 1e308");
    check(
        &[("experiments/a.toml", &huge)],
        &["experiments/a.toml:13: variants: the weights' sum must be finite"],
    );
    for traffic in ["-0.1", "1.01", "nan", "inf"] {
        check_changed("0.5", traffic, &["7: traffic: must be from 0 to 1, found …"]);
    }
    for share in ["0", "-1", "1.5", "nan"] {
        let problem = "47: rollout.stages[0].share: must be greater than 0 and at most 1, found …";
        check_changed("0.01", share, &[problem]);
    }
    check_changed(
        "share = 1,",
        "share = 0.005,",
        &["47: rollout.stages[1].share: must not be smaller than the stage before (0.01), found 0.005"],
    );
    check_changed(
        "\"1h\"",
        "\"0s\"",
        &["47: rollout.stages[1].for: must be greater than 0s and at most 366d, found 0s"],
    );
    check_changed("\"1h\"", "\"9999d\"", &["47: rollout.stages[1].for: must be…"]);
    for slots in ["[30, 30]", "[40, 30]", "[-1, 30]", "[0, 101]", "[nan, 30]"] {
        let problem = "11: layer.slots: must be [lower, upper] with 0 ≤ lower < upper ≤ 100, found …";
        check_changed("[0, 30]", slots, &[problem]);
    }
}

#[test]
fn lists_keep_their_lengths_and_names_are_unique() {
    let one = GOOD.replace(
        "[[variants]]\nname = \"friendly\"\nversion = 2\nweight = 50\n",
        "",
    );
    check(
        &[("experiments/a.toml", &one.replace("friendly = ", "control = "))],
        &["experiments/a.toml:13: variants: must have at least 2, found 1"],
    );
    let mut many = GOOD.to_owned();
    for n in 0..31 {
        write!(many, "\n[[variants]]\nname = 'v{n}'\nversion = 1\nweight = 1\n").unwrap();
    }
    check(
        &[("experiments/a.toml", &many)],
        &["experiments/a.toml:13: variants: may have at most 32, found 33"],
    );
    let start = GOOD.find("stages").unwrap();
    let end = GOOD.find("on_complete").unwrap();
    check_changed(
        &GOOD[start..end],
        "stages = []\n",
        &["47: rollout.stages: must have at least 1, found 0"],
    );
    check_changed(
        "name = \"friendly\"",
        "name = \"control\"",
        &[
            "19: variants[1].name: a variant's name must be unique, and variants[0] is `control` already",
            "51: overrides.friendly: no variant has this name; there are: control, control",
        ],
    );
    check_changed(
        "\"friendly\"",
        "\"deployed\"",
        &["19: variants[1].name: variant `deployed` is not a valid name: …reserved `deployed`"],
    );
    check_changed(
        "\"length\"",
        "\"resolved\"",
        &["30: metrics[1].name: a metric's name must be unique…"],
    );
}

#[test]
fn metrics_are_what_they_say() {
    check_changed(
        "cap = 60_000",
        "primary = true",
        &["33: metrics[1].primary: at most one metric is primary, and metrics[0] is already"],
    );
    for cap in ["0", "-5", "inf"] {
        check_changed(
            "60_000",
            cap,
            &["33: metrics[1].cap: must be a finite number greater than 0, found …"],
        );
    }
    check_changed(
        "primary = true",
        "cap = 2",
        &["27: metrics[0].cap: only a metric of kind \"mean\" has a cap…"],
    );
    check_changed(
        "\"length\"\nkind = \"mean\"",
        "\"quality\"\nkind = \"mean\"",
        &["32: metrics[1].goal: `quality` is built in with goal increase…"],
    );
    check_changed(
        "\"resolved\"\nkind = \"rate\"",
        "\"latency_ms\"\nkind = \"rate\"",
        &[
            "25: metrics[0].kind: `latency_ms` is built in as a mean…",
            "26: metrics[0].goal: `latency_ms` is built in with goal decrease…",
            "42: guardrails[1].metric: …state it the other way round…",
            "43: guardrails[1].above: `latency_ms` is a rate already…",
        ],
    );
}

#[test]
fn covariates_effects_and_margins_are_read_and_bounded() {
    let text = GOOD.replace(
        "cap = 60_000",
        "cap = 60_000\ncovariate = \"past_length\"\nmde = 0.1\nmargin = 10",
    );
    let definitions = loaded(&[("experiments/a.toml", &text)]);
    let [rate, mean] = &definitions.experiments[0].spec.metrics[..] else {
        panic!("two metrics");
    };
    assert_eq!((&rate.covariate, rate.mde, rate.margin), (&None, None, None));
    assert_eq!(mean.covariate.as_ref().unwrap().as_str(), "past_length");
    assert_eq!((mean.mde, mean.margin), (Some(0.1), Some(10.0)));

    for share in ["0", "-0.05", "10.1", "inf", "nan"] {
        for key in ["mde", "margin"] {
            check_changed(
                "cap = 60_000",
                &format!("{key} = {share}"),
                &[&format!(
                    "33: metrics[1].{key}: must be greater than 0 and at most 10, found …"
                )],
            );
        }
    }
    for (line, expected) in [
        (
            "covariate = 7",
            "33: metrics[1].covariate: expected text, found 7",
        ),
        (
            "covariate = \"past length\"",
            "33: metrics[1].covariate: attribute `past length` is not a valid name: 1 to 64 of letters…",
        ),
        (
            "covariat = \"a\"",
            "33: metrics[1].covariat: unknown key, did you mean `covariate`?",
        ),
        (
            "mde = \"5 %\"",
            "33: metrics[1].mde: expected a number, found text…",
        ),
        (
            "margn = 0.1",
            "33: metrics[1].margn: unknown key, did you mean `margin`?",
        ),
    ] {
        check_changed("cap = 60_000", line, &[expected]);
    }
    let third = "goal = \"increase\"\ncovariate = \"a\"\n\n[[metrics]]\nname = \"x\"\nkind = \"rate\"\n\
         goal = \"decrease\"\ncovariate = \"b\"\n\n[[metrics]]\nname = \"y\"\nkind = \"rate\"\ngoal = \"decrease\"\n\
         covariate = \"c\"\n\n[[metrics]]\nname = \"z\"\nkind = \"rate\"\ngoal = \"decrease\"\ncovariate = \"a\"";
    check_changed(
        "goal = \"increase\"",
        third,
        &["39: metrics[2].covariate: …at most 2 covariates between them, and `a` and `b` are those"],
    );
}

#[test]
fn segments_are_few_and_distinct() {
    let with = |lines: &str| format!("{GOOD}\n[segments]\n{lines}\n");
    let text = with("country = [\"DE\", \"FR\"]\ntier = [1, 2.5, true, \"gold\"]");
    let definitions = loaded(&[("experiments/a.toml", &text)]);
    let segments = &definitions.experiments[0].spec.segments;
    assert_eq!(segments["country"], ["DE", "FR"]);
    assert_eq!(segments["tier"], ["1", "2.5", "true", "gold"]);

    let fourteen: Vec<String> = (0..14).map(|n| format!("\"v{n}\"")).collect();
    loaded(&[(
        "experiments/a.toml",
        &with(&format!("a = [{}]", fourteen.join(", "))),
    )]);
    for (lines, expected) in [
        (
            format!("a = [{}, \"v\"]", fourteen.join(", ")),
            "54: segments.a: may have at most 14, found 15",
        ),
        (
            "a = []".to_owned(),
            "54: segments.a: must have at least 1, found 0",
        ),
        (
            "a = [\"x\"]\nb = [\"x\"]\nc = [\"x\"]\nd = [\"x\"]\ne = [\"x\"]".to_owned(),
            "53: segments: may have at most 4, found 5",
        ),
        (
            "a = [\"x\", \"y\", \"x\"]".to_owned(),
            "54: segments.a[2]: a value must be unique, and segments.a[0] is `x` already",
        ),
        (
            "a = [\"x\",\n\"\"]".to_owned(),
            "55: segments.a[1]: must not be empty",
        ),
        (
            format!("a = [\"{}\"]", "x".repeat(1_025)),
            "54: segments.a[0]: may have at most 1024 bytes, found 1025",
        ),
        (
            "a = [\"x\", []]".to_owned(),
            "54: segments.a[1]: expected text, a number, or true or false, found a list",
        ),
        (
            "a = [nan, nan]".to_owned(),
            "54: segments.a[0]: expected text, a number, or true or false, found NaN",
        ),
        (
            "a = \"x\"".to_owned(),
            "54: segments.a: expected a list, found text \"x\"",
        ),
        (
            "\"a b\" = [\"x\"]".to_owned(),
            "54: segments.a b: attribute `a b` is not a valid name…",
        ),
    ] {
        let mut expected = vec![format!("experiments/a.toml:{expected}")];
        if lines.contains("nan") {
            expected.push(expected[0].replace("[0]", "[1]"));
        }
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(&[("experiments/a.toml", &with(&lines))], &expected);
    }
    check_changed(
        "traffic = 0.5",
        "segments = 3",
        &["7: segments: expected a table, found 3"],
    );
    check_changed(
        "traffic = 0.5",
        "segment = 3",
        &["7: segment: unknown key, did you mean `segments`?"],
    );
}

#[test]
fn the_least_number_of_units_is_bounded() {
    for units in ["1", "1_000_000"] {
        let text = GOOD.replace("traffic = 0.5", &format!("min_units = {units}"));
        loaded(&[("experiments/a.toml", &text)]);
    }
    for units in ["0", "-1", "1_000_001", "2.5", "99999999999999999999"] {
        check_changed(
            "traffic = 0.5",
            &format!("min_units = {units}"),
            &["7: min_units: expected a whole number from 1 to 1000000, found …"],
        );
    }
    check_changed(
        "traffic = 0.5",
        "min_unit = 5",
        &["7: min_unit: unknown key, did you mean `min_units`?"],
    );
    // A design that came by another road keeps the same bounds.
    let mut spec = loaded(&[("experiments/a.toml", GOOD)]).experiments[0]
        .spec
        .clone();
    spec.min_units = Some(0);
    let problems = check::problems(&spec);
    assert_eq!(
        problems[0].to_string(),
        "min_units: must be from 1 to 1000000, found 0"
    );
}

#[test]
fn guardrails_count_what_is_bad() {
    for ratio in ["1", "16", "0", "-2", "nan", "inf"] {
        check_changed(
            "1.25",
            ratio,
            &["37: guardrails[0].max_ratio: must be greater than 1 and less than 16, found …"],
        );
    }
    for rate in ["0", "1", "-1", "nan"] {
        check_changed(
            "0.05",
            rate,
            &["44: guardrails[1].max_rate: must be greater than 0 and less than 1, found …"],
        );
    }
    check_changed(
        "\"fallback\"",
        "\"falback\"",
        &[
            "36: guardrails[0].metric: `falback` is neither built in nor declared in `metrics`; known here: resolved, length, fallback…",
        ],
    );
    check_changed(
        "\"fallback\"",
        "\"resolved\"",
        &[
            "36: guardrails[0].metric: a guardrail counts what is bad, and of `resolved` more is better; state it the other way round…",
        ],
    );
    check_changed(
        "max_ratio = 1.25",
        "max_ratio = 1.25\nabove = 0.5",
        &["38: guardrails[0].above: `fallback` is a rate already; leave `above` out"],
    );
    check_changed(
        "above = 4000\n",
        "",
        &["41: guardrails[1].above: `latency_ms` is a number; give the value above which…"],
    );
    check_changed(
        "above = 4000",
        "above = inf",
        &["43: guardrails[1].above: must be a finite number, found inf"],
    );
    check_changed("above = 4000", "above = -1", &[]);
    check_changed(
        "\"5s\"",
        "\"8d\"",
        &["39: guardrails[0].settle: must be at most 7d, found …"],
    );
    let same = "metric = \"fallback\"\nmax_ratio = 2";
    check_changed(
        "metric = \"latency_ms\"\nabove = 4000\nmax_rate = 0.05",
        same,
        &["41: guardrails[1]: guardrails[0] already limits `fallback` by `max_ratio`"],
    );
    check_changed(
        "metric = \"latency_ms\"\nabove = 4000",
        "metric = \"fallback\"",
        &[],
    );
}

#[test]
fn overrides_name_variants_and_units() {
    check_changed(
        "friendly = [\"qa-1\", 7]",
        "friendly = [\"qa-1\", \"\"]\ncontrol = [\"qa-1\"]\nother = []",
        &[
            "51: overrides.friendly[0]: unit `qa-1` is already forced into `control`",
            "51: overrides.friendly[1]: a unit id must not be empty",
            "53: overrides.other: no variant has this name; there are: control, friendly",
        ],
    );
    check_changed(
        "friendly = [",
        "deployed = [",
        &["51: overrides.deployed: variant `deployed` is not a valid name…"],
    );
}

#[test]
fn texts_are_bounded() {
    let long = format!("\"{}\"", "x".repeat(2_000));
    check_changed(
        "\"pepper\"",
        &long,
        &["8: salt: may have at most 1024 bytes, found 2000"],
    );
    check_changed(
        "\"support\"\nunit",
        &format!("{long}\nunit"),
        &["4: owner: may have at most 1024 bytes, found 2000"],
    );
    check_changed("\"pepper\"", "\"\"", &["8: salt: must not be empty"]);
    check_changed(
        "'country in [\"DE\"]'",
        "' '",
        &["6: audience: must not be empty; leave it out to enrol everyone"],
    );
    let hypothesis = format!("\"pepper\"\nhypothesis = \"{}\"", "x".repeat(20_000));
    check_changed(
        "\"pepper\"",
        &hypothesis,
        &["9: hypothesis: may have at most 16384 bytes, found 20000"],
    );
}

#[test]
fn a_half_read_part_brings_no_false_complaints() {
    // The unread name is not "no variant has this name", the unread metric not "neither built in nor declared".
    check_changed("name = \"friendly\"", "name = 7", &["19: variants[1].name: …"]);
    check_changed(
        "[[variants]]\nname = \"control\"\nversion = \"1.0.0\"\nweight = 50\n\n[[variants]]\nname = \"friendly\"\nversion = 2\nweight = 50",
        "variants = ['control', 'friendly']",
        &[
            "13: variants[0]: expected a table, found text \"control\"",
            "13: variants[1]: expected a table, found text \"friendly\"",
        ],
    );
    let guarded = GOOD.replace("\"fallback\"", "\"slow\"");
    check(
        &[(
            "experiments/a.toml",
            &guarded.replace("name = \"length\"", "name = true"),
        )],
        &["experiments/a.toml:30: metrics[1].name: expected text, found true"],
    );
    check_changed(
        "share = 0.01",
        "share = 'few'",
        &["47: rollout.stages[0].share: …"],
    );
    // What has nothing to do with it is still told.
    check_changed(
        "weight = 50\n\n[[variants]]\nname = \"friendly\"",
        "weight = ''\n\n[[variants]]\nname = \"friendlier\"",
        &[
            "16: variants[0].weight: expected a number, found text \"\"",
            "51: overrides.friendly: no variant has this name…",
        ],
    );
}

#[test]
fn broken_toml_gives_lines_and_nothing_else() {
    check(
        &[(
            "experiments/a.toml",
            "prompt = \nunit = 'user'\nx = = 3\n[[variants\n",
        )],
        &[
            "experiments/a.toml:1: not valid TOML: …",
            "experiments/a.toml:3: not valid TOML: …",
            "experiments/a.toml:4: not valid TOML: …",
        ],
    );
    check_changed(
        "unit = \"user\"\n",
        "unit = \"user\"\nunit = \"tenant\"\n",
        &["6: not valid TOML: duplicate key"],
    );
    let deep = format!("a = {}", "[".repeat(10_000));
    let (_root, dirs) = folder(&[("experiments/a.toml", &deep)]);
    assert!(load(&dirs, &production()).is_err());
    for deep in [
        format!("{} = 1", vec!["a"; 300_000].join(".")),
        format!("[{}]", vec!["a"; 300_000].join(".")),
    ] {
        check(
            &[("experiments/a.toml", &deep)],
            &["experiments/a.toml: not valid TOML: recursion limit"],
        );
    }
    // A byte order mark and Windows line ends are fine, and lines stay right.
    let windows = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
    check(&[("experiments/a.toml", &windows)], &[]);
    check(
        &[("experiments/a.toml", &windows.replace("0.5", "5"))],
        &["experiments/a.toml:7: traffic: …"],
    );
}

#[test]
fn every_prefix_of_a_file_is_refused_or_valid() {
    let sample = include_str!("../config/experiments/ticket_summary_canary.toml");
    let (_root, dirs) = folder(&[]);
    let file = dirs.experiments.join("a.toml");
    let mut valid = 0;
    for text in [GOOD, sample] {
        for end in 0..=text.len() {
            fs::write(&file, &text.as_bytes()[..end]).unwrap();
            if let Ok(definitions) = load(&dirs, &production()) {
                assert_eq!(check::problems(&definitions.experiments[0].spec), []);
                valid += 1;
            }
        }
    }
    assert!(valid > 2);
}

proptest::proptest! {
    #[test]
    fn every_changed_byte_is_refused_or_valid(at in 0..GOOD.len(), byte: u8) {
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[at] = byte;
        let (_root, dirs) = folder(&[]);
        fs::write(dirs.experiments.join("a.toml"), bytes).unwrap();
        match load(&dirs, &production()) {
            Ok(definitions) => assert_eq!(check::problems(&definitions.experiments[0].spec), []),
            Err(mistakes) => assert!(!mistakes.0.is_empty()),
        }
    }
}

#[test]
fn files_that_are_no_text_files_are_mistakes() {
    let (root, dirs) = folder(&[]);
    fs::write(dirs.experiments.join("utf.toml"), b"a = 1\nb = \"\xff\"\n").unwrap();
    fs::create_dir(dirs.experiments.join("dir.toml")).unwrap();
    fs::write(dirs.experiments.join("large.toml"), vec![b'#'; 1_048_577]).unwrap();
    fs::write(dirs.experiments.join("a b.toml"), GOOD).unwrap();
    let mut expected = vec![
        "experiments/a b.toml:1: id: experiment `a b` is not a valid name: 1 to 128 of letters…",
        "experiments/dir.toml: expected a file, found a directory",
        "experiments/large.toml: may have at most 1048576 bytes",
        "experiments/utf.toml:2: not valid UTF-8",
    ];
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink("nowhere", dirs.experiments.join("lost.toml")).unwrap();
        symlink("/dev/zero", dirs.experiments.join("zero.toml")).unwrap();
        expected.push("experiments/lost.toml: cannot be read: …");
        expected.push("experiments/zero.toml: expected a regular file");
    }
    let result = load(&dirs, &production());
    expect(&root, result, &expected);
}

#[test]
fn a_missing_folder_is_never_an_empty_one() {
    let (root, dirs) = folder(&[]);
    let empty = load(&dirs, &production()).unwrap();
    assert!(empty.prompts.is_empty() && empty.experiments.is_empty());
    fs::remove_dir(&dirs.experiments).unwrap();
    fs::remove_dir(&dirs.prompts).unwrap();
    fs::write(&dirs.prompts, "a file").unwrap();
    let result = load(&dirs, &production());
    expect(
        &root,
        result,
        &[
            "experiments: the folder cannot be read: …",
            "prompts: the folder cannot be read: …",
        ],
    );
}

#[test]
fn other_files_and_hidden_ones_are_none_of_ours() {
    let definitions = loaded(&[
        ("experiments/a.toml", GOOD),
        ("experiments/.a.toml", "broken ["),
        ("experiments/a.toml~", "broken ["),
        ("experiments/a.toml.swp", "broken ["),
        ("experiments/a.toml.tmp", "broken ["),
        ("experiments/notes.md", "broken ["),
        ("experiments/archive/old.toml", "broken ["),
        ("experiments/..data/a.toml", "broken ["),
        ("prompts/reply/1.0.0.toml", GOOD_PROMPT),
        ("prompts/..2026/reply/9.0.0.toml", "broken ["),
        ("prompts/reply/README", "broken ["),
    ]);
    assert_eq!((definitions.prompts.len(), definitions.experiments.len()), (1, 1));
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_loops_end() {
    use std::os::unix::fs::symlink;
    let (root, dirs) = folder(&[("data/a.toml", GOOD), ("versions/reply/1.0.0.toml", GOOD_PROMPT)]);
    symlink("../data/a.toml", dirs.experiments.join("a.toml")).unwrap();
    symlink("../versions/reply", dirs.prompts.join("answer")).unwrap();
    symlink("../../prompts", root.path().join("versions/reply/up")).unwrap();
    symlink(".", dirs.prompts.join("self")).unwrap();
    symlink("round", dirs.prompts.join("round")).unwrap();
    let linked = DefinitionDirs {
        prompts: root.path().join("linked"),
        experiments: dirs.experiments.clone(),
    };
    symlink("prompts", &linked.prompts).unwrap();
    let definitions = load(&linked, &production()).unwrap();
    let names: Vec<_> = definitions.prompts.iter().map(|p| p.name.as_str()).collect();
    assert!(names.contains(&"answer"), "{names:?}");
    assert_eq!(definitions.experiments[0].spec.id.as_str(), "a");
}

#[test]
fn prompts_are_read_as_written_in_semver_order() {
    let chat = "type = 'chat'\nlabels = ['staging', 'staging']\ntags = ['t']\nauthor = 'me'\ncommit_message = 'why'\n\
        limitations = 'none'\n[[prompt]]\nrole = 'system'\ncontent = 'hi'\n[[prompt]]\ntype = 'placeholder'\nname = 'history'\n\
        [config]\nat = 2026-12-01T00:00:00Z\nday = 2026-12-01\nn = 1\nx = 0.5\nlist = [true, { a = 1 }]\n";
    let definitions = loaded(&[
        ("prompts/b/1.10.0.toml", GOOD_PROMPT),
        ("prompts/b/1.9.0.toml", GOOD_PROMPT),
        ("prompts/b/1.10.0-rc.1.toml", GOOD_PROMPT),
        ("prompts/a b/c/1.0.0.toml", chat),
    ]);
    let order: Vec<String> = definitions
        .prompts
        .iter()
        .map(|p| format!("{} {}", p.name, p.draft.semver.as_ref().unwrap()))
        .collect();
    assert_eq!(order, ["a b/c 1.0.0", "b 1.9.0", "b 1.10.0-rc.1", "b 1.10.0"]);
    let file = &definitions.prompts[0];
    assert_eq!(file.draft.prompt.prompt_type(), PromptType::Chat);
    assert_eq!(
        serde_json::to_value(&file.draft.prompt).unwrap(),
        serde_json::json!([
            {"type": "chatmessage", "role": "system", "content": "hi"}, {"type": "placeholder", "name": "history"}
        ])
    );
    assert_eq!(
        serde_json::Value::Object(file.draft.config.clone()),
        serde_json::json!({"at": "2026-12-01T00:00:00Z", "day": "2026-12-01", "n": 1, "x": 0.5, "list": [true, {"a": 1}]})
    );
    assert_eq!(file.draft.limitations, "none");
    assert_eq!(file.labels, [Environment::new("staging").unwrap()]);
    let text = &definitions.prompts[1].draft.prompt;
    assert_eq!(*text, PromptContent::Text("Answer {{question}}".to_owned()));
}

#[test]
fn every_mistake_in_a_prompt_is_told() {
    check(
        &[
            ("prompts/1.0.0.toml", GOOD_PROMPT),
            ("prompts/new/1.0.0.toml", GOOD_PROMPT),
            ("prompts/a/1.0.toml", "promt = 'x'\n"),
            (
                "prompts/b/1.0.0.toml",
                "type = 'chat'\nprompt = 'x'\nlabels = ['latest', 7]\ntags = 't'\n",
            ),
            (
                "prompts/c/1.0.0.toml",
                "prompt = []\nlimitations = 3\n[config]\na = nan\nb = [inf]\nc = 99999999999999999999\n",
            ),
            (
                "prompts/d/1.0.0.toml",
                "[[prompt]]\nrole = ''\ncontent = 'x'\n[[prompt]]\nrole = 'user'\n[[prompt]]\ntype = 'placeholder'\nnome = 'x'\n",
            ),
        ],
        &[
            "prompts/1.0.0.toml: a version lies in a folder with the prompt's name…",
            "prompts/new/1.0.0.toml: prompt `new` is not a valid name…",
            "prompts/a/1.0.toml: the file's name `1.0.toml` must be a semver such as 1.0.0.toml…",
            "prompts/a/1.0.toml:1: prompt: is required: text, or for a chat…",
            "prompts/a/1.0.toml:1: promt: unknown key, did you mean `prompt`?",
            "prompts/b/1.0.0.toml:1: type: is \"chat\", but `prompt` is text; write \"text\"…",
            "prompts/b/1.0.0.toml:3: labels[0]: environment `latest` is not a valid name…",
            "prompts/b/1.0.0.toml:3: labels[1]: expected text, found 7",
            "prompts/b/1.0.0.toml:4: tags: expected a list, found text \"t\"",
            "prompts/c/1.0.0.toml:1: prompt: must have at least 1 message",
            "prompts/c/1.0.0.toml:2: limitations: expected text or a table, found 3",
            "prompts/c/1.0.0.toml:4: config.a: must be a finite number…",
            "prompts/c/1.0.0.toml:5: config.b[0]: must be a finite number…",
            "prompts/c/1.0.0.toml:6: config.c: whole numbers must fit into 64 bits",
            "prompts/d/1.0.0.toml:2: prompt[0].role: must not be empty",
            "prompts/d/1.0.0.toml:4: prompt[1].content: is required: the message's text",
            "prompts/d/1.0.0.toml:6: prompt[2].name: is required: the placeholder's name",
            "prompts/d/1.0.0.toml:8: prompt[2].nome: unknown key, did you mean `name`?",
        ],
    );
}

#[test]
fn files_must_agree_with_each_other() {
    let slots = |from: u32, to: u32| GOOD.replace("[0, 30]", &format!("[{from}, {to}]"));
    check(
        &[
            ("prompts/a/1.0.0+x.toml", GOOD_PROMPT),
            ("prompts/a/1.0.0+y.toml", GOOD_PROMPT),
            ("prompts/b/1.0.0.toml", GOOD_PROMPT),
            (
                "prompts/b/2.0.0.toml",
                "type = 'chat'\n[[prompt]]\nrole = 'user'\ncontent = 'x'\n",
            ),
            ("experiments/a.toml", GOOD),
            ("experiments/b.toml", &slots(29, 40)),
            ("experiments/c.toml", &slots(40, 100)),
            ("experiments/d.toml", &GOOD.replace("\"running\"", "\"stopped\"")),
            (
                "experiments/e.toml",
                &GOOD.replace("name = \"support\",", "name = \"other\","),
            ),
        ],
        &[
            "prompts/a/1.0.0+y.toml:1: is the same version as prompts/a/1.0.0+x.toml",
            "prompts/b/2.0.0.toml:1: type: is chat, but a prompt's type is fixed and prompts/b/1.0.0.toml is text",
            "experiments/b.toml:11: layer.slots: [29, 40] of layer `support` overlaps [0, 30] in experiments/a.toml",
        ],
    );
}

#[test]
fn several_mistakes_in_several_files_are_told_in_one_go() {
    let broken = GOOD
        .replace("0.5", "5")
        .replace("weight = 50", "weight = 0")
        .replace("unit", "unti");
    check(
        &[
            ("experiments/a.toml", &broken),
            ("experiments/b.toml", "= 1\n"),
            ("prompts/a/1.0.0.toml", "prompt = 1\n"),
        ],
        &[
            "experiments/a.toml:1: unit: is required…",
            "experiments/a.toml:5: unti: unknown key, did you mean `unit`?",
            "experiments/a.toml:7: traffic: must be from 0 to 1, found 5",
            "experiments/a.toml:16: variants[0].weight: …",
            "experiments/a.toml:21: variants[1].weight: …",
            "experiments/b.toml:1: not valid TOML: …",
            "prompts/a/1.0.0.toml:1: prompt: expected text, or for a chat…found 1",
        ],
    );
}

#[test]
fn later_problems_find_their_line() {
    let definitions = loaded(&[
        ("experiments/a.toml", GOOD),
        ("prompts/a/1.0.0.toml", GOOD_PROMPT),
    ]);
    let line = |field: &str| {
        let mistake = definitions.experiments[0].mistake(&Problem::new(field, "x"));
        assert!(mistake.file.ends_with("a.toml"));
        mistake.line
    };
    assert_eq!(line("variants[1].version"), Some(20));
    assert_eq!(line("variants[1].nothing"), Some(18));
    assert_eq!(line("variants[9]"), Some(13));
    assert_eq!(line("rollout.stages[1].share"), Some(47));
    assert_eq!(line("environment"), Some(1));
    assert_eq!(line(""), Some(1));
    assert_eq!(
        definitions.prompts[0].mistake(&Problem::new("prompt", "x")).line,
        Some(1)
    );
}

#[test]
fn the_sample_configuration_loads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let dirs = DefinitionDirs {
        prompts: root.join("prompts"),
        experiments: root.join("experiments"),
    };
    let definitions = load(&dirs, &production()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    for experiment in &definitions.experiments {
        let spec = &experiment.spec;
        assert_eq!(spec.status, WantedStatus::Running);
        for variant in &spec.variants {
            let registered = definitions.prompts.iter().any(|prompt| {
                prompt.name == spec.prompt
                    && prompt.draft.semver.clone().map(VersionRef::Semver) == Some(variant.version.clone())
            });
            assert!(registered, "{} {}", spec.prompt, variant.version);
        }
    }
    let ids: Vec<_> = definitions
        .experiments
        .iter()
        .map(|e| e.spec.id.as_str())
        .collect();
    assert_eq!(ids, ["support_reply_tone", "ticket_summary_canary"]);
    assert_eq!(definitions.experiments[1].spec.weights(0), [0.95, 0.05]);
}

/// Every way in which files change in practice is announced; each wait ends with the announcement.
#[cfg(unix)]
#[tokio::test]
async fn changes_are_announced_when_they_are_at_rest() {
    use std::os::unix::fs::symlink;
    let (root, dirs) = folder(&[("data1/a.toml", GOOD), ("data2/a.toml", GOOD)]);
    symlink(root.path().join("data1"), dirs.experiments.join("..data")).unwrap();
    symlink("..data/a.toml", dirs.experiments.join("a.toml")).unwrap();
    let mut watcher = Watcher::start(dirs.clone());
    let file = dirs.experiments.join("b.toml");
    let changes: [(&str, &dyn Fn()); 8] = [
        ("a new file", &|| fs::write(&file, "one").unwrap()),
        ("a write", &|| fs::write(&file, "two").unwrap()),
        ("a rename over", &|| {
            fs::write(dirs.experiments.join("b.tmp"), "six").unwrap();
            fs::rename(dirs.experiments.join("b.tmp"), &file).unwrap();
        }),
        ("a swapped link", &|| {
            symlink(root.path().join("data2"), root.path().join("next")).unwrap();
            fs::rename(root.path().join("next"), dirs.experiments.join("..data")).unwrap();
        }),
        ("a deletion", &|| fs::remove_file(&file).unwrap()),
        ("a new folder", &|| {
            fs::create_dir_all(dirs.prompts.join("a/b")).unwrap();
            fs::write(dirs.prompts.join("a/b/1.0.0.toml"), GOOD_PROMPT).unwrap();
        }),
        ("a lost folder", &|| fs::remove_dir_all(&dirs.prompts).unwrap()),
        ("a folder that is back", &|| {
            fs::create_dir(&dirs.prompts).unwrap()
        }),
    ];
    for (what, change) in changes {
        change();
        let announced = tokio::time::timeout(Duration::from_secs(10), watcher.changed()).await;
        assert!(matches!(announced, Ok(Some(_))), "{what}");
    }
}
