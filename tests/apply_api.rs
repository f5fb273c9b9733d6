//! A set of definitions applied over the control plane: the plan, all or nothing, and whose experiments are whose.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

#[path = "support/process.rs"]
mod process;

use process::House;
use serde_json::{Value, json};

fn tone(id: &str, warm: u32) -> Value {
    json!({
        "id": id, "prompt": "greeting", "kind": "experiment", "status": "running", "unit": "user",
        "variants": [
            {"name": "control", "version": "1.0.0", "weight": 50},
            {"name": "warm", "version": "1.1.0", "weight": warm}]})
}

fn set(experiments: &[Value], dry_run: bool) -> Value {
    json!({"set": "config", "prompts": [], "experiments": experiments, "dry_run": dry_run, "reason": "from git"})
}

#[test]
fn a_set_is_planned_applied_once_and_reweighted() {
    let house = House::new();
    let server = house.start();
    let mut control = server.control();
    let before = server.audit().len();
    let planned = control.ok("/api/v1/apply", &set(&[tone("tone", 50)], true));
    assert_eq!(planned["changes"][0]["action"], "create", "{planned:#}");
    assert_eq!(planned["changes"][0]["kind"], "experiment");
    assert_eq!(server.audit().len(), before, "a dry run leaves no entry");

    let applied = control.ok("/api/v1/apply", &set(&[tone("tone", 50)], false));
    assert_eq!(applied["changes"], planned["changes"]);
    assert_eq!(server.state("tone"), "running");
    let last = server.audit().pop().unwrap();
    assert_eq!(last["actor"], "api apply:config/experiments/tone.toml", "{last}");
    assert_eq!(last["reason"], "from git");

    let entries = server.audit().len();
    let again = control.ok("/api/v1/apply", &set(&[tone("tone", 50)], false));
    assert_eq!((&again["changes"], &again["unchanged"]), (&json!([]), &json!(1)));
    assert_eq!(server.audit().len(), entries);

    let moved = control.ok("/api/v1/apply", &set(&[tone("tone", 150)], false));
    let change = &moved["changes"][0];
    assert_eq!(change["action"], "change", "{moved:#}");
    assert_eq!(change["fields"][0]["field"], "variants[warm].weight");
    let between = change["traffic"]["move_between"].as_f64().unwrap();
    assert!((between - 0.25).abs() < 1e-9, "{change:#}");
    server.check_healthy();
}

#[test]
fn what_is_gone_from_the_set_stops_and_nothing_else_does() {
    let house = House::with("watched", process::TONE);
    let server = house.start();
    let mut control = server.control();
    let mut own = tone("own", 50);
    own["traffic"] = json!(0.5);
    let made = control.post("/api/v1/experiments", &own);
    assert_eq!(made.status, 201, "{made:?}");
    control.ok("/api/v1/apply", &set(&[tone("tone", 50)], false));
    let own_before = server.state("own");
    let gone = control.ok("/api/v1/apply", &set(&[], false));
    assert_eq!(gone["changes"].as_array().unwrap().len(), 1, "{gone:#}");
    assert_eq!(gone["changes"][0]["action"], "stop");
    assert_eq!(server.state("tone"), "stopped");
    assert_eq!(
        (server.state("watched").as_str(), server.state("own")),
        ("running", own_before)
    );
}

#[test]
fn one_mistake_refuses_the_whole_set() {
    let house = House::new();
    let server = house.start();
    let mut control = server.control();
    let before = server.audit().len();
    let mut missing = tone("missing", 50);
    missing["variants"][1]["version"] = json!("9.9.9");
    let refused = control.post("/api/v1/apply", &set(&[tone("good", 50), missing], false));
    let problem = refused.check_problem(422, "INVALID_SET");
    assert_eq!(problem["problems"][0]["file"], "config/experiments/missing.toml");
    let refused = control.post(
        "/api/v1/apply",
        &json!({"set": "a/b", "experiments": [], "more": 1}),
    );
    let problem = refused.check_problem(422, "INVALID_SET");
    let fields: Vec<_> = problem["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["field"].as_str().unwrap())
        .collect();
    for field in ["set", "prompts", "more"] {
        assert!(fields.contains(&field), "{problem:#}");
    }
    assert_eq!(server.audit().len(), before);
}

#[test]
fn a_start_tells_what_it_will_see() {
    let house = House::new();
    let server = house.start();
    let mut control = server.control();
    let mut canary = tone("c", 50);
    canary["kind"] = json!("canary");
    canary["status"] = json!("draft");
    canary["guardrails"] = json!([{"metric": "fallback", "max_ratio": 1.25}]);
    canary["rollout"] = json!({"stages": [{"share": 0.01, "for": "15m"}]});
    assert_eq!(control.post("/api/v1/experiments", &canary).status, 201);
    let found = control.get_json("/api/v1/experiments/c/preflight?rps=0.5");
    assert_eq!(found["stages"][0]["guardrails"][0]["blind"], true, "{found:#}");
    assert!(!found["warnings"].as_array().unwrap().is_empty());
    control
        .get("/api/v1/experiments/c/preflight?rps=-1")
        .check_problem(400, "BAD_QUERY");
    let started = control.ok("/api/v1/experiments/c/start", &json!({"reason": "go"}));
    assert_eq!(started["state"], "running");
    assert!(
        started["preflight"]["traffic"].is_null() && started["warnings"].is_array(),
        "{started:#}"
    );
}

#[test]
fn the_sample_folder_is_applied_once_over_the_command_line() {
    let house = House::new();
    let server = house.start();
    let url = format!("http://{}", server.control);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
    let run = |more: &[&str]| {
        let ran = house
            .command(&[&["apply", folder, "--url", &url], more].concat())
            .output()
            .unwrap();
        let told = String::from_utf8(ran.stdout).unwrap();
        let errors = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(0), "{told}{errors}");
        told
    };
    let before = server.audit().len();
    let planned = run(&["--dry-run"]);
    assert!(
        planned.contains("\n+ experiment support_reply_tone") && planned.contains("steps to take:"),
        "{planned}"
    );
    assert_eq!(server.audit().len(), before);
    let applied = run(&[]);
    assert!(
        applied.contains("\n+ experiment ticket_summary_canary") && applied.contains("steps taken:"),
        "{applied}"
    );
    assert_eq!(server.state("ticket_summary_canary"), "running");
    let entries = server.audit().len();
    let again = run(&[]);
    assert!(again.ends_with("nothing to do\n"), "{again}");
    assert_eq!(server.audit().len(), entries);
}
