//! Welch's test and effect sizes.

use crate::harness::{each_case, kind_of, numbers};
use serde_json::Value;
use serin::stats::{
    Undefined,
    moments::{Moments, cohens_d, hedges_correction, hedges_g, pooled_sd, welch},
};

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
