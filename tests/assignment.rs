//! The assignment algorithm "hrw1": golden vectors that any language can read, and the properties that make it worth
//! having. Everything goes through a compiled routing table, as requests do.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod support;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use serin::{
    domain::audience::{Attributes, Value},
    routing::{
        answer::{Cause, Reason},
        assign::assign,
        hash,
    },
};
use std::collections::HashMap;
use support::World;

fn attributes(unit: &str) -> Attributes<'_> {
    Attributes::new(vec![("user".into(), Value::Text(unit.into()))])
}

fn experiment(id: &str, variants: &[(&str, f64)]) -> Json {
    let variants: Vec<Json> = variants
        .iter()
        .map(|(name, weight)| json!({"name": name, "version": 1, "weight": weight}))
        .collect();
    json!({"id": id, "prompt": "p", "environment": "production", "kind": "experiment", "status": "running",
           "unit": "user", "traffic": 1.0, "variants": variants})
}

fn with(mut base: Json, changes: Json) -> Json {
    for (key, value) in changes.as_object().unwrap() {
        base[key] = value.clone();
    }
    base
}

/// The variant each of `units` gets, `None` where no experiment enrols it.
fn variants(world: &World, units: &[String]) -> Vec<Option<String>> {
    let table = world.table.load();
    let route = table.route("p", None).unwrap();
    let variant = |unit: &String| {
        let assignment = assign(route, &attributes(unit));
        (assignment.reason == Reason::Split).then(|| assignment.answer.variant.to_string())
    };
    units.iter().map(variant).collect()
}

fn split(experiments: &[Json], units: &[String]) -> Vec<Option<String>> {
    variants(&World::with(experiments), units)
}

fn units(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("user-{index}")).collect()
}

#[test]
fn golden_vectors() {
    let vectors: Json = serde_json::from_str(include_str!("assignment/vectors.json")).unwrap();
    assert_eq!(vectors["algorithm"], hash::ALGORITHM);
    assert_eq!(vectors["buckets"], hash::BUCKETS);
    let layer = hash::layer_seed(vectors["layer"].as_str().unwrap());
    let holdout = hash::holdout_seed(vectors["holdout"].as_str().unwrap());
    for slots in vectors["slots"].as_array().unwrap() {
        let unit = slots["unit"].as_str().unwrap().as_bytes();
        assert_eq!(hash::slot(unit, layer), slots["layer"].as_f64().unwrap());
        assert_eq!(hash::slot(unit, holdout), slots["holdout"].as_f64().unwrap());
        assert_eq!(
            hash::bucket(hash::analysis_hash(unit)),
            slots["bucket"].as_u64().unwrap() as usize
        );
    }
    for case in vectors["cases"].as_array().unwrap() {
        let arms: Vec<(&str, f64)> = case["variants"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| (v["name"].as_str().unwrap(), v["weight"].as_f64().unwrap()))
            .collect();
        let spec = with(
            experiment("e", &arms),
            json!({"salt": case["salt"], "traffic": case["traffic"]}),
        );
        let world = World::with(&[spec]);
        for expected in case["units"].as_array().unwrap() {
            let unit = expected["unit"].as_str().unwrap().to_owned();
            let variant = expected["enrolled"]
                .as_bool()
                .unwrap()
                .then(|| expected["variant"].as_str().unwrap());
            assert_eq!(
                variants(&world, std::slice::from_ref(&unit))[0].as_deref(),
                variant,
                "{unit:?} {}",
                case["salt"]
            );
        }
    }
}

#[test]
fn integers_hash_as_their_decimal_text() {
    let world = World::with(&[experiment("e", &[("a", 1.0), ("b", 1.0)])]);
    let table = world.table.load();
    let route = table.route("p", None).unwrap();
    for number in [0, 42, -7, i64::MAX] {
        let text = number.to_string();
        let as_number = Attributes::new(vec![("user".into(), Value::Int(number))]);
        assert_eq!(
            assign(route, &as_number).answer.variant,
            assign(route, &attributes(&text)).answer.variant
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Shares follow the weights: within five standard deviations over 4,000 units.
    #[test]
    fn shares_follow_the_weights(weights in prop::collection::vec(0.05_f64..20.0, 2..6), salt in "[a-z]{1,12}") {
        let names: Vec<String> = (0..weights.len()).map(|i| format!("v{i}")).collect();
        let arms: Vec<(&str, f64)> = names.iter().map(String::as_str).zip(weights.iter().copied()).collect();
        let all = units(4_000);
        let mut counts: HashMap<String, f64> = HashMap::new();
        for variant in split(&[with(experiment("e", &arms), json!({"salt": salt}))], &all).into_iter().flatten() {
            *counts.entry(variant).or_default() += 1.0;
        }
        let sum: f64 = weights.iter().sum();
        for (name, weight) in arms {
            let share = weight / sum;
            let n = all.len() as f64;
            let deviation = (counts.get(name).copied().unwrap_or(0.0) - n * share).abs();
            prop_assert!(deviation <= 5.0 * (n * share * (1.0 - share)).sqrt() + 1.0, "{name}: {deviation}");
        }
    }

    /// Raising traffic moves nobody who is in, and enrolment does not depend on the variant.
    #[test]
    fn traffic_is_monotone(low in 0.0_f64..1.0, high in 0.0_f64..1.0, salt in "[a-z]{1,12}") {
        let (low, high) = (low.min(high), low.max(high));
        let all = units(1_500);
        let at = |traffic: f64| split(&[with(experiment("e", &[("a", 1.0), ("b", 3.0)]), json!({"salt": salt, "traffic": traffic}))], &all);
        for (before, after) in at(low).into_iter().zip(at(high)) {
            prop_assert!(before.is_none() || before == after);
        }
    }

    /// With the other weights untouched, raising one arm only moves units to it.
    #[test]
    fn movement_is_minimal(weights in prop::collection::vec(0.1_f64..10.0, 2..5), raise in 1.01_f64..5.0) {
        let names: Vec<String> = (0..weights.len()).map(|i| format!("v{i}")).collect();
        let arms: Vec<(&str, f64)> = names.iter().map(String::as_str).zip(weights.iter().copied()).collect();
        let mut raised = arms.clone();
        raised[0].1 *= raise;
        let all = units(1_500);
        for (before, after) in split(&[experiment("e", &arms)], &all).into_iter().zip(split(&[experiment("e", &raised)], &all)) {
            prop_assert!(before == after || after.as_deref() == Some("v0"));
        }
    }

    /// Removing an arm only moves its own units, and the order of the arms in the file changes nothing.
    #[test]
    fn removal_and_order(weights in prop::collection::vec(0.1_f64..10.0, 3..6), rotate in 1_usize..5) {
        let names: Vec<String> = (0..weights.len()).map(|i| format!("v{i}")).collect();
        let arms: Vec<(&str, f64)> = names.iter().map(String::as_str).zip(weights.iter().copied()).collect();
        let all = units(1_000);
        let whole = split(&[experiment("e", &arms)], &all);
        for (before, after) in whole.iter().zip(split(&[experiment("e", &arms[1..])], &all)) {
            prop_assert!(before.as_deref() == Some("v0") || *before == after);
        }
        let mut turned = arms.clone();
        turned.rotate_left(rotate % arms.len());
        prop_assert_eq!(whole, split(&[experiment("e", &turned)], &all));
    }

    /// Neither another experiment with a different audience nor its salt changes an assignment.
    #[test]
    fn other_experiments_do_not_matter(other in "[a-z]{1,12}", traffic in 0.0_f64..1.0) {
        let all = units(800);
        let own = with(experiment("own", &[("a", 1.0), ("b", 1.0)]), json!({"traffic": 0.5}));
        let other = with(experiment("zz", &[("c", 1.0), ("d", 9.0)]), json!({"salt": other, "traffic": traffic}));
        let alone = split(std::slice::from_ref(&own), &all);
        let together = split(&[own, other], &all);
        for (alone, together) in alone.into_iter().zip(together) {
            prop_assert!(alone.is_none() || alone == together);
        }
    }

    /// Assignments of two salts are independent: the 2×2 table's correlation stays within five standard deviations.
    #[test]
    fn salts_are_independent(first in "[a-m]{3,12}", second in "[n-z]{3,12}") {
        let all = units(4_000);
        let arms = [("a", 1.0), ("b", 1.0)];
        let one = split(&[with(experiment("e", &arms), json!({"salt": first}))], &all);
        let two = split(&[with(experiment("e", &arms), json!({"salt": second}))], &all);
        let sign = |variant: &Option<String>| if variant.as_deref() == Some("a") { 1.0 } else { -1.0 };
        let correlation: f64 = one.iter().zip(&two).map(|(a, b)| sign(a) * sign(b)).sum::<f64>() / all.len() as f64;
        prop_assert!(correlation.abs() < 5.0 / (all.len() as f64).sqrt(), "{correlation}");
    }
}

#[test]
fn layers_exclude_each_other_and_fill_their_slots() {
    let layer = |slots: [f64; 2]| json!({"layer": {"name": "support", "slots": slots}});
    let first = with(experiment("first", &[("a", 1.0), ("b", 1.0)]), layer([0.0, 30.0]));
    let second = with(
        experiment("second", &[("c", 1.0), ("d", 1.0)]),
        layer([30.0, 100.0]),
    );
    let all = units(10_000);
    let (one, two) = (
        split(std::slice::from_ref(&first), &all),
        split(std::slice::from_ref(&second), &all),
    );
    assert!(
        one.iter().zip(&two).all(|(a, b)| a.is_some() != b.is_some()),
        "every unit is in exactly one"
    );
    let share = one.iter().flatten().count() as f64 / all.len() as f64;
    assert!((share - 0.3).abs() < 0.02, "{share}");
    let both = split(&[first, second], &all);
    assert!(both.iter().all(Option::is_some));
}

#[test]
fn a_holdout_keeps_its_units_out_of_every_experiment() {
    let specs = [
        experiment("one", &[("a", 1.0), ("b", 1.0)]),
        experiment("two", &[("c", 1.0), ("d", 1.0)]),
    ];
    let world = World::with(&specs);
    world.holdout("2027-h1", 0.2);
    let all = units(10_000);
    let seed = hash::holdout_seed("2027-h1");
    for (unit, variant) in all.iter().zip(variants(&world, &all)) {
        assert_eq!(
            variant.is_none(),
            hash::slot(unit.as_bytes(), seed) < 20.0,
            "{unit}"
        );
    }
}

#[test]
fn overrides_come_before_everything_and_a_freeze_before_them() {
    let spec = with(
        experiment("e", &[("control", 1.0), ("candidate", 1.0)]),
        json!({"traffic": 0.0, "audience": "country == \"DE\"", "overrides": {"candidate": ["qa-1"]}}),
    );
    let world = World::with(&[spec]);
    let decide = |unit: &str| {
        let table = world.table.load();
        let assignment = assign(table.route("p", None).unwrap(), &attributes(unit));
        (
            assignment.answer.variant.to_string(),
            assignment.reason,
            assignment.cause,
        )
    };
    assert_eq!(decide("qa-1"), ("candidate".into(), Reason::TargetingMatch, None));
    assert_eq!(
        decide("qa-2"),
        ("deployed".into(), Reason::Default, Some(Cause::Audience))
    );
    world.freeze("e");
    assert_eq!(
        decide("qa-1"),
        ("control".into(), Reason::Default, Some(Cause::Frozen))
    );
}

#[test]
fn the_cause_names_the_first_reason_that_kept_a_unit_out() {
    let decide = |changes: Json, attributes: &Attributes<'_>| {
        let world = World::with(&[with(experiment("e", &[("a", 1.0), ("b", 1.0)]), changes)]);
        let table = world.table.load();
        let assignment = assign(table.route("p", None).unwrap(), attributes);
        assert_eq!(assignment.reason, Reason::Default);
        assert!(assignment.unit_hash.is_none(), "an outcome would not count");
        assignment.cause.unwrap()
    };
    let user = attributes("u");
    let nobody = Attributes::default();
    assert_eq!(decide(json!({"traffic": 0.0}), &user), Cause::Traffic);
    assert_eq!(
        decide(json!({"audience": "plan == \"pro\""}), &user),
        Cause::Audience
    );
    assert_eq!(decide(json!({}), &nobody), Cause::NoUnit);
    assert_eq!(decide(json!({}), &attributes("")), Cause::NoUnit);
    assert_eq!(
        decide(json!({"start": "2999-01-01T00:00:00Z"}), &user),
        Cause::NotStarted
    );
    let slot = hash::slot(b"u", hash::layer_seed("l"));
    let elsewhere = if slot < 50.0 { [50.0, 100.0] } else { [0.0, 50.0] };
    assert_eq!(
        decide(json!({"layer": {"name": "l", "slots": elsewhere}}), &user),
        Cause::Layer
    );
}
