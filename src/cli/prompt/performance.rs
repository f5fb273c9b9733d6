//! `serin prompt performance`: the figures of each version as a table, and what follows as a list.

use crate::cli::{
    figures::{
        count, figure, interval, list, missing, moment_of, number, p_value, percent, points, rate, signed,
        text,
    },
    table::{Table, indented, plain},
};
use serde_json::Value;
use std::fmt::Write as _;

/// How a figure is written.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Count,
    Rate,
    Number,
}

/// The figures in the order of the table: name, path in the answer, how they are written.
const FIGURES: [(&str, &str, Kind); 14] = [
    ("requests", "/requests", Kind::Count),
    ("outcomes", "/outcomes", Kind::Count),
    ("success rate", "/success_rate", Kind::Rate),
    ("error rate", "/error_rate", Kind::Rate),
    ("fallback rate", "/fallback_rate", Kind::Rate),
    ("escalation rate", "/escalation_rate", Kind::Rate),
    ("manual correction rate", "/manual_correction_rate", Kind::Rate),
    ("latency, mean (ms)", "/latency_ms/mean", Kind::Number),
    ("latency, p50 (ms)", "/latency_ms/p50", Kind::Number),
    ("latency, p95 (ms)", "/latency_ms/p95", Kind::Number),
    ("latency, p99 (ms)", "/latency_ms/p99", Kind::Number),
    ("quality, mean", "/quality/mean", Kind::Number),
    ("cost per request (USD)", "/cost_usd/per_request", Kind::Number),
    ("cost, total (USD)", "/cost_usd/total", Kind::Number),
];

/// The whole answer in words and tables.
pub(super) fn shown(answer: &Value) -> String {
    let environment = answer["environment"].as_str();
    let mut out = format!(
        "{}: the last {}{} to {} (revision {})\n",
        plain(text(answer, "prompt")),
        plain(text(answer, "window")),
        environment.map_or_else(String::new, |name| format!(" in {},", plain(name))),
        moment_of(&answer["to"]),
        answer["revision"],
    );
    for version in list(&answer["versions"]) {
        let _ = write!(out, "\n{}\n{}", heading(version), indented(&figures(version)));
    }
    if list(&answer["versions"]).is_empty() {
        out.push_str("\nno version has data in this window\n");
    } else {
        let _ = writeln!(
            out,
            "\nErrors are by blocks of {}; changes are against the {} before. Versions are not compared here: \
             `serin experiment results` does that.",
            plain(text(answer, "block")),
            plain(text(answer, "window")),
        );
    }
    let recommendations = list(&answer["recommendations"]);
    if !recommendations.is_empty() {
        out.push_str("\nrecommendations\n");
    }
    for found in recommendations {
        let _ = write!(
            out,
            "  {}: {}\n    because: {}\n",
            plain(text(found, "severity")),
            plain(text(found, "text")),
            plain(text(found, "because")),
        );
    }
    out
}

fn heading(version: &Value) -> String {
    let number = &version["version"];
    let name = version["semver"].as_str().map_or_else(
        || format!("version {number}"),
        |semver| format!("{} (version {number})", plain(semver)),
    );
    let names = |member: &str| {
        let names = list(&version[member]).iter().filter_map(Value::as_str);
        names.map(plain).collect::<Vec<_>>().join(", ")
    };
    let deployed = names("deployed");
    let mut served = names("experiments");
    if version["outside_experiments"] == true {
        served.push_str(if served.is_empty() {
            "outside experiments"
        } else {
            " and outside experiments"
        });
    }
    let deployed = if deployed.is_empty() {
        String::new()
    } else {
        format!(", deployed to {deployed}")
    };
    format!("{name}{deployed}; served in {served}")
}

fn figures(version: &Value) -> String {
    let mut table = Table::new(&[
        "figure",
        ">value ± se",
        "95 % interval",
        ">before",
        ">change",
        ">p",
        "trend",
    ]);
    let mut unreported = Vec::new();
    for (name, path, kind) in FIGURES {
        let Some(found) = version.pointer(path) else {
            continue;
        };
        let (value, trend) = (&found["value"], &found["trend"]);
        if !value.is_number() {
            unreported.push(name);
            continue;
        }
        let known = trend["previous"].is_number();
        let or_dash = |shown: String| if known { shown } else { "–".to_owned() };
        table.row([
            name.to_owned(),
            with_error(value, &found["se"], kind),
            if kind == Kind::Count || found.get("ci").is_none() {
                String::new()
            } else {
                interval(&found["ci"], one(kind))
            },
            or_dash(figure(&trend["previous"], one(kind))),
            or_dash(change(trend, kind)),
            // The change has said why, where nothing is known.
            or_dash(
                trend["p_adjusted"]
                    .as_f64()
                    .map_or_else(|| "–".to_owned(), p_value),
            ),
            plain(text(trend, "direction")),
        ]);
    }
    let mut out = table.to_string();
    if !unreported.is_empty() {
        let _ = writeln!(out, "not reported: {}", unreported.join("; "));
    }
    out
}

fn one(kind: Kind) -> fn(f64) -> String {
    match kind {
        Kind::Count => whole,
        Kind::Rate => rate,
        Kind::Number => number,
    }
}

fn whole(value: f64) -> String {
    count(value.round() as u64)
}

fn with_error(value: &Value, se: &Value, kind: Kind) -> String {
    let shown = figure(value, one(kind));
    match se.as_f64() {
        Some(se) if kind == Kind::Rate => format!("{shown} ± {:.2}", se * 100.0),
        Some(se) => format!("{shown} ± {}", number(se)),
        // The interval says why.
        None => shown,
    }
}

fn change(trend: &Value, kind: Kind) -> String {
    let Some(change) = trend["change"].as_f64() else {
        return missing(&trend["change"]);
    };
    let relative = trend["relative"].as_f64();
    match kind {
        Kind::Rate => format!("{} points", points(change)),
        Kind::Count | Kind::Number => relative.map_or_else(
            || signed(change),
            |relative| format!("{}{}", if relative > 0.0 { "+" } else { "" }, percent(relative)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn estimate(value: f64, trend: Value) -> Value {
        json!({"value": value, "se": 0.004, "ci": [value - 0.008, value + 0.008], "n": 900,
            "basis": "blocks of time", "trend": trend})
    }

    #[test]
    fn versions_are_tables_and_recommendations_a_list() {
        let reason = json!({"undefined": "nothing was reported in the window before"});
        let unknown = json!({"previous": reason, "change": reason, "relative": reason, "ci": reason, "p": reason,
            "p_adjusted": reason, "direction": "unknown"});
        let rising = json!({"previous": 0.02, "change": 0.01, "relative": 0.5, "ci": [0.004, 0.016], "p": 0.0001,
            "p_adjusted": 0.0014, "direction": "rising"});
        let grown = json!({"previous": 1000.0, "change": 203.0, "relative": 0.203, "ci": [100.0, 306.0],
            "p": 0.0012, "p_adjusted": 0.0084, "direction": "rising"});
        let none = json!({"value": {"undefined": "nothing was reported in this window"}, "trend": unknown});
        let shown = shown(&json!({
            "prompt": "support/first reply", "window": "24h", "to": "2026-12-01T10:00:00Z", "revision": 7,
            "block": "30m", "versions": [{"version": 2, "semver": "1.1.0", "deployed": ["production"],
                "experiments": ["tone"], "outside_experiments": true,
                "requests": {"value": 1203, "trend": grown},
                "error_rate": estimate(0.03, rising), "fallback_rate": estimate(0.05, unknown),
                "quality": {"mean": none}}],
            "recommendations": [{"severity": "warning", "text": "error rate rose", "because": "2 % before"}]}));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines,
            [
                "support/first reply: the last 24h to 2026-12-01 10:00:00 UTC (revision 7)",
                "",
                "1.1.0 (version 2), deployed to production; served in tone and outside experiments",
                "  figure            value ± se  95 % interval     before        change       p  trend",
                "  requests               1,203                     1,000       +20.3 %  0.0084  rising",
                "  error rate     3.00 % ± 0.40  [2.20 %, 3.80 %]  2.00 %  +1.00 points  0.0014  rising",
                "  fallback rate  5.00 % ± 0.40  [4.20 %, 5.80 %]       –             –       –  unknown",
                "  not reported: quality, mean",
                "",
                "Errors are by blocks of 30m; changes are against the 24h before. Versions are not compared here: `serin experiment results` does that.",
                "",
                "recommendations",
                "  warning: error rate rose",
                "    because: 2 % before",
            ]
        );
    }

    #[test]
    fn nothing_is_said_so() {
        let shown = shown(
            &json!({"prompt": "p", "window": "15m", "environment": "staging", "block": "1m",
            "to": "2026-12-01T10:00:00Z", "revision": 1, "versions": [], "recommendations": []}),
        );
        assert_eq!(
            shown,
            "p: the last 15m in staging, to 2026-12-01 10:00:00 UTC (revision 1)\n\nno version has data in this window\n"
        );
    }
}
