//! The rules of the control plane: given some history, when a command, then these events or this rejection.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod support;

use serde_json::{Value as Json, json};
use serin::{
    control_plane::{SubmitAllError, SubmitError, catalog::Catalog, decide::Rejection},
    domain::{
        command::{Command, Origin},
        event::Event,
        experiment::{FreezeCause, HoldCause, State},
        id::{Epoch, Revision},
    },
};
use support::{World, environment, id};

fn canary(changes: Json) -> Json {
    let mut json = json!({
        "id": "e", "prompt": "p", "environment": "production", "kind": "canary", "status": "running",
        "unit": "user", "traffic": 1.0,
        "variants": [{"name": "control", "version": "1.0.0", "weight": 95}, {"name": "candidate", "version": "1.1.0", "weight": 5}],
        "guardrails": [{"metric": "fallback", "max_ratio": 1.25, "settle": "0s"}],
    });
    for (key, value) in changes.as_object().unwrap() {
        json[key] = value.clone();
    }
    json
}

fn names(events: &[std::sync::Arc<serin::domain::event::Recorded>]) -> Vec<String> {
    events
        .iter()
        .map(|entry| {
            serde_json::to_value(&entry.event).unwrap()["type"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

/// Puts `json` into a world and gives the names of the events or the rejection's text.
fn put(world: &World, json: &Json) -> Result<Vec<String>, String> {
    world
        .put(json)
        .map(|submitted| names(&submitted.events))
        .map_err(|error| error.to_string())
}

fn step(world: &World, command: Command) -> Result<Vec<String>, String> {
    world
        .submit(command)
        .map(|submitted| names(&submitted.events))
        .map_err(|error| error.to_string())
}

fn state(world: &World) -> (State, Epoch) {
    let view = world.plane.view();
    let experiment = &view.catalog.experiments["e"];
    (experiment.state, experiment.epoch())
}

fn freeze() -> Command {
    Command::FreezeExperiment {
        id: id("e"),
        cause: FreezeCause::Manual,
    }
}

#[test]
fn the_first_version_is_deployed_and_later_ones_are_not() {
    let world = World::empty();
    assert_eq!(
        names(&world.register("p", "1.0.0", "a").unwrap().events),
        ["prompt_registered", "prompt_deployed"]
    );
    assert_eq!(
        names(&world.register("p", "1.1.0", "b").unwrap().events),
        ["prompt_registered"]
    );
    assert!(
        world.register("p", "1.0.0", "a").unwrap().events.is_empty(),
        "the same content again changes nothing"
    );
    let refused = world.register("p", "1.0.0", "other").unwrap_err().to_string();
    assert!(
        refused.contains("immutable") && refused.contains("1.0.0"),
        "{refused}"
    );
}

#[test]
fn a_running_wish_starts_and_an_unchanged_file_does_nothing() {
    let world = World::with(&[]);
    assert_eq!(
        put(&world, &canary(json!({}))).unwrap(),
        ["experiment_created", "experiment_started"]
    );
    assert!(put(&world, &canary(json!({}))).unwrap().is_empty());
    assert_eq!(state(&world), (State::Running, Epoch(1)));
}

#[test]
fn what_routes_otherwise_starts_an_epoch_and_what_does_not_does_not() {
    let world = World::with(&[canary(json!({}))]);
    put(&world, &canary(json!({"owner": "support"}))).unwrap();
    assert_eq!(state(&world).1, Epoch(1), "an owner routes nothing");
    put(&world, &canary(json!({"owner": "support", "traffic": 0.5}))).unwrap();
    assert_eq!(state(&world).1, Epoch(2));
    put(
        &world,
        &canary(json!({"owner": "support", "traffic": 0.5, "audience": "country == \"DE\""})),
    )
    .unwrap();
    assert_eq!(state(&world).1, Epoch(3));
}

#[test]
fn a_freeze_outlives_every_edit_until_a_person_resumes() {
    let world = World::with(&[canary(json!({}))]);
    assert_eq!(step(&world, freeze()).unwrap(), ["experiment_frozen"]);
    for status in ["stopped", "running", "draft", "running"] {
        put(&world, &canary(json!({"status": status}))).unwrap();
        assert_eq!(state(&world).0, State::Frozen, "{status}");
    }
    let refused = step(&world, Command::StartExperiment(id("e"))).unwrap_err();
    assert!(
        refused.contains("frozen") && refused.contains("resume"),
        "{refused}"
    );
    let refused = step(&world, Command::PromoteExperiment(id("e"))).unwrap_err();
    assert!(refused.contains("cannot promote"), "{refused}");
    assert_eq!(
        step(&world, Command::ResumeExperiment(id("e"))).unwrap(),
        ["experiment_resumed"]
    );
    let view = world.plane.view();
    let experiment = &view.catalog.experiments["e"];
    assert_eq!(experiment.state, State::Running);
    let evidence = experiment.evidence.as_ref().unwrap();
    assert_eq!(
        evidence.since_epoch,
        experiment.epoch(),
        "a resume starts the evidence afresh"
    );
}

#[test]
fn a_frozen_experiment_that_was_stopped_still_needs_a_resume() {
    let world = World::with(&[canary(json!({}))]);
    step(&world, freeze()).unwrap();
    step(&world, Command::StopExperiment(id("e"))).unwrap();
    put(&world, &canary(json!({"status": "stopped"}))).unwrap();
    put(&world, &canary(json!({}))).unwrap();
    assert_eq!(
        state(&world).0,
        State::Stopped,
        "the file's wish does not lift the latch"
    );
    assert!(
        step(&world, Command::StartExperiment(id("e")))
            .unwrap_err()
            .contains("nobody resumed")
    );
    step(&world, Command::ResumeExperiment(id("e"))).unwrap();
    assert_eq!(state(&world).0, State::Running);
}

#[test]
fn a_person_s_stop_stays_until_the_wish_changes() {
    let world = World::with(&[canary(json!({}))]);
    step(&world, Command::StopExperiment(id("e"))).unwrap();
    put(&world, &canary(json!({"owner": "x"}))).unwrap();
    assert_eq!(state(&world).0, State::Stopped);
    put(&world, &canary(json!({"owner": "x", "status": "stopped"}))).unwrap();
    put(&world, &canary(json!({"owner": "x"}))).unwrap();
    assert_eq!(state(&world).0, State::Running);
}

#[test]
fn hold_keeps_the_split_and_promote_deploys_the_candidate() {
    let world = World::with(&[canary(json!({}))]);
    step(
        &world,
        Command::HoldExperiment {
            id: id("e"),
            cause: HoldCause::Manual,
            breach: None,
        },
    )
    .unwrap();
    assert!(state(&world).0.splits());
    step(&world, Command::ResumeExperiment(id("e"))).unwrap();
    let evidence = |world: &World| {
        world.plane.view().catalog.experiments["e"]
            .evidence
            .clone()
            .unwrap()
            .since_epoch
    };
    assert_eq!(evidence(&world), Epoch(1), "lifting a hold keeps the evidence");
    assert_eq!(
        step(&world, Command::PromoteExperiment(id("e"))).unwrap(),
        ["prompt_deployed", "experiment_promoted"]
    );
    let view = world.plane.view();
    assert_eq!(view.catalog.prompts["p"].deployed[&environment()].0, 2);
}

#[test]
fn resuming_what_a_guardrail_held_starts_the_evidence_afresh() {
    let world = World::with(&[canary(json!({}))]);
    let breach = json!({
        "guardrail": "fallback", "limit": {"max_rate": 0.05}, "action": "hold", "share": 0.05, "log_e": 5.0,
        "log_threshold": 4.6, "alpha": 0.01, "epoch": 1, "replica": "test",
        "control": {"variant": "control", "bad_units": 9, "observations": 90, "rate": 0.1},
        "candidate": {"variant": "candidate", "bad_units": 9, "observations": 90, "rate": 0.1},
        "evidence_since": "2026-12-01T00:00:00Z", "crossed_at": "2026-12-01T00:00:00Z",
    });
    let breach = Some(Box::new(serde_json::from_value(breach).unwrap()));
    let (id_of, cause) = (id("e"), HoldCause::Guardrail);
    let hold = Command::HoldExperiment {
        id: id_of,
        cause,
        breach,
    };
    step(&world, hold).unwrap();
    step(&world, Command::ResumeExperiment(id("e"))).unwrap();
    let view = world.plane.view();
    let experiment = &view.catalog.experiments["e"];
    assert_eq!(
        experiment.evidence.as_ref().unwrap().since_epoch,
        experiment.epoch()
    );
}

#[test]
fn new_content_on_an_arm_is_a_new_candidate() {
    let world = World::with(&[canary(json!({}))]);
    world.register("p", "1.2.0", "newer").unwrap();
    let variants = json!([{"name": "control", "version": "1.0.0", "weight": 95}, {"name": "candidate", "version": "1.2.0", "weight": 5}]);
    put(&world, &canary(json!({"variants": variants}))).unwrap();
    let view = world.plane.view();
    let experiment = &view.catalog.experiments["e"];
    assert_eq!(experiment.epoch(), Epoch(2));
    assert_eq!(experiment.evidence.as_ref().unwrap().since_epoch, Epoch(2));
}

#[test]
fn every_mistake_is_named_at_once() {
    let world = World::with(&[]);
    let wrong = canary(json!({"prompt": "missing", "traffic": 2.0, "audience": "country = \"DE\""}));
    let Err(SubmitError::Rejected(Rejection::Invalid { problems, .. })) = world.put(&wrong) else {
        panic!()
    };
    let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
    for field in ["prompt", "traffic", "audience"] {
        assert!(fields.contains(&field), "{field} in {fields:?}");
    }
    let unknown = canary(
        json!({"variants": [{"name": "a", "version": "1.0.0", "weight": 1}, {"name": "b", "version": "9.9.9", "weight": 1}]}),
    );
    let refused = put(&world, &unknown).unwrap_err();
    assert!(
        refused.contains("variants[1].version")
            && refused.contains("9.9.9")
            && refused.contains("1.0.0, 1.1.0"),
        "{refused}"
    );
}

#[test]
fn a_live_experiment_keeps_what_would_reshuffle_its_units() {
    let world = World::with(&[canary(json!({}))]);
    for (field, value) in [
        ("unit", json!("tenant")),
        ("salt", json!("other")),
        ("kind", json!("experiment")),
    ] {
        let refused = put(&world, &canary(json!({field: value}))).unwrap_err();
        assert!(
            refused.contains(field) && refused.contains("stop it first"),
            "{refused}"
        );
    }
}

#[test]
fn once_started_segments_only_grow_and_covariates_stay() {
    let metric = |name: &str, covariate: Option<&str>| {
        let mut metric = json!({"name": name, "kind": "rate", "goal": "increase"});
        if let Some(covariate) = covariate {
            metric["covariate"] = covariate.into();
        }
        metric
    };
    let design = |status: &str, segments: Json, metrics: &[Json]| {
        canary(json!({"status": status, "segments": segments, "metrics": metrics, "guardrails": []}))
    };
    let places = |world: &World| {
        let view = world.plane.view();
        let experiment = &view.catalog.experiments["e"];
        let segments = experiment.segments.iter().map(|segment| {
            let values: Vec<&str> = segment.values.iter().map(String::as_str).collect();
            format!("{}:{}", segment.attribute, values.join(","))
        });
        let covariates = experiment.covariates.iter().map(ToString::to_string);
        segments.chain(covariates).collect::<Vec<_>>()
    };
    // Before the start everything may change, and leaves nothing behind.
    let world = World::with(&[design(
        "draft",
        json!({"a": ["1"], "b": ["2"], "c": ["3"], "d": ["4"]}),
        &[metric("m", Some("first"))],
    )]);
    let segments = || json!({"plan": ["free", "pro"], "country": ["DE"]});
    let metrics = || [metric("m", Some("past")), metric("n", None)];
    put(&world, &design("draft", segments(), &metrics())).unwrap();
    assert_eq!(places(&world), ["country:DE", "plan:free,pro", "past"]);
    put(&world, &design("running", segments(), &metrics())).unwrap();
    assert_eq!(state(&world), (State::Running, Epoch(1)));

    let refused =
        |segments: Json, metrics: &[Json]| put(&world, &design("running", segments, metrics)).unwrap_err();
    for (segments, told) in [
        (json!({"country": ["DE"]}), "segments: `plan` cannot be taken out"),
        (
            json!({"plan": ["free"], "country": ["DE"]}),
            "segments.plan: `pro` cannot be taken out",
        ),
        (
            json!({"plan": ["free", "pro"], "country": ["DE"], "x": ["1"], "y": ["1"], "z": ["1"]}),
            "segments: may have at most 4, found 5",
        ),
    ] {
        let refused = refused(segments, &metrics());
        assert!(refused.contains(told), "{refused}");
        assert!(refused.contains("1 mistake"), "{refused}");
    }
    for (metrics, told) in [
        (
            [metric("m", Some("other")), metric("n", None)],
            "metrics[0].covariate: must stay `past`",
        ),
        (
            [metric("n", None), metric("m", None)],
            "metrics[1].covariate: must stay `past`",
        ),
        (
            [metric("o", None), metric("n", None)],
            "metrics: `m` cannot be taken out",
        ),
    ] {
        let refused = refused(segments(), &metrics);
        assert!(
            refused.contains(told) && refused.contains("1 mistake"),
            "{refused}"
        );
    }
    // What may be added keeps every place, starts no epoch, moves no unit and is in the table at once.
    let more = design(
        "running",
        json!({"plan": ["enterprise", "free", "pro"], "country": ["DE"], "app": ["web"]}),
        &[metric("n", Some("calls")), metric("m", Some("past"))],
    );
    assert_eq!(put(&world, &more).unwrap(), ["experiment_changed"]);
    let grown = [
        "country:DE",
        "plan:free,pro,enterprise",
        "app:web",
        "past",
        "calls",
    ];
    assert_eq!(places(&world), grown);
    assert_eq!(state(&world), (State::Running, Epoch(1)));
    let table = world.table.load();
    let profile = table.experiments().next().unwrap().profile.as_ref().unwrap();
    let names: Vec<&str> = profile.covariates().iter().map(|name| name.as_str()).collect();
    assert_eq!(names, ["past", "calls"]);
    // A stop does not let go of it: a start goes on with the same counts.
    put(&world, &design("stopped", json!({}), &[])).unwrap_err();
    step(&world, Command::StopExperiment(id("e"))).unwrap();
    put(&world, &design("stopped", json!({}), &metrics())).unwrap_err();
}

#[test]
fn the_units_an_arm_needs_and_the_margins_route_nothing() {
    let world = World::with(&[canary(json!({}))]);
    assert!(world.table.load().experiments().next().unwrap().profile.is_none());
    let metrics = json!([{"name": "m", "kind": "rate", "goal": "increase", "mde": 0.1, "margin": 0.2}]);
    put(&world, &canary(json!({"min_units": 50, "metrics": metrics}))).unwrap();
    assert_eq!(state(&world), (State::Running, Epoch(1)));
    let view = world.plane.view();
    let measure = view.catalog.experiments["e"].measure("m").unwrap();
    assert_eq!((measure.mde, measure.margin), (0.1, 0.2));
    assert!(world.table.load().experiments().next().unwrap().profile.is_none());
}

#[test]
fn overlapping_slots_are_refused_and_room_is_made_in_any_order() {
    let layered = |id: &str, slots: [f64; 2]| {
        let mut json = canary(json!({"layer": {"name": "l", "slots": slots}}));
        json["id"] = id.into();
        json
    };
    let world = World::with(&[layered("a", [0.0, 30.0]), layered("b", [30.0, 60.0])]);
    let refused = put(&world, &layered("c", [20.0, 40.0])).unwrap_err();
    assert!(refused.contains("`a`") && refused.contains("`b`"), "{refused}");
    let put = |json: Json| {
        (
            Origin::new("test", ""),
            Command::PutExperiment(Box::new(support::spec(&json))),
        )
    };
    // Two live experiments cannot trade places at one blow: each needs the other to move first.
    let commands = [put(layered("a", [30.0, 60.0])), put(layered("b", [0.0, 30.0]))];
    assert!(matches!(
        world.plane.submit_all(&commands),
        Err(SubmitAllError::Rejected(_))
    ));
    // Whatever the order in the set, the one that makes room goes first.
    let commands = [put(layered("b", [0.0, 30.0])), put(layered("a", [60.0, 90.0]))];
    world.plane.submit_all(&commands).unwrap();
}

#[test]
fn a_set_is_done_whole_or_not_at_all() {
    let world = World::with(&[]);
    let before = world.plane.view().catalog.revision;
    let put = |json: Json| {
        (
            Origin::new("test", ""),
            Command::PutExperiment(Box::new(support::spec(&json))),
        )
    };
    let refused = world.plane.submit_all(&[
        put(canary(json!({}))),
        put(canary(json!({"id": "bad", "prompt": "none"}))),
    ]);
    let Err(SubmitAllError::Rejected(refused)) = refused else {
        panic!()
    };
    assert_eq!(
        refused.iter().map(|refused| refused.index).collect::<Vec<_>>(),
        [1]
    );
    assert_eq!(world.plane.view().catalog.revision, before);
    assert!(world.plane.view().catalog.experiments.is_empty());
}

#[test]
fn a_schedule_is_waited_for() {
    let world = World::with(&[canary(
        json!({"start": "2026-12-01T01:00:00Z", "end": "2026-12-02T00:00:00Z"}),
    )]);
    assert_eq!(state(&world).0, State::Scheduled);
    assert!(step(&world, Command::StartExperiment(id("e"))).is_err());
    world.clock.advance(std::time::Duration::from_secs(3_600));
    assert_eq!(
        step(&world, Command::StartExperiment(id("e"))).unwrap(),
        ["experiment_started"]
    );
}

#[test]
fn the_same_log_gives_the_same_catalog_through_its_stored_form() {
    let world = World::with(&[canary(json!({}))]);
    step(&world, freeze()).unwrap();
    step(&world, Command::ResumeExperiment(id("e"))).unwrap();
    world.holdout("h", 0.1);
    let mut entries = world.plane.history(Revision(0), 1_000).unwrap();
    let folded = Catalog::fold(&entries);
    for entry in &mut entries {
        let stored = entry.event.to_stored().unwrap();
        assert!(stored.contains("\"v\":3"), "{stored}");
        entry.event = Event::from_stored(&stored).unwrap();
    }
    assert_eq!(format!("{:?}", Catalog::fold(&entries)), format!("{folded:?}"));
    assert!(
        Event::from_stored("{\"v\":99,\"type\":\"experiment_stopped\",\"id\":\"e\"}")
            .unwrap_err()
            .to_string()
            .contains("newer")
    );
}

#[test]
fn an_experiment_whose_version_is_gone_leaves_the_others_alone() {
    let world = World::with(&[canary(json!({})), canary(json!({"id": "good"}))]);
    let mut entries = world.plane.history(Revision(0), 1_000).unwrap();
    for entry in &mut entries {
        if let Event::ExperimentStarted { id, pinned } = &mut entry.event
            && id.as_str() == "e"
        {
            pinned[1].version = serin::domain::id::VersionNumber(77);
        }
    }
    let compiled = serin::control_plane::compile::compile(
        &Catalog::fold(&entries),
        &environment(),
        support::now(),
        None,
    );
    assert!(
        compiled.unroutable[&id("e")].contains("77"),
        "{:?}",
        compiled.unroutable
    );
    let routed: Vec<&str> = compiled
        .table
        .experiments()
        .map(|experiment| experiment.id.as_str())
        .collect();
    assert_eq!(routed, ["good"]);
}

#[test]
fn a_freeze_holds_while_the_store_is_down_and_is_written_later() {
    use serin::{
        clock::Clock,
        control_plane::ControlPlane,
        routing::{assign::assign, live::LiveTable, table::RoutingTable},
        store::{ControlLog, error::StoreError, memory::MemoryLog},
    };
    use std::sync::{Arc, Mutex};

    /// A log whose disk can be filled from outside.
    struct Shared(Arc<Mutex<MemoryLog>>);
    impl ControlLog for Shared {
        fn append(
            &mut self,
            expected: Revision,
            entries: &[serin::domain::event::Recorded],
        ) -> Result<(), StoreError> {
            self.0.lock().unwrap().append(expected, entries)
        }
        fn read(
            &self,
            after: Revision,
            limit: usize,
        ) -> Result<Vec<serin::domain::event::Recorded>, StoreError> {
            self.0.lock().unwrap().read(after, limit)
        }
    }

    let world = World::with(&[canary(json!({}))]);
    let log = Arc::new(Mutex::new(MemoryLog::default()));
    let entries = world.plane.history(Revision(0), 1_000).unwrap();
    log.lock().unwrap().append(Revision(0), &entries).unwrap();
    let table = Arc::new(LiveTable::new(RoutingTable::empty(environment())));
    let clock = Clock::Manual(world.clock.clone());
    let plane = ControlPlane::open(
        Box::new(Shared(Arc::clone(&log))),
        Arc::clone(&table),
        environment(),
        clock,
    )
    .unwrap();
    let variants = || {
        let table = table.load();
        let route = table.route("p", None).unwrap();
        let user = |n: usize| serde_json::from_value(json!({"user": format!("u-{n}")}));
        let all = (0..200).map(|n| {
            let json: Json = user(n).unwrap();
            let text = json.to_string();
            let attributes = serde_json::from_str(&text).unwrap();
            assign(route, &attributes).answer.variant.to_string()
        });
        all.collect::<std::collections::BTreeSet<String>>()
    };
    assert_eq!(variants().len(), 2);
    log.lock().unwrap().failure = Some(StoreError::Full);
    let other = plane
        .submit(Origin::new("test", ""), Command::StopExperiment(id("e")))
        .unwrap_err();
    assert_eq!(other, SubmitError::Store(StoreError::Full));
    plane
        .submit(Origin::new("guardrail:fallback", "breach"), freeze())
        .unwrap();
    assert_eq!(
        variants(),
        ["control".to_owned()].into(),
        "everyone is back though nothing could be written"
    );
    assert_eq!(plane.view().unrecorded, 1);
    log.lock().unwrap().failure = None;
    plane.retry_unrecorded();
    assert_eq!(plane.view().unrecorded, 0);
    let last = log
        .lock()
        .unwrap()
        .read(Revision(0), 1_000)
        .unwrap()
        .pop()
        .unwrap();
    assert!(matches!(last.event, Event::ExperimentFrozen { .. }) && last.actor == "guardrail:fallback");
}
