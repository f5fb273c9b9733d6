//! Webhooks: signed, in order, and sent until they are taken.

use super::{
    QUICK, SECRET, breach, house,
    process::{House, Server, TONE, guarded, until, within, write},
    receiver::{Answer, Got, Receiver},
    step, webhook,
};
use serde_json::{Value, json};
use std::{fs, time::Duration};
use tokio::time::Instant;

/// Waits until this many were taken.
fn taken(receiver: &Receiver, count: usize) -> Vec<Got> {
    until(&format!("{count} messages that are taken"), || {
        Some(receiver.taken()).filter(|taken| taken.len() >= count)
    })
}

fn events(got: &[Got]) -> Vec<&str> {
    got.iter().map(Got::event).collect()
}

/// Waits until nothing is pending.
fn all_told(server: &Server, endpoint: &str) {
    let series = format!("serin_notifications_pending{{endpoint=\"{endpoint}\"}}");
    until("an endpoint that has all", || {
        (server.metric(&series) == Some(0.0)).then_some(())
    });
}

#[test]
fn every_transition_is_told_in_order_and_signed() {
    let receiver = Receiver::start();
    let house = house(&[webhook("on-call", &receiver, "")]);
    let server = house.start();
    for verb in ["hold", "resume", "freeze", "resume", "promote"] {
        step(&server, verb);
    }
    let got = taken(&receiver, 6);
    assert_eq!(
        events(&got),
        ["started", "held", "resumed", "frozen", "resumed", "promoted"]
    );
    let now = server.audit();
    for message in &got {
        assert_eq!(message.path, "/hook?a=b");
        assert_eq!(message.headers["content-type"], "application/json");
        assert!(message.headers["user-agent"].starts_with("serin/"), "{message:?}");
        let json = message.json();
        assert_eq!(json["id"], message.id().to_string());
        assert_eq!(json["transition"], message.event());
        // The log's entry, word for word.
        let entry = now.iter().find(|entry| entry["revision"] == json["revision"]);
        let entry = entry.unwrap();
        for member in ["revision", "at", "actor", "reason", "event"] {
            assert_eq!(json[member], entry[member], "{member}");
        }
        let signed = message.signed_at(SECRET);
        let at: serin::domain::Timestamp = json["at"].as_str().unwrap().parse().unwrap();
        assert!((0..20).contains(&(signed - at.as_second())), "{signed} {at}");
    }
    let standing = |json: &Value| (json["state"].clone(), json["epoch"].clone());
    let states: Vec<_> = got.iter().map(|message| standing(&message.json())).collect();
    let expected = ["running", "holding", "running", "frozen", "running", "promoted"];
    for (number, (state, epoch)) in states.iter().enumerate() {
        assert_eq!((state, epoch), (&json!(expected[number]), &json!(number + 1)));
    }
    let frozen = got[3].json();
    assert_eq!(frozen["experiment"], "tone");
    assert_eq!(frozen["prompt"], "greeting");
    assert_eq!(frozen["environment"], "production");
    assert_eq!(
        frozen["text"],
        "Experiment `tone` is frozen (prompt `greeting`, production), by api: because of freeze"
    );
    all_told(&server, "on-call");
    let delivered = "serin_notifications_total{endpoint=\"on-call\",result=\"delivered\"}";
    assert_eq!(server.metric(delivered), Some(6.0));
    let failed = "serin_notifications_total{endpoint=\"on-call\",result=\"failed\"}";
    assert_eq!(server.metric(failed), Some(0.0));
    let last = "serin_notification_last_success_timestamp_seconds{endpoint=\"on-call\"}";
    assert!(server.metric(last).unwrap() > 1.7e9);
}

#[test]
fn a_freeze_by_a_guardrail_is_told_with_all_its_evidence() {
    let receiver = Receiver::start();
    let only = "events = [\"frozen\"]";
    let house = House::with(
        "tone",
        &guarded("metric = \"fallback\"\nmax_ratio = 1.25\nsettle = \"0s\""),
    )
    .set(
        "notifications",
        &(QUICK.to_owned() + &webhook("on-call", &receiver, only)),
    );
    let server = house.start();
    breach(&server);
    let got = taken(&receiver, 1);
    let json = got[0].json();
    let frozen = server.events("experiment_frozen");
    assert_eq!(json["event"], frozen[0]["event"]);
    let cause = &json["event"]["cause"]["guardrail"];
    assert_eq!(cause["guardrail"], "fallback");
    assert_eq!(cause["candidate"]["variant"], "warm");
    assert!(
        cause["log_e"].as_f64() >= cause["log_threshold"].as_f64(),
        "{json}"
    );
    let text = json["text"].as_str().unwrap();
    let begin = "Experiment `tone` is frozen (prompt `greeting`, production), by guardrail:fallback: fallback of `warm` is";
    assert!(text.starts_with(begin), "{text}");
}

#[test]
fn only_what_was_asked_for_is_told() {
    let (deployed, frozen) = (Receiver::start(), Receiver::start());
    let house = house(&[
        webhook("registry", &deployed, "events = [\"deployed\", \"promoted\"]"),
        webhook("on-call", &frozen, "events = [\"frozen\"]"),
    ]);
    let server = house.start();
    step(&server, "freeze");
    step(&server, "resume");
    step(&server, "promote");
    assert_eq!(events(&taken(&frozen, 1)), ["frozen"]);
    all_told(&server, "registry");
    all_told(&server, "on-call");
    let got = deployed.taken();
    let promoted = got.iter().find(|got| got.event() == "promoted").unwrap().json();
    assert_eq!(promoted["state"], "promoted");
    // The first version to every environment, and what was promoted.
    let last = got
        .iter()
        .rev()
        .find(|got| got.event() == "deployed")
        .unwrap()
        .json();
    assert_eq!(last["event"]["version"], 2);
    assert_eq!(last["prompt"], "greeting");
    assert_eq!(
        (&last["experiment"], &last["state"]),
        (&Value::Null, &Value::Null)
    );
    let text = last["text"].as_str().unwrap();
    assert!(
        text.starts_with("Version 2 of prompt `greeting` is deployed to production, by"),
        "{text}"
    );
    assert_eq!(frozen.taken().len(), 1);
}

#[test]
fn what_is_refused_is_sent_again_before_anything_later() {
    let receiver = Receiver::start();
    let mut left = 3;
    receiver.answer(move |got| {
        if got.event() == "held" && left > 0 {
            left -= 1;
            return Answer::no([500, 410, 400][left]);
        }
        Answer::Yes
    });
    let house = house(&[webhook("on-call", &receiver, "")]);
    let server = house.start();
    step(&server, "hold");
    step(&server, "freeze");
    taken(&receiver, 3);
    let got = receiver.got();
    assert_eq!(
        events(&got),
        ["started", "held", "held", "held", "held", "frozen"]
    );
    assert!(got[1..5].iter().all(|again| again.id() == got[1].id()), "{got:?}");
    assert!(got[1..5].iter().all(|again| again.body == got[1].body), "{got:?}");
    assert!(got.windows(2).all(|pair| pair[0].id() <= pair[1].id()), "{got:?}");
    for again in &got {
        again.signed_at(SECRET);
    }
    let failed = "serin_notifications_total{endpoint=\"on-call\",result=\"failed\"}";
    assert_eq!(server.metric(failed), Some(3.0));
    let line = server.logged(&["a message was not taken", "on-call", "410"]);
    assert!(line.contains("no, thank you"), "{line}");
    assert!(!line.contains("/hook"), "an address may be a secret: {line}");
}

#[test]
fn a_redirect_is_not_followed() {
    let (receiver, elsewhere) = (Receiver::start(), Receiver::start());
    let location = format!("location: {}\r\n", elsewhere.url("/"));
    receiver.answer(move |_| Answer::No(307, location.clone()));
    let house = house(&[webhook("on-call", &receiver, "")]);
    let server = house.start();
    server.logged(&["answered 307", "redirects are not followed"]);
    assert!(receiver.taken().is_empty() && elsewhere.got().is_empty());
}

#[test]
fn a_receiver_that_hangs_delays_nobody_and_is_cut() {
    let (hanging, prompt) = (Receiver::start(), Receiver::start());
    hanging.answer(|_| Answer::Hang);
    let house = house(&[
        webhook("hanging", &hanging, "timeout = \"100ms\""),
        webhook("patient", &hanging, "timeout = \"60s\""),
        webhook("prompt", &prompt, ""),
    ]);
    let mut server = house.start();
    let began = Instant::now();
    step(&server, "freeze");
    assert_eq!(server.state("tone"), "frozen");
    assert_eq!(events(&taken(&prompt, 2)), ["started", "frozen"]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    within(
        Duration::from_secs(10),
        "another attempt after the first was cut",
        || {
            let attempts = hanging.got().len();
            (attempts > 3).then_some(())
        },
    );
    server.logged(&["hanging", "no answer within 100ms"]);
    assert!(
        server
            .metric("serin_notifications_pending{endpoint=\"hanging\"}")
            .unwrap()
            > 0.0
    );
    assert_eq!(
        server.metric("serin_notifications_pending{endpoint=\"prompt\"}"),
        Some(0.0)
    );
    // The attempt that may take a minute does not hold up the end.
    let began = Instant::now();
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn nothing_is_lost_when_the_power_goes_out() {
    let receiver = Receiver::start();
    receiver.answer(|got| {
        if got.event() == "started" {
            Answer::Yes
        } else {
            Answer::no(503)
        }
    });
    let house = house(&[webhook("on-call", &receiver, "")]);
    let server = house.start();
    step(&server, "freeze");
    step(&server, "resume");
    until("an attempt", || {
        receiver.got().into_iter().find(|got| got.event() == "frozen")
    });
    server.kill();
    let server = house.start();
    step(&server, "hold");
    server.kill();
    receiver.answer(|_| Answer::Yes);
    let server = house.start();
    let got = taken(&receiver, 4);
    all_told(&server, "on-call");
    // Told at least once each and in order; only what came right before a kill may come twice.
    let mut taken = receiver.taken();
    taken.dedup_by_key(|got| got.id());
    assert_eq!(
        events(&taken),
        ["started", "frozen", "resumed", "held"],
        "{got:?}"
    );
    // After a clean end nothing comes twice.
    let before = receiver.got().len();
    assert_eq!(server.stop(), Some(0));
    let server = house.start();
    step(&server, "resume");
    until("the next message", || {
        (receiver.got().len() > before).then_some(())
    });
    assert_eq!(receiver.got()[before].event(), "resumed");
}

#[test]
fn a_new_webhook_is_told_no_history() {
    let (first, second) = (Receiver::start(), Receiver::start());
    let house = House::with("tone", TONE);
    let server = house.start();
    step(&server, "freeze");
    assert_eq!(server.stop(), Some(0));
    let house = house.set(
        "notifications",
        &(QUICK.to_owned() + &webhook("first", &first, "")),
    );
    let server = house.start();
    step(&server, "resume");
    taken(&first, 1);
    assert_eq!(server.stop(), Some(0));
    let house = house.set("notifications", &webhook("second", &second, ""));
    let server = house.start();
    step(&server, "hold");
    assert_eq!(events(&taken(&second, 1)), ["held"]);
    assert_eq!(events(&taken(&first, 2)), ["resumed", "held"]);
}

#[test]
fn secrets_are_changed_over_in_ones_own_time() {
    let receiver = Receiver::start();
    let house = House::with("tone", TONE);
    let path = house.path("next-secret");
    write(&path, "the secret after it\n");
    let house = house.set(
        "notifications",
        &format!(
            "{QUICK}[[notifications.webhooks]]\nname = \"both\"\nurl = \"{}\"\nsecret = [\"{SECRET}\", \"the secret after it\"]\n\
             [[notifications.webhooks]]\nname = \"filed\"\nurl = \"{}\"\nsecret_file = '{}'\n",
            receiver.url("/both"),
            receiver.url("/filed"),
            path.display()
        ),
    );
    let _server = house.start();
    let got = taken(&receiver, 2);
    let at = |path: &str| got.iter().find(|got| got.path == path).unwrap();
    at("/both").signed_at(SECRET);
    at("/both").signed_at("the secret after it");
    at("/filed").signed_at("the secret after it");
    assert_eq!(at("/filed").headers["serin-signature"].matches("v1=").count(), 1);
}

#[test]
fn a_secret_that_cannot_be_read_is_told_before_anything_starts() {
    let receiver = Receiver::start();
    let house = House::with("tone", TONE);
    let path = house.path("missing");
    let house = house.set(
        "notifications",
        &format!(
            "{QUICK}[[notifications.webhooks]]\nname = \"on-call\"\nurl = \"{}\"\nsecret_file = '{}'\n",
            receiver.url("/"),
            path.display()
        ),
    );
    let refused = house.refused();
    assert_eq!(refused.code, Some(1));
    let told = format!("the secret of webhook `on-call`: {}", path.display());
    assert!(refused.errors.contains(&told), "{refused:?}");
}

#[test]
fn a_file_of_cursors_that_cannot_be_used_keeps_nothing_else_from_working() {
    let receiver = Receiver::start();
    let house = house(&[webhook("on-call", &receiver, "")]);
    let cursors = house.path("data/serin-notices.db");
    fs::create_dir_all(&cursors).unwrap();
    let server = house.start();
    server.logged(&["nobody is told"]);
    step(&server, "freeze");
    assert_eq!(server.state("tone"), "frozen");
    let pending = server.metric("serin_notifications_pending{endpoint=\"on-call\"}");
    assert!(pending > Some(0.0), "{pending:?}");
    fs::remove_dir(&cursors).unwrap();
    // Everything since the start, though nothing was remembered of it.
    assert_eq!(events(&taken(&receiver, 2)), ["started", "frozen"]);
}
