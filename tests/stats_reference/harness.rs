//! Reads a file of cases and compares figures with it, each within the tolerance its case states.

use serde_json::Value;
use serin::stats::{
    Undefined,
    difference::Difference,
    lift::{Lift, lift},
};
use std::{collections::BTreeMap, path::Path};

/// One case of a file: what goes in and what must come out.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) id: &'a str,
    pub(crate) input: &'a Value,
    pub(crate) expected: &'a Value,
    pub(crate) tolerance: &'a Value,
}

/// Runs `check` on every case of a file and fails unless at least `least` values were compared.
pub(crate) fn each_case(file: &str, least: usize, check: impl Fn(&Case, &mut Compared)) {
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
pub(crate) struct Compared {
    count: usize,
    worst: BTreeMap<String, (f64, String)>,
}

impl Compared {
    /// `field` is a path such as `user.cr2.se`; its tolerance is that of the innermost name that has one.
    pub(crate) fn number(&mut self, case: &Case, field: &str, got: f64) {
        let expected = match at(case.expected, field) {
            Value::String(text) if text == "inf" => f64::INFINITY,
            Value::String(text) if text == "-inf" => f64::NEG_INFINITY,
            value => value
                .as_f64()
                .unwrap_or_else(|| panic!("{}: {field} is {value}, got {got}", case.id)),
        };
        self.value(case, field, got, expected);
    }

    pub(crate) fn pair(&mut self, case: &Case, field: &str, got: (f64, f64)) {
        let expected = at(case.expected, field);
        self.value(case, field, got.0, expected[0].as_f64().unwrap());
        self.value(case, field, got.1, expected[1].as_f64().unwrap());
    }

    pub(crate) fn value(&mut self, case: &Case, field: &str, got: f64, expected: f64) {
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

    pub(crate) fn exact(&mut self, case: &Case, field: &str, got: impl Into<Value>) {
        self.count += 1;
        assert_eq!(at(case.expected, field), &got.into(), "{}: {field}", case.id);
    }

    /// All figures of a comparison; `level` is "" or ends with a dot.
    pub(crate) fn difference(&mut self, case: &Case, level: &str, got: &Difference) {
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

    pub(crate) fn fieller(&mut self, case: &Case, level: &str, comparison: &Difference) {
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

pub(crate) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| &value[name])
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

pub(crate) fn counts(value: &Value) -> Vec<u64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_u64().unwrap())
        .collect()
}

pub(crate) fn kind_of(reason: &Undefined) -> &'static str {
    match reason {
        Undefined::InsufficientData { .. } => "insufficient_data",
        Undefined::ZeroVariance => "zero_variance",
        other => panic!("{other} is no reason the reference knows"),
    }
}
