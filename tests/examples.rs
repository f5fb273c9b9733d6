//! Tagged outcomes on their way back into a regression suite, with the real program: over HTTP and on the command line.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

#[path = "support/process.rs"]
mod process;

use process::{House, Server, TONE, until};
use serde_json::{Value, json};

const PATH: &str = "/api/v1/prompts/greeting/examples";

/// The cases that a query finds.
fn examples(server: &Server, query: &str) -> Vec<Value> {
    let reply = server.control().get(&format!("{PATH}{query}"));
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.headers["content-type"], "application/x-ndjson");
    lines(&reply.body)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn notes(cases: &[Value]) -> Vec<&str> {
    cases.iter().map(|case| case["note"].as_str().unwrap()).collect()
}

/// A server with tagged outcomes of each arm and of a version outside any experiment, told one after the other; the
/// receipt of control's.
fn tagged() -> (House, Server, String) {
    let house = House::with("tone", TONE);
    let server = house.start();
    let mut client = server.data();
    let arms = client.assigned(1);
    let (control, warm) = (&arms.control[0], &arms.warm[0]);
    for outcome in [
        json!({"receipt": control, "metrics": {"resolved": false}, "tags": ["refusal", "odd"], "note": "first"}),
        json!({"receipt": warm, "metrics": {"latency_ms": 812.5}, "tags": ["refusal"], "note": "second"}),
        json!({"prompt": "greeting", "version": "1.1.0", "metrics": {"success": false}, "tags": ["refusal"],
            "note": "third"}),
        json!({"receipt": warm, "metrics": {"resolved": true}}),
    ] {
        assert_eq!(client.outcomes(&outcome)["accepted"], 1, "{outcome}");
    }
    (house, server, control.clone())
}

#[test]
fn a_case_names_the_version_and_the_variant() {
    let (_house, server, receipt) = tagged();
    let mut cases = examples(&server, "");
    for case in &mut cases {
        let at = case.as_object_mut().unwrap().remove("at").unwrap();
        assert!(at.as_str().unwrap().ends_with('Z'), "{at}");
    }
    let warm = cases[1].as_object_mut().unwrap().remove("receipt").unwrap();
    assert_ne!(warm, json!(receipt));
    assert_eq!(
        json!(cases),
        json!([
            {"prompt": "greeting", "version": 2, "semver": "1.1.0", "experiment": null, "variant": "deployed",
                "tags": ["refusal"], "note": "third", "receipt": null, "metrics": {"success": 0.0}},
            {"prompt": "greeting", "version": 2, "semver": "1.1.0", "experiment": "tone", "variant": "warm",
                "tags": ["refusal"], "note": "second", "metrics": {"latency_ms": 812.5}},
            {"prompt": "greeting", "version": 1, "semver": "1.0.0", "experiment": "tone", "variant": "control",
                "tags": ["refusal", "odd"], "note": "first", "receipt": receipt, "metrics": {"resolved": 0.0}},
        ])
    );
    server.check_healthy();
}

#[test]
fn tags_versions_and_a_limit_choose() {
    let (_house, server, _) = tagged();
    for (query, expected) in [
        ("?tag=refusal", &["third", "second", "first"][..]),
        ("?tag=odd", &["first"]),
        ("?tag=other", &[]),
        ("?version=1.1.0", &["third", "second"]),
        ("?version=1", &["first"]),
        ("?version=2&tag=odd", &[]),
        ("?limit=1", &["third"]),
    ] {
        assert_eq!(notes(&examples(&server, query)), expected, "{query}");
    }
    let mut client = server.control();
    for query in ["limit=0", "limit=10001", "limit=x", "version=first", "tags=a"] {
        client
            .get(&format!("{PATH}?{query}"))
            .check_problem(400, "BAD_QUERY");
    }
    client
        .get(&format!("{PATH}?version=9.0.0"))
        .check_problem(404, "VERSION_NOT_FOUND");
    client
        .get("/api/v1/prompts/none/examples")
        .check_problem(404, "PROMPT_NOT_FOUND");
}

#[test]
fn a_case_keeps_the_version_its_variant_served_then() {
    let (house, server, _) = tagged();
    house.prompt("greeting", "1.2.0", "");
    house.experiment("tone", &TONE.replace("1.1.0", "1.2.0"));
    until("the variant to get another version", || {
        let variants = server.experiment("tone")["variants"].clone();
        (variants[1]["semver"] == "1.2.0").then_some(())
    });
    let warm = server.data().assigned(1).warm;
    let outcome =
        json!({"receipt": warm[0], "metrics": {"resolved": true}, "tags": ["refusal"], "note": "fourth"});
    assert_eq!(server.data().outcomes(&outcome)["accepted"], 1);
    let versions: Vec<Value> = examples(&server, "?tag=refusal")
        .iter()
        .map(|case| case["semver"].clone())
        .collect();
    assert_eq!(json!(versions), json!(["1.2.0", "1.1.0", "1.1.0", "1.0.0"]));
}

#[test]
fn the_command_prints_a_case_a_line() {
    let (house, server, _) = tagged();
    let url = format!("http://{}", server.control);
    let run = |more: &[&str]| {
        let arguments = [&["prompt", "examples", "greeting", "--url", &url], more].concat();
        let output = house.command(&arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, out, _) = run(&[]);
    assert_eq!((code, notes(&lines(&out))), (0, vec!["third", "second", "first"]));
    let (_, out, _) = run(&["--tag", "refusal", "--version", "1.1.0", "--limit", "1"]);
    assert_eq!(notes(&lines(&out)), ["third"]);
    let (code, out, errors) = run(&["--version", "9.0.0"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(errors.contains("has no version 9.0.0"), "{errors}");
}
