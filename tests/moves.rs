//! How much a change of weights moves, through the real assignment.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use proptest::prelude::*;
use serin::{
    domain::allocation::stay,
    routing::hash::{ExperimentSeeds, score, variant_seed},
};

const UNITS: u32 = 20_000;

/// The variant of a unit: the least score wins, as the table draws it.
fn variant<'a>(draw: u64, weights: &[(&'a str, f64)]) -> &'a str {
    let scored = weights
        .iter()
        .map(|(name, weight)| (score(draw, variant_seed(name), *weight), *name));
    scored.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap().1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_share_that_stays_is_what_the_plan_says(
        before in prop::collection::vec(1u32..100, 2..5),
        after in prop::collection::vec(1u32..100, 2..5),
    ) {
        const NAMES: [&str; 4] = ["control", "warm", "short", "formal"];
        let named = |weights: &[u32]| -> Vec<(&str, f64)> {
            NAMES.into_iter().zip(weights.iter().map(|weight| f64::from(*weight))).collect()
        };
        let (before, after) = (named(&before), named(&after));
        let seeds = ExperimentSeeds::new("moves");
        let same = (0..UNITS).filter(|n| {
            let draw = seeds.draw(format!("u-{n}").as_bytes());
            variant(draw, &before) == variant(draw, &after)
        });
        let (found, said) = (same.count() as f64 / f64::from(UNITS), stay(&before, &after));
        // Five standard errors of 20,000 units.
        let error = 5.0 * (said * (1.0 - said) / f64::from(UNITS)).sqrt() + 1e-3;
        prop_assert!((found - said).abs() < error, "{found} stay, {said} were said for {before:?} → {after:?}");
    }

    #[test]
    fn no_change_moves_nobody_and_scale_does_not_matter(
        weights in prop::collection::vec(0.01..100f64, 2..6), factor in 0.01..100f64,
    ) {
        let names: Vec<String> = (0..weights.len()).map(|n| format!("v{n}")).collect();
        let of = |factor: f64| -> Vec<(&str, f64)> {
            names.iter().map(String::as_str).zip(weights.iter().map(|weight| weight * factor)).collect()
        };
        prop_assert!((stay(&of(1.0), &of(factor)) - 1.0).abs() < 1e-9);
    }
}
