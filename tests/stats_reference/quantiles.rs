//! Quantiles of generated data: the ranks exactly, the sketch within its accuracy.

use crate::harness::{Case, each_case, numbers};
use serde_json::json;
use serin::stats::quantile::{Sketch, order_interval};
use std::f64::consts::TAU;

/// Draws in (0, 1) by SplitMix64.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((z >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
}

/// The data of a case, as the README beside it describes them.
fn data(case: &Case) -> Vec<f64> {
    let given = |name: &str| case.input[name].as_f64().unwrap();
    let mut draws = Draws(case.input["splitmix64_seed"].as_u64().unwrap());
    let kind = case.input["generator"].as_str().unwrap();
    let values: Vec<f64> = (0..case.input["n"].as_u64().unwrap())
        .map(|_| {
            let u = draws.next();
            match kind {
                "exponential" => -given("scale") * u.ln(),
                "pareto" => given("scale") * u.powf(-1.0 / given("alpha")),
                "uniform" => given("lo") + (given("hi") - given("lo")) * u,
                "integers" => (given("hi") * u).floor(),
                "constant" => given("value"),
                "lognormal" | "bimodal" => {
                    let v = draws.next();
                    let normal = (-2.0 * u.ln()).sqrt() * (TAU * v).cos();
                    let value = (given("mu") + given("sigma") * normal).exp();
                    if kind == "bimodal" && v < given("mix") {
                        value * given("factor")
                    } else {
                        value
                    }
                }
                other => panic!("{}: {other}", case.id),
            }
        })
        .collect();
    let stated = ["values", "first_values"].map(|name| &case.input[name]);
    let stated = numbers(stated.into_iter().find(|values| !values.is_null()).unwrap());
    for (generated, stated) in values.iter().zip(stated) {
        assert!((generated - stated).abs() <= 1e-12 * stated.abs(), "{}", case.id);
    }
    values
}

/// Adds the data to two sketches and merges them, the halves in the wrong order.
fn sketch_in_parts(values: &[f64]) -> Sketch {
    let sketch_of = |values: &[f64]| {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.add(*value).unwrap());
        sketch
    };
    let (left, right) = values.split_at(values.len() / 3);
    let mut sketch = sketch_of(right);
    sketch.merge(&sketch_of(left));
    assert_eq!(sketch, sketch_of(values));
    let mut bytes = Vec::new();
    sketch.encode(&mut bytes);
    Sketch::decode(&bytes).unwrap()
}

#[test]
fn ranks_and_sketches() {
    each_case("quantiles.json", 305, |case, compared| {
        let mut values = data(case);
        let sketch = sketch_in_parts(&values);
        values.sort_by(f64::total_cmp);
        let n = sketch.count();
        compared.exact(case, "count", n);
        compared.number(case, "min", sketch.min().unwrap());
        compared.number(case, "max", sketch.max().unwrap());

        for (name, expected) in case.expected.as_object().unwrap() {
            let Some(q) = name.strip_prefix('q').map(|q| q.parse::<f64>().unwrap()) else {
                continue;
            };
            let level = Case { expected, ..*case };
            match sketch.quantile(q) {
                Ok(found) => {
                    let tolerance = &json!({ "*": [Sketch::RELATIVE_ACCURACY, 0.0] });
                    compared.number(&Case { tolerance, ..level }, "nearest_rank", found);
                }
                // Folded together: allowed where 2,048 bins do not suffice, and only far down.
                Err(reason) => assert!(case.id.starts_with("wide") && q < 0.25, "{}: {reason}", case.id),
            }
            if expected["order_ci95"].is_null() {
                continue;
            }
            let ranks = order_interval(n, q, 0.05, 1.0).unwrap();
            // The reference's ranks go from 0 to n + 1 where ours are absent.
            let (lower, upper) = (ranks.lower.unwrap_or(0), ranks.upper.unwrap_or(n + 1));
            compared.exact(&level, "order_ci95_ranks", vec![lower, upper]);
            let read = sketch.interval(q, 0.05, 1.0).unwrap();
            for (end, rank, read, outwards) in [(0, ranks.lower, read.0, -1.0), (1, ranks.upper, read.1, 1.0)]
            {
                let expected = expected["order_ci95"][end].as_f64();
                assert_eq!(
                    (rank.is_some(), read.is_some()),
                    (expected.is_some(), expected.is_some())
                );
                if let (Some(rank), Some(read), Some(expected)) = (rank, read, expected) {
                    compared.value(&level, "order_ci95", values[rank as usize - 1], expected);
                    let excess = outwards * (read - expected) / expected.max(f64::MIN_POSITIVE);
                    assert!((-1e-9..=0.0203).contains(&excess), "{} {name}: {read}", case.id);
                }
            }
        }
    });
}
