//! What a request was and what was known of its unit, from the decision to what is counted.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

#[path = "support/process.rs"]
mod process;
mod support;

use process::{Client, House, TONE, until};
use serde_json::{Value as Json, json};
use serin::{
    collector::{
        intake::Intake,
        observation::{Observation, RawOutcome, RawValue, Rejection},
    },
    domain::{
        audience::{Attributes, Value},
        id::{ArmIndex, Epoch, ExperimentKey, PromptKey},
        metric::{SUCCESS_KEY, built_in_keys},
        segment::{
            SegmentCodes,
            SegmentValue::{Missing, Named, Other},
        },
    },
    routing::{
        assign::assign,
        hash,
        receipt::{LENGTH, PROFILE_LENGTH, Receipt, ReceiptKeys},
    },
};
use std::time::Duration;
use support::{World, now};

const DAY: Duration = Duration::from_secs(86_400);

fn design(id: &str) -> Json {
    json!({
        "id": id, "prompt": "p", "environment": "production", "kind": "experiment", "status": "running", "unit": "user",
        "traffic": 1.0,
        "variants": [{"name": "control", "version": 1, "weight": 1}, {"name": "warm", "version": 2, "weight": 1}],
    })
}

/// Segments `country` and `plan`, covariates `past` and `calls`, by their places.
fn profiled(id: &str) -> Json {
    let mut design = design(id);
    design["segments"] = json!({"country": ["DE", "FR"], "plan": ["free", "2"]});
    design["metrics"] = json!([
        {"name": "resolved", "kind": "rate", "goal": "increase", "covariate": "past"},
        {"name": "length", "kind": "mean", "goal": "decrease", "covariate": "calls"},
    ]);
    design
}

fn context(json: &'static str) -> Attributes<'static> {
    serde_json::from_str(json).unwrap()
}

fn keys() -> ReceiptKeys {
    ReceiptKeys::new([(1, [7; 16])])
}

/// Decides as the data plane does, and signs.
fn decided(world: &World, context: &Attributes<'_>) -> String {
    let table = world.table.load();
    let assignment = assign(table.route("p", None).unwrap(), context);
    let experiment = assignment.experiment.unwrap();
    let receipt = Receipt {
        experiment: experiment.key,
        epoch: experiment.epoch,
        arm: assignment.answer.arm.unwrap(),
        unit_hash: assignment.unit_hash.unwrap(),
        second: u32::try_from(now().as_second()).unwrap(),
        process: 1,
        sequence: 1,
        profile: experiment.profile.as_ref().map(|rule| rule.profile(context)),
    };
    keys().sign(&receipt).unwrap().as_str().to_owned()
}

fn intake(world: &World) -> Intake {
    let view = world.plane.view();
    let catalog = &view.catalog;
    Intake::compile(
        catalog.experiments.values(),
        catalog.prompts.values(),
        keys(),
        DAY,
    )
}

fn resolved() -> RawOutcome<'static> {
    RawOutcome {
        metrics: vec![("resolved".into(), RawValue::Bool(true))],
        ..RawOutcome::default()
    }
}

fn by_name() -> RawOutcome<'static> {
    RawOutcome {
        experiment: Some("e"),
        variant: Some("warm"),
        unit: Some(b"u-1"),
        ..resolved()
    }
}

#[test]
fn a_receipt_brings_back_what_the_context_said() {
    let world = World::with(&[profiled("e")]);
    let receipt = decided(
        &world,
        &context(r#"{"user":"u-1","country":"FR","plan":2,"past":0.25,"calls":"many"}"#),
    );
    assert_eq!(receipt.len(), PROFILE_LENGTH);
    let intake = intake(&world);
    let resolve = |covariates: &[(&'static str, RawValue)]| {
        let outcome = RawOutcome {
            receipt: Some(&receipt),
            covariates: covariates
                .iter()
                .map(|(name, value)| ((*name).into(), *value))
                .collect(),
            ..resolved()
        };
        intake.resolve(&outcome, now())
    };
    let observation = resolve(&[]).unwrap();
    assert_eq!(observation.unit_hash, hash::analysis_hash(b"u-1"));
    let values: Vec<_> = observation.segments.segments(3).map(|s| s.value()).collect();
    assert_eq!(values, [Named(1), Named(1), Missing]);
    assert_eq!(observation.covariates.0, [Some(0.25), None]);
    // What the outcome says itself goes first, by name.
    let given = [("calls", RawValue::Number(3.0))];
    assert_eq!(resolve(&given).unwrap().covariates.0, [Some(0.25), Some(3.0)]);
    let given = [("past", RawValue::Bool(true)), ("calls", RawValue::Number(-1e15))];
    assert_eq!(resolve(&given).unwrap().covariates.0, [Some(1.0), Some(-1e15)]);
}

#[test]
fn an_experiment_without_either_keeps_its_short_receipt() {
    let world = World::with(&[design("e")]);
    let context = context(r#"{"user":"u-1","country":"FR"}"#);
    let receipt = decided(&world, &context);
    assert_eq!(receipt.len(), LENGTH);
    let outcome = || RawOutcome {
        receipt: Some(&receipt),
        metrics: vec![("error".into(), RawValue::Bool(true))],
        ..RawOutcome::default()
    };
    let observation = intake(&world).resolve(&outcome(), now()).unwrap();
    assert_eq!(observation.segments, SegmentCodes::default());
    assert_eq!(observation.covariates.0, [None, None]);
    // A receipt of before the segments were declared stays good, and its request has none.
    world.put(&profiled("e")).unwrap();
    assert_eq!(intake(&world).resolve(&outcome(), now()).unwrap(), observation);
    assert_eq!(decided(&world, &context).len(), PROFILE_LENGTH);
}

#[test]
fn without_a_receipt_the_context_says_it() {
    let world = World::with(&[profiled("e")]);
    let intake = intake(&world);
    let resolve = |context: &Attributes<'_>| {
        let outcome = RawOutcome {
            context: Some(context),
            ..by_name()
        };
        intake.resolve(&outcome, now())
    };
    let observation = resolve(&context(
        r#"{"country":"US","past":true,"calls":null,"anything":["else"]}"#,
    ))
    .unwrap();
    let values: Vec<_> = observation.segments.segments(2).map(|s| s.value()).collect();
    assert_eq!(values, [Other, Missing]);
    assert_eq!(observation.covariates.0, [Some(1.0), None]);
    for (code, refused, named) in [
        ("WRONG_TYPE", r#"{"past":"0.4"}"#, "`past`"),
        ("WRONG_TYPE", r#"{"calls":[1]}"#, "`calls`"),
        ("OUT_OF_RANGE", r#"{"calls":1.1e15}"#, "`calls`"),
    ] {
        let rejection = resolve(&context(refused)).unwrap_err();
        assert_eq!(rejection.code, code, "{refused}");
        assert!(rejection.detail.contains(named), "{rejection}");
    }
    assert_eq!(
        intake.resolve(&by_name(), now()).unwrap().segments,
        SegmentCodes::default()
    );
    // Nothing to look at is nothing to refuse.
    let plain = World::with(&[design("e")]);
    let text = context(r#"{"past":"text"}"#);
    let outcome = RawOutcome {
        context: Some(&text),
        metrics: vec![("error".into(), RawValue::Bool(true))],
        ..by_name()
    };
    let view = plain.plane.view();
    let prompts = view.catalog.prompts.values();
    let intake = Intake::compile(view.catalog.experiments.values(), prompts, keys(), DAY);
    assert!(intake.resolve(&outcome, now()).is_ok());
}

#[test]
fn what_says_two_things_or_nothing_known_is_refused() {
    let world = World::with(&[profiled("e"), {
        let mut other = design("plain");
        other["unit"] = "session".into();
        other
    }]);
    let intake = intake(&world);
    let receipt = decided(&world, &context(r#"{"user":"u-1"}"#));
    let country = context(r#"{"country":"DE"}"#);
    let two = Value::Int(2);
    let cases: [(&str, RawOutcome<'_>, &str); 10] = [
        (
            "AMBIGUOUS",
            RawOutcome {
                receipt: Some(&receipt),
                context: Some(&country),
                ..resolved()
            },
            "context",
        ),
        (
            "AMBIGUOUS",
            RawOutcome {
                receipt: Some(&receipt),
                prompt: Some("p"),
                ..resolved()
            },
            "receipt",
        ),
        (
            "AMBIGUOUS",
            RawOutcome {
                receipt: Some(&receipt),
                version: Some(&two),
                ..resolved()
            },
            "receipt",
        ),
        (
            "AMBIGUOUS",
            RawOutcome {
                prompt: Some("p"),
                version: Some(&two),
                ..by_name()
            },
            "not to both",
        ),
        (
            "UNKNOWN_COVARIATE",
            RawOutcome {
                covariates: vec![("pst".into(), RawValue::Number(1.0))],
                ..by_name()
            },
            "experiment `e` has no covariate `pst`; it has past, calls",
        ),
        (
            "UNKNOWN_COVARIATE",
            RawOutcome {
                experiment: Some("plain"),
                metrics: vec![("error".into(), RawValue::Bool(true))],
                covariates: vec![("past".into(), RawValue::Number(1.0))],
                ..by_name()
            },
            "it has none",
        ),
        (
            "AMBIGUOUS",
            RawOutcome {
                covariates: vec![("past".into(), RawValue::Number(1.0)); 2],
                ..by_name()
            },
            "`past` is given twice",
        ),
        (
            "WRONG_TYPE",
            RawOutcome {
                covariates: vec![("past".into(), RawValue::Other("string"))],
                ..by_name()
            },
            "covariate `past` takes a number, or true or false, not string",
        ),
        (
            "OUT_OF_RANGE",
            RawOutcome {
                covariates: vec![("past".into(), RawValue::Number(1.000_1e15))],
                ..by_name()
            },
            "covariate `past`",
        ),
        (
            "OUT_OF_RANGE",
            RawOutcome {
                covariates: vec![("past".into(), RawValue::Number(f64::NAN))],
                ..by_name()
            },
            "covariate `past`",
        ),
    ];
    for (code, outcome, told) in cases {
        let rejection = intake.resolve(&outcome, now()).unwrap_err();
        assert_eq!(rejection.code, code, "{rejection}");
        assert!(rejection.detail.contains(told), "{rejection}");
    }
}

fn of_version<'a>(version: &'a Value<'a>) -> RawOutcome<'a> {
    RawOutcome {
        prompt: Some("p"),
        version: Some(version),
        unit: Some(b"u-42"),
        metrics: vec![("success".into(), RawValue::Bool(true))],
        ..RawOutcome::default()
    }
}

/// Makes an outcome another one.
type Change<'a> = &'a dyn Fn(&mut RawOutcome<'_>);

fn resolve_version(
    version: &Value<'_>,
    change: impl FnOnce(&mut RawOutcome<'_>),
) -> Result<Observation, Rejection> {
    let world = World::with(&[]);
    let mut outcome = of_version(version);
    change(&mut outcome);
    intake(&world).resolve(&outcome, now())
}

#[test]
fn a_deployed_version_has_outcomes_of_its_own() {
    let expected = ExperimentKey::of_deployed(PromptKey(0));
    for version in [
        Value::Int(2),
        Value::Text("2".into()),
        Value::Text("1.1.0".into()),
    ] {
        let observation = resolve_version(&version, |_| {}).unwrap();
        assert_eq!(
            (observation.experiment, observation.epoch, observation.arm),
            (expected, Epoch(2), ArmIndex(0))
        );
        assert_eq!(observation.unit_hash, hash::analysis_hash(b"u-42"));
        assert_eq!(
            i64::from(observation.second),
            now().as_second(),
            "it was decided when it came"
        );
        assert_eq!(observation.receipt, None);
        assert_eq!(
            observation.values.iter().collect::<Vec<_>>(),
            [(SUCCESS_KEY, 1.0)]
        );
    }
    for (key, (name, ..)) in built_in_keys() {
        let observation = resolve_version(&Value::Int(1), |outcome| {
            outcome.metrics = vec![(name.into(), RawValue::Number(1.0))];
        })
        .unwrap();
        assert_eq!(
            observation.values.iter().collect::<Vec<_>>(),
            [(key, 1.0)],
            "{name}"
        );
    }
}

#[test]
fn a_unit_that_is_not_named_is_told_from_all_others() {
    let nameless = |id: Option<&'static str>, position: usize| {
        resolve_version(&Value::Int(1), |outcome| {
            outcome.unit = None;
            outcome.id = id;
            outcome.position = position;
        })
        .unwrap()
        .unit_hash
    };
    assert_eq!(nameless(Some("a"), 0), nameless(Some("a"), 1));
    assert_ne!(nameless(Some("a"), 0), nameless(Some("b"), 0));
    assert_ne!(nameless(None, 0), nameless(None, 1));
    assert_ne!(nameless(None, 0), nameless(Some("a"), 0));
}

#[test]
fn what_no_version_can_report_is_refused() {
    let one = Value::Int(1);
    let refused = |version: &Value<'_>, change: Change<'_>| {
        let rejection = resolve_version(version, change).unwrap_err();
        (rejection.code, rejection.detail)
    };
    let unknown = Value::Text("9.9.9".into());
    let none: Change<'_> = &|_| {};
    for version in [
        Value::Int(3),
        Value::Int(0),
        Value::Int(-1),
        Value::UInt(u64::MAX),
        unknown,
    ] {
        let (code, detail) = refused(&version, none);
        assert_eq!(code, "UNKNOWN_VERSION");
        assert!(
            detail.contains("unknown; prompt `p` has 1.0.0, 1.1.0"),
            "{detail}"
        );
    }
    for (version, found) in [(Value::Bool(true), "boolean"), (Value::Float(2.0), "2.0")] {
        let (code, detail) = refused(&version, none);
        assert_eq!(code, "WRONG_TYPE");
        assert!(detail.contains("`version`") && detail.contains(found), "{detail}");
    }
    let cases: [(&str, Change<'_>); 8] = [
        ("UNKNOWN_PROMPT", &|outcome| outcome.prompt = None),
        ("UNKNOWN_PROMPT", &|outcome| outcome.prompt = Some("q")),
        ("UNKNOWN_VERSION", &|outcome| outcome.version = None),
        ("NO_UNIT", &|outcome| outcome.unit = Some(b"")),
        ("UNKNOWN_METRIC", &|outcome| {
            outcome.metrics = vec![("resolved".into(), RawValue::Bool(true))];
        }),
        ("WRONG_TYPE", &|outcome| {
            outcome.metrics = vec![("success".into(), RawValue::Number(0.5))];
        }),
        ("UNKNOWN_COVARIATE", &|outcome| {
            outcome.covariates = vec![("past".into(), RawValue::Number(1.0))];
        }),
        ("NO_METRICS", &|outcome| outcome.metrics.clear()),
    ];
    for (expected, change) in cases {
        let (code, detail) = refused(&one, change);
        assert_eq!(code, expected, "{detail}");
    }
    let world = World::with(&[]);
    let country = context(r#"{"country":"DE"}"#);
    let outcome = RawOutcome {
        context: Some(&country),
        ..of_version(&one)
    };
    assert_eq!(
        intake(&world).resolve(&outcome, now()).unwrap_err().code,
        "AMBIGUOUS"
    );
}

fn rejected(client: &mut Client, outcome: &Json) -> (String, String) {
    let answer = client.outcomes(outcome);
    let rejected = &answer["rejected"][0];
    assert_eq!(answer["accepted"], 0, "{answer}");
    let text = |key: &str| rejected[key].as_str().unwrap().to_owned();
    (text("code"), text("detail"))
}

#[test]
fn over_http_and_through_a_kill() {
    let tone = format!("{TONE}covariate = \"past\"\n[segments]\ncountry = [\"DE\", \"FR\"]\n");
    let house = House::with("tone", &tone);
    let server = house.start();
    let mut client = server.data();
    let shown = server.experiment("tone");
    assert_eq!(shown["spec"]["segments"], json!({"country": ["DE", "FR"]}));
    assert_eq!(shown["spec"]["metrics"][0]["covariate"], "past");
    let mut decide = |context: Json| {
        let decided = client.post("/v1/decide", &json!({"prompt": "greeting", "context": context}));
        decided.json()["receipt"].as_str().unwrap().to_owned()
    };
    let receipt = decide(json!({"user": "u-1", "country": "DE", "past": 0.5}));
    assert_eq!(receipt.len(), PROFILE_LENGTH);
    assert_eq!(decide(json!({"user": "u-2"})).len(), PROFILE_LENGTH);

    let metrics = json!({"resolved": true});
    let named = json!({"experiment": "tone", "variant": "warm", "unit": "u-3", "metrics": metrics});
    let with = |more: Json| {
        let mut outcome = named.clone();
        for (key, value) in more.as_object().unwrap() {
            outcome[key] = value.clone();
        }
        outcome
    };
    for good in [
        json!({"receipt": receipt, "metrics": metrics, "covariates": {"past": 0.75}}),
        with(json!({"context": {"country": "DE", "past": true, "plan": {"any": ["thing"]}}})),
        with(json!({"context": {}, "covariates": {}})),
        json!({"prompt": "greeting", "version": 1, "metrics": {"success": true}}),
        json!({"prompt": "greeting", "version": "1.1.0", "unit": 42, "id": "d-1", "metrics": {"latency_ms": 3.5}}),
    ] {
        assert_eq!(client.outcomes(&good)["accepted"], 1, "{good}");
    }
    let again = json!({"prompt": "greeting", "version": "1.1.0", "unit": 42, "id": "d-1", "metrics": {"latency_ms": 3.5}});
    assert_eq!(client.outcomes(&again)["duplicates"], 1);
    for (outcome, code, told) in [
        (
            json!({"receipt": receipt, "metrics": metrics, "context": {}}),
            "AMBIGUOUS",
            "context",
        ),
        (
            with(json!({"covariates": {"psat": 1}})),
            "UNKNOWN_COVARIATE",
            "it has past",
        ),
        (with(json!({"covariates": {"past": "1"}})), "WRONG_TYPE", "`past`"),
        (
            with(json!({"covariates": {"past": null}})),
            "WRONG_TYPE",
            "`past`",
        ),
        (
            with(json!({"covariates": {"past": 2e15}})),
            "OUT_OF_RANGE",
            "`past`",
        ),
        (with(json!({"context": {"past": "1"}})), "WRONG_TYPE", "`past`"),
        (
            with(json!({"covariates": [1]})),
            "BAD_OUTCOME",
            "names and numbers",
        ),
        (
            with(json!({"context": "DE"})),
            "BAD_OUTCOME",
            "context attributes",
        ),
        (with(json!({"covariate": {}})), "BAD_OUTCOME", "covariate"),
        (
            json!({"prompt": "greting", "version": 1, "metrics": {"success": true}}),
            "UNKNOWN_PROMPT",
            "`greting`",
        ),
        (
            json!({"prompt": "greeting", "version": "3.0.0", "metrics": {"success": true}}),
            "UNKNOWN_VERSION",
            "1.0.0, 1.1.0",
        ),
        (
            json!({"prompt": "greeting", "version": [1], "metrics": {"success": true}}),
            "WRONG_TYPE",
            "array",
        ),
        (
            json!({"prompt": "greeting", "version": 1, "metrics": {"resolved": true}}),
            "UNKNOWN_METRIC",
            "success",
        ),
    ] {
        let (found, detail) = rejected(&mut client, &outcome);
        assert_eq!(found, code, "{outcome}: {detail}");
        assert!(detail.contains(told), "{outcome}: {detail}");
    }
    // A receipt with a profile is as hard to forge as one without.
    let mut forged = receipt.clone();
    let other = if &forged[44..45] == "A" { "B" } else { "A" };
    forged.replace_range(44..45, other);
    let (code, _) = rejected(&mut client, &json!({"receipt": forged, "metrics": metrics}));
    assert_eq!(code, "BAD_RECEIPT");

    let outcomes = |experiment: &str, variant: &str, result: &str| {
        format!(
            "serin_outcomes_total{{experiment=\"{experiment}\",result=\"{result}\",variant=\"{variant}\"}}"
        )
    };
    until("the totals", || {
        (server.metric(&outcomes("", "deployed", "accepted")) == Some(2.0)).then_some(())
    });
    assert_eq!(server.metric(&outcomes("", "deployed", "late")), None);
    assert_eq!(server.metric(&outcomes("", "deployed", "duplicate")), Some(1.0));
    let accepted = |server: &process::Server| {
        let results = server.results("tone");
        let arms = ["control", "warm"].map(|arm| results["outcomes"][arm]["accepted"].as_u64().unwrap());
        arms.iter().sum::<u64>()
    };
    assert_eq!(accepted(&server), 3);
    server.kill();
    let server = house.start();
    assert_eq!(accepted(&server), 3);
    let mut client = server.data();
    assert_eq!(client.outcomes(&again)["duplicates"], 1);
    let repeated = json!({"receipt": receipt, "metrics": metrics});
    assert_eq!(client.outcomes(&repeated)["duplicates"], 1);
    server.check_healthy();
}
