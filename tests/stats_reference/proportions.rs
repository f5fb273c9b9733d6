//! Rates of independent units.

use crate::harness::{Case, Compared, at, each_case, kind_of};
use serin::stats::{
    Undefined,
    proportion::{
        Proportion, agresti_caffo, cohens_h, delta_lift, difference, fisher_exact, katz, lift, log_ratio_se,
        newcombe, two_proportion_z, unpooled_se, wald, wilson,
    },
};

fn arms(case: &Case) -> (Proportion, Proportion) {
    let given = |name: &str| case.input[name].as_u64().unwrap();
    let arm = |x: &str, n: &str| Proportion::new(given(x), given(n)).unwrap();
    (arm("x_a", "n_a"), arm("x_b", "n_b"))
}

/// A figure, or null where it does not exist.
fn number_or_none(compared: &mut Compared, case: &Case, field: &str, got: Result<f64, Undefined>) {
    match got {
        Ok(value) => compared.number(case, field, value),
        Err(_) => compared.exact(case, field, ()),
    }
}

fn pair_or_none(compared: &mut Compared, case: &Case, field: &str, got: Result<(f64, f64), Undefined>) {
    match got {
        Ok(ends) => compared.pair(case, field, ends),
        Err(_) => compared.exact(case, field, ()),
    }
}

#[test]
fn intervals_of_a_rate_and_of_a_difference() {
    each_case("proportions.json", 960, |case, compared| {
        let (a, b) = arms(case);
        compared.number(case, "p_a", a.rate());
        compared.number(case, "p_b", b.rate());
        compared.number(case, "diff", difference(&a, &b));
        compared.number(case, "se_unpooled", unpooled_se(&a, &b));
        for (level, alpha) in [("ci95", 0.05), ("ci99", 0.01)] {
            for (name, arm) in [("a", a), ("b", b)] {
                let ends = wilson(arm.events(), arm.n(), alpha).unwrap();
                compared.pair(case, &format!("wilson_{name}_{level}"), ends);
            }
            compared.pair(case, &format!("wald_{level}"), wald(&a, &b, alpha).unwrap());
            compared.pair(
                case,
                &format!("newcombe_{level}"),
                newcombe(&a, &b, alpha).unwrap(),
            );
            let ends = agresti_caffo(&a, &b, alpha).unwrap();
            compared.pair(case, &format!("agresti_caffo_{level}"), ends);
        }
    });
}

#[test]
fn sizes_relative_to_control() {
    each_case("proportions.json", 240, |case, compared| {
        let (a, b) = arms(case);
        compared.number(case, "cohens_h", cohens_h(&a, &b));
        number_or_none(compared, case, "lift", lift(&a, &b));
        number_or_none(compared, case, "log_rr_se", log_ratio_se(&a, &b));
        pair_or_none(compared, case, "katz_lift_ci95", katz(&a, &b, 0.05));
        pair_or_none(compared, case, "delta_lift_ci95", delta_lift(&a, &b, 0.05));
    });
}

#[test]
fn the_z_test() {
    each_case("proportions.json", 160, |case, compared| {
        let (a, b) = arms(case);
        let test = two_proportion_z(&a, &b);
        if let Err(reason) = &test {
            assert_eq!(kind_of(reason), "zero_variance");
        }
        number_or_none(compared, case, "z_pooled", test.map(|test| test.z));
        number_or_none(compared, case, "p_two_sided", test.map(|test| test.p));
        number_or_none(compared, case, "p_greater", test.map(|test| test.p_greater));
        let reflected = two_proportion_z(&b, &a).map(|test| test.p_less);
        number_or_none(compared, case, "p_greater", reflected);
    });
}

#[test]
fn the_exact_test() {
    each_case("proportions.json", 20, |case, compared| {
        let (a, b) = arms(case);
        // The reference leaves out tables of 3,000 units and more.
        if a.n() + b.n() < 3000 {
            number_or_none(compared, case, "fisher_p", fisher_exact(&a, &b));
        } else {
            assert!(at(case.expected, "fisher_p").is_null(), "{}", case.id);
        }
    });
}
