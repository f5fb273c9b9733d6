//! Sample ratios and traffic.

use crate::harness::{counts, each_case, numbers};
use serin::stats::sample_ratio::{bucket_traffic, chi_square, log_bayes_factor, sequential_p};

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
