//! A decision takes nothing from the heap: counted by an allocator around the system's.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]
#![allow(unsafe_code, reason = "a counting allocator can only be written with unsafe")]

mod support;

use serde_json::json;
use serin::{
    domain::audience::{Attributes, Value},
    routing::{
        assign::assign,
        receipt::{PROFILE_LENGTH, Receipt, ReceiptKeys},
    },
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};
use support::World;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged; the counter is a plain cell of the thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's obligations are the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_receipt_with_segments_and_covariates_allocates_nothing() {
    let world = World::with(&[json!({
        "id": "e", "prompt": "p", "environment": "production", "kind": "experiment", "status": "running", "unit": "user",
        "traffic": 1.0,
        "variants": [{"name": "control", "version": 1, "weight": 1}, {"name": "warm", "version": 2, "weight": 1}],
        "segments": {"country": ["DE", "FR"], "tier": ["1", "0.5", "true"], "plan": ["free"], "app": ["web"]},
        "metrics": [
            {"name": "resolved", "kind": "rate", "goal": "increase", "covariate": "past_resolved"},
            {"name": "length", "kind": "mean", "goal": "decrease", "covariate": "past_length"},
        ],
    })]);
    let tiers = [Value::Int(7), Value::Float(0.5), Value::Bool(true), Value::Null];
    let contexts: Vec<Attributes<'_>> = (0..2_000_usize)
        .map(|n| {
            Attributes::new(vec![
                ("user".into(), Value::Int(i64::try_from(n).unwrap())),
                ("country".into(), Value::Text(["DE", "US"][n % 2].into())),
                ("tier".into(), tiers[n % 4].clone()),
                ("past_resolved".into(), Value::Float(f64::from(n as u32) / 7.0)),
                ("past_length".into(), Value::Text("long".into())),
            ])
        })
        .collect();
    let keys = ReceiptKeys::new([(1, [7; 16])]);
    let before = ALLOCATIONS.with(Cell::get);
    let mut signed = 0_usize;
    for context in &contexts {
        let table = world.table.load();
        let Ok(route) = table.route("p", None) else {
            continue;
        };
        let assignment = assign(route, context);
        let (Some(experiment), Some(unit_hash)) = (assignment.experiment, assignment.unit_hash) else {
            continue;
        };
        let receipt = keys.sign(&Receipt {
            experiment: experiment.key,
            epoch: experiment.epoch,
            arm: assignment.answer.arm.unwrap_or_default(),
            unit_hash,
            second: 1,
            process: 1,
            sequence: 1,
            profile: experiment.profile.as_ref().map(|rule| rule.profile(context)),
        });
        signed += receipt.map_or(0, |text| text.len());
    }
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);
    assert_eq!(signed, 2_000 * PROFILE_LENGTH);
}

#[test]
fn a_decision_allocates_nothing() {
    let variants = json!([
        {"name": "control", "version": 1, "weight": 50},
        {"name": "warm", "version": 2, "weight": 30},
        {"name": "terse", "version": 1, "weight": 20},
    ]);
    let world = World::with(&[json!({
        "id": "e", "prompt": "p", "environment": "production", "kind": "experiment", "status": "running", "unit": "user",
        "traffic": 0.9, "audience": "country in [\"DE\", \"FR\"] && plan != \"enterprise\"", "variants": variants,
        "layer": {"name": "l", "slots": [0.0, 90.0]}, "overrides": {"warm": ["qa-1"]},
    })]);
    let contexts: Vec<Attributes<'_>> = (0..2_000_i64)
        .map(|n| {
            let country = if n % 3 == 0 { "DE" } else { "US" };
            let user = if n == 7 {
                Value::Text("qa-1".into())
            } else {
                Value::Int(n)
            };
            Attributes::new(vec![
                ("user".into(), user),
                ("country".into(), Value::Text(country.into())),
            ])
        })
        .collect();
    let table = world.table.load();
    let route = table.route("p", None).unwrap();
    let mut reasons = std::collections::BTreeSet::new();
    reasons.extend(
        contexts
            .iter()
            .map(|context| assign(route, context).reason.as_str()),
    );
    assert_eq!(
        reasons.len(),
        3,
        "split, override and default are all taken: {reasons:?}"
    );

    let before = ALLOCATIONS.with(Cell::get);
    let mut answered = 0_usize;
    for context in &contexts {
        let table = world.table.load();
        if let Ok(route) = table.route("p", None) {
            answered += assign(route, context).answer.variant.len();
        }
    }
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);
    assert!(answered > 0);
}
