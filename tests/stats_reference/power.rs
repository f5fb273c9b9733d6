//! Sample sizes, smallest detectable effects and power.

use crate::harness::each_case;
use serin::stats::power::{
    Design, Goal,
    means::{self, Sides},
    proportions::{self, Form},
};

#[test]
fn sizes_effects_and_power() {
    each_case("power.json", 95, |case, compared| {
        let given = |name: &str| {
            case.input[name]
                .as_f64()
                .unwrap_or_else(|| panic!("{}: {name}", case.id))
        };
        let has = |name: &str| !case.input[name].is_null();
        let goal = Goal {
            alpha: given("alpha"),
            power: given("power"),
        };
        let ratio = given("ratio_b_over_a");
        let design = Design {
            ratio,
            design_effect: case.input["design_effect"].as_f64().unwrap_or(1.0),
        };
        if has("delta") {
            let (sd, delta) = ((given("sd_a"), given("sd_b")), given("delta"));
            let size = means::size(sd, delta, goal, design).unwrap();
            compared.number(case, "n_a_exact", size.exact);
            compared.number(case, "n_a", size.control as f64);
            compared.number(case, "n_b", size.treatment as f64);
            let n_a = size.control as f64;
            let effect = means::mde(sd, n_a, goal, design).unwrap();
            compared.number(case, "mde_at_n_a", effect);
            let power = means::power(sd, delta, n_a, goal.alpha, design).unwrap();
            compared.number(case, "power_at_n_a", power);
        } else if has("cohens_d") {
            let d = given("cohens_d");
            let sides = match case.input["alternative"].as_str().unwrap() {
                "two-sided" => Sides::Two,
                "larger" => Sides::One,
                other => panic!("{}: {other}", case.id),
            };
            let size = means::size_t(d, goal, ratio, sides).unwrap();
            compared.number(case, "n_a_exact", size.exact);
            compared.number(case, "n_a", size.control as f64);
            let n_a = case.expected["n_a"].as_f64().unwrap();
            let power = means::power_t(d, n_a, goal.alpha, ratio, sides).unwrap();
            compared.number(case, "power_at_n_a", power);
        } else {
            let (p_a, p_b) = (given("p_a"), given("p_b"));
            for (form, field) in [
                (Form::Unpooled, "n_a_unpooled_exact"),
                (Form::Pooled, "n_a_pooled_exact"),
                (Form::Arcsine, "n_a_arcsine_exact"),
            ] {
                let size = proportions::size(form, p_a, p_b, goal, design).unwrap();
                compared.number(case, field, size.exact);
                if form == Form::Pooled {
                    compared.number(case, "n_a_pooled", size.control as f64);
                    if !case.expected["mde_abs_at_n_a_pooled"].is_null() {
                        let rise = proportions::mde(p_a, size.control as f64, goal, design).unwrap();
                        compared.number(case, "mde_abs_at_n_a_pooled", rise);
                    }
                }
            }
        }
    });
}
