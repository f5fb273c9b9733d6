//! `serin experiment explain`: the story of an experiment in sentences, from the control log.

use super::{
    client::Server,
    evidence,
    figures::{list, moment_of, percent, text},
    table::{indented, plain},
};
use crate::domain::guardrail::Breach;
use anyhow::Result;
use serde_json::Value;
use std::fmt::Write as _;

/// Entries asked for at a time.
const PAGE: usize = 1_000;

/// Every entry of the log about one experiment, oldest first.
///
/// # Errors
/// The server's.
pub(super) async fn entries(server: &Server, experiment: &str) -> Result<Vec<Value>> {
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let path = format!("/api/v1/audit?after={after}&limit={PAGE}");
        let page = server.get(&path).await?.json;
        let entries = list(&page["entries"]);
        let about = |entry: &&Value| {
            let event = &entry["event"];
            text(event, "id") == experiment || text(&event["spec"], "id") == experiment
        };
        found.extend(entries.iter().filter(about).cloned());
        match (page["more"].as_bool(), entries.last()) {
            (Some(true), Some(last)) => after = last["revision"].as_u64().unwrap_or(u64::MAX),
            _ => return Ok(found),
        }
    }
}

/// The entries as sentences: what, when, by whom, why, and on what evidence.
pub(super) fn story(entries: &[Value]) -> String {
    let mut out = String::new();
    for entry in entries {
        let event = &entry["event"];
        let (what, more) = told(event);
        let (at, actor) = (moment_of(&entry["at"]), plain(text(entry, "actor")));
        let reason = match plain(text(entry, "reason")) {
            reason if reason.is_empty() => String::new(),
            reason => format!(": {reason}"),
        };
        let _ = writeln!(
            out,
            "{at}  {what}, by {actor}{reason} (revision {}).",
            entry["revision"]
        );
        if !more.is_empty() {
            out.push_str(&indented(&format!("{}\n", more.join("\n"))));
        }
    }
    out
}

fn told(event: &Value) -> (String, Vec<String>) {
    let breach = |breach: &Value| {
        serde_json::from_value::<Breach>(breach.clone())
            .map(|breach| evidence::breach_sentences(&breach))
            .unwrap_or_default()
    };
    let number = |stage: &Value| stage.as_u64().map_or(0, |stage| stage + 1);
    let kind = text(event, "type");
    match kind {
        "experiment_created" => ("Created".to_owned(), Vec::new()),
        "experiment_changed" => ("Its design changed".to_owned(), Vec::new()),
        "experiment_scheduled" => ("Scheduled".to_owned(), Vec::new()),
        "experiment_started" => ("Started".to_owned(), pins(event)),
        "experiment_held" => {
            let cause = match text(event, "cause") {
                "" => String::new(),
                cause => format!(" ({})", plain(cause)),
            };
            (
                format!("Held{cause}"),
                [breach(&event["breach"]), stage(&event["evidence"])].concat(),
            )
        }
        "experiment_cleared" => (
            format!(
                "Went on, since the hold's cause was gone ({})",
                plain(text(event, "cause"))
            ),
            Vec::new(),
        ),
        "experiment_advanced" => (
            format!("Advanced to stage {}", number(&event["stage"])),
            stage(&event["evidence"]),
        ),
        "experiment_frozen" => ("Frozen".to_owned(), breach(&event["cause"]["guardrail"])),
        "experiment_resumed" => ("Resumed".to_owned(), pins(event)),
        "experiment_stopped" => {
            let conclusion = match text(event, "conclusion") {
                "" => String::new(),
                conclusion => format!(" with the conclusion `{}`", plain(conclusion)),
            };
            (format!("Stopped{conclusion}"), Vec::new())
        }
        "experiment_promoted" => (
            format!("Promoted: version {} is deployed", event["version"]),
            stage(&event["evidence"]),
        ),
        "guardrail_alerted" => ("A guardrail alerted".to_owned(), breach(&event["breach"])),
        // A newer server may know events that this command line does not.
        other => (plain(other), Vec::new()),
    }
}

fn pins(event: &Value) -> Vec<String> {
    let pinned = list(&event["pinned"]).iter().map(|pin| {
        format!(
            "`{}` serves version {}, pinned by its content {:.12}.",
            plain(text(pin, "variant")),
            pin["version"],
            text(pin, "digest")
        )
    });
    pinned.collect()
}

/// What a stage that passed rests on.
fn stage(evidence: &Value) -> Vec<String> {
    let Some(stage) = evidence["stage"].as_u64() else {
        return Vec::new();
    };
    let arms: Vec<String> = list(&evidence["arms"])
        .iter()
        .map(|arm| {
            format!(
                "`{}` {} requests and {} outcomes",
                plain(text(arm, "variant")),
                arm["requests"],
                arm["outcomes"]
            )
        })
        .collect();
    let mut lines = vec![format!(
        "Stage {} had run for {}: {}.",
        stage + 1,
        plain(text(evidence, "served")),
        arms.join(", ")
    )];
    for guardrail in list(&evidence["guardrails"]) {
        let ruled_out = guardrail["ruled_out"]
            .as_str()
            .map_or_else(String::new, |harm| format!("; ruled out was {}", plain(harm)));
        lines.push(format!(
            "`{}` on `{}`: {} of the evidence of a breach{ruled_out}.",
            plain(text(guardrail, "guardrail")),
            plain(text(guardrail, "variant")),
            percent(guardrail["evidence"].as_f64().unwrap_or(0.0))
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_story_has_every_step_with_its_evidence() {
        let entry = |revision: u64, event: Value, reason: &str| {
            json!({"revision": revision, "at": "2026-12-01T10:00:00Z", "actor": "rollout", "reason": reason,
                "event": event})
        };
        let evidence = json!({"stage": 0, "served": "15m",
            "arms": [{"variant": "old", "requests": 900, "outcomes": 880}, {"variant": "new", "requests": 9, "outcomes": 8}],
            "guardrails": [{"guardrail": "fallback", "variant": "new", "limit": {"max_ratio": 1.25}, "evidence": 0.1,
                "ruled_out": "2 times control's rate"}]});
        let story = story(&[
            entry(
                3,
                json!({"type": "experiment_held", "id": "e", "cause": "no_data"}),
                "silence",
            ),
            entry(
                4,
                json!({"type": "experiment_cleared", "id": "e", "cause": "no_data"}),
                "",
            ),
            entry(
                5,
                json!({"type": "experiment_advanced", "id": "e", "stage": 1, "evidence": evidence}),
                "passed",
            ),
            entry(6, json!({"type": "something_new", "id": "e"}), "why not"),
        ]);
        assert_eq!(
            story,
            "2026-12-01 10:00:00 UTC  Held (no_data), by rollout: silence (revision 3).\n\
             2026-12-01 10:00:00 UTC  Went on, since the hold's cause was gone (no_data), by rollout (revision 4).\n\
             2026-12-01 10:00:00 UTC  Advanced to stage 2, by rollout: passed (revision 5).\n  \
             Stage 1 had run for 15m: `old` 900 requests and 880 outcomes, `new` 9 requests and 8 outcomes.\n  \
             `fallback` on `new`: 10 % of the evidence of a breach; ruled out was 2 times control's rate.\n\
             2026-12-01 10:00:00 UTC  something_new, by rollout: why not (revision 6).\n"
        );
    }
}
