//! Alertmanager: what is so fires, what is so no longer ends, and restarts change neither.

use super::{
    QUICK, alertmanager, breach, house,
    process::{House, guarded, until},
    receiver::{Answer, Receiver},
    step,
};
use serde_json::Value;
use serin::domain::Timestamp;

/// Every alert that was posted and taken so far, in order; `over` says whether it was when it came.
fn posted(receiver: &Receiver) -> Vec<Value> {
    let mut alerts = Vec::new();
    for got in receiver.taken() {
        assert_eq!(got.path, "/api/v2/alerts");
        for mut alert in got.json().as_array().unwrap().clone() {
            alert["over"] = (time(&alert, "endsAt") <= got.at).into();
            alerts.push(alert);
        }
    }
    alerts
}

fn time(alert: &Value, member: &str) -> Timestamp {
    alert[member].as_str().unwrap().parse().unwrap()
}

fn is_over(alert: &Value) -> bool {
    alert["over"] == true
}

/// Waits for an alert that is taken after the first `skip`.
fn alert(receiver: &Receiver, skip: usize, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    until(what, || posted(receiver).into_iter().skip(skip).find(&wanted))
}

#[test]
fn a_freeze_fires_again_and_again_and_ends_with_a_resume() {
    let receiver = Receiver::start();
    let guardrail = "metric = \"fallback\"\nmax_ratio = 1.25\nsettle = \"0s\"";
    let house = House::with("tone", &guarded(guardrail)).set(
        "notifications",
        &(QUICK.to_owned() + &alertmanager("am", &receiver)),
    );
    let server = house.start();
    breach(&server);
    let first = alert(&receiver, 0, "a firing alert", |_| true);
    let labels = serde_json::json!({
        "alertname": "SerinRolloutFrozen", "experiment": "tone", "prompt": "greeting", "environment": "production",
        "guardrail": "fallback", "severity": "ticket"});
    assert_eq!(first["labels"], labels);
    let freeze = &server.experiment("tone")["freeze"];
    assert_eq!(first["startsAt"], freeze["at"]);
    assert!(!is_over(&first), "{first}");
    assert_eq!(first["annotations"]["description"], freeze["reason"]);
    let evidence: Value = serde_json::from_str(first["annotations"]["evidence"].as_str().unwrap()).unwrap();
    assert_eq!(evidence, freeze["cause"]);
    // It says so again, with a later end each time.
    let later = alert(&receiver, 0, "a repeated alert", |alert| {
        time(alert, "endsAt") > time(&first, "endsAt")
    });
    assert_eq!(later["labels"], labels);
    // A kill neither ends it nor loses it.
    server.kill();
    let count = posted(&receiver).len();
    let server = house.start();
    let again = alert(&receiver, count, "the alert after a restart", |_| true);
    assert_eq!(
        (&again["labels"], &again["startsAt"]),
        (&labels, &first["startsAt"])
    );
    assert!(!posted(&receiver).iter().any(is_over));
    step(&server, "resume");
    let over = alert(&receiver, count, "the end of the alert", is_over);
    assert_eq!(
        (&over["labels"], &over["startsAt"]),
        (&labels, &first["startsAt"])
    );
    // Nothing more is said of it.
    until("nothing pending", || {
        (server.metric("serin_notifications_pending{endpoint=\"am\"}") == Some(0.0)).then_some(())
    });
}

#[test]
fn a_hold_is_told_and_becomes_a_freeze_by_hand() {
    let receiver = Receiver::start();
    let house = house(&[alertmanager("am", &receiver)]);
    let server = house.start();
    step(&server, "hold");
    let named = |name: &'static str| move |alert: &Value| alert["labels"]["alertname"] == name;
    let holding = alert(&receiver, 0, "a hold", named("SerinRolloutHolding"));
    assert_eq!(holding["annotations"]["description"], "because of hold");
    step(&server, "freeze");
    let frozen = alert(&receiver, 0, "a freeze", named("SerinRolloutFrozen"));
    assert_eq!(frozen["labels"]["cause"], "manual");
    assert_eq!(frozen["labels"].get("guardrail"), None);
    alert(&receiver, 0, "the end of the hold", |alert| {
        named("SerinRolloutHolding")(alert) && is_over(alert)
    });
}

#[test]
fn the_end_is_told_to_an_alertmanager_that_was_away() {
    let receiver = Receiver::start();
    let house = house(&[alertmanager("am", &receiver)]);
    let server = house.start();
    step(&server, "freeze");
    alert(&receiver, 0, "a freeze", |_| true);
    receiver.answer(|_| Answer::no(502));
    step(&server, "resume");
    let pending = "serin_notifications_pending{endpoint=\"am\"}";
    until("an end that waits", || {
        (server.metric(pending) >= Some(1.0)).then_some(())
    });
    receiver.answer(|_| Answer::Yes);
    alert(&receiver, 0, "the end", is_over);
    until("nothing pending", || {
        (server.metric(pending) == Some(0.0)).then_some(())
    });
}
