//! What several commands tell alike: versions, findings and gates.

use super::refusal::{Subject, shell};
use crate::cli::{
    figures::{list, text},
    table::plain,
};
use serde_json::Value;

/// A version as people name it: `1.1.0 (version 2)`. Takes an object with `version` and `semver`, or a number alone.
pub(super) fn version(value: &Value) -> String {
    match (value["semver"].as_str(), number(value)) {
        (Some(semver), Some(number)) => format!("{} (version {number})", plain(semver)),
        (Some(semver), None) => plain(semver),
        (None, Some(number)) => format!("version {number}"),
        (None, None) => "–".to_owned(),
    }
}

/// The shortest name of a version: its semver, else its number.
pub(super) fn short(value: &Value) -> String {
    match (value["semver"].as_str(), number(value)) {
        (Some(semver), _) => plain(semver),
        (None, Some(number)) => number.to_string(),
        (None, None) => "–".to_owned(),
    }
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value["version"].as_u64())
}

/// Words of a list, with commas.
pub(super) fn joined(value: &Value) -> String {
    let words = list(value).iter().filter_map(Value::as_str);
    words.map(plain).collect::<Vec<_>>().join(", ")
}

/// Each environment with its version: `production 1.0.0, staging 2`.
pub(super) fn deployed(value: &Value) -> String {
    let environments = value.as_object().into_iter().flatten();
    let one =
        |(environment, version): (&String, &Value)| format!("{} {}", plain(environment), short(version));
    environments.map(one).collect::<Vec<_>>().join(", ")
}

/// Where what is deployed is no longer what its version says, and which labels inside moved.
pub(super) fn drifted(value: &Value) -> String {
    let moved = |moved: &Value| {
        let (prompt, label) = (plain(text(moved, "prompt")), plain(text(moved, "label")));
        let now = short(&moved["now"]);
        format!(", {prompt} {label} {} → {now}", short(&moved["then"]))
    };
    let one = |drift: &Value| {
        let moves: String = list(&drift["moved"]).iter().map(moved).collect();
        plain(text(drift, "environment")) + &moves
    };
    list(value).iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Findings, one a line with what to do about it below.
pub(super) fn findings(findings: &[Value], subject: Subject<'_>) -> String {
    let one = |finding: &Value| {
        format!(
            "  {} ({}): {}\n    → {}{}\n",
            plain(text(finding, "code")),
            plain(text(finding, "place")),
            plain(text(finding, "problem")),
            plain(text(finding, "remedy")),
            step(finding, subject).map_or_else(String::new, |step| format!(": {step}")),
        )
    };
    findings.iter().map(one).collect()
}

/// What to type about a finding.
fn step(finding: &Value, subject: Subject<'_>) -> Option<String> {
    let (code, place) = (text(finding, "code"), text(finding, "place"));
    match code {
        _ if text(finding, "severity") == "warning" => {
            Some(format!("--accept {}", shell(&format!("{code}:{place}"))))
        }
        "not_evaluated" | "segment_not_evaluated" | "cost_unknown" | "latency_unknown" => {
            Some(subject.command("evaluate", "--cmd '<program>'"))
        }
        "review_missing" => Some(subject.command("review", &format!("--kind {} --approve", plain(place)))),
        _ => None,
    }
}

/// Whether each environment's gate is passed, and what is missing.
pub(super) fn gates(gates: &Value, subject: Subject<'_>) -> String {
    let environments = gates.as_object().into_iter().flatten();
    let one = |(environment, gate): (&String, &Value)| {
        let environment = plain(environment);
        if gate["passes"] == true {
            return format!("{environment}: may be deployed\n");
        }
        let missing = list(&gate["missing"]);
        format!(
            "{environment}: may not be deployed yet; missing:\n{}",
            findings(missing, subject)
        )
    };
    environments.map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_are_named_by_what_there_is() {
        let named = |value: Value| (version(&value), short(&value));
        let pair = |long: &str, short: &str| (long.to_owned(), short.to_owned());
        assert_eq!(
            named(json!({"version": 2, "semver": "1.1.0"})),
            pair("1.1.0 (version 2)", "1.1.0")
        );
        assert_eq!(
            named(json!({"version": 2, "semver": null})),
            pair("version 2", "2")
        );
        assert_eq!(named(json!(2)), pair("version 2", "2"));
        assert_eq!(named(json!(null)), pair("–", "–"));
    }

    #[test]
    fn a_gate_says_what_it_waits_for() {
        let told = gates(
            &json!({"production": {"passes": false, "missing": [{"code": "review_missing", "severity": "error",
                "place": "product", "problem": "nobody approved", "remedy": "have it approved"}]},
                "staging": {"passes": true, "missing": []}}),
            Subject::version("a", "2"),
        );
        assert_eq!(
            told,
            "production: may not be deployed yet; missing:\n  review_missing (product): nobody approved\n    \
             → have it approved: `serin prompt review a 2 --kind product --approve`\nstaging: may be deployed\n"
        );
    }
}
