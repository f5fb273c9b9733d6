//! What gateways and on-call see of a rollout over HTTP, with a clock that is moved by hand.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

#[path = "support/process.rs"]
mod process;
mod support;
#[path = "support/town.rs"]
mod town;

use process::Client;
use serde_json::{Value as Json, json};
use serin::domain::{command::Command, id::PromptName};
use std::time::Duration;
use support::{draft, environment, spec};
use town::Town;

/// A canary of which half the units get the candidate, with whatever is special about it.
fn town(special: &[(&str, Json)]) -> Town {
    let mut design = json!({
        "id": "e", "prompt": "p", "environment": "production", "kind": "canary", "status": "running",
        "unit": "user", "traffic": 1.0,
        "variants": [
            {"name": "control", "version": "1.0.0", "weight": 50},
            {"name": "candidate", "version": "1.1.0", "weight": 50},
        ],
        "guardrails": [{"metric": "fallback", "max_ratio": 1.25, "settle": "0s"}],
        "rollout": {"stages": [{"share": 0.5, "for": "1h"}]},
    });
    for (key, value) in special {
        design[*key] = value.clone();
    }
    let register = |semver: &str| Command::RegisterPrompt {
        name: PromptName::new("p").unwrap(),
        draft: Box::new(draft(semver, semver)),
        environments: vec![environment()],
    };
    Town::with([
        register("1.0.0"),
        register("1.1.0"),
        Command::PutExperiment(Box::new(spec(&design))),
    ])
}

/// A decision for a user who brings the receipt of an earlier one in the body.
fn posted(client: &mut Client, user: &str, receipt: Option<&str>) -> Json {
    let mut asked = json!({"prompt": "p", "context": {"user": user}});
    if let Some(receipt) = receipt {
        asked["receipt"] = json!(receipt);
    }
    client.ok("/v1/decide", &asked)
}

/// The same in the header of a GET.
fn got(client: &mut Client, user: &str, receipt: &str) -> Json {
    let request = format!(
        "GET /v1/decide/p?user={user} HTTP/1.1\r\nHost: localhost\r\nX-Serin-Receipt: {receipt}\r\n\r\n"
    );
    client.send(request.as_bytes());
    let reply = client.try_reply().unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// Version, variant, state and reason of an answer.
fn seen(answer: &Json) -> (u64, &str, &str, &str) {
    let text = |key: &str| answer[key].as_str().unwrap();
    let version = answer["version"].as_u64().unwrap();
    (version, text("variant"), text("state"), text("reason"))
}

const KEPT: (u64, &str, &str, &str) = (2, "candidate", "frozen", "CACHED");
const CONTROL: (u64, &str, &str, &str) = (1, "control", "frozen", "DEFAULT");

#[test]
fn a_draining_freeze_lets_conversations_end_on_their_version_and_nothing_else() {
    let town = town(&[("revert", json!("drain")), ("drain_for", json!("10m"))]);
    let mut client = Client::connect(town.data);
    let users: Vec<String> = (0..40).map(|n| format!("u-{n}")).collect();
    let mut conversations = Vec::new();
    for user in &users {
        let answer = posted(&mut client, user, None);
        if answer["variant"] == "candidate" {
            let receipt = answer["receipt"].as_str().unwrap().to_owned();
            conversations.push((user.as_str(), receipt));
        }
    }
    assert!((10..30).contains(&conversations.len()), "{}", conversations.len());
    let (user, receipt) = &conversations[0];

    town.minutes(4);
    let frozen = Client::connect(town.control).post(
        "/api/v1/experiments/e/freeze",
        &json!({"reason": "it answers oddly"}),
    );
    assert_eq!(frozen.status, 200, "{frozen:?}");
    for (user, receipt) in &conversations {
        let answer = posted(&mut client, user, Some(receipt));
        assert_eq!(seen(&answer), KEPT, "{answer}");
        assert_eq!(
            answer["receipt"],
            Json::Null,
            "a receipt is not renewed, or a conversation would never end"
        );
        assert_eq!(seen(&got(&mut client, user, receipt)), KEPT);
    }
    // Control for whoever shows none, or one that is not theirs.
    let (other, _) = &conversations[1];
    for answer in [
        posted(&mut client, user, None),
        posted(&mut client, "new", None),
        posted(&mut client, "new", Some(receipt)),
        posted(&mut client, other, Some(receipt)),
        got(&mut client, "new", receipt),
        got(&mut client, user, &receipt[1..]),
    ] {
        assert_eq!(seen(&answer), CONTROL, "{answer}");
        assert_eq!(answer["cause"], "frozen");
    }
    // A receipt lasts for ten minutes of its own, not of the freeze.
    town.clock.advance(Duration::from_secs(359));
    assert_eq!(seen(&posted(&mut client, user, Some(receipt))), KEPT);
    town.clock.advance(Duration::from_secs(1));
    for (user, receipt) in &conversations {
        assert_eq!(seen(&posted(&mut client, user, Some(receipt))), CONTROL);
        assert_eq!(seen(&got(&mut client, user, receipt)), CONTROL);
    }
}

#[test]
fn a_freeze_that_kills_keeps_no_conversation() {
    let town = town(&[]);
    let mut client = Client::connect(town.data);
    let (user, receipt) = (0..40)
        .find_map(|n| {
            let user = format!("u-{n}");
            let answer = posted(&mut client, &user, None);
            let receipt = answer["receipt"].as_str().unwrap().to_owned();
            (answer["variant"] == "candidate").then_some((user, receipt))
        })
        .unwrap();
    Client::connect(town.control).post("/api/v1/experiments/e/freeze", &json!({"reason": "odd"}));
    assert_eq!(seen(&posted(&mut client, &user, Some(&receipt))), CONTROL);
    assert_eq!(seen(&got(&mut client, &user, &receipt)), CONTROL);
}

/// Decides for users; reports what `reports` says of each variant and user, three seconds later.
fn traffic(town: &Town, users: std::ops::Range<u32>, reports: impl Fn(&str, u32) -> bool) {
    let mut client = Client::connect(town.data);
    let mut outcomes = Vec::new();
    for user in users {
        let answer = posted(&mut client, &format!("u-{user}"), None);
        if reports(answer["variant"].as_str().unwrap(), user) {
            outcomes.push(json!({"receipt": answer["receipt"], "metrics": {"fallback": false}}));
        }
    }
    town.clock.advance(Duration::from_secs(3));
    let accepted = client.outcomes(&Json::Array(outcomes));
    assert_eq!(accepted["rejected"], json!([]), "{accepted}");
}

fn check_silence(special: &[(&str, Json)], declared: bool) {
    let town = town(special);
    traffic(&town, 0..1_000, |_, _| true);
    let young = town.get("/api/v1/experiments/e/results")["reporting"].clone();
    assert_eq!(
        young["variants"]["control"],
        json!({"requests": 0, "missing": 0, "delay_p99_s": 4,
            "missing_share": {"undefined": "no request is old enough to have been reported"}})
    );
    assert_eq!(young["outcome_missing"][0]["state"], "no_data");
    town.minutes(3);
    // Every fifth request of the candidate dies before it reports.
    traffic(&town, 1_000..3_000, |variant, user| {
        variant == "control" || !user.is_multiple_of(5)
    });
    town.minutes(3);
    let results = town.get("/api/v1/experiments/e/results");
    let reporting = &results["reporting"];
    let names: Vec<&String> = reporting["variants"].as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 2);
    let (control, candidate) = (
        &reporting["variants"]["control"],
        &reporting["variants"]["candidate"],
    );
    assert_eq!(
        (&control["missing"], &control["missing_share"]),
        (&json!(0), &json!(0.0))
    );
    let number = |value: &Json| value.as_u64().unwrap();
    assert_eq!(
        number(&control["requests"]) + number(&candidate["requests"]),
        3_000
    );
    assert_eq!(
        control["requests"], results["exposures"]["control"]["requests"],
        "all of them are old enough"
    );
    let share = candidate["missing_share"].as_f64().unwrap();
    assert!((0.1..0.16).contains(&share), "{share}");
    assert_eq!(
        share,
        number(&candidate["missing"]) as f64 / number(&candidate["requests"]) as f64
    );
    let silence = &reporting["outcome_missing"][0];
    assert_eq!(
        (&silence["variant"], &silence["limit"], &silence["declared"]),
        (
            &json!("candidate"),
            &json!({"max_excess": 0.05}),
            &json!(declared)
        )
    );
    assert_eq!(
        (&silence["state"], &silence["evidence"]),
        (&json!("breach"), &json!(1.0))
    );
    let metrics = Client::connect(town.control).get("/metrics");
    let text = metrics.body;
    for line in [
        format!("serin_outcome_missing_share{{experiment=\"e\",variant=\"candidate\"}} {share}"),
        "serin_outcome_missing_share{experiment=\"e\",variant=\"control\"} 0".to_owned(),
        "serin_outcome_delay_p99_seconds{experiment=\"e\",variant=\"control\"} 4".to_owned(),
        "serin_outcome_missing_evidence_ratio{experiment=\"e\",variant=\"candidate\"} 1".to_owned(),
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn what_goes_unreported_is_shown_whether_or_not_a_guardrail_asks_for_it() {
    check_silence(&[], false);
    let asked = json!([{"metric": "outcome_missing", "max_excess": 0.05, "settle": "0s"}]);
    check_silence(&[("guardrails", asked)], true);
}
