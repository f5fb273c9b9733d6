//! Rollouts that move by themselves: whatever is asked, seen and waited for, automation moves toward safety only, and the
//! same log gives the same state.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod support;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use serin::{
    control_plane::catalog::Catalog,
    domain::{
        Timestamp,
        audience::{Attributes, Value},
        command::Command,
        event::Event,
        experiment::{Experiment, FreezeCause, HoldCause, State},
        guardrail::{ArmCounts, GuardrailSpec, Limit, Verdict},
        id::{Revision, VariantName},
        rollout::Patience,
    },
    guardrails::{
        assess::Assessment,
        clearance::Clearance,
        look::{ArmLook, Look},
        step::{is_due, step},
    },
    routing::{answer::Reason, assign::assign, drain, explain::NoObserver, receipt::Receipt},
};
use std::{sync::Arc, time::Duration};
use support::{World, id};

const MINUTE: Duration = Duration::from_secs(60);

fn canary(rollout: &Json) -> Json {
    json!({
        "id": "e", "prompt": "p", "environment": "production", "kind": "canary", "status": "running",
        "unit": "user", "traffic": 1.0,
        "variants": [{"name": "control", "version": "1.0.0", "weight": 50}, {"name": "candidate", "version": "1.1.0", "weight": 50}],
        "guardrails": [{"metric": "fallback", "max_ratio": 1.25, "settle": "0s"}],
        "rollout": rollout,
    })
}

fn five_stages() -> Json {
    json!({"on_complete": "promote", "stages": [
        {"share": 0.01, "for": "15m", "min_outcomes": 100}, {"share": 0.05, "for": "1h"}, {"share": 0.1, "for": "1h"},
        {"share": 0.25, "for": "2h"}, {"share": 0.5, "for": "4h", "max_requests": 1_000_000},
    ]})
}

fn experiment(world: &World) -> Arc<Experiment> {
    Arc::clone(&world.plane.view().catalog.experiments["e"])
}

/// The candidate's share of the enrolled units now.
fn share(experiment: &Experiment) -> f64 {
    if experiment.state.splits() {
        *experiment.weights().last().unwrap()
    } else {
        0.0
    }
}

/// A look at which all is well.
fn good(now: Timestamp) -> Look {
    let arm = |name: &str| ArmLook {
        variant: VariantName::new(name).unwrap(),
        requests: 10_000,
        units: None,
        outcomes: 10_000,
        cost_usd: 0.0,
        last_outcome: Some(now),
        unreported_since: None,
    };
    Look {
        assessments: Vec::new(),
        arms: vec![arm("control"), arm("candidate")],
        store_down_for: None,
        delay_skew: None,
        split: Some(Ok(())),
        clearances: Some(vec![Clearance {
            guardrail: "fallback".to_owned(),
            variant: VariantName::new("candidate").unwrap(),
            verdict: Ok("2 times control's rate".to_owned()),
        }]),
        patience: Patience::default(),
    }
}

fn breach(on_breach: &str) -> Assessment {
    let guardrail: GuardrailSpec = serde_json::from_value(
        json!({"metric": "fallback", "max_ratio": 1.25, "on_breach": on_breach, "settle": "0s"}),
    )
    .unwrap();
    let counts = |name: &str| ArmCounts {
        variant: VariantName::new(name).unwrap(),
        bad_units: 30,
        observations: 300,
        rate: Some(0.1),
    };
    Assessment {
        guardrail,
        declared: true,
        name: "fallback".to_owned(),
        verdict: Verdict::Breach,
        log_e: 9.0,
        log_threshold: 4.6,
        alpha: 0.01,
        evidence: 1.0,
        ratio: None,
        control: counts("control"),
        candidate: counts("candidate"),
        share: 0.1,
    }
}

/// Lets the rollout look once, and does what it asks for.
fn look(world: &World, look: &Look) {
    let now = world.clock.now();
    if let Some((origin, command)) = step(&experiment(world), look, now, "test") {
        world.plane.submit(origin, command).unwrap();
    }
}

fn state(world: &World) -> (State, usize, Option<HoldCause>) {
    let experiment = experiment(world);
    let held = experiment.hold.as_ref().map(|hold| hold.cause);
    (experiment.state, experiment.stage(), held)
}

#[test]
fn a_healthy_canary_walks_its_stages_and_is_promoted() {
    let world = World::with(&[canary(&five_stages())]);
    let mut shares = vec![share(&experiment(&world))];
    for _ in 0..10 * 60 {
        world.clock.advance(MINUTE);
        look(&world, &good(world.clock.now()));
        let now = share(&experiment(&world));
        if *shares.last().unwrap() != now {
            shares.push(now);
        }
    }
    assert_eq!(shares, [0.01, 0.05, 0.1, 0.25, 0.5, 0.0]);
    assert_eq!(state(&world).0, State::Promoted);
    let view = world.plane.view();
    assert_eq!(view.catalog.prompts["p"].deployed[&support::environment()].0, 2);
    let entries = world.plane.history(Revision(0), 1_000).unwrap();
    let advanced = entries
        .iter()
        .filter(|entry| matches!(entry.event, Event::ExperimentAdvanced { .. }));
    assert_eq!(advanced.count(), 4);
    let conclusion = view.catalog.experiments["e"].conclusion.clone().unwrap();
    assert_eq!(
        (conclusion.actor.as_str(), conclusion.revision),
        ("rollout", view.catalog.revision)
    );
}

#[test]
fn a_stage_waits_for_what_it_does_not_know_and_goes_on_when_it_does() {
    let world = World::with(&[canary(&five_stages())]);
    world.clock.advance(14 * MINUTE);
    look(&world, &good(world.clock.now()));
    assert_eq!(state(&world), (State::Running, 0, None), "its time is not over");
    world.clock.advance(2 * MINUTE);
    let mut few = good(world.clock.now());
    few.arms[1].outcomes = 99;
    look(&world, &few);
    assert_eq!(
        state(&world),
        (State::Holding, 0, Some(HoldCause::InsufficientSamples))
    );
    let mut open = good(world.clock.now());
    open.clearances.as_mut().unwrap()[0].verdict = Err("a rate of 2 times control's".to_owned());
    look(&world, &open);
    assert_eq!(state(&world).2, Some(HoldCause::HarmNotRuledOut));
    assert!(
        experiment(&world)
            .hold
            .as_ref()
            .unwrap()
            .reason
            .contains("not ruled out")
    );
    look(&world, &good(world.clock.now()));
    assert_eq!(
        state(&world),
        (State::Running, 1, None),
        "a wait is no disturbance"
    );
}

#[test]
fn a_disturbance_clears_itself_but_the_stage_must_run_steadily_after_it() {
    let world = World::with(&[canary(&five_stages())]);
    let epoch = experiment(&world).epoch();
    for (cause, disturb) in [
        (
            HoldCause::Srm,
            (|look, _| look.split = Some(Err("odd".to_owned()))) as fn(&mut Look, Timestamp),
        ),
        (HoldCause::DelaySkew, |look, _| {
            look.delay_skew = Some("late".to_owned())
        }),
        (HoldCause::StaleStore, |look, _| {
            look.store_down_for = Some(MINUTE)
        }),
        (HoldCause::NoData, |look, now| {
            look.arms[1].unreported_since = Some(now - jiff::SignedDuration::from_secs(61));
        }),
    ] {
        let mut disturbed = good(world.clock.now());
        disturb(&mut disturbed, world.clock.now());
        look(&world, &disturbed);
        assert_eq!(state(&world), (State::Holding, 0, Some(cause)));
        look(&world, &disturbed);
        look(&world, &good(world.clock.now()));
        assert_eq!(state(&world), (State::Running, 0, None), "{cause}");
    }
    assert_eq!(
        experiment(&world).epoch(),
        epoch,
        "what comes and goes makes no epochs"
    );
    // Its time is over after 15 minutes, but the last disturbance is not long enough ago.
    world.clock.advance(15 * MINUTE - Duration::from_secs(1));
    let mut disturbed = good(world.clock.now());
    disturbed.delay_skew = Some("late".to_owned());
    look(&world, &disturbed);
    look(&world, &good(world.clock.now()));
    world.clock.advance(9 * MINUTE);
    assert!(!is_due(&experiment(&world), world.clock.now()));
    look(&world, &good(world.clock.now()));
    assert_eq!(state(&world).1, 0);
    world.clock.advance(2 * MINUTE);
    look(&world, &good(world.clock.now()));
    assert_eq!(state(&world).1, 1);
}

#[test]
fn one_that_flaps_never_advances_and_its_deadline_freezes_it() {
    let world = World::with(&[canary(&five_stages())]);
    for minute in 0..26 * 60 {
        world.clock.advance(MINUTE);
        let mut look_now = good(world.clock.now());
        if minute % 6 < 2 {
            look_now.arms[1].unreported_since = Some(world.clock.now() - jiff::SignedDuration::from_secs(90));
        }
        look(&world, &look_now);
        assert_eq!(state(&world).1, 0, "after {minute} minutes");
    }
    let frozen = experiment(&world);
    assert_eq!(frozen.state, State::Frozen);
    let cause = &frozen.freeze.as_ref().unwrap().cause;
    assert!(
        matches!(cause, FreezeCause::Deadline { stage: 0, .. }),
        "{cause:?}"
    );
}

#[test]
fn silence_holds_after_a_minute_and_freezes_after_ten() {
    let world = World::with(&[canary(&five_stages())]);
    let since = world.clock.now();
    let silent = |world: &World| {
        let mut silent = good(world.clock.now());
        silent.arms[1].last_outcome = None;
        silent.arms[1].unreported_since = Some(since);
        silent
    };
    world.clock.advance(MINUTE - Duration::from_secs(1));
    look(&world, &silent(&world));
    assert_eq!(state(&world).0, State::Running);
    world.clock.advance(Duration::from_secs(1));
    look(&world, &silent(&world));
    assert_eq!(state(&world).2, Some(HoldCause::NoData));
    world.clock.advance(9 * MINUTE);
    look(&world, &silent(&world));
    let frozen = experiment(&world);
    assert!(
        matches!(&frozen.freeze.as_ref().unwrap().cause, FreezeCause::Blind { variant, .. } if variant.as_str() == "candidate")
    );
}

#[test]
fn a_spent_budget_holds_until_a_person_lets_it_go_on() {
    let mut stages = five_stages();
    stages["stages"][0]["max_requests"] = json!(10_000);
    let world = World::with(&[canary(&stages)]);
    look(&world, &good(world.clock.now()));
    assert_eq!(state(&world), (State::Holding, 0, Some(HoldCause::Budget)));
    look(&world, &good(world.clock.now()));
    assert_eq!(state(&world).0, State::Holding);
    world.submit(Command::ResumeExperiment(id("e"))).unwrap();
    look(&world, &good(world.clock.now()));
    assert_eq!(state(&world).0, State::Running, "a person has seen it");
}

#[test]
fn harm_comes_first_in_every_live_state() {
    for hold in [
        None,
        Some(HoldCause::Manual),
        Some(HoldCause::NoData),
        Some(HoldCause::Complete),
    ] {
        let world = World::with(&[canary(&five_stages())]);
        if let Some(cause) = hold {
            let held = Command::HoldExperiment {
                id: id("e"),
                cause,
                breach: None,
            };
            world.submit(held).unwrap();
        }
        // Everything is wrong at once, and the stage could pass.
        world.clock.advance(20 * MINUTE);
        let mut wrong = good(world.clock.now());
        wrong.assessments = vec![breach("freeze")];
        wrong.split = Some(Err("odd".to_owned()));
        wrong.store_down_for = Some(MINUTE);
        wrong.arms[0].unreported_since = Some(world.clock.now() - jiff::SignedDuration::from_secs(3_600));
        look(&world, &wrong);
        let frozen = experiment(&world);
        let cause = &frozen.freeze.as_ref().unwrap().cause;
        assert!(matches!(cause, FreezeCause::Guardrail(_)), "{hold:?}: {cause:?}");
    }
}

#[test]
fn a_resume_after_a_freeze_begins_with_the_first_stage_and_half_the_budget_of_errors() {
    let world = World::with(&[canary(&five_stages())]);
    world.clock.advance(16 * MINUTE);
    look(&world, &good(world.clock.now()));
    assert_eq!(state(&world).1, 1);
    let mut harmful = good(world.clock.now());
    harmful.assessments = vec![breach("freeze")];
    look(&world, &harmful);
    world.submit(Command::ResumeExperiment(id("e"))).unwrap();
    let resumed = experiment(&world);
    assert_eq!(
        (resumed.state, resumed.stage(), share(&resumed)),
        (State::Running, 0, 0.01)
    );
    assert_eq!(resumed.evidence.as_ref().unwrap().alpha, 0.005);
}

#[test]
fn a_look_at_what_has_changed_since_does_nothing() {
    let world = World::with(&[canary(&five_stages())]);
    world.clock.advance(16 * MINUTE);
    let stale = step(
        &experiment(&world),
        &good(world.clock.now()),
        world.clock.now(),
        "one",
    )
    .unwrap();
    // Two replicas saw the same: the first one's word counts once.
    world.plane.submit(stale.0.clone(), stale.1.clone()).unwrap();
    let revision = world.plane.view().catalog.revision;
    assert!(world.plane.submit(stale.0, stale.1).unwrap().events.is_empty());
    assert_eq!(
        (world.plane.view().catalog.revision, state(&world).1),
        (revision, 1)
    );
}

#[test]
fn a_draining_freeze_lets_a_young_receipt_keep_its_version() {
    let mut design = canary(&json!({"stages": [{"share": 1.0, "for": "1h"}]}));
    design["revert"] = json!("drain");
    design["drain_for"] = json!("5m");
    let world = World::with(&[]);
    world
        .submit(Command::RotateReceiptKey { secret: [7; 16] })
        .unwrap();
    world.put(&design).unwrap();
    let of = |user: &'static str| Attributes::new(vec![("user".into(), Value::Text(user.into()))]);
    let table = world.table.load();
    let given = assign(table.route("p", None).unwrap(), &of("u"));
    assert_eq!(&*given.answer.variant, "candidate");
    let experiment = given.experiment.unwrap();
    let second = u32::try_from(world.clock.now().as_second()).unwrap();
    let signed = |epoch| {
        let receipt = Receipt {
            experiment: experiment.key,
            epoch,
            arm: given.answer.arm.unwrap(),
            unit_hash: given.unit_hash.unwrap(),
            second,
            process: 1,
            sequence: 1,
            profile: None,
        };
        table.receipt_keys.sign(&receipt).unwrap()
    };
    world.freeze("e");
    let frozen_table = world.table.load();
    let kept = |user: &'static str, receipt: &str, later: i64| {
        let context = of(user);
        let frozen = assign(frozen_table.route("p", None).unwrap(), &context);
        assert_eq!(&*frozen.answer.variant, "control");
        let signed = (&frozen_table.receipt_keys, receipt);
        let now = i64::from(second) + later;
        let kept = drain::kept(&frozen, signed, &context, now, &mut NoObserver);
        kept.map(|kept| (kept.answer.variant.to_string(), kept.reason, kept.unit_hash))
    };
    let receipt = signed(experiment.epoch);
    let candidate = Some(("candidate".to_owned(), Reason::Cached, None));
    assert_eq!(kept("u", receipt.as_str(), 299), candidate);
    assert_eq!(kept("u", receipt.as_str(), 300), None, "too old");
    assert_eq!(kept("v", receipt.as_str(), 1), None, "another unit's");
    assert_eq!(kept("u", "forged", 1), None);
    let after = signed(experiment.epoch.next());
    assert_eq!(kept("u", after.as_str(), 1), None, "not from before the freeze");
}

/// Something that happens to an experiment.
#[derive(Debug, Clone, Copy)]
enum Act {
    Wait(u16),
    Start,
    Stop,
    Hold,
    Freeze,
    Resume,
    Promote,
    Look(Seen),
}

/// What a look finds.
#[derive(Debug, Clone, Copy)]
enum Seen {
    Good,
    Cheap,
    Harm,
    HarmThatHolds,
    Silence(u16),
    OddSplit,
    Few,
    NotRuledOut,
    Skew,
    StoreDown,
}

fn seen() -> impl Strategy<Value = Seen> {
    prop_oneof![
        6 => Just(Seen::Good),
        1 => Just(Seen::Cheap),
        1 => Just(Seen::Harm),
        1 => Just(Seen::HarmThatHolds),
        2 => (0_u16..1_200).prop_map(Seen::Silence),
        1 => Just(Seen::OddSplit),
        1 => Just(Seen::Few),
        1 => Just(Seen::NotRuledOut),
        1 => Just(Seen::Skew),
        1 => Just(Seen::StoreDown),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1_u16..300).prop_map(Act::Wait),
        1 => Just(Act::Start),
        1 => Just(Act::Stop),
        1 => Just(Act::Hold),
        1 => Just(Act::Freeze),
        2 => Just(Act::Resume),
        1 => Just(Act::Promote),
        12 => seen().prop_map(Act::Look),
    ]
}

fn found(seen: Seen, now: Timestamp) -> Look {
    let mut look = good(now);
    match seen {
        Seen::Good => {}
        Seen::Cheap => (look.split, look.clearances) = (None, None),
        Seen::Harm => look.assessments = vec![breach("freeze")],
        Seen::HarmThatHolds => look.assessments = vec![breach("hold")],
        Seen::Silence(seconds) => {
            look.arms[1].unreported_since = Some(now - jiff::SignedDuration::from_secs(i64::from(seconds)));
        }
        Seen::OddSplit => look.split = Some(Err("odd".to_owned())),
        Seen::Few => look.arms[0].outcomes = 0,
        Seen::NotRuledOut => look.clearances.as_mut().unwrap()[0].verdict = Err("harm".to_owned()),
        Seen::Skew => look.delay_skew = Some("late".to_owned()),
        Seen::StoreDown => look.store_down_for = Some(MINUTE),
    }
    look
}

/// Whether nothing is wrong with it; a silence of less than a minute is none.
fn is_good(seen: Seen) -> bool {
    matches!(seen, Seen::Good | Seen::Silence(0..60))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn automation_moves_toward_safety_only(acts in prop::collection::vec(act(), 1..120)) {
        let world = World::with(&[canary(&five_stages())]);
        for act in acts {
            let before = experiment(&world);
            match act {
                Act::Wait(minutes) => world.clock.advance(u32::from(minutes) * MINUTE),
                Act::Start => drop(world.submit(Command::StartExperiment(id("e")))),
                Act::Stop => drop(world.submit(Command::StopExperiment(id("e")))),
                Act::Hold => drop(world.submit(Command::HoldExperiment {
                    id: id("e"),
                    cause: HoldCause::Manual,
                    breach: None,
                })),
                Act::Freeze => drop(world.submit(Command::FreezeExperiment {
                    id: id("e"),
                    cause: FreezeCause::Manual,
                })),
                Act::Resume => drop(world.submit(Command::ResumeExperiment(id("e")))),
                Act::Promote => drop(world.submit(Command::PromoteExperiment(id("e")))),
                Act::Look(seen) => look(&world, &found(seen, world.clock.now())),
            }
            let after = experiment(&world);
            // No way from frozen to traffic but by a person's resume; a stop in between changes nothing about that.
            if before.freeze.is_some() && after.state.splits() {
                prop_assert!(matches!(act, Act::Resume), "{act:?} lifted a freeze");
            }
            if let Act::Look(seen) = act {
                if !before.state.splits() {
                    prop_assert_eq!(&before.revision, &after.revision, "a look at {:?} did something", before.state);
                }
                if before.state.splits() && matches!(seen, Seen::Harm) {
                    prop_assert_eq!(after.state, State::Frozen);
                }
                if share(&after) > share(&before) {
                    prop_assert!(is_good(seen), "{seen:?} raised the share");
                    prop_assert_eq!(after.stage(), before.stage() + 1);
                }
                let held = before.hold.as_ref().map(|hold| hold.cause);
                if held.is_some_and(|cause| !cause.clears_itself()) {
                    prop_assert!(matches!(after.state, State::Holding | State::Frozen), "a person's hold ended by itself");
                }
                if after.state == State::Promoted && before.state.splits() {
                    prop_assert!(is_good(seen) && before.stage() == 4);
                }
            }
            // What a limit has to do with it: nothing changes it.
            prop_assert!(matches!(after.spec.guardrails[0].limit, Limit::MaxRatio(_)));
        }
        // A restart at any point, from the log in its stored form.
        let mut entries = world.plane.history(Revision(0), 10_000).unwrap();
        for entry in &mut entries {
            entry.event = Event::from_stored(&entry.event.to_stored().unwrap()).unwrap();
        }
        let folded = Catalog::fold(&entries);
        prop_assert_eq!(format!("{folded:?}"), format!("{:?}", world.plane.view().catalog));
    }
}
