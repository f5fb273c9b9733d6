//! Rates of independent units.

use crate::harness::each_case;
use serin::stats::proportion::wilson;

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
