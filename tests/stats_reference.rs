//! Every figure of `stats` against the values of `tests/reference`, each within the tolerance its case
//! states. Run with `--nocapture` to see how much of its tolerance each field used.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy takes the helpers of an integration test for production code"
)]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use serin::stats::Undefined;
use serin::stats::cluster::{ArmSummary, compare, compare_as};
use serin::stats::difference::{Difference, Form};
use serin::stats::evidence::{OddsGrid, RelativeStep, absolute_log_e, single_start_log_e};
use serin::stats::lift::{Lift, lift};
use serin::stats::moments::{Moments, cohens_d, hedges_correction, hedges_g, pooled_sd, welch};
use serin::stats::proportion::wilson;
use serin::stats::sample_ratio::{bucket_traffic, chi_square, log_bayes_factor, sequential_p};
use serin::stats::sequential::{
    RunningP, always_valid, asymptotic, critical_value, critical_value_one_sided, log_evidence_greater,
    rho_squared,
};

/// One case of a file: what goes in and what must come out.
struct Case<'a> {
    id: &'a str,
    input: &'a Value,
    expected: &'a Value,
    tolerance: &'a Value,
}

/// Runs `check` on every case of a file and fails unless at least `least` values were compared.
fn each_case(file: &str, least: usize, check: impl Fn(&Case, &mut Compared)) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/reference")
        .join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let parsed: Value = serde_json::from_str(&text).unwrap();
    let mut compared = Compared::default();
    for case in parsed["cases"].as_array().unwrap() {
        let case = Case {
            id: case["id"].as_str().unwrap(),
            input: &case["input"],
            expected: &case["expected"],
            tolerance: &case["tolerance"],
        };
        check(&case, &mut compared);
    }
    for (field, (used, place)) in &compared.worst {
        println!("{file}: {field} used {:.3} of its tolerance in {place}", used);
    }
    assert!(
        compared.count >= least,
        "{file}: only {} values were compared",
        compared.count
    );
}

/// Counts comparisons and remembers per field how much of its tolerance was ever needed.
#[derive(Default)]
struct Compared {
    count: usize,
    worst: BTreeMap<String, (f64, String)>,
}

impl Compared {
    /// `field` is a path such as `user.cr2.se`; its tolerance is that of the innermost name that has one.
    fn number(&mut self, case: &Case, field: &str, got: f64) {
        let expected = match at(case.expected, field) {
            Value::String(text) if text == "inf" => f64::INFINITY,
            Value::String(text) if text == "-inf" => f64::NEG_INFINITY,
            value => value
                .as_f64()
                .unwrap_or_else(|| panic!("{}: {field} is {value}, got {got}", case.id)),
        };
        self.value(case, field, got, expected);
    }

    fn pair(&mut self, case: &Case, field: &str, got: (f64, f64)) {
        let expected = at(case.expected, field);
        self.value(case, field, got.0, expected[0].as_f64().unwrap());
        self.value(case, field, got.1, expected[1].as_f64().unwrap());
    }

    fn value(&mut self, case: &Case, field: &str, got: f64, expected: f64) {
        self.count += 1;
        if got == expected {
            return;
        }
        let tolerance = field
            .rsplit('.')
            .map(|name| &case.tolerance[name])
            .find(|tolerance| !tolerance.is_null())
            .unwrap_or(&case.tolerance["*"]);
        let (relative, absolute) = (tolerance[0].as_f64().unwrap(), tolerance[1].as_f64().unwrap());
        let allowed = absolute + relative * expected.abs();
        let used = (got - expected).abs() / allowed;
        assert!(
            used <= 1.0,
            "{}: {field} is {got:e}, expected {expected:e} ± {allowed:e}",
            case.id
        );
        let name = field.rsplit('.').next().unwrap().to_string();
        let worst = self.worst.entry(name).or_insert((0.0, String::new()));
        if used > worst.0 {
            let deviation = (got - expected).abs() / expected.abs().max(f64::MIN_POSITIVE);
            *worst = (used, format!("{} (relative {deviation:.1e})", case.id));
        }
    }

    fn exact(&mut self, case: &Case, field: &str, got: impl Into<Value>) {
        self.count += 1;
        assert_eq!(at(case.expected, field), &got.into(), "{}: {field}", case.id);
    }

    /// All figures of a comparison; `level` is "" or ends with a dot.
    fn difference(&mut self, case: &Case, level: &str, got: &Difference) {
        for (field, value) in [
            ("diff", got.difference),
            ("se", got.se),
            ("t", got.t),
            ("dof", got.dof),
            ("p_two_sided", got.p),
            ("p_greater", got.p_greater),
            ("p_less", got.p_less),
        ] {
            let path = format!("{level}{field}");
            if !at(case.expected, &path).is_null() {
                self.number(case, &path, value);
            }
        }
        self.pair(
            case,
            &format!("{level}{}", if got.alpha == 0.05 { "ci95" } else { "ci99" }),
            got.ci,
        );
    }

    fn fieller(&mut self, case: &Case, level: &str, comparison: &Difference) {
        if at(case.expected, &format!("{level}relative")).is_null() {
            assert_eq!(lift(comparison), Err(Undefined::NoControlEffect), "{}", case.id);
            return;
        }
        let (estimate, set) = lift(comparison).unwrap();
        self.number(case, &format!("{level}relative.lift"), estimate);
        let path = format!("{level}relative.fieller95");
        let kind = match set {
            Lift::Bounded(..) => "bounded",
            Lift::Complement(..) => "complement",
            Lift::All => "all",
        };
        self.exact(case, &format!("{path}.kind"), kind);
        if let Lift::Bounded(low, high) | Lift::Complement(low, high) = set {
            self.pair(case, &format!("{path}.ci"), (low, high));
        }
    }
}

fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| &value[name])
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

fn counts(value: &Value) -> Vec<u64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_u64().unwrap())
        .collect()
}

fn kind_of(reason: &Undefined) -> &'static str {
    match reason {
        Undefined::InsufficientData { .. } => "insufficient_data",
        Undefined::ZeroVariance => "zero_variance",
        other => panic!("{other} is no reason the reference knows"),
    }
}

#[test]
fn welch_and_effect_sizes() {
    each_case("welch.json", 900, |case, compared| {
        let moments = |raw: &str, summary: &str| match &case.input[raw] {
            Value::Null => {
                let given = &case.input[summary];
                let (mean, variance) = (given["mean"].as_f64().unwrap(), given["var"].as_f64().unwrap());
                Moments::from_summary(given["n"].as_u64().unwrap(), mean, variance).unwrap()
            }
            values => Moments::from_values(numbers(values)).unwrap(),
        };
        let (a, b) = (moments("raw_a", "a"), moments("raw_b", "b"));
        let sized = !case.expected["hedges_j"].is_null();
        if sized {
            compared.number(
                case,
                "hedges_j",
                hedges_correction((a.n() + b.n() - 2) as f64).unwrap(),
            );
            compared.number(case, "pooled_sd", pooled_sd(&a, &b).unwrap());
        }
        let test = match welch(&a, &b, 0.05) {
            Err(reason) => {
                compared.exact(case, "error", kind_of(&reason));
                if sized {
                    assert_eq!(cohens_d(&a, &b), Err(Undefined::ZeroVariance));
                    assert_eq!(hedges_g(&a, &b), Err(Undefined::ZeroVariance));
                }
                return;
            }
            Ok(test) => test,
        };
        compared.difference(case, "", &test);
        compared.difference(case, "", &welch(&a, &b, 0.01).unwrap());
        compared.number(case, "cohens_d", cohens_d(&a, &b).unwrap());
        compared.number(case, "hedges_g", hedges_g(&a, &b).unwrap());
        compared.fieller(case, "", &test);
    });
}

/// Sums the rows of one arm into clusters: by user, or by the user's bucket.
fn clusters(input: &Value, arm: &str, bucketed: bool) -> Vec<(f64, f64)> {
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
    sums.into_values().collect()
}

#[test]
fn clustered_ratios() {
    each_case("ratio_cluster.json", 1200, |case, compared| {
        for level in ["user", "bucket"] {
            let summary = |arm: &str, compared: &mut Compared| {
                let path = |field: &str| format!("{level}.{arm}.{field}");
                let found = ArmSummary::from_clusters(clusters(case.input, arm, level == "bucket"));
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
            let welch = compare_as(Form::Welch, &a, &b, 0.05).unwrap();
            compared.difference(case, &path, &welch);
            compared.difference(case, &path, &compare_as(Form::Welch, &a, &b, 0.01).unwrap());
            compared.fieller(case, &path, &welch);

            let pooled = compare_as(Form::Pooled, &a, &b, 0.05).unwrap();
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
fn sample_ratios() {
    each_case("srm.json", 159, |case, compared| {
        if case.input["weight_b"].is_null() {
            let (observed, weights) = (counts(&case.input["counts"]), numbers(&case.input["weights"]));
            let split = chi_square(&observed, &weights).unwrap();
            compared.number(case, "chi2", split.chi_square);
            compared.exact(case, "dof", split.dof);
            compared.number(case, "p", split.p);
            compared.exact(case, "srm_at_0_001", split.p < 0.001);
            let concentration = case.input["dirichlet_concentration"].as_f64().unwrap();
            let log_factor = log_bayes_factor(&observed, &weights, concentration).unwrap();
            compared.number(case, "log_bayes_factor", log_factor);
            compared.number(case, "sequential_p", sequential_p(log_factor));
        } else {
            let (a, b) = (
                counts(&case.input["requests_a"]),
                counts(&case.input["requests_b"]),
            );
            let balance = bucket_traffic(&a, &b, case.input["weight_b"].as_f64().unwrap()).unwrap();
            compared.number(case, "z", balance.z);
            compared.number(case, "p", balance.p);
            compared.number(case, "share_b", balance.share);
        }
    });
}

#[test]
fn always_valid_figures_and_evidence() {
    each_case("sequential.json", 485, |case, compared| {
        let given = |name: &str| {
            case.input[name]
                .as_f64()
                .unwrap_or_else(|| panic!("{}: {name}", case.id))
        };
        let has = |name: &str| !case.input[name].is_null();
        if has("n_tuning") {
            let (estimate, se, alpha, n) = (given("estimate"), given("se"), given("alpha"), given("n_clock"));
            let rho2 = rho_squared(alpha, given("n_tuning")).unwrap();
            compared.number(case, "rho2", rho2);
            compared.number(case, "z_crit", critical_value(n * rho2, alpha).unwrap());
            let look = asymptotic(estimate, se, n, rho2, alpha).unwrap();
            compared.pair(case, "cs", look.ci);
            compared.number(case, "log_e", look.log_e);
            compared.number(case, "p", look.p);
            let rho2 = rho_squared(2.0 * alpha, given("n_tuning")).unwrap();
            compared.number(case, "rho2_one_sided", rho2);
            let z = critical_value_one_sided(n * rho2, alpha).unwrap();
            compared.number(case, "z_crit_one_sided", z);
            compared.number(case, "lower_one_sided", estimate - z * se);
            compared.number(case, "upper_one_sided", estimate + z * se);
            let log_e = log_evidence_greater(estimate / se, n * rho2).unwrap();
            compared.number(case, "log_e_one_sided_greater", log_e);
        } else if has("steps") {
            let mut running = RunningP::default();
            for (i, step) in case.input["steps"].as_array().unwrap().iter().enumerate() {
                let (estimate, se) = (step["estimate"].as_f64().unwrap(), step["se"].as_f64().unwrap());
                let p = always_valid(estimate, se, given("tau"), given("alpha"))
                    .unwrap()
                    .p;
                compared.value(case, "p_now", p, case.expected["p_now"][i].as_f64().unwrap());
                let smallest = case.expected["p_always_valid"][i].as_f64().unwrap();
                compared.value(case, "p_always_valid", running.update(p), smallest);
            }
        } else if has("tau") {
            let look = always_valid(given("estimate"), given("se"), given("tau"), given("alpha")).unwrap();
            compared.number(case, "log_e", look.log_e);
            compared.number(case, "p", look.p);
            compared.pair(case, "cs", look.ci);
        } else if has("p0") {
            let grid = OddsGrid::spanning(given("or_lo"), given("or_hi"), given("grid") as usize).unwrap();
            let (bad, n) = (given("bad") as u64, given("n") as u64);
            compared.number(
                case,
                "log_e_grid",
                absolute_log_e(&grid, given("p0"), bad, n).unwrap(),
            );
        } else if has("batches") {
            let grid = OddsGrid::spanning(given("ratio_lo"), given("ratio_hi"), given("grid") as usize)
                .and_then(|grid| grid.against(given("null_ratio")))
                .unwrap();
            let batch = |row: &Value| {
                let row = numbers(row);
                if case.input["mode"] == "units" {
                    return RelativeStep {
                        share: row[0],
                        candidate: row[1] as u64,
                        control: row[2] as u64,
                    };
                }
                let requests = row[0] + row[2];
                let share = if requests > 0.0 { row[0] / requests } else { 0.0 };
                RelativeStep {
                    share,
                    candidate: row[1] as u64,
                    control: row[3] as u64,
                }
            };
            let steps: Vec<_> = case.input["batches"]
                .as_array()
                .unwrap()
                .iter()
                .map(batch)
                .collect();
            for (i, expected) in numbers(&case.expected["log_e"]).into_iter().enumerate() {
                compared.value(case, "log_e", single_start_log_e(&grid, &steps[..=i]), expected);
            }
        } else {
            assert!(
                case.id.starts_with("ons_"),
                "{} is of no kind this test knows",
                case.id
            );
        }
    });
}

#[test]
fn wilson_intervals() {
    each_case("proportions.json", 320, |case, compared| {
        for arm in ["a", "b"] {
            let given = |name: &str| case.input[format!("{name}_{arm}")].as_u64().unwrap();
            let (events, n) = (given("x"), given("n"));
            compared.pair(
                case,
                &format!("wilson_{arm}_ci95"),
                wilson(events, n, 0.05).unwrap(),
            );
            compared.pair(
                case,
                &format!("wilson_{arm}_ci99"),
                wilson(events, n, 0.01).unwrap(),
            );
        }
    });
}
