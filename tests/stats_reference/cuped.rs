//! Comparisons adjusted by a covariate.

use crate::harness::{Case, Compared, each_case, numbers};
use serin::stats::cuped::{
    Adjusted,
    buckets::{Bucket, bucket_ratio, compare},
    units::{Theta, unit_mean},
};

fn rows(case: &Case, arm: &str) -> Vec<(f64, f64)> {
    let of = |name: &str| numbers(&case.input[format!("{name}_{arm}")]);
    of("y").into_iter().zip(of("x")).collect()
}

fn buckets(case: &Case, arm: &str) -> Vec<Bucket> {
    let rows = case.input[format!("buckets_{arm}")].as_array().unwrap();
    let bucket = |row: Vec<f64>| Bucket {
        outcomes: row[0],
        outcome_sum: row[1],
        covariates: row[0],
        covariate_sum: row[2],
    };
    rows.iter().map(|row| bucket(numbers(row))).collect()
}

fn means(case: &Case, level: &str, found: &Adjusted, sizes: (usize, usize), compared: &mut Compared) {
    let (a, b) = (found.difference.control, found.difference.treatment);
    for (field, value) in [
        ("theta", found.theta),
        ("adj_mean_a", a.mean),
        ("adj_mean_b", b.mean),
        ("adj_var_a", a.variance * sizes.0 as f64),
        ("adj_var_b", b.variance * sizes.1 as f64),
    ] {
        compared.number(case, &format!("{level}{field}"), value);
    }
}

#[test]
fn adjusted_comparisons() {
    each_case("cuped.json", 370, |case, compared| {
        if case.input["y_a"].is_null() {
            let (a, b) = (buckets(case, "a"), buckets(case, "b"));
            for alpha in [0.05, 0.01] {
                let found = bucket_ratio(&a, &b, alpha).unwrap();
                compared.difference(case, "", &found.difference);
                compared.number(case, "theta", found.theta);
                compared.number(case, "variance_reduction", found.variance_reduction);
                let unadjusted = found.difference.se / (1.0 - found.variance_reduction).sqrt();
                compared.number(case, "se_unadjusted", unadjusted);
            }
            // No reference has the safe form; it has the same θ and difference, and is close at arms alike.
            let safe = compare(&a, &b, 0.05).unwrap();
            compared.number(case, "theta", safe.theta);
            compared.number(case, "diff", safe.difference.difference);
            let ratio = safe.difference.se / case.expected["se"].as_f64().unwrap();
            assert!((0.98..1.1).contains(&ratio), "{}: {ratio}", case.id);
            return;
        }
        let (a, b) = (rows(case, "a"), rows(case, "b"));
        for (theta, level) in [
            (Theta::WithinArms, "within_arm_theta."),
            (Theta::Total, "total_theta_gbstats."),
        ] {
            for alpha in [0.05, 0.01] {
                let found = unit_mean(&a, &b, theta, alpha).unwrap();
                compared.difference(case, level, &found.difference);
                means(case, level, &found, (a.len(), b.len()), compared);
                if theta == Theta::WithinArms {
                    compared.number(case, "variance_reduction", found.variance_reduction);
                }
            }
        }
        let without = |rows: &[(f64, f64)]| rows.iter().map(|row| (row.0, 1.0)).collect::<Vec<_>>();
        let plain = unit_mean(&without(&a), &without(&b), Theta::WithinArms, 0.05).unwrap();
        compared.difference(case, "unadjusted.", &plain.difference);
    });
}
