//! Ratios of sums with units as clusters.

use crate::harness::{Compared, at, each_case, kind_of};
use serde_json::Value;
use serin::stats::{
    Undefined,
    cluster::{ArmSummary, compare, compare_paired, compare_pooled, compare_welch},
    difference::Form,
    lift::lift,
    moments::Moments,
};
use std::collections::{BTreeMap, BTreeSet};

/// Sums the rows of one arm into clusters: by user, or by the user's bucket.
fn clusters(input: &Value, arm: &str, bucketed: bool) -> BTreeMap<String, (f64, f64)> {
    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for row in input["rows"].as_array().unwrap() {
        if row[1] == arm {
            let user = row[0].as_str().unwrap();
            let key = if bucketed {
                input["bucket_of_user"][user].to_string()
            } else {
                user.to_string()
            };
            let cluster = sums.entry(key).or_default();
            cluster.0 += 1.0;
            cluster.1 += row[2].as_f64().unwrap();
        }
    }
    sums
}

#[test]
fn clustered_ratios() {
    each_case("ratio_cluster.json", 1200, |case, compared| {
        for level in ["user", "bucket"] {
            let summary = |arm: &str, compared: &mut Compared| {
                let path = |field: &str| format!("{level}.{arm}.{field}");
                let sums = clusters(case.input, arm, level == "bucket");
                let found = ArmSummary::from_clusters(sums.values().copied());
                if let Ok(arm) = &found {
                    compared.exact(case, &path("n_clusters"), arm.clusters);
                    compared.number(case, &path("n_obs"), arm.n);
                    compared.number(case, &path("sum"), arm.mean * arm.n);
                    compared.number(case, &path("ratio"), arm.mean);
                    compared.number(case, &path("var_cr2"), arm.variance);
                    compared.number(case, &path("se_cr2"), arm.se);
                    compared.number(case, &path("dof_bm"), arm.dof);
                    compared.number(case, &path("n_eff_clusters"), arm.n_eff);
                    compared.number(case, &path("sum_sq_leverage_residuals"), arm.q);
                } else {
                    assert_eq!(at(case.expected, &path("n_clusters")), 1, "{}", case.id);
                }
                found
            };
            let (a, b) = match (summary("a", compared), summary("b", compared)) {
                (Ok(a), Ok(b)) => (a, b),
                (Err(reason), _) | (_, Err(reason)) => {
                    compared.exact(case, &format!("{level}.error"), kind_of(&reason));
                    continue;
                }
            };
            let path = format!("{level}.cr2.");
            if at(case.expected, &format!("{path}t")).is_null() {
                assert_eq!(compare(&a, &b, 0.05), Err(Undefined::ZeroVariance), "{}", case.id);
                continue;
            }
            let welch = compare_welch(&a, &b, 0.05).unwrap();
            compared.difference(case, &path, &welch);
            compared.difference(case, &path, &compare_welch(&a, &b, 0.01).unwrap());
            compared.fieller(case, &path, &welch);

            let pooled = compare_pooled(&a, &b, 0.05).unwrap();
            compared.number(case, &format!("{level}.safe.se_welch"), welch.se);
            compared.number(case, &format!("{level}.safe.se_pooled"), pooled.se);
            let safe = compare(&a, &b, 0.05).unwrap();
            let used = if safe.form == Form::Pooled {
                "pooled"
            } else {
                "welch"
            };
            compared.exact(case, &format!("{level}.safe.used"), used);
            compared.difference(case, &format!("{level}.safe."), &safe);
            if let Ok((_, set)) = lift(&safe) {
                assert_eq!(set.contains(0.0), safe.p >= 0.05, "{}: {set:?}", case.id);
            }
        }
    });
}

#[test]
fn buckets_that_are_in_both_arms() {
    each_case("ratio_cluster.json", 283, |case, compared| {
        for level in ["user", "bucket"] {
            let [a, b] = ["a", "b"].map(|arm| clusters(case.input, arm, level == "bucket"));
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            let of = |arm: &BTreeMap<_, _>, key| arm.get(key).copied().unwrap_or_default();
            let buckets: Vec<_> = keys.iter().map(|&key| (of(&a, key), of(&b, key))).collect();
            let path = format!("{level}.paired.");
            match compare_paired(buckets.iter().copied(), 0.05) {
                Ok(test) => {
                    compared.number(case, &format!("{path}n_clusters"), buckets.len() as f64);
                    compared.difference(case, &path, &test);
                    assert_eq!(test.form, Form::Paired);
                    if let Ok((_, set)) = lift(&test) {
                        assert_eq!(set.contains(0.0), test.p >= 0.05, "{}: {set:?}", case.id);
                    }
                }
                Err(reason) => compared.exact(case, &format!("{path}error"), kind_of(&reason)),
            }
        }
    });
}

#[test]
fn requests_taken_for_independent() {
    each_case("ratio_cluster.json", 108, |case, compared| {
        for arm in ["a", "b"] {
            let rows = case.input["rows"].as_array().unwrap();
            let values = rows.iter().filter(|row| row[1] == arm);
            let moments = Moments::from_values(values.map(|row| row[2].as_f64().unwrap())).unwrap();
            let path = |field: &str| format!("naive_per_request.{arm}.{field}");
            compared.exact(case, &path("n"), moments.n());
            compared.number(case, &path("mean"), moments.mean());
            compared.number(case, &path("var"), moments.variance().unwrap());
        }
    });
}
