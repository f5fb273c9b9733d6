//! Always-valid figures and the guardrails' evidence.

use crate::harness::{each_case, numbers};
use serde_json::Value;
use serin::stats::{
    evidence::{OddsGrid, RelativeStep, absolute_log_e, single_start_log_e},
    sequential::{
        RunningP, always_valid, asymptotic, critical_value, critical_value_one_sided, log_evidence_greater,
        rho_squared,
    },
};

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
