//! The prompt registry: given some history, when a command, then these events or this refusal; and what holds for every
//! history.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod support;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use serin::{
    control_plane::{
        catalog::Catalog,
        decide::{Rejection, decide, deployability, registered},
    },
    domain::{
        Timestamp,
        command::{Command, Origin},
        event::{Event, Recorded},
        experiment::{FreezeCause, State},
        id::{Environment, LabelName, PromptName, Revision, VersionNumber},
        prompt::{
            LATEST, Prompt, PromptContent, PromptDraft, Source, VersionRef, running_at,
            variables::{ambiguous, variables},
        },
    },
};
use std::collections::BTreeSet;

/// A catalog and its log, without IO.
#[derive(Default)]
struct Registry {
    catalog: Catalog,
    log: Vec<Recorded>,
    second: i64,
}

fn name(name: &str) -> PromptName {
    PromptName::new(name).unwrap()
}

fn environment(name: &str) -> Environment {
    Environment::new(name).unwrap()
}

fn text(text: &str) -> Json {
    json!({"prompt": text})
}

impl Registry {
    /// Decides a command of an actor and folds what follows; gives the types of the events.
    fn by(&mut self, actor: &str, command: &Command) -> Result<Vec<String>, Rejection> {
        self.second += 1;
        let at = Timestamp::from_second(self.second).unwrap();
        let events = decide(&self.catalog, command, at)?;
        let mut types = Vec::new();
        for event in events {
            types.push(
                serde_json::to_value(&event).unwrap()["type"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            );
            let origin = Origin::new(actor, "because");
            let entry = Recorded {
                revision: Revision(self.catalog.revision.0 + 1),
                at,
                actor: origin.actor,
                reason: origin.reason,
                event,
                idempotency: None,
            };
            self.catalog.apply(&entry);
            self.log.push(entry);
        }
        Ok(types)
    }

    /// The same, with the refusal as text.
    fn tell(&mut self, command: &Command) -> Result<Vec<String>, String> {
        self.by("ci", command).map_err(|rejection| rejection.to_string())
    }

    fn register(&mut self, prompt: &str, draft: Json) -> Result<Vec<String>, String> {
        let command = Command::RegisterPrompt {
            name: name(prompt),
            draft: Box::new(serde_json::from_value(draft).unwrap()),
            environments: ["development", "staging", "production"].map(environment).into(),
        };
        self.tell(&command)
    }

    fn deploy(&mut self, prompt: &str, version: u32, accept: &[&str]) -> Result<Vec<String>, String> {
        self.tell(&Command::DeployPrompt {
            name: name(prompt),
            environment: environment("production"),
            version: number(version),
            wish: false,
            accept: accept.iter().map(|code| (*code).to_owned()).collect(),
        })
    }

    fn roll_back(&mut self, prompt: &str, target: Option<u32>) -> Result<Vec<String>, String> {
        self.tell(&Command::RollBackPrompt {
            name: name(prompt),
            environment: environment("production"),
            target: target.map(number),
        })
    }

    fn label(&mut self, prompt: &str, label: &str, version: Option<u32>) -> Result<Vec<String>, String> {
        self.tell(&Command::LabelPrompt {
            name: name(prompt),
            label: LabelName::new(label).unwrap(),
            version: version.map(number),
        })
    }

    fn evaluate(&mut self, prompt: &str, version: u32, bundle: Json) -> Result<Vec<String>, String> {
        self.tell(&Command::EvaluatePrompt {
            name: name(prompt),
            version: number(version),
            bundle: serde_json::from_value(bundle).unwrap(),
        })
    }

    fn review(
        &mut self,
        version: u32,
        kind: &str,
        verdict: &str,
        reviewer: &str,
    ) -> Result<Vec<String>, String> {
        let review = json!({"kind": kind, "verdict": verdict, "reviewer": reviewer, "comment": "looked at"});
        self.tell(&Command::ReviewPrompt {
            name: name("p"),
            version: number(version),
            review: serde_json::from_value(review).unwrap(),
        })
    }

    fn gate(&mut self, gate: Json) {
        let gates = json!({"production": gate});
        self.tell(&Command::SetGates(serde_json::from_value(gates).unwrap()))
            .unwrap();
    }

    fn put(&mut self, experiment: &Json) -> Result<Vec<String>, String> {
        self.tell(&Command::PutExperiment(Box::new(support::spec(experiment))))
    }

    fn prompt(&self, prompt: &str) -> &Prompt {
        &self.catalog.prompts[prompt]
    }

    /// What production serves of a prompt.
    fn served(&self, prompt: &str) -> (u32, String) {
        let prompt = self.prompt(prompt);
        let deployment = prompt.deployment(&environment("production")).unwrap();
        let resolved = self.catalog.served(prompt, deployment).unwrap();
        assert_eq!(resolved.digest(), deployment.digest);
        let PromptContent::Text(text) = resolved.content() else {
            panic!("a text")
        };
        (deployment.version.0, text.clone())
    }

    /// Folds the log again through its stored form.
    fn replayed(&self) -> Catalog {
        let entries = self.log.iter().map(|entry| Recorded {
            event: Event::from_stored(&entry.event.to_stored().unwrap()).unwrap(),
            ..entry.clone()
        });
        Catalog::fold(&entries.collect::<Vec<_>>())
    }
}

fn number(version: u32) -> VersionRef {
    VersionRef::Number(VersionNumber(version))
}

/// Asserts that a command is refused with all these words.
#[track_caller]
fn refused(result: Result<Vec<String>, String>, words: &[&str]) {
    let refusal = result.unwrap_err();
    for word in words {
        assert!(refusal.contains(word), "`{word}` is not in: {refusal}");
    }
}

fn gated() -> Registry {
    let mut registry = Registry::default();
    registry.gate(json!({"min_score": 0.9, "max_cost_increase": 0.1, "reviews": ["product", "technical"]}));
    registry
        .register("p", json!({"prompt": "old {{q}}", "author": "ann"}))
        .unwrap();
    registry
        .register("p", json!({"prompt": "new {{q}}", "author": "ann"}))
        .unwrap();
    registry
}

fn pass(registry: &mut Registry, version: u32) {
    let bundle = json!({"score": 0.95, "threshold": 0.9, "cost_increase": 0.0});
    registry.evaluate("p", version, bundle).unwrap();
    registry.review(version, "product", "approve", "bob").unwrap();
    registry.review(version, "technical", "approve", "cat").unwrap();
}

#[test]
fn versions_are_counted_up_and_the_same_again_is_recognised() {
    let mut registry = Registry::default();
    registry
        .register("p", json!({"prompt": "a", "bump": "minor"}))
        .unwrap();
    assert_eq!(
        registry.prompt("p").versions[0].draft.semver,
        Some(semver::Version::new(1, 0, 0))
    );
    assert_eq!(
        registry
            .register("p", json!({"prompt": "a", "bump": "major"}))
            .unwrap(),
        [""; 0]
    );
    let again: PromptDraft = serde_json::from_value(text("a")).unwrap();
    assert_eq!(
        registered(&registry.catalog, &name("p"), &again).unwrap().number,
        VersionNumber(1)
    );
    for (bump, semver) in [("patch", "1.0.1"), ("minor", "1.1.0"), ("major", "2.0.0")] {
        registry
            .register("p", json!({"prompt": bump, "bump": bump}))
            .unwrap();
        assert_eq!(registry.prompt("p").versions.last().unwrap().name(), semver);
    }
    registry.register("p", text("a")).unwrap();
    assert_eq!(
        registry.prompt("p").versions.last().unwrap().number,
        VersionNumber(5),
        "an older content is new again"
    );
    refused(
        registry.register("p", json!({"prompt": "z", "semver": "1.1.0"})),
        &["1.1.0", "immutable", "use a new one"],
    );
    let chat = json!({"prompt": [{"type": "chatmessage", "role": "user", "content": "a"}]});
    refused(registry.register("p", chat), &["text prompt", "chat version"]);
    refused(
        registry.register("p", json!({"prompt": "z", "semver": "3.0.0", "bump": "major"})),
        &["bump", "exclude"],
    );
}

#[test]
fn metadata_stays_with_the_version_and_tags_with_the_name() {
    let mut registry = Registry::default();
    let draft = json!({
        "prompt": "a", "category": "support", "tags": ["x"], "limitations": {"languages": "en"}, "author": "ann",
        "commit_message": "first", "source": {"kind": "git", "commit": "0123abcd"},
    });
    registry.register("p", draft).unwrap();
    let version = &registry.prompt("p").versions[0].draft;
    assert_eq!(
        version.source,
        Some(Source::Git {
            commit: "0123abcd".into(),
            path: None,
            at: None,
        })
    );
    assert_eq!(registry.prompt("p").category(), Some("support"));
    let tags = Command::TagPrompt {
        name: name("p"),
        tags: vec!["y".into()],
    };
    assert_eq!(registry.tell(&tags).unwrap(), ["prompt_tagged"]);
    assert_eq!(registry.tell(&tags).unwrap(), [""; 0]);
    assert_eq!(registry.prompt("p").tags, ["y"]);
    let blank = Command::TagPrompt {
        name: name("p"),
        tags: vec![" ".into()],
    };
    refused(registry.tell(&blank), &["tags[0]", "must not be empty"]);
}

#[test]
fn labels_move_and_some_do_not() {
    let mut registry = Registry::default();
    registry.register("p", text("a")).unwrap();
    registry.register("p", text("b")).unwrap();
    registry.label("p", "prod-a", Some(1)).unwrap();
    registry.label("p", "prod-a", Some(2)).unwrap();
    let labels: Vec<&str> = registry.prompt("p").labels_of(VersionNumber(2)).collect();
    assert_eq!(labels, ["prod-a", "latest"]);
    refused(registry.label("p", "latest", Some(1)), &["latest", "newest"]);
    refused(
        registry.label("p", "production", Some(2)),
        &["environment", "deploy"],
    );
    refused(registry.label("p", "x", Some(9)), &["no version 9"]);
    registry.label("p", "prod-a", None).unwrap();
    assert_eq!(registry.prompt("p").labelled("prod-a"), None);
    registry.label("p", "qa", Some(1)).unwrap();
    let qa = Command::DeployPrompt {
        name: name("p"),
        environment: environment("qa"),
        version: number(2),
        wish: false,
        accept: Vec::new(),
    };
    registry.tell(&qa).unwrap();
    assert_eq!(registry.prompt("p").labelled("qa"), Some(VersionNumber(2)));
    assert!(registry.prompt("p").labels.is_empty(), "one name, not two");
}

#[test]
fn prompts_inside_prompts() {
    let mut registry = Registry::default();
    registry.register("tone", text("Be kind.")).unwrap();
    registry
        .register("p", text("@@@langfusePrompt:name=tone|label=production@@@ {{q}}"))
        .unwrap();
    assert_eq!(registry.served("p"), (1, "Be kind. {{q}}".to_owned()));
    for (tag, words) in [
        ("name=p|version=1", &["cannot include itself", "p → p"][..]),
        ("name=nobody|label=x", &["does not exist"]),
        (
            "name=tone|version=7",
            &["version 7 of prompt `tone`, which does not exist"],
        ),
        ("name=tone", &["two parts"]),
    ] {
        refused(
            registry.register("p", text(&format!("@@@langfusePrompt:{tag}@@@"))),
            words,
        );
    }
    let cycle = registry.register("tone", text("@@@langfusePrompt:name=p|label=latest@@@"));
    refused(cycle, &["tone → p → tone"]);
    registry
        .register(
            "chat",
            json!({"prompt": [{"type": "chatmessage", "role": "user", "content": "a"}]}),
        )
        .unwrap();
    refused(
        registry.register("p", text("@@@langfusePrompt:name=chat|version=1@@@")),
        &["only text"],
    );
    registry
        .register("q", json!({"prompt": [{"type": "placeholder", "name": "q"}, {"type": "chatmessage", "role": "user", "content": "hi"}]}))
        .unwrap();
    let hidden = json!({"prompt": [{"type": "placeholder", "name": "q"},
        {"type": "chatmessage", "role": "user", "content": "@@@langfusePrompt:name=p|version=1@@@"}]});
    refused(
        registry.register("q", hidden),
        &["q is a variable and a placeholder"],
    );
}

#[test]
fn depth_and_size_are_bounded() {
    let mut registry = Registry::default();
    registry.register("0", text("x")).unwrap();
    for depth in 1..=6 {
        let tag = format!("@@@langfusePrompt:name={}|version=1@@@", depth - 1);
        let result = registry.register(&depth.to_string(), text(&tag));
        if depth <= 5 {
            result.unwrap();
        } else {
            refused(result, &["5 deep", "6 → 5 → 4 → 3 → 2 → 1 → 0"]);
        }
    }
    // 2 KiB sixteen-fold with each level: 512 KiB after two, and the third would be 8 MiB.
    registry.register("s0", text(&"word ".repeat(400))).unwrap();
    for level in 1..=3 {
        let tags = format!("@@@langfusePrompt:name=s{}|version=1@@@", level - 1).repeat(16);
        let result = registry.register(&format!("s{level}"), text(&tags));
        if level <= 2 {
            result.unwrap();
        } else {
            refused(result, &["s3", "more than 1048576 bytes"]);
        }
    }
}

#[test]
fn what_is_served_stays_while_labels_inside_move() {
    let mut registry = Registry::default();
    registry.register("tone", text("Be kind.")).unwrap();
    registry
        .register("mid", text("[@@@langfusePrompt:name=tone|label=latest@@@]"))
        .unwrap();
    registry
        .register("p", text("@@@langfusePrompt:name=mid|version=1@@@ {{q}}"))
        .unwrap();
    assert_eq!(registry.catalog.drifted(), []);
    registry.register("tone", text("Be brief.")).unwrap();
    assert_eq!(registry.served("p"), (1, "[Be kind.] {{q}}".to_owned()));
    let drifted = registry.catalog.drifted();
    let of_p: Vec<_> = drifted.iter().filter(|drift| drift.prompt == name("p")).collect();
    assert_eq!(of_p.len(), 3, "in three environments");
    assert_eq!(
        (of_p[0].moved[0].then.version, of_p[0].moved[0].now),
        (VersionNumber(1), Some(VersionNumber(2)))
    );
    assert_ne!(of_p[0].now.as_ref().unwrap(), &of_p[0].deployed);
    let touched = registry.catalog.with_includers(&name("tone"));
    assert_eq!(touched, ["mid", "p", "tone"].map(name).into());

    assert_eq!(
        registry.deploy("p", 1, &[]).unwrap(),
        ["prompt_deployed"],
        "the same version, other content"
    );
    assert_eq!(registry.served("p"), (1, "[Be brief.] {{q}}".to_owned()));
    assert_eq!(registry.deploy("p", 1, &[]).unwrap(), [""; 0]);
    registry.roll_back("p", None).unwrap();
    assert_eq!(registry.served("p"), (1, "[Be kind.] {{q}}".to_owned()));
    assert_eq!(registry.replayed(), registry.catalog);
}

#[test]
fn evidence_is_for_the_content_it_was_made_of() {
    let mut registry = Registry::default();
    registry.gate(json!({"min_score": 0.5, "reviews": ["product"]}));
    registry.register("tone", text("Be kind.")).unwrap();
    registry
        .register(
            "p",
            json!({"prompt": "@@@langfusePrompt:name=tone|label=latest@@@", "author": "ann"}),
        )
        .unwrap();
    registry
        .evaluate("p", 1, json!({"score": 0.9, "threshold": 0.5}))
        .unwrap();
    registry.review(1, "product", "approve", "bob").unwrap();
    registry.register("tone", text("Be brief.")).unwrap();
    refused(registry.deploy("p", 1, &[]), &["not_evaluated", "review_missing"]);
    let other = registry.evaluate("p", 1, json!({"score": 0.9, "threshold": 0.5, "digest": "d0"}));
    refused(
        other,
        &["of content d0", "evaluate what the version resolves to now"],
    );
    registry
        .evaluate("p", 1, json!({"score": 0.9, "threshold": 0.5}))
        .unwrap();
    registry.review(1, "product", "approve", "bob").unwrap();
    registry.deploy("p", 1, &[]).unwrap();
    assert_eq!(registry.served("p").1, "Be brief.");
}

#[test]
fn a_gate_names_everything_that_is_missing() {
    let mut registry = gated();
    assert_eq!(
        registry.prompt("p").labelled("production"),
        None,
        "a gated environment gets no first version"
    );
    assert_eq!(registry.prompt("p").labelled("staging"), Some(VersionNumber(1)));
    refused(
        registry.deploy("p", 1, &[]),
        &[
            "not_evaluated",
            "review_missing (product)",
            "review_missing (technical)",
            "attach the bundle",
        ],
    );
    registry
        .evaluate("p", 1, json!({"score": 0.8, "threshold": 0.5}))
        .unwrap();
    refused(
        registry.deploy("p", 1, &[]),
        &["score_too_low", "0.9 is the least"],
    );
    pass(&mut registry, 1);
    registry.deploy("p", 1, &[]).unwrap();

    let findings = deployability(
        &registry.catalog,
        &name("p"),
        &environment("production"),
        &number(2),
    )
    .unwrap()
    .findings;
    assert_eq!(
        findings.len(),
        3,
        "a new version needs evidence of its own: {findings:?}"
    );
    pass(&mut registry, 2);
    let dear = json!({"score": 0.95, "threshold": 0.9, "cost_increase": 0.2});
    registry.evaluate("p", 2, dear).unwrap();
    refused(
        registry.deploy("p", 2, &[]),
        &["cost_increase", "accept cost_increase"],
    );
    refused(
        registry.deploy("p", 2, &["cost_increase:other"]),
        &["cost_increase"],
    );
    registry.deploy("p", 2, &["cost_increase"]).unwrap();
    let deployment = registry
        .prompt("p")
        .deployment(&environment("production"))
        .unwrap();
    assert_eq!(deployment.basis.accepted[0].code.as_str(), "cost_increase");
    assert_eq!(
        (deployment.previous, deployment.actor.as_str()),
        (Some(VersionNumber(1)), "ci")
    );
}

#[test]
fn nobody_reviews_their_own_and_one_person_is_one_review() {
    let mut registry = gated();
    refused(
        registry.review(1, "product", "approve", " Ann "),
        &["wrote or registered", "somebody else"],
    );
    refused(
        registry.review(1, "product", "approve", "ci"),
        &["wrote or registered"],
    );
    registry.review(1, "product", "approve", "bob").unwrap();
    refused(
        registry.review(1, "technical", "approve", "Bob"),
        &["as product", "another person"],
    );
    registry.review(1, "technical", "reject", "cat").unwrap();
    registry.review(1, "technical", "approve", "dan").unwrap();
    registry
        .evaluate("p", 1, json!({"score": 1, "threshold": 0}))
        .unwrap();
    refused(
        registry.deploy("p", 1, &[]),
        &["review_rejected", "cat rejected it", "have cat approve"],
    );
    registry.review(1, "technical", "approve", "cat").unwrap();
    registry.deploy("p", 1, &[]).unwrap();
}

#[test]
fn variables_and_secrets_stand_against_a_deployment() {
    let mut registry = Registry::default();
    registry.register("p", text("{{q}}")).unwrap();
    registry.register("p", text("{{q}} {{tone}}")).unwrap();
    refused(
        registry.deploy("p", 2, &[]),
        &["variable_added (tone)", "accept variable_added:tone"],
    );
    registry.deploy("p", 2, &["variable_added:tone"]).unwrap();
    registry
        .register(
            "p",
            text("{{q}} {{tone}} ghp_8fK2qLz0Wm4Xc7Rt1Yb9Hn3Vd6Js5Pg2Qa0Eu"),
        )
        .unwrap();
    refused(
        registry.deploy("p", 3, &["secret"]),
        &["secret", "revoke the key"],
    );
    refused(
        registry.register("other", text("hi {{name")),
        &["unclosed_delimiter", "close it"],
    );
    assert!(
        !registry.catalog.prompts.contains_key("new"),
        "nothing is half done"
    );
}

#[test]
fn rollback_needs_no_gate_and_goes_back_only() {
    let mut registry = gated();
    refused(
        registry.roll_back("p", None),
        &["no previous version", "nothing is deployed"],
    );
    pass(&mut registry, 1);
    registry.deploy("p", 1, &[]).unwrap();
    refused(
        registry.roll_back("p", None),
        &["no previous version", "before version 1", "deploy one"],
    );
    pass(&mut registry, 2);
    registry.deploy("p", 2, &[]).unwrap();
    registry
        .register("p", json!({"prompt": "third {{q}}", "author": "ann"}))
        .unwrap();
    refused(
        registry.roll_back("p", Some(3)),
        &["never deployed", "one of 1, 2"],
    );
    // Whatever came to stand against the version since.
    registry.review(1, "product", "reject", "bob").unwrap();
    registry.roll_back("p", None).unwrap();
    assert_eq!(registry.served("p"), (1, "old {{q}}".to_owned()));
    refused(registry.roll_back("p", None), &["no previous version"]);
    registry.roll_back("p", Some(2)).unwrap();
    assert_eq!(registry.served("p").0, 2);

    let history: Vec<_> = registry.prompt("p").history(&environment("production")).collect();
    let steps: Vec<_> = history
        .iter()
        .map(|d| (d.version.0, d.previous.map(|v| v.0), d.is_rollback()))
        .collect();
    assert_eq!(
        steps,
        [
            (1, None, false),
            (2, Some(1), false),
            (1, Some(2), true),
            (2, Some(1), true)
        ]
    );
    let then = running_at(history.iter().copied(), history[1].at).unwrap();
    assert_eq!(then.version, VersionNumber(2));
}

fn canary(status: &str) -> Json {
    json!({
        "id": "e", "prompt": "p", "environment": "production", "kind": "canary", "status": status,
        "unit": "user", "traffic": 1.0,
        "variants": [{"name": "control", "version": 1, "weight": 50}, {"name": "candidate", "version": 2, "weight": 50}],
    })
}

#[test]
fn an_experiment_meets_the_gate_when_it_starts() {
    let mut registry = gated();
    pass(&mut registry, 1);
    registry.deploy("p", 1, &[]).unwrap();
    refused(
        registry.put(&canary("running")),
        &["variants[1].version", "may not be served", "not_evaluated"],
    );
    registry.put(&canary("draft")).unwrap();
    refused(
        registry.tell(&Command::StartExperiment(support::id("e"))),
        &["not_evaluated"],
    );
    pass(&mut registry, 2);
    registry
        .tell(&Command::StartExperiment(support::id("e")))
        .unwrap();
    let promote = Command::PromoteExperiment(support::id("e"));
    registry.review(2, "technical", "reject", "cat").unwrap();
    refused(registry.tell(&promote), &["review_rejected"]);
    registry.review(2, "technical", "approve", "cat").unwrap();
    // Dearer than passes unasked: the experiment has measured it.
    registry
        .evaluate(
            "p",
            2,
            json!({"score": 0.95, "threshold": 0.9, "cost_increase": 0.5}),
        )
        .unwrap();
    assert_eq!(
        registry.tell(&promote).unwrap(),
        ["prompt_deployed", "experiment_promoted"]
    );
    let deployment = registry
        .prompt("p")
        .deployment(&environment("production"))
        .unwrap();
    assert_eq!(deployment.basis.experiment, Some(support::id("e")));
    assert_eq!(deployment.basis.accepted[0].code.as_str(), "cost_increase");
}

#[test]
fn a_rollback_freezes_what_would_keep_the_bad_version() {
    let world = support::World::with(&[]);
    let in_production = |version: u32| Command::DeployPrompt {
        name: name("p"),
        environment: support::environment(),
        version: number(version),
        wish: false,
        accept: Vec::new(),
    };
    world.submit(in_production(2)).unwrap();
    world.register("p", "1.2.0", "newest {{question}}").unwrap();
    let mut experiment = canary("running");
    experiment["variants"][0]["version"] = json!(2);
    experiment["variants"][1]["version"] = json!(3);
    world.put(&experiment).unwrap();
    let back = Command::RollBackPrompt {
        name: name("p"),
        environment: support::environment(),
        target: None,
    };
    assert_eq!(world.submit(back).unwrap().events.len(), 2, "one transaction");
    let view = world.plane.view();
    let frozen = &view.catalog.experiments["e"];
    assert_eq!(frozen.state, State::Frozen);
    assert_eq!(
        frozen.freeze.as_ref().unwrap().cause,
        FreezeCause::RolledBack {
            version: VersionNumber(1)
        }
    );
    let table = world.table.load();
    let route = table.route("p", None).unwrap();
    assert_eq!(route.deployed.version.number, VersionNumber(1));
    let answer = route.experiments[0].frozen.as_ref().unwrap();
    assert_eq!(
        (answer.version.number, answer.variant.as_ref()),
        (VersionNumber(1), "control")
    );
}

#[test]
fn a_rollback_is_in_force_while_the_store_is_down() {
    use serin::{
        clock::Clock,
        control_plane::ControlPlane,
        routing::{live::LiveTable, table::RoutingTable},
        store::{ControlLog, error::StoreError, memory::MemoryLog},
    };
    use std::sync::{Arc, Mutex};

    /// A log whose disk can be filled from outside.
    struct Shared(Arc<Mutex<MemoryLog>>);
    impl ControlLog for Shared {
        fn append(&mut self, expected: Revision, entries: &[Recorded]) -> Result<(), StoreError> {
            self.0.lock().unwrap().append(expected, entries)
        }
        fn read(&self, after: Revision, limit: usize) -> Result<Vec<Recorded>, StoreError> {
            self.0.lock().unwrap().read(after, limit)
        }
    }

    let mut registry = Registry::default();
    registry.register("p", text("good {{q}}")).unwrap();
    registry.register("p", text("bad {{q}}")).unwrap();
    registry.deploy("p", 2, &[]).unwrap();
    let log = Arc::new(Mutex::new(MemoryLog::default()));
    log.lock().unwrap().append(Revision(0), &registry.log).unwrap();
    let table = Arc::new(LiveTable::new(RoutingTable::empty(support::environment())));
    let shared = Box::new(Shared(Arc::clone(&log)));
    let clock = Clock::Manual(serin::clock::ManualClock::at(support::now()));
    let plane = ControlPlane::open(shared, Arc::clone(&table), support::environment(), clock).unwrap();
    log.lock().unwrap().failure = Some(StoreError::Full);
    let back = Command::RollBackPrompt {
        name: name("p"),
        environment: support::environment(),
        target: None,
    };
    let submitted = plane.submit(Origin::new("on-call", "it is bad"), back).unwrap();
    assert_eq!(submitted.events.len(), 0, "nothing is written");
    let serves = || table.load().route("p", None).unwrap().deployed.version.number;
    assert_eq!((serves(), plane.view().unrecorded), (VersionNumber(1), 1));
    log.lock().unwrap().failure = None;
    plane.retry_unrecorded();
    assert_eq!((serves(), plane.view().unrecorded), (VersionNumber(1), 0));
    let last = plane.history(Revision(0), 1_000).unwrap().pop().unwrap();
    assert_eq!(
        (last.actor.as_str(), last.reason.as_str()),
        ("on-call", "it is bad")
    );
}

#[test]
fn a_rollout_that_may_not_be_promoted_waits_for_a_person() {
    let mut registry = gated();
    pass(&mut registry, 1);
    registry.deploy("p", 1, &[]).unwrap();
    pass(&mut registry, 2);
    let mut experiment = canary("running");
    experiment["rollout"] = json!({"stages": [{"share": 0.5, "for": "1h"}], "on_complete": "promote"});
    registry.put(&experiment).unwrap();
    let complete = |registry: &Registry| Command::CompleteExperiment {
        id: support::id("e"),
        seen: registry.catalog.experiments["e"].revision,
        evidence: serde_json::from_value(json!({"stage": 0, "served": "1h", "arms": [], "guardrails": []}))
            .unwrap(),
    };
    registry.review(2, "product", "reject", "bob").unwrap();
    let command = complete(&registry);
    assert_eq!(registry.tell(&command).unwrap(), ["experiment_held"]);
    let hold = registry.catalog.experiments["e"].hold.as_ref().unwrap();
    assert_eq!(hold.cause, serin::domain::experiment::HoldCause::Complete);
    registry.review(2, "product", "approve", "bob").unwrap();
    let promoted = registry
        .tell(&Command::PromoteExperiment(support::id("e")))
        .unwrap();
    assert_eq!(promoted, ["prompt_deployed", "experiment_promoted"]);
}

#[test]
fn the_table_has_every_version_and_the_text_that_is_served() {
    let world = support::World::empty();
    world.register("tone", "1.0.0", "Be kind.").unwrap();
    world
        .register("p", "1.0.0", "@@@langfusePrompt:name=tone|label=latest@@@")
        .unwrap();
    world.register("tone", "1.1.0", "Be brief.").unwrap();
    let table = world.table.load();
    let archive = table.archive("p").unwrap();
    let text = |text: &str| PromptContent::Text(text.to_owned());
    let (version, served) = archive.labelled("production").unwrap();
    assert_eq!(
        (version.number, served.unwrap().content()),
        (VersionNumber(1), &text("Be kind."))
    );
    let resolved = archive.versions()[0].resolved.as_ref().unwrap();
    assert_eq!(
        resolved.content(),
        &text("Be brief."),
        "one label inside moved, and the prompt above knows"
    );
    assert_eq!(resolved.graph()[0].child.version, VersionNumber(2));
    assert_eq!(archive.labelled(LATEST).unwrap().0.number, VersionNumber(1));
    let route = table.route("p", None).unwrap();
    assert!(
        route.deployed.content().contains("Be kind."),
        "{}",
        route.deployed.content()
    );
}

#[test]
fn a_pinned_arm_keeps_its_text_through_edits() {
    let mut registry = Registry::default();
    registry.register("tone", text("Be kind.")).unwrap();
    registry.register("p", text("{{q}}")).unwrap();
    registry
        .register("p", text("@@@langfusePrompt:name=tone|label=latest@@@ {{q}}"))
        .unwrap();
    registry.put(&canary("running")).unwrap();
    let pinned = |registry: &Registry| registry.catalog.experiments["e"].pinned[1].digest.clone();
    let before = pinned(&registry);
    registry.register("tone", text("Be brief.")).unwrap();
    let mut heavier = canary("running");
    heavier["variants"][1]["weight"] = json!(60);
    registry.put(&heavier).unwrap();
    assert_eq!(pinned(&registry), before);
    registry
        .tell(&Command::PromoteExperiment(support::id("e")))
        .unwrap();
    assert_eq!(
        registry.served("p").1,
        "Be kind. {{q}}",
        "what was tested is what is deployed"
    );
}

#[test]
fn a_file_s_label_is_followed_where_no_gate_stands() {
    use serin::definitions::{
        load::{DefinitionDirs, load},
        reconcile::Reconciliation,
    };
    use std::fs;

    let folder = tempfile::tempdir().unwrap();
    let dirs = DefinitionDirs {
        prompts: folder.path().join("prompts"),
        experiments: folder.path().join("experiments"),
    };
    fs::create_dir_all(&dirs.experiments).unwrap();
    fs::create_dir_all(dirs.prompts.join("p")).unwrap();
    let write = |semver: &str, text: &str, label: &str| {
        let file = dirs.prompts.join("p").join(format!("{semver}.toml"));
        fs::write(
            file,
            format!("prompt = '{text}'\nauthor = 'ann'\nlabels = [{label}]\n"),
        )
        .unwrap();
    };
    let mut registry = Registry::default();
    registry.gate(json!({"min_score": 0.9}));
    // Applies the files, or gives what stands against them by file and line.
    let apply = |registry: &mut Registry| -> Result<(), String> {
        let definitions = load(&dirs, &environment("production")).unwrap();
        let reconciliation = Reconciliation::new(&registry.catalog, &definitions, &environment("production"));
        let entries =
            serin::control_plane::rehearse(&registry.catalog, &reconciliation.commands, support::now());
        let entries = entries.map_err(|refused| reconciliation.mistakes(&refused).to_string())?;
        for entry in entries {
            registry.catalog.apply(&entry);
            registry.log.push(entry);
        }
        Ok(())
    };
    let deployed = |registry: &Registry| -> Vec<(String, u32)> {
        let prompt = registry.prompt("p");
        prompt
            .deployed
            .iter()
            .map(|(environment, number)| (environment.to_string(), number.0))
            .collect()
    };
    write("1.0.0", "a {{q}}", "");
    apply(&mut registry).unwrap();
    let open = |version: u32| [("development".to_owned(), 1), ("staging".to_owned(), version)];
    assert_eq!(deployed(&registry), open(1), "production has a gate");
    let source = registry.prompt("p").versions[0].draft.source.clone();
    assert!(matches!(source, Some(Source::File { path }) if path.ends_with("p/1.0.0.toml")));

    write("1.1.0", "b {{q}} {{tone}}", "'staging'");
    apply(&mut registry).unwrap();
    assert_eq!(deployed(&registry), open(2), "whatever its warnings");
    write("1.1.0", "b {{q}} {{tone}}", "'staging', 'production'");
    let refusal = apply(&mut registry).unwrap_err();
    assert!(
        refusal.contains("1.1.0.toml:3: labels: not for `production` yet: not_evaluated"),
        "{refusal}"
    );
    registry
        .evaluate("p", 2, json!({"score": 0.95, "threshold": 0.9}))
        .unwrap();
    apply(&mut registry).unwrap();
    assert_eq!(
        registry.prompt("p").labelled("production"),
        Some(VersionNumber(2))
    );
    assert_eq!(registry.replayed(), registry.catalog);
}

/// One thing somebody may ask for, whether or not it makes sense.
fn any_command() -> impl Strategy<Value = Command> {
    let prompt = prop::sample::select(vec!["a", "b", "c"]).prop_map(name);
    let version = (0_u32..6).prop_map(number);
    let label = prop::sample::select(vec!["x", "y", "qa", "latest", "production"]);
    let words = prop::sample::select(vec![
        json!("one"),
        json!("two {{v}}"),
        json!("@@@langfusePrompt:name=a|label=latest@@@"),
        json!("@@@langfusePrompt:name=b|label=x@@@ {{w}}"),
        json!("@@@langfusePrompt:name=c|version=1@@@"),
        json!([{"type": "chatmessage", "role": "user", "content": "{{v}} @@@langfusePrompt:name=b|label=production@@@"}]),
        json!([{"type": "placeholder", "name": "v"}, {"type": "chatmessage", "role": "user", "content": "hi"}]),
        json!([{"type": "placeholder", "name": "v"}, {"type": "chatmessage", "role": "user", "content": "{{v}}"}]),
    ]);
    let bump = prop::option::of(prop::sample::select(vec!["major", "minor", "patch"]));
    let tags = prop::collection::vec(prop::sample::select(vec!["s".to_owned(), "t".to_owned()]), 0..3);
    let register = (prompt.clone(), words, bump, tags.clone()).prop_map(|(name, words, bump, tags)| {
        let draft = json!({"prompt": words, "bump": bump, "tags": tags});
        let environments = vec![environment("production")];
        Command::RegisterPrompt {
            name,
            draft: serde_json::from_value(draft).unwrap(),
            environments,
        }
    });
    let deploy = (prompt.clone(), label.clone(), version.clone()).prop_filter_map(
        "no environment",
        |(name, label, version)| {
            let accept = [
                "variable_added",
                "variable_removed",
                "placeholder_added",
                "placeholder_removed",
            ]
            .map(str::to_owned)
            .into();
            Some(Command::DeployPrompt {
                name,
                environment: Environment::new(label).ok()?,
                version,
                wish: false,
                accept,
            })
        },
    );
    let target = prop::option::of(version.clone());
    let back = (prompt.clone(), target.clone()).prop_map(|(name, target)| Command::RollBackPrompt {
        name,
        environment: environment("production"),
        target,
    });
    let labelled = (prompt.clone(), label, target).prop_map(|(name, label, version)| Command::LabelPrompt {
        name,
        label: LabelName::new(label).unwrap(),
        version,
    });
    let tagged = (prompt, tags).prop_map(|(name, tags)| Command::TagPrompt { name, tags });
    prop_oneof![4 => register, 2 => deploy, 1 => back, 2 => labelled, 1 => tagged]
}

fn holds(registry: &Registry) {
    for prompt in registry.catalog.prompts.values() {
        for (index, version) in prompt.versions.iter().enumerate() {
            assert_eq!(version.number.0 as usize, index + 1, "counted up without gaps");
            assert_eq!(Some(version.draft.prompt.prompt_type()), prompt.prompt_type());
        }
        let labels: Vec<&str> = prompt.all_labels().map(|(label, _)| label).collect();
        assert_eq!(
            labels.iter().collect::<BTreeSet<_>>().len(),
            labels.len(),
            "{labels:?}"
        );
        assert!(
            prompt
                .all_labels()
                .all(|(_, number)| prompt.numbered(number).is_some())
        );
        assert_eq!(
            prompt.labelled(LATEST),
            prompt.versions.last().map(|version| version.number)
        );
        for (environment, number) in &prompt.deployed {
            let deployment = prompt.deployment(environment).unwrap();
            assert_eq!(deployment.version, *number);
            let served = registry.catalog.served(prompt, deployment).unwrap();
            assert_eq!(
                served.digest(),
                deployment.digest,
                "what was deployed is what is served"
            );
            assert!(ambiguous(served.content()).is_empty());
            assert!(
                served
                    .content()
                    .texts()
                    .all(|(_, text)| !text.contains("@@@langfusePrompt"))
            );
            let names = variables(served.content());
            assert!(
                served
                    .content()
                    .placeholders()
                    .all(|placeholder| !names.contains(placeholder))
            );
        }
    }
}

proptest! {
    #[test]
    fn every_history_keeps_the_rules(commands in prop::collection::vec(any_command(), 1..60)) {
        let mut registry = Registry::default();
        for command in &commands {
            let before: Vec<_> = registry.catalog.prompts.values().map(|prompt| prompt.versions.clone()).collect();
            let entries = registry.log.len();
            let refused = registry.by("somebody", command).is_err();
            prop_assert!(!refused || registry.log.len() == entries);
            for versions in before {
                let now = &registry.catalog.prompts.values().find(|p| p.versions.first() == versions.first()).unwrap().versions;
                prop_assert_eq!(&now[..versions.len()], &versions[..], "no version ever changes");
            }
            if let (Command::TagPrompt { name, tags }, false) = (command, refused) {
                prop_assert_eq!(&registry.catalog.prompts[name].tags, tags);
            }
            holds(&registry);
        }
        prop_assert_eq!(registry.replayed(), registry.catalog);
    }
}
