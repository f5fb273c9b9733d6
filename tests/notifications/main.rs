//! Telling people, with the real program: what receivers get, whatever they answer and whenever anybody ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected has failed"
)]

mod alertmanager;
mod events;
#[path = "../support/process.rs"]
mod process;
mod receiver;
mod secure;
mod webhooks;

use process::{House, Server, TONE, reports};
use receiver::Receiver;
use serde_json::{Value, json};

/// What the messages of most tests are signed with.
const SECRET: &str = "a secret of on-call";

/// Settings under which nobody waits for long.
const QUICK: &str = "retry_min = \"10ms\"\nretry_max = \"50ms\"\nrepeat = \"200ms\"\n";

/// The settings of one webhook; `more` are further lines.
fn webhook(name: &str, receiver: &Receiver, more: &str) -> String {
    format!(
        "[[notifications.webhooks]]\nname = \"{name}\"\nurl = \"{}\"\nsecret = \"{SECRET}\"\n{more}\n",
        receiver.url("/hook?a=b")
    )
}

/// The settings of one Alertmanager.
fn alertmanager(name: &str, receiver: &Receiver) -> String {
    format!(
        "[[notifications.alertmanager]]\nname = \"{name}\"\nurl = \"{}\"\n",
        receiver.url("")
    )
}

/// A house with the experiment `tone`, whose receivers are these.
fn house(receivers: &[String]) -> House {
    House::with("tone", TONE).set("notifications", &(QUICK.to_owned() + &receivers.concat()))
}

/// A step of `tone` by a person.
fn step(server: &Server, verb: &str) -> Value {
    let path = format!("/api/v1/experiments/tone/{verb}");
    server
        .control()
        .ok(&path, &json!({"reason": format!("because of {verb}")}))
}

/// Sends outcomes that no guardrail of `fallback` can bear.
fn breach(server: &Server) {
    let mut client = server.data();
    let arms = client.assigned(100);
    client.outcomes(&reports(&arms.control, &json!({"fallback": false})));
    client.outcomes(&reports(&arms.warm, &json!({"fallback": true})));
}
