//! Whatever is counted, a report has numbers or reasons: never NaN, never a panic.

use crate::case::{Case, design};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// Values at the ends of what is taken, and around a large offset with a spread of 1.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(1.0),
        Just(1e15),
        Just(-1e15),
        Just(1e-300),
        Just(-1e-300),
        (-1.0..1.0f64).prop_map(|spread| 1e9 + spread),
        -10.0..10.0f64,
    ]
}

/// Everything in a report that is null: JSON's word for NaN, but for a winner that is not there.
fn nulls(json: &Json, path: &str, found: &mut Vec<String>) {
    match json {
        Json::Null if path != "/winner" => found.push(path.to_owned()),
        Json::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                nulls(item, &format!("{path}/{place}"), found);
            }
        }
        Json::Object(members) => {
            for (name, member) in members {
                nulls(member, &format!("{path}/{name}"), found);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_figure_is_a_number_or_a_reason(
        control in prop::collection::vec(value(), 1..120),
        candidate in prop::collection::vec(value(), 1..120),
        events in prop::collection::vec(any::<bool>(), 1..120),
        with_covariate in any::<bool>(),
        min_units in 1..120u32,
        constant in prop::option::of(value()),
    ) {
        let mut wanted = design([50, 50]);
        wanted["min_units"] = json!(min_units);
        wanted["metrics"][1]["covariate"] = json!("before");
        let mut case = Case::of(wanted);
        let key = case.experiment().measure("minutes").unwrap().key;
        for (arm, values) in [(0u8, &control), (1, &candidate)] {
            let values: Vec<f64> = values.iter().map(|value| constant.unwrap_or(*value)).collect();
            case.values(arm, "minutes", values.iter().copied());
            case.values(arm, "resolved", events.iter().map(|event| f64::from(u8::from(*event))));
            case.units(arm, u64::from(arm) * 1_000..u64::from(arm) * 1_000 + values.len() as u64);
            let counts = case.arm(arm);
            let cell = &mut counts.cells.iter_mut().find(|(other, _)| *other == key).unwrap().1;
            for (unit, value) in (0..).zip(&values) {
                cell.add_to_sketch(*value);
                if with_covariate {
                    cell.add_covariate(unit, *value);
                }
            }
        }
        let report = case.report();
        let mut found = Vec::new();
        nulls(&serde_json::to_value(&report).unwrap(), "", &mut found);
        prop_assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn a_large_offset_keeps_the_spread() {
    // The same spread of 1 around 0 and around 1e9, with an effect of 0.2: all but the lift agree.
    let versus = |offset: f64| {
        let mut case = Case::new();
        for (arm, effect) in [(0u8, 0.0), (1, 0.2)] {
            let of = |unit: u64| offset + effect + f64::from(u32::try_from(unit * 7 % 101).unwrap()) / 29.0;
            case.values(arm, "minutes", (0..2_000).map(of));
        }
        case.versus("minutes")
    };
    let (near, far) = (versus(0.0), versus(1e9));
    for (near, far) in [
        (&near.difference, &far.difference),
        (&near.t, &far.t),
        (&near.effect_size, &far.effect_size),
    ] {
        let (near, far) = (near.known().unwrap(), far.known().unwrap());
        assert!((near / far - 1.0).abs() < 1e-4, "{near} {far}");
    }
}
