//! Adjusted p-values of whole families.

use crate::harness::{at, each_case, numbers};
use serin::stats::{
    Undefined,
    multiple_testing::{
        benjamini_hochberg, benjamini_yekutieli, bonferroni, hochberg, holm, rejected, sidak,
    },
};

type Adjustment = fn(&[f64]) -> Result<Vec<f64>, Undefined>;

#[test]
fn adjusted_p_values() {
    let all: [(&str, Adjustment); 6] = [
        ("bonferroni", bonferroni),
        ("sidak", sidak),
        ("holm", holm),
        ("hochberg", hochberg),
        ("bh", benjamini_hochberg),
        ("by", benjamini_yekutieli),
    ];
    each_case("multiple_testing.json", 1500, |case, compared| {
        let p = numbers(&case.input["p"]);
        for (name, adjust) in all {
            let adjusted = adjust(&p).unwrap();
            let expected = numbers(at(case.expected, &format!("{name}.adjusted")));
            assert_eq!(adjusted.len(), expected.len(), "{}", case.id);
            for (&got, expected) in adjusted.iter().zip(expected) {
                compared.value(case, &format!("{name}.adjusted"), got, expected);
            }
            let path = format!("{name}.reject_0_05");
            compared.exact(case, &path, rejected(&adjusted, 0.05).unwrap());
        }
    });
}
