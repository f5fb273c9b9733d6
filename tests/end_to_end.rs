//! The whole product over HTTP: decisions, outcomes, results, freezes, restarts and the end of the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected has failed"
)]

#[path = "support/process.rs"]
mod process;

use process::{Client, House, Server, TONE, figures, guarded, reports, until, within, write};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::time::Instant;

const FALLBACK: &str = "metric = \"fallback\"\nmax_ratio = 1.25\nsettle = \"0s\"";

fn bad() -> Value {
    json!({"fallback": true})
}

fn good() -> Value {
    json!({"fallback": false})
}

#[test]
fn decisions_in_all_their_forms() {
    let house = House::with(
        "tone",
        &format!("audience = 'country == \"DE\"'\n{TONE}[overrides]\nwarm = [\"qa-1\"]\n"),
    );
    let server = house.start();
    let mut client = server.data();
    let context = json!({"user": "u-1", "country": "DE"});
    let asked = json!({"prompt": "greeting", "context": context});
    let decision = client.ok("/v1/decide", &asked);
    let (variant, version) = match decision["variant"].as_str() {
        Some("control") => ("control", 1),
        _ => ("warm", 2),
    };
    let receipt = decision["receipt"].as_str().unwrap();
    assert!(receipt.len() <= 80);
    assert_eq!(
        decision,
        json!({"prompt": "greeting", "version": version, "semver": format!("1.{}.0", version - 1),
            "variant": variant, "experiment": "tone", "state": "running", "reason": "SPLIT", "receipt": receipt,
            "revision": decision["revision"]})
    );
    assert_eq!(
        server.metric("serin_routing_table_revision"),
        decision["revision"].as_f64()
    );

    // The same unit is given the same answer, with a receipt of its own.
    let again = client.ok("/v1/decide", &asked);
    assert_eq!(again["variant"], variant);
    assert_ne!(again["receipt"], receipt);
    let by_address = client.get_json("/v1/decide/greeting?user=u-1&country=DE");
    assert_eq!(
        (&by_address["variant"], &by_address["reason"]),
        (&json!(variant), &json!("SPLIT"))
    );
    assert!(by_address["receipt"].is_string());

    let content = client.ok(
        "/v1/decide",
        &json!({"prompt": "greeting", "context": context, "content": true}),
    );
    assert_eq!(
        content["content"],
        json!({"type": "text", "prompt": format!("Say hello, 1.{}.0.", version - 1), "config": {"model": "m"}})
    );
    let look = json!({"prompt": "greeting", "context": context, "expose": false, "explain": true});
    let look = client.ok("/v1/decide", &look);
    assert_eq!(
        (&look["variant"], &look["receipt"]),
        (&json!(variant), &Value::Null)
    );
    let steps: Vec<&str> = look["explain"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["check"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["audience", "unit", "variant"]);

    let batch = client.ok(
        "/v1/decide",
        &json!({"prompts": ["greeting", "nobody", "greeting"], "context": context}),
    );
    let decisions = batch["decisions"].as_array().unwrap();
    assert_eq!(decisions.len(), 3);
    assert_eq!(decisions[0]["variant"], variant);
    assert_eq!(decisions[1]["error"]["code"], "PROMPT_NOT_FOUND");
    assert_eq!(decisions[2]["variant"], variant);

    // Why an experiment did not decide, and what is not counted.
    for (context, reason, cause, named) in [
        (
            json!({"user": "u-1", "country": "FR"}),
            "DEFAULT",
            json!("audience"),
            "deployed",
        ),
        (json!({"user": "u-1"}), "DEFAULT", json!("audience"), "deployed"),
        (json!({"country": "DE"}), "DEFAULT", json!("no_unit"), "deployed"),
        (
            json!({"country": "DE", "user": ""}),
            "DEFAULT",
            json!("no_unit"),
            "deployed",
        ),
        (
            json!({"country": "DE", "user": true}),
            "DEFAULT",
            json!("no_unit"),
            "deployed",
        ),
        (
            json!({"user": "qa-1", "country": "FR"}),
            "TARGETING_MATCH",
            Value::Null,
            "warm",
        ),
    ] {
        let decision = client.ok("/v1/decide", &json!({"prompt": "greeting", "context": context}));
        assert_eq!(
            (
                &decision["reason"],
                &decision["cause"],
                &decision["variant"],
                &decision["receipt"]
            ),
            (&json!(reason), &cause, &json!(named), &Value::Null),
            "{context}"
        );
    }
    let asked =
        |environment: &str| json!({"prompt": "greeting", "context": context, "environment": environment});
    let staging = client.ok("/v1/decide", &asked("staging"));
    assert_eq!(
        (&staging["reason"], &staging["variant"]),
        (&json!("STATIC"), &json!("deployed"))
    );
    client
        .post("/v1/decide", &asked("nowhere"))
        .check_problem(404, "NOT_DEPLOYED");
    client
        .get("/v1/decide/nobody?user=u-1")
        .check_problem(404, "PROMPT_NOT_FOUND");

    // Four counted decisions of one unit by now and two more in the batch, all on one arm; looks, overrides and
    // units that were not enrolled are in none.
    let exposures = until("the exposures", || {
        let exposures = server.results("tone")["exposures"].clone();
        (exposures[variant]["requests"] == 6).then_some(exposures)
    });
    let other = if variant == "warm" { "control" } else { "warm" };
    assert_eq!(exposures[variant], json!({"requests": 6, "units": 1}));
    assert_eq!(exposures[other], json!({"requests": 0, "units": 0}));
    server.check_healthy();
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn what_was_sent_is_what_is_shown() {
    let house = House::with("tone", TONE);
    let server = house.start();
    let mut client = server.data();
    let mut requests: BTreeMap<String, u64> = BTreeMap::new();
    let mut units: BTreeMap<String, u64> = BTreeMap::new();
    let mut received: Vec<(String, String, usize)> = Vec::new();
    for user in 0..300 {
        for visit in 0..=(user % 2) {
            let decision = client.decide(&format!("u-{user}"));
            let variant = decision["variant"].as_str().unwrap().to_owned();
            *requests.entry(variant.clone()).or_default() += 1;
            if visit == 0 {
                *units.entry(variant.clone()).or_default() += 1;
            }
            received.push((variant, decision["receipt"].as_str().unwrap().to_owned(), user));
        }
    }
    // A third each as single objects, in arrays and in lines.
    let value = |user: usize| json!({"resolved": user.is_multiple_of(3), "latency_ms": user as f64 + 0.25});
    let items: Vec<Value> = received
        .iter()
        .map(|(_, receipt, user)| json!({"receipt": receipt, "metrics": value(*user)}))
        .collect();
    let (singles, rest) = items.split_at(50);
    let (array, lines) = rest.split_at(200);
    let answer = |accepted: usize, duplicates: usize| json!({"accepted": accepted, "duplicates": duplicates, "rejected": []});
    for item in singles {
        assert_eq!(client.outcomes(item), answer(1, 0));
    }
    assert_eq!(client.outcomes(&json!(array)), answer(200, 0));
    let text: String = lines.iter().map(|item| format!("{item}\n")).collect();
    let reply = client
        .try_request(
            "POST",
            "/v1/outcomes",
            "application/x-ndjson; charset=utf-8",
            text.as_bytes(),
        )
        .unwrap();
    assert_eq!(
        (reply.status, reply.json()),
        (200, answer(lines.len(), 0)),
        "{reply:?}"
    );

    // By name, with ids; one of the batch is refused alone.
    let named = json!([
        {"experiment": "tone", "variant": "warm", "unit": "w-1", "id": "evt-1", "metrics": {"resolved": true}},
        {"experiment": "tone", "variant": "nobody", "unit": "w-1", "metrics": {"resolved": true}},
        {"experiment": "tone", "variant": "warm", "unit": 42, "id": "evt-2", "metrics": {"resolved": 0}},
    ]);
    let answered = client.outcomes(&named);
    assert_eq!(
        (&answered["accepted"], &answered["duplicates"]),
        (&json!(2), &json!(0))
    );
    let rejected = answered["rejected"].as_array().unwrap();
    assert_eq!(rejected.len(), 1, "{answered}");
    assert_eq!(
        (&rejected[0]["index"], &rejected[0]["code"]),
        (&json!(1), &json!("UNKNOWN_VARIANT"))
    );

    // Duplicates: by receipt and metric, whatever the value; by id, whatever it carries; a new metric is new.
    assert_eq!(client.outcomes(&json!(items)), answer(0, items.len()));
    let by_id = json!({"receipt": received[0].1, "id": "evt-1", "metrics": {"error": true}});
    assert_eq!(client.outcomes(&by_id), answer(0, 1));
    let more = json!({"receipt": received[0].1, "metrics": {"resolved": true, "error": true}});
    assert_eq!(client.outcomes(&more), answer(1, 0));

    let mut expected: BTreeMap<&str, (u64, u64, f64)> = BTreeMap::new();
    for (variant, _, user) in &received {
        let (n, resolved, latency) = expected.entry(variant).or_default();
        *n += 1;
        *resolved += u64::from(user.is_multiple_of(3));
        *latency += *user as f64 + 0.25;
    }
    let check = |server: &Server| {
        let results = until("the exposures", || {
            let results = server.results("tone");
            let shown = |variant: &str| results["exposures"][variant]["requests"].as_u64();
            let all = requests
                .iter()
                .all(|(variant, count)| shown(variant) == Some(*count));
            all.then_some(results)
        });
        for (variant, (n, resolved, latency)) in &expected {
            let named = if *variant == "warm" { 2 } else { 0 };
            let later = u64::from(received[0].0 == *variant);
            assert_eq!(
                results["exposures"][variant]["units"], units[*variant],
                "{results}"
            );
            assert_eq!(
                results["outcomes"][variant]["accepted"],
                n + named + later,
                "{results}"
            );
            let shown = figures(&results, "resolved", variant);
            assert_eq!(shown["n"], n + named);
            let mean = (resolved + named / 2) as f64 / (n + named) as f64;
            assert!((shown["mean"].as_f64().unwrap() - mean).abs() < 1e-12, "{shown}");
            let shown = figures(&results, "latency_ms", variant);
            assert_eq!(shown["n"], *n);
            assert!(
                (shown["mean"].as_f64().unwrap() - latency / *n as f64).abs() < 1e-9,
                "{shown}"
            );
        }
        assert_eq!(
            (&results["state"], &results["srm"]["verdict"]),
            (&json!("running"), &json!("ok"))
        );
    };
    check(&server);
    let totals = |result: &str| {
        let series = |variant: &str| {
            let labels = format!("experiment=\"tone\",result=\"{result}\",variant=\"{variant}\"");
            server.metric(&format!("serin_outcomes_total{{{labels}}}"))
        };
        series("control").unwrap_or(0.0) + series("warm").unwrap_or(0.0)
    };
    assert_eq!(totals("accepted"), items.len() as f64 + 3.0);
    assert_eq!(totals("duplicate"), items.len() as f64 + 1.0);
    let scrape = server.control().get("/metrics").body;
    let mut series: Vec<&str> = scrape
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').unwrap().0)
        .collect();
    series.sort_unstable();
    assert!(
        series.windows(2).all(|pair| pair[0] != pair[1]),
        "a series is told twice: {series:?}"
    );
    assert!(
        !scrape.contains("u-1") && !scrape.contains("evt-1"),
        "no unit and no id in a label"
    );
    // After a kill and after an orderly end everything is still there, and still a duplicate.
    server.kill();
    let server = house.start();
    check(&server);
    assert_eq!(server.data().outcomes(&json!(items)), answer(0, items.len()));
    assert_eq!(server.data().outcomes(&by_id), answer(0, 1));
    assert_eq!(server.stop(), Some(0));
    let server = house.start();
    check(&server);
    assert_eq!(server.data().outcomes(&json!(items)), answer(0, items.len()));
    assert_eq!(server.data().outcomes(&by_id), answer(0, 1));
}

/// Everyone is on control, because of the freeze.
fn check_frozen(server: &Server, reason: &str) {
    let mut client = server.data();
    for user in 0..60 {
        let decision = client.decide(&format!("u-{user}"));
        assert_eq!(
            (
                &decision["variant"],
                &decision["semver"],
                &decision["reason"],
                &decision["cause"]
            ),
            (
                &json!("control"),
                &json!("1.0.0"),
                &json!("DEFAULT"),
                &json!("frozen")
            ),
            "{reason}: {decision}"
        );
        assert_eq!(
            (&decision["state"], &decision["receipt"]),
            (&json!("frozen"), &Value::Null)
        );
    }
    let states = [
        "draft",
        "scheduled",
        "running",
        "holding",
        "frozen",
        "promoted",
        "stopped",
    ];
    for state in states {
        let series = format!("serin_experiment_state{{experiment=\"tone\",state=\"{state}\"}}");
        let expected = f64::from(u8::from(state == "frozen"));
        assert_eq!(server.metric(&series), Some(expected), "{reason}: {series}");
    }
}

#[test]
fn a_bad_canary_freezes_and_stays_frozen_until_somebody_resumes_it() {
    let house = House::with("tone", &guarded(FALLBACK));
    let server = house.start();
    let mut client = server.data();
    let arms = client.assigned(100);
    client.outcomes(&reports(&arms.control[..80], &good()));
    client.outcomes(&reports(&arms.warm[..40], &good()));
    let crossing = reports(&arms.warm[40..80], &bad());
    let began = Instant::now();
    assert_eq!(client.outcomes(&crossing)["accepted"], 40);
    within(Duration::from_secs(1), "the freeze", || {
        (client.decide("u-0")["state"] == "frozen").then_some(())
    });
    println!(
        "from the crossing batch to the freeze, seen from outside: {:?}",
        began.elapsed()
    );
    check_frozen(&server, "frozen");
    assert_eq!(server.metric("serin_time_to_freeze_seconds_count"), Some(1.0));
    let seconds = server.metric("serin_time_to_freeze_seconds_sum").unwrap();
    println!("serin_time_to_freeze_seconds: {seconds:.4}");
    assert!(seconds < 1.0, "{seconds}");
    let scrape = server.control().get("/metrics").body;
    let freezes: Vec<&str> = scrape
        .lines()
        .filter(|line| line.starts_with("serin_freezes_total{") && !line.ends_with(" 0"))
        .collect();
    assert_eq!(
        freezes,
        ["serin_freezes_total{experiment=\"tone\",reason=\"fallback\"} 1"]
    );

    // The event has the whole evidence, and so have the log and the API.
    let frozen = server.events("experiment_frozen");
    assert_eq!(frozen.len(), 1);
    let breach = &frozen[0]["event"]["cause"]["guardrail"];
    assert_eq!(frozen[0]["actor"], "guardrail:fallback");
    assert!(
        frozen[0]["reason"]
            .as_str()
            .unwrap()
            .contains("fallback of `warm`"),
        "{frozen:?}"
    );
    assert_eq!(breach["guardrail"], "fallback", "{frozen:?}");
    assert_eq!(breach["limit"], json!({"max_ratio": 1.25}));
    assert_eq!(breach["action"], "freeze");
    assert_eq!(
        breach["control"],
        json!({"variant": "control", "bad_units": 0, "observations": 80, "rate": 0.0})
    );
    assert_eq!(
        breach["candidate"],
        json!({"variant": "warm", "bad_units": 40, "observations": 80, "rate": 0.5})
    );
    assert_eq!((&breach["share"], &breach["alpha"]), (&json!(0.5), &json!(0.01)));
    assert!(breach["log_e"].as_f64().unwrap() >= breach["log_threshold"].as_f64().unwrap());
    for key in ["epoch", "evidence_since", "crossed_at", "replica"] {
        assert!(!breach[key].is_null(), "{key} in {breach}");
    }
    let line = server.logged(&["frozen: every unit gets control's version again"]);
    let line: Value = serde_json::from_str(&line).unwrap();
    let told: Value = serde_json::from_str(line["evidence"].as_str().unwrap()).unwrap();
    assert_eq!((&told, &line["experiment"]), (breach, &json!("tone")));
    assert_eq!(server.experiment("tone")["freeze"]["reason"], frozen[0]["reason"]);
    let results = server.results("tone");
    assert_eq!(
        (&results["state"], &results["guardrails"][0]["state"]),
        (&json!("frozen"), &json!("breach"))
    );
    assert_eq!(results["guardrails"][0]["evidence"], 1.0);

    // Neither a crash nor the file lifts it.
    server.kill();
    let server = house.start();
    check_frozen(&server, "after a kill");
    let revision = || server.data().decide("u-0")["revision"].as_u64();
    for edit in [
        guarded(FALLBACK).replacen("weight = 50", "weight = 60", 1),
        guarded(FALLBACK).replace("running", "stopped"),
        guarded(FALLBACK).replace("running", "draft"),
        guarded(FALLBACK).replace("1.0.0", "1.1.0"),
        guarded(FALLBACK),
    ] {
        let before = revision();
        house.experiment("tone", &edit);
        until("the edit", || (revision() > before).then_some(()));
        check_frozen(&server, &edit);
    }
    assert_eq!(server.events("experiment_frozen").len(), 1);

    let mut control = server.control();
    for body in [json!({}), json!({"reason": ""}), json!({"reason": "  "})] {
        control
            .post("/api/v1/experiments/tone/resume", &body)
            .check_problem(422, "REASON_REQUIRED");
    }
    let refused = control.post("/api/v1/experiments/tone/start", &json!({"reason": "x"}));
    let refused = refused.check_problem(409, "WRONG_STATE");
    assert_eq!(
        (&refused["state"], &refused["allowed"]),
        (&json!("frozen"), &json!(["resume", "stop"]))
    );
    check_frozen(&server, "after refusals");

    let resumed = control.ok(
        "/api/v1/experiments/tone/resume",
        &json!({"reason": "prompt mended"}),
    );
    assert_eq!(resumed["state"], "running");
    let resumed = server.events("experiment_resumed");
    assert_eq!(
        (resumed.len(), &resumed[0]["reason"]),
        (1, &json!("prompt mended"))
    );
    // The evidence starts afresh: nothing counts against it, old receipts do not either, and it can freeze again.
    let guardrail = server.results("tone")["guardrails"][0].clone();
    assert_eq!(
        (&guardrail["state"], &guardrail["evidence"]),
        (&json!("no_data"), &json!(0.0))
    );
    assert_eq!(guardrail["candidate"]["bad_units"], 0);
    let mut client = server.data();
    assert_eq!(
        client.outcomes(&reports(&arms.warm[80..], &bad()))["accepted"],
        20
    );
    assert_eq!(
        server.results("tone")["guardrails"][0]["candidate"]["bad_units"],
        0
    );
    let fresh = client.assigned(40);
    client.outcomes(&reports(&fresh.warm[..4], &bad()));
    client.outcomes(&reports(&fresh.control, &good()));
    thread::sleep(Duration::from_millis(300));
    assert_eq!(server.state("tone"), "running");
    client.outcomes(&reports(&fresh.warm[4..], &bad()));
    within(Duration::from_secs(1), "the second freeze", || {
        (server.state("tone") == "frozen").then_some(())
    });
    let again = &server.events("experiment_frozen")[1]["event"]["cause"]["guardrail"];
    assert_eq!(again["candidate"]["bad_units"], 40, "{again}");
}

/// Reports on both arms and gives what a second look of the guardrails made of it.
fn verdict_after(server: &Server, control: &Value, warm: &Value) -> Value {
    server.data().outcomes(control);
    server.data().outcomes(warm);
    // Judged at most every 50 ms and at once when it was quiet: several chances to be wrong.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(400) {
        assert_eq!(server.state("tone"), "running");
        thread::sleep(Duration::from_millis(40));
    }
    server.results("tone")["guardrails"][0].clone()
}

#[test]
fn an_outage_of_both_arms_and_one_angry_user_freeze_nothing() {
    let house = House::with("tone", &guarded(FALLBACK));
    let server = house.start();
    let mut client = server.data();
    // One user has ten bad requests, and every one of them is counted, but as one unit.
    let mut angry = None;
    let mut receipts = Vec::new();
    for visit in 0..40 {
        let user = angry.clone().unwrap_or_else(|| format!("angry-{visit}"));
        let decision = client.decide(&user);
        if decision["variant"] == "warm" {
            angry = Some(user);
            receipts.push(decision["receipt"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(client.outcomes(&reports(&receipts[..10], &bad()))["accepted"], 10);
    let by_name: Value = (0..30)
        .map(|_| json!({"experiment": "tone", "variant": "warm", "unit": angry, "metrics": bad()}))
        .collect();
    assert_eq!(client.outcomes(&by_name)["accepted"], 30);
    let arms = client.assigned(400);
    let guardrail = verdict_after(
        &server,
        &reports(&arms.control[..50], &good()),
        &reports(&arms.warm[..50], &good()),
    );
    assert_eq!(guardrail["candidate"]["bad_units"], 1, "{guardrail}");
    assert_eq!(guardrail["state"], "pass");
    // Then everything breaks on both arms.
    for range in [50..200, 200..400] {
        let guardrail = verdict_after(
            &server,
            &reports(&arms.control[range.clone()], &bad()),
            &reports(&arms.warm[range], &bad()),
        );
        assert_eq!(guardrail["state"], "pass", "{guardrail}");
    }
    let guardrail = &server.results("tone")["guardrails"][0];
    assert_eq!(guardrail["control"]["bad_units"], 350, "{guardrail}");
    // The halves of control have them all, and nothing between them.
    let aa = &server.results("tone")["aa"];
    let [first, second] = [0, 1].map(|half| aa[0]["bad_units"][half].as_u64().unwrap());
    assert_eq!((first + second, aa.as_array().unwrap().len()), (350, 1), "{aa}");
    assert_eq!(
        (&aa[0]["guardrail"], &aa[0]["would_have_frozen"]),
        (&json!("fallback"), &json!(false))
    );
    assert!(
        aa[0]["evidence"].as_f64().unwrap() < 1.0 && aa[0]["ratio_ci"].is_array(),
        "{aa}"
    );
    let shown = "serin_aa_false_freeze{experiment=\"tone\",guardrail=\"fallback\"}";
    assert_eq!(server.metric(shown), Some(0.0));
    assert_eq!(server.events("experiment_frozen").len(), 0);
}

#[test]
fn a_continuous_aa_test_is_shown_for_the_prompts_that_want_one() {
    for (wanted, tests) in [("'none'", 0), ("['other']", 0), ("['other', 'greeting']", 1)] {
        let house = House::with("tone", &guarded(FALLBACK));
        let server = house.set("prompts", &format!("continuous_aa = {wanted}")).start();
        let aa = &server.results("tone")["aa"];
        assert_eq!(aa.as_array().unwrap().len(), tests, "{wanted}");
        let series = "serin_aa_evidence_ratio{experiment=\"tone\",guardrail=\"fallback\"}";
        assert_eq!(server.metric(series), (tests == 1).then_some(0.0), "{wanted}");
    }
}

#[test]
fn overrides_are_never_counted() {
    let house = House::with(
        "tone",
        &format!("{}[overrides]\nwarm = [\"qa-1\", \"qa-2\"]\n", guarded(FALLBACK)),
    );
    let server = house.start();
    let mut client = server.data();
    for _ in 0..20 {
        let decision = client.decide("qa-1");
        assert_eq!(decision["receipt"], Value::Null, "{decision}");
    }
    let counted = client.assigned(5);
    let expected = counted.decisions;
    until("the exposures", || {
        let exposures = &server.results("tone")["exposures"];
        let requests = |variant: &str| exposures[variant]["requests"].as_u64().unwrap();
        (requests("control") + requests("warm") == expected).then_some(())
    });
    let forced = "serin_decisions_total{experiment=\"tone\",prompt=\"greeting\",reason=\"TARGETING_MATCH\",variant=\"warm\"}";
    assert_eq!(server.metric(forced), Some(20.0));
}

#[test]
fn nothing_counts_before_it_has_settled() {
    let house = House::with("tone", &guarded(&FALLBACK.replace("0s", "2s")));
    let server = house.start();
    let mut client = server.data();
    let arms = client.assigned(40);
    let decided = Instant::now();
    client.outcomes(&reports(&arms.control, &good()));
    client.outcomes(&reports(&arms.warm, &bad()));
    let guardrail = server.results("tone")["guardrails"][0].clone();
    assert_eq!(
        (&guardrail["candidate"]["bad_units"], &guardrail["evidence"]),
        (&json!(0), &json!(0.0))
    );
    assert_eq!(server.state("tone"), "running");
    within(Duration::from_secs(5), "the freeze", || {
        (server.state("tone") == "frozen").then_some(())
    });
    // Never too early, and a second late at most.
    let took = decided.elapsed();
    assert!(took >= Duration::from_millis(1_900), "{took:?}");
    println!("settle 2s: frozen {took:?} after the last decision");
}

#[test]
fn an_absolute_limit_waits_for_its_settling_time_as_well() {
    let house = House::with(
        "tone",
        &guarded("metric = \"error\"\nmax_rate = 0.05\nsettle = \"1s\"\non_breach = \"freeze\""),
    );
    let server = house.start();
    let mut client = server.data();
    let arms = client.assigned(80);
    let errors = json!({"error": true});
    client.outcomes(&reports(&arms.warm, &errors));
    client.outcomes(&reports(&arms.control, &json!({"error": false})));
    within(Duration::from_secs(5), "the freeze", || {
        (server.state("tone") == "frozen").then_some(())
    });
    let breach = &server.events("experiment_frozen")[0]["event"]["cause"]["guardrail"];
    assert_eq!(breach["limit"], json!({"max_rate": 0.05}), "{breach}");
}

#[test]
fn a_freeze_does_not_wait_behind_the_traffic() {
    let house = House::with("tone", &guarded(FALLBACK));
    let server = house.start();
    let arms = server.data().assigned(60);
    let done = AtomicBool::new(false);
    let sent = AtomicU64::new(0);
    thread::scope(|scope| {
        for worker in 0..3 {
            let (done, sent, address) = (&done, &sent, server.data);
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for round in 0_u64.. {
                    if done.load(Ordering::SeqCst) {
                        return;
                    }
                    let variant = if round.is_multiple_of(2) {
                        "control"
                    } else {
                        "warm"
                    };
                    let batch: Value = (0..100)
                        .map(|n| {
                            let unit = format!("u-{worker}-{round}-{n}");
                            json!({"experiment": "tone", "variant": variant, "unit": unit, "metrics": good()})
                        })
                        .collect();
                    assert_eq!(client.outcomes(&batch)["accepted"], 100);
                    sent.fetch_add(100, Ordering::SeqCst);
                }
            });
        }
        until("some traffic", || {
            (sent.load(Ordering::SeqCst) > 3_000).then_some(())
        });
        let mut client = server.data();
        let began = Instant::now();
        client.outcomes(&reports(&arms.warm, &bad()));
        within(Duration::from_secs(1), "the freeze", || {
            (client.decide("u-0")["state"] == "frozen").then_some(())
        });
        println!(
            "frozen {:?} after the crossing batch was sent, among {} other outcomes; by the server's clock {:.4} s",
            began.elapsed(),
            sent.load(Ordering::SeqCst),
            server.metric("serin_time_to_freeze_seconds_sum").unwrap()
        );
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn absolute_limits_and_numbers() {
    let house = House::with("tone", &guarded("metric = \"escalation\"\nmax_rate = 0.05"));
    let server = house.start();
    let mut client = server.data();
    let arms = client.assigned(120);
    let escalated = json!({"escalation": true});
    let calm = json!({"escalation": false});
    client.outcomes(&reports(&arms.control, &calm));
    client.outcomes(&reports(&arms.warm[..60], &calm));
    client.outcomes(&reports(&arms.warm[60..], &escalated));
    within(Duration::from_secs(2), "the freeze", || {
        (server.state("tone") == "frozen").then_some(())
    });
    drop(server);

    // Control breaks the same limit: an outage, which holds and gives nobody another version.
    let house = House::with("tone", &guarded("metric = \"escalation\"\nmax_rate = 0.05"));
    let server = house.start();
    let mut client = server.data();
    let arms = client.assigned(120);
    client.outcomes(&reports(&arms.control, &escalated));
    client.outcomes(&reports(&arms.warm, &escalated));
    within(Duration::from_secs(2), "the hold", || {
        (server.state("tone") == "holding").then_some(())
    });
    let both: Vec<_> = (0..20).map(|user| client.decide(&format!("u-{user}"))).collect();
    assert!(
        both.iter()
            .all(|decision| decision["reason"] == "SPLIT" && decision["state"] == "holding")
    );
    drop(server);

    // A number becomes a rate; the values below the limit are good ones.
    let house = House::with(
        "tone",
        &guarded("metric = \"latency_ms\"\nabove = 4000\nmax_ratio = 1.5"),
    );
    let server = house.start();
    let mut client = server.data();
    let arms = client.assigned(60);
    client.outcomes(&reports(&arms.control, &json!({"latency_ms": 4000})));
    client.outcomes(&reports(&arms.warm[..30], &json!({"latency_ms": 4000})));
    let slow = client.outcomes(&reports(&arms.warm[30..], &json!({"latency_ms": 4000.5})));
    assert_eq!(slow["accepted"], 30);
    within(Duration::from_secs(2), "the freeze", || {
        (server.state("tone") == "frozen").then_some(())
    });
    let frozen = server.events("experiment_frozen");
    assert_eq!(frozen[0]["actor"], "guardrail:latency_ms", "{frozen:?}");
}

#[test]
fn a_breach_may_hold_or_only_alert() {
    for (action, state, event) in [
        ("hold", "holding", "experiment_held"),
        ("alert", "running", "guardrail_alerted"),
    ] {
        let house = House::with("tone", &guarded(&format!("{FALLBACK}\non_breach = \"{action}\"")));
        let server = house.start();
        let mut client = server.data();
        let arms = client.assigned(40);
        client.outcomes(&reports(&arms.control, &good()));
        client.outcomes(&reports(&arms.warm[..30], &bad()));
        let told = until(event, || {
            let events = server.events(event);
            (!events.is_empty()).then_some(events)
        });
        assert_eq!(told[0]["event"]["breach"]["action"], action, "{told:?}");
        assert_eq!(server.state("tone"), state);
        let decision = client.decide("u-0");
        assert_eq!(
            (&decision["reason"], &decision["state"]),
            (&json!("SPLIT"), &json!(state))
        );
        // More of the same is not told again.
        client.outcomes(&reports(&arms.warm[30..], &bad()));
        thread::sleep(Duration::from_millis(300));
        assert_eq!(
            (
                server.events(event).len(),
                server.events("experiment_frozen").len()
            ),
            (1, 0)
        );
        assert_eq!(server.metric("serin_time_to_freeze_seconds_count"), Some(0.0));
    }
}

#[test]
fn steps_by_hand_need_the_right_state_and_leave_their_reason() {
    let house = House::with("tone", TONE);
    let server = house.start();
    let mut control = server.control();
    let step = |control: &mut Client, step: &str, reason: &str| {
        control.post(
            &format!("/api/v1/experiments/tone/{step}"),
            &json!({"reason": reason}),
        )
    };
    assert_eq!(
        step(&mut control, "freeze", "looks odd").json()["state"],
        "frozen"
    );
    check_frozen(&server, "by hand");
    step(&mut control, "freeze", "again").check_problem(409, "WRONG_STATE");
    step(&mut control, "promote", "why not").check_problem(409, "WRONG_STATE");
    assert_eq!(step(&mut control, "stop", "over").json()["state"], "stopped");
    // A freeze outlives a stop.
    step(&mut control, "start", "again").check_problem(409, "WRONG_STATE");
    assert_eq!(
        step(&mut control, "resume", "it was nothing").json()["state"],
        "running"
    );
    assert_eq!(step(&mut control, "hold", "wait").json()["state"], "holding");
    assert_eq!(
        step(&mut control, "promote", "good enough").json()["state"],
        "promoted"
    );
    let decision = server.decide("u-1");
    assert_eq!(
        (&decision["reason"], &decision["semver"]),
        (&json!("STATIC"), &json!("1.1.0"))
    );
    let reasons: Vec<String> = server
        .audit()
        .iter()
        .filter(|entry| entry["actor"] == "api")
        .map(|entry| entry["reason"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        reasons,
        [
            "looks odd",
            "over",
            "it was nothing",
            "wait",
            "good enough",
            "good enough"
        ]
    );
    // Receipt keys are in the log but in no answer.
    assert!(!server.control().get("/api/v1/audit").body.contains("secret"));
    // The promotion is not undone by the next start, which reads the same files.
    assert_eq!(server.stop(), Some(0));
    let server = house.start();
    assert_eq!(server.decide("u-1")["semver"], "1.1.0");
    assert_eq!(server.state("tone"), "promoted");
}

#[test]
fn the_end_fails_no_request_in_flight() {
    let house = House::with("tone", TONE);
    let mut server = house.start();
    let ending = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..8)
        .map(|worker| {
            let (address, ending, answered) = (server.data, Arc::clone(&ending), Arc::clone(&answered));
            thread::spawn(move || {
                let mut client = Client::connect(address);
                let mut receipt: Option<String> = None;
                let mut accepted = Vec::new();
                for round in 0_u64.. {
                    let before = ending.load(Ordering::SeqCst);
                    let outcome = worker % 2 == 0 && receipt.is_some();
                    let (path, body) = if outcome {
                        let id = format!("w{worker}-{round}");
                        let body =
                            json!({"receipt": receipt.take(), "id": id, "metrics": {"resolved": true}});
                        ("/v1/outcomes", body)
                    } else {
                        let user = format!("u-{worker}-{round}");
                        (
                            "/v1/decide",
                            json!({"prompt": "greeting", "context": {"user": user}}),
                        )
                    };
                    match client.try_request("POST", path, "application/json", body.to_string().as_bytes()) {
                        Ok(reply) => {
                            assert_eq!(reply.status, 200, "{reply:?}");
                            answered.fetch_add(1, Ordering::SeqCst);
                            match reply.json()["receipt"].as_str() {
                                Some(text) => receipt = Some(text.to_owned()),
                                None => accepted.push(body),
                            }
                            if reply
                                .headers
                                .get("connection")
                                .is_some_and(|value| value == "close")
                            {
                                assert!(ending.load(Ordering::SeqCst), "closed before the end");
                                return accepted;
                            }
                        }
                        Err(error) => {
                            // Only a request that began when the end was near may find the connection closed, and
                            // then without any part of an answer.
                            assert!(before || ending.load(Ordering::SeqCst), "{error} before the end");
                            assert!(!client.has_part_of_an_answer(), "half an answer");
                            return accepted;
                        }
                    }
                }
                accepted
            })
        })
        .collect();
    // A request whose body is still on its way when the end comes is answered.
    let mut slow = server.data();
    let body = json!({"prompt": "greeting", "context": {"user": "slow"}}).to_string();
    let head = format!(
        "POST /v1/decide HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    slow.send(head.as_bytes());
    slow.send(&body.as_bytes()[..5]);
    until("some load", || {
        (answered.load(Ordering::SeqCst) > 500).then_some(())
    });
    ending.store(true, Ordering::SeqCst);
    let began = Instant::now();
    server.terminate();
    server.logged(&["draining connections"]);
    slow.send(&body.as_bytes()[5..]);
    let reply = slow.try_reply().unwrap();
    assert_eq!(
        (reply.status, reply.json()["prompt"].as_str()),
        (200, Some("greeting"))
    );
    drop(slow);
    let accepted: Vec<Value> = clients
        .into_iter()
        .flat_map(|client| client.join().unwrap())
        .collect();
    assert_eq!(server.ended(), Some(0), "{:?}", server.log());
    println!(
        "drained in {:?} after {} answers",
        began.elapsed(),
        answered.load(Ordering::SeqCst)
    );
    assert!(began.elapsed() < Duration::from_secs(5));
    let server = house.start();
    let again = server.data().outcomes(&json!(accepted));
    assert_eq!(
        (&again["accepted"], &again["duplicates"]),
        (&json!(0), &json!(accepted.len())),
        "{again}"
    );
}

#[test]
fn one_process_per_store() {
    let house = House::with("tone", TONE);
    let server = house.start();
    let refused = house.refused();
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
    assert!(
        refused.errors.contains("another serin is using this store"),
        "{}",
        refused.errors
    );
    server.check_healthy();
    server.kill();
    house.start().check_healthy();
}

#[test]
fn without_tokens_the_control_plane_stays_on_this_machine() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8788"] {
        let house = House::with("tone", TONE).set("control_plane", &format!("listen = \"{address}\""));
        let refused = house.refused();
        assert_eq!(refused.code, Some(1));
        assert!(
            refused
                .errors
                .contains("control_plane.listen: must be a loopback address"),
            "{}",
            refused.errors
        );
        assert!(!house.path("data").exists(), "refused before anything is made");
    }
    // Web pages must not reach it through a browser either.
    let house = House::with("tone", TONE);
    let server = house.start();
    for header in [
        "host: evil.example",
        "host: 127.0.0.1\r\norigin: https://evil.example",
    ] {
        let mut client = server.control();
        let request = format!(
            "POST /api/v1/experiments/tone/freeze HTTP/1.1\r\n{header}\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{{\"reason\":\"x\"}}"
        );
        client.send(request.as_bytes());
        assert_eq!(client.try_reply().unwrap().status, 403, "{header}");
    }
    assert_eq!(server.state("tone"), "running");
}

#[test]
fn a_bad_settings_file_is_told_whole() {
    let house = House::with("tone", TONE);
    let settings = house.path("serin.toml");
    write(
        &settings,
        "[data_plane]\nlisten = 8787\nidle_timeout = \"soon\"\nmax_conections = 5\n[store]\nredis = \"redis://x\"\n",
    );
    let refused = house.refused();
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
    for told in [
        "serin.toml:2: data_plane.listen: ",
        "serin.toml:3: data_plane.idle_timeout: ",
        "serin.toml:4: data_plane.max_conections: unknown key, did you mean `max_connections`?",
        "serin.toml:6: store.redis: ",
    ] {
        assert!(
            refused.errors.contains(told),
            "no {told:?} in\n{}",
            refused.errors
        );
    }
    fs::remove_file(&settings).unwrap();
    let refused = house.refused();
    assert_eq!(refused.code, Some(1));
    assert!(refused.errors.contains("serin.toml"), "{}", refused.errors);
}

#[test]
fn a_first_start_with_bad_files_refuses_and_a_later_one_uses_the_last_good_state() {
    let mistaken = TONE
        .replacen("weight = 50", "weight = -1", 1)
        .replace("1.1.0", "9.9.9");
    let house = House::with("tone", &mistaken);
    write(
        &house.prompt_path("greeting", "1.2.0"),
        "type = \"text\"\nprompt = 5\n",
    );
    // Where the port is known beforehand, it can be seen to stay free.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let house = house.set("data_plane", &format!("listen = \"{free}\""));
    let refused = house.refused();
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
    let lines = [
        "experiments/tone.toml:8: variants[0].weight: must be a finite number greater than 0, found -1",
        "prompts/greeting/1.2.0.toml:2: prompt: ",
    ];
    for told in lines {
        assert!(
            refused.errors.contains(told),
            "no {told:?} in\n{}",
            refused.errors
        );
    }
    assert!(std::net::TcpListener::bind(free).is_ok());
    fs::remove_file(house.prompt_path("greeting", "1.2.0")).unwrap();
    house.experiment("tone", &TONE.replace("1.1.0", "9.9.9"));
    let refused = house.refused();
    let told = "experiments/tone.toml:11: variants[1].version: ";
    assert!(
        refused.errors.contains(told),
        "no {told:?} in\n{}",
        refused.errors
    );
    let house = house.set("data_plane", "listen = \"127.0.0.1:0\"");

    house.experiment("tone", TONE);
    let server = house.start();
    assert_eq!(server.metric("serin_config_last_reload_successful"), Some(1.0));
    let decision = server.decide("u-1");
    assert_eq!(server.stop(), Some(0));
    house.experiment("tone", &mistaken);
    let server = house.start();
    assert_eq!(server.decide("u-1")["variant"], decision["variant"]);
    assert_eq!(server.metric("serin_config_last_reload_successful"), Some(0.0));
    assert_eq!(
        server.metric("serin_config_reloads_total{result=\"rejected\"}"),
        Some(1.0)
    );
    server.logged(&["tone.toml:8: variants[0].weight"]);
    server.logged(&["starting with the last good state"]);
    // A folder that is gone is no empty one.
    drop(server);
    house.experiment("tone", TONE);
    fs::rename(house.path("experiments"), house.path("elsewhere")).unwrap();
    let server = house.start();
    assert_eq!(server.decide("u-1")["variant"], decision["variant"]);
    assert_eq!(server.metric("serin_config_last_reload_successful"), Some(0.0));
    // And when it is back everything is as it was.
    fs::rename(house.path("elsewhere"), house.path("experiments")).unwrap();
    until("a good reload", || {
        (server.metric("serin_config_last_reload_successful") == Some(1.0)).then_some(())
    });
    assert_eq!(server.decide("u-1")["variant"], decision["variant"]);
    assert_eq!(server.events("experiment_stopped").len(), 0);
}

#[test]
fn the_sample_configuration_serves() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = |name: &str| format!("dir = '{}'", root.join("config").join(name).display());
    let house = House::new()
        .set("prompts", &dir("prompts"))
        .set("experiments", &dir("experiments"));
    let server = house.start();
    let mut client = server.data();
    let decision = client.ok(
        "/v1/decide",
        &json!({"prompt": "support_reply", "context": {"user": "u-42", "country": "DE"}}),
    );
    assert_eq!(
        (&decision["experiment"], &decision["reason"]),
        (&json!("support_reply_tone"), &json!("SPLIT"))
    );
    // A name with a slash, as it is and escaped.
    let arms: Vec<Value> = (0..200)
        .map(|agent| {
            client.get_json(&format!("/v1/decide/summarize%2Fticket?agent=a-{agent}"))["variant"].clone()
        })
        .collect();
    let candidates = arms.iter().filter(|arm| **arm == "candidate").count();
    assert!(
        (1..30).contains(&candidates),
        "5 % of 200 are about 10, not {candidates}"
    );
    let plain = client.get_json("/v1/decide/summarize/ticket?agent=a-0");
    assert_eq!(plain["variant"], arms[0]);
    server.check_healthy();
}

#[test]
fn the_command_line_against_the_server() {
    let house = House::with("tone", &guarded(FALLBACK));
    let server = house.start();
    let serin = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_serin"))
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let [data, control] = [server.data, server.control].map(|address| format!("http://{address}"));
    let (code, out, errors) = serin(&["decide", "greeting", "--user", "u-1", "--explain", "--url", &data]);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{out}");
    let decision = server.decide("u-1");
    assert!(
        out.contains(&format!("variant {}", decision["variant"].as_str().unwrap())),
        "{out}"
    );
    let (code, out, _) = serin(&["experiment", "list", "--url", &control]);
    assert!(
        code == Some(0) && out.contains("tone") && out.contains("running"),
        "{out}"
    );
    let (code, out, _) = serin(&[
        "experiment",
        "freeze",
        "tone",
        "--reason",
        "looks odd",
        "--url",
        &control,
    ]);
    assert!(code == Some(0) && out.contains("frozen"), "{out}");
    check_frozen(&server, "from the command line");
    let (code, _, errors) = serin(&["experiment", "hold", "tone", "--url", &control]);
    assert!(code == Some(1) && errors.contains("WRONG_STATE"), "{errors}");
    let (code, out, _) = serin(&["experiment", "show", "tone", "--url", &control]);
    assert!(code == Some(0) && out.contains("looks odd"), "{out}");
    let (code, out, _) = serin(&[
        "experiment",
        "resume",
        "tone",
        "--reason",
        "fine",
        "--url",
        &control,
    ]);
    assert!(code == Some(0) && out.contains("running"), "{out}");
    let (code, out, errors) = serin(&["experiment", "results", "tone", "--url", &control]);
    assert!(
        code == Some(0) && out.contains("control") && out.contains("warm"),
        "{out}{errors}"
    );
    let (code, out, _) = serin(&["--json", "experiment", "results", "tone", "--url", &control]);
    let results: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &results["experiment"]), (Some(0), &json!("tone")));
    let (code, _, errors) = serin(&["experiment", "results", "nobody", "--url", &control]);
    assert!(code == Some(1) && errors.contains("nobody"), "{errors}");
}

#[test]
fn alone_it_serves_the_settings_of_the_working_folder() {
    let house = House::with("tone", TONE);
    fs::create_dir(house.path("config")).unwrap();
    fs::rename(house.path("serin.toml"), house.path("config/serin.toml")).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_serin"));
    command
        .current_dir(house.path(""))
        .stdin(std::process::Stdio::null());
    let server = Server::spawn(command).unwrap();
    assert_eq!(server.decide("u-1")["reason"], "SPLIT");
    server.check_healthy();
    assert_eq!(server.stop(), Some(0));
    assert!(house.path("data/serin-outcomes.db").exists());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for plane in ["data_plane", "control_plane"] {
        let house = House::with("tone", TONE).set(plane, &format!("listen = \"{address}\""));
        let refused = house.refused();
        assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
        assert!(
            refused.errors.contains(&address.to_string()),
            "{}",
            refused.errors
        );
    }
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let house = House::with("tone", TONE);
    let server = house.start();
    let mut client = server.data();
    let mut requests = String::new();
    for user in 0..20 {
        requests += &format!("GET /v1/decide/greeting?user=u-{user} HTTP/1.1\r\nhost: x\r\n\r\n");
        let body = format!("{{\"prompt\":\"nobody-{user}\"}}");
        requests += &format!(
            "POST /v1/decide HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
    }
    // In pieces that end anywhere.
    for piece in requests.as_bytes().chunks(37) {
        client.send(piece);
    }
    for user in 0..20 {
        let decision = client.try_reply().unwrap().json();
        assert_eq!(
            decision["variant"],
            server.decide(&format!("u-{user}"))["variant"]
        );
        let refused = client.try_reply().unwrap();
        assert!(
            refused.json()["detail"]
                .as_str()
                .unwrap()
                .contains(&format!("nobody-{user}`")),
            "{refused:?}"
        );
    }
}

#[test]
fn a_schedule_is_followed() {
    #[allow(
        clippy::disallowed_methods,
        reason = "the server under test lives in real time"
    )]
    let now = jiff::Timestamp::now();
    let at = |seconds: i64| now + jiff::SignedDuration::from_secs(seconds);
    let house = House::with(
        "tone",
        &format!("start = {:.0}\nend = {:.0}\n{TONE}", at(3), at(6)),
    );
    let server = house.start();
    assert_eq!(server.state("tone"), "scheduled");
    let decision = server.decide("u-1");
    assert_eq!(
        (&decision["variant"], &decision["cause"], &decision["receipt"]),
        (&json!("deployed"), &json!("not_started"), &Value::Null)
    );
    until("the start", || (server.state("tone") == "running").then_some(()));
    assert_eq!(server.decide("u-1")["reason"], "SPLIT");
    until("the end", || (server.state("tone") == "stopped").then_some(()));
    assert_eq!(server.decide("u-1")["reason"], "STATIC");
    let by: Vec<Value> = ["experiment_started", "experiment_stopped"]
        .iter()
        .map(|kind| server.events(kind)[0]["actor"].clone())
        .collect();
    assert_eq!(by, ["schedule", "schedule"]);
}

#[test]
fn a_damaged_store_is_named_and_not_written_to() {
    for name in ["serin.db", "serin-outcomes.db"] {
        let house = House::with("tone", TONE);
        let server = house.start();
        let arms = server.data().assigned(5);
        server.data().outcomes(&reports(&arms.warm, &good()));
        assert_eq!(server.stop(), Some(0));
        let path = house.path("data").join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[..100].fill(b'x');
        fs::write(&path, &bytes).unwrap();
        let refused = house.refused();
        assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
        assert!(refused.errors.contains(name), "{}", refused.errors);
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name}");
    }
}
