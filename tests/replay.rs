//! Logs written by older releases fold to the same catalog for ever. `replay/v1.jsonl` was written by the first
//! release and is never rewritten; a new format gets a file of its own beside it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod support;

use serde_json::Value as Json;
use serin::{
    control_plane::catalog::Catalog,
    domain::{
        event::{Event, Recorded},
        experiment::{FreezeCause, State},
        id::{Epoch, Revision, VersionNumber},
        prompt::PromptContent,
    },
};
use support::environment;

fn log(text: &str) -> Vec<Recorded> {
    let entry = |line: &str| {
        let json: Json = serde_json::from_str(line).unwrap();
        let text = |key: &str| json[key].as_str().unwrap().to_owned();
        Recorded {
            revision: Revision(json["revision"].as_u64().unwrap()),
            at: text("at").parse().unwrap(),
            actor: text("actor"),
            reason: text("reason"),
            event: Event::from_stored(&json["event"].to_string()).unwrap(),
            idempotency: None,
        }
    };
    text.lines().map(entry).collect()
}

#[test]
fn the_first_format_still_folds() {
    let entries = log(include_str!("replay/v1.jsonl"));
    let catalog = Catalog::fold(&entries);
    assert_eq!(catalog.revision, Revision(17));
    assert_eq!(catalog.receipt_keys, [(1, [0xab; 16])]);
    assert_eq!(catalog.holdout.as_ref().unwrap().share, 0.05);

    let prompt = &catalog.prompts["support reply/v2"];
    assert_eq!(prompt.versions.len(), 2);
    assert_eq!(prompt.deployed[&environment()], VersionNumber(2), "promoted");
    assert_eq!(prompt.wished[&environment()], VersionNumber(1));

    let promoted = &catalog.experiments["tone"];
    assert_eq!((promoted.state, promoted.epoch()), (State::Promoted, Epoch(5)));
    assert_eq!(promoted.file.as_deref(), Some("config/experiments/tone.toml"));
    assert_eq!(
        promoted.evidence.as_ref().unwrap().since_epoch,
        Epoch(3),
        "the resumed hold was a guardrail's"
    );

    let frozen = &catalog.experiments["canary"];
    let freeze = frozen.freeze.as_ref().unwrap();
    let FreezeCause::Guardrail(breach) = &freeze.cause else {
        panic!("{:?}", freeze.cause)
    };
    assert_eq!((frozen.state, breach.candidate.bad_units), (State::Frozen, 18));
    assert_eq!(
        frozen
            .epoch_record(Epoch(1))
            .unwrap()
            .share_against_control(frozen.arm("candidate").unwrap()),
        Some(0.05)
    );
    assert_eq!(frozen.alerted, ["cost_usd>2"]);
}

#[test]
fn the_first_format_is_still_what_is_written() {
    for entry in log(include_str!("replay/v1.jsonl")) {
        let stored = entry.event.to_stored().unwrap();
        assert_eq!(Event::from_stored(&stored).unwrap(), entry.event);
    }
}

/// A registry with evidence, gates, labels and rollbacks, and a prompt inside another one.
#[test]
fn the_third_format_folds() {
    let entries = log(include_str!("replay/v3.jsonl"));
    let catalog = Catalog::fold(&entries);
    assert_eq!(catalog.revision, Revision(31));
    let gate = catalog.gate(&environment()).unwrap();
    assert_eq!((gate.min_score, gate.reviews.len()), (Some(0.9), 2));

    let prompt = &catalog.prompts["p"];
    assert_eq!(
        (prompt.tags.join(","), prompt.category()),
        ("s".to_owned(), Some("support"))
    );
    let labels: Vec<_> = prompt
        .all_labels()
        .map(|(label, number)| (label, number.0))
        .collect();
    let expected = [
        ("prod-a", 1),
        ("development", 1),
        ("production", 1),
        ("staging", 1),
        ("latest", 2),
    ];
    assert_eq!(labels, expected);
    let record = prompt.record(VersionNumber(2)).unwrap();
    assert_eq!((record.evaluations.len(), record.reviews.len()), (1, 3));
    let deployment = prompt.deployment(&environment()).unwrap();
    assert!(deployment.is_rollback());
    let served = catalog.served(prompt, deployment).unwrap();
    assert_eq!(served.digest(), deployment.digest);
    assert_eq!(
        *served.content(),
        PromptContent::Text("Be kind. {{q}}".to_owned())
    );
    assert_eq!(catalog.drifted().len(), 3);

    let frozen = &catalog.experiments["e"];
    let cause = &frozen.freeze.as_ref().unwrap().cause;
    assert_eq!(
        *cause,
        FreezeCause::RolledBack {
            version: VersionNumber(1)
        }
    );
    for entry in entries {
        let stored = entry.event.to_stored().unwrap();
        assert_eq!(Event::from_stored(&stored).unwrap(), entry.event);
    }
}

/// Before there was composition a tag was text, and so it stays for the versions of that time.
#[test]
fn tags_of_the_second_format_stay_text() {
    let old = r#"{"revision": 1, "at": "2026-12-01T00:00:00Z", "actor": "a", "reason": "", "event": {"v": 2,
        "type": "prompt_registered", "prompt": "p", "key": 0, "version": {"number": 1, "config": {}, "tags": [], "digest": "d1",
        "prompt": "@@@langfusePrompt:name=p|version=1@@@", "created_at": "2026-12-01T00:00:00Z"}}}"#;
    let catalog = Catalog::fold(&log(&old.replace('\n', " ")));
    let prompt = &catalog.prompts["p"];
    let resolved = catalog.resolve(&prompt.name, &prompt.versions[0]).unwrap();
    assert_eq!(resolved.digest(), "d1");
    let text = "@@@langfusePrompt:name=p|version=1@@@".to_owned();
    assert_eq!(*resolved.content(), PromptContent::Text(text));
}
