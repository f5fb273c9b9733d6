//! `serin experiment results`: what was measured, as tables.

mod metric;
mod reporting;

use metric::estimates;
pub(super) use metric::metric;

use super::{
    evidence,
    figures::{counted, figure, interval, list, missing, moment_of, p_value, percent, rate, shortened, text},
    table::{Table, indented, plain},
};
use crate::domain::guardrail::Limit;
use serde_json::Value;
use std::fmt::Write as _;

/// The whole report in words and tables.
pub(super) fn shown(report: &Value) -> String {
    let mut out = format!(
        "{}: {} (epoch {}, revision {}, as of {})\n",
        plain(text(report, "experiment")),
        plain(text(report, "state")),
        report["epoch"],
        report["revision"],
        moment_of(&report["as_of"]),
    );
    match &report["winner"] {
        Value::String(winner) => {
            let _ = writeln!(out, "winner: {}", plain(winner));
        }
        winner if winner["undefined"].is_string() => {
            let _ = writeln!(out, "winner: {}", missing(winner));
        }
        _ => {}
    }
    let _ = writeln!(out, "\nexposures\n{}", indented(&exposures(report).to_string()));
    let srm = &report["srm"];
    let sample_ratio = match srm["verdict"].as_str() {
        Some(verdict) => format!("{} (p {})", plain(verdict), figure(&srm["p"], p_value)),
        None if srm["undefined"].is_string() => missing(srm),
        None => missing(&srm["verdict"]),
    };
    let _ = writeln!(out, "sample ratio: {sample_ratio}");
    for balance in list(&report["traffic"]) {
        // An imbalance of the traffic may be real: versions can make people come back.
        if let Some(p) = balance["p"].as_f64().filter(|p| *p < 0.001) {
            let _ = writeln!(
                out,
                "traffic: `{}` got {} of the requests, {} of the units by design (p {}): do its units come back more, or less?",
                plain(text(balance, "variant")),
                figure(&balance["share"], percent),
                figure(&balance["expected"], percent),
                p_value(p),
            );
        }
    }
    for measured in list(&report["metrics"]) {
        out.push_str(&metric(measured));
    }
    for segment in list(&report["segments"]) {
        for metric in list(&segment["metrics"]) {
            let _ = write!(
                out,
                "\n{} where {} is {}\n{}",
                plain(text(metric, "metric")),
                plain(text(segment, "attribute")),
                plain(text(segment, "value")),
                indented(&estimates(metric).to_string()),
            );
        }
    }
    let guardrails = guardrails(report);
    if !guardrails.is_empty() {
        let _ = write!(out, "\nguardrails\n{}", indented(&guardrails.to_string()));
    }
    out.push_str(&reporting::shown(report, &arms(report)));
    let false_alarms = false_alarms(report);
    if !false_alarms.is_empty() {
        let title = "false alarms (the same test between two hidden halves of control; freezes nothing)";
        let _ = write!(out, "\n{title}\n{}", indented(&false_alarms.to_string()));
    }
    out
}

/// The names of the arms that were exposed, in the order of the metrics' arms, where control is first; the members of an
/// object have none.
fn arms(report: &Value) -> Vec<&str> {
    let exposed = report["exposures"].as_object();
    let arms = list(&report["metrics"][0]["variants"])
        .iter()
        .map(|arm| text(arm, "variant"));
    let mut names: Vec<&str> = arms
        .filter(|name| exposed.is_some_and(|all| all.contains_key(*name)))
        .collect();
    for name in exposed.into_iter().flat_map(|all| all.keys()) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

fn exposures(report: &Value) -> Table {
    let mut table = Table::new(&["variant", ">requests", ">units", ">outcomes"]);
    for name in arms(report) {
        table.row([
            name.to_owned(),
            counted(&report["exposures"][name]["requests"]),
            counted(&report["exposures"][name]["units"]),
            counted(&report["outcomes"][name]["accepted"]),
        ]);
    }
    table
}

fn guardrails(report: &Value) -> Table {
    let guardrails = list(&report["guardrails"]);
    let any_ratio = guardrails
        .iter()
        .any(|guardrail| guardrail["ratio_ci"].is_array());
    let mut headings = vec![
        "guardrail",
        "harm starts",
        "state",
        "evidence",
        "control",
        "candidate",
    ];
    if any_ratio {
        headings.push("ratio lies in");
    }
    let mut table = Table::new(&headings);
    for guardrail in guardrails {
        let limit = serde_json::from_value::<Limit>(guardrail["limit"].clone()).map_or_else(
            |_| guardrail["limit"].to_string(),
            |limit| evidence::limit(&limit),
        );
        let name = guardrail["name"].as_str().unwrap_or(text(guardrail, "metric"));
        let mut cells = vec![
            name.to_owned(),
            limit,
            text(guardrail, "state").replace('_', " "),
            figure(&guardrail["evidence"], gauge),
            bad_units(&guardrail["control"]),
            bad_units(&guardrail["candidate"]),
        ];
        if any_ratio {
            cells.push(interval(&guardrail["ratio_ci"], |ratio| shortened(ratio, 2)));
        }
        table.row(cells);
    }
    table
}

/// The continuous A/A tests.
fn false_alarms(report: &Value) -> Table {
    let mut table = Table::new(&[
        "guardrail",
        "would have frozen",
        "evidence",
        ">bad units",
        "ratio lies in",
    ]);
    for aa in list(&report["aa"]) {
        let [first, second] = [0, 1].map(|half| counted(&aa["bad_units"][half]));
        let frozen = aa["would_have_frozen"] == true;
        table.row([
            text(aa, "guardrail").to_owned(),
            if frozen { "yes" } else { "no" }.to_owned(),
            figure(&aa["evidence"], gauge),
            format!("{first} and {second}"),
            interval(&aa["ratio_ci"], |ratio| shortened(ratio, 2)),
        ]);
    }
    table
}

fn bad_units(arm: &Value) -> String {
    let counts = format!(
        "{}, {} bad units",
        figure(&arm["rate"], rate),
        counted(&arm["bad_units"])
    );
    match arm["variant"].as_str() {
        Some(name) => format!("{name}: {counts}"),
        None => counts,
    }
}

/// Evidence from 0 to 1 (breach) as a bar with its number.
pub(super) fn gauge(evidence: f64) -> String {
    const WIDTH: usize = 10;
    let filled = (0..WIDTH)
        .take_while(|step| evidence * WIDTH as f64 > *step as f64 + 0.5)
        .count();
    format!(
        "{}{} {}",
        "█".repeat(filled),
        "░".repeat(WIDTH - filled),
        shortened(evidence, 2)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report() -> Value {
        json!({
            "experiment": "tone", "state": "running", "epoch": 2, "revision": 17,
            "as_of": "2026-12-01T10:00:05Z", "winner": null,
            "exposures": {"control": {"requests": 5120, "units": 1890}, "friendly": {"requests": 5077, "units": 1874}},
            "outcomes": {"control": {"accepted": 5001}, "friendly": {"accepted": 4990}},
            "srm": {"p": 0.41, "verdict": "ok"},
            "metrics": [
                {"metric": "resolved", "kind": "rate", "goal": "increase", "primary": true, "variants": [
                    {"variant": "control", "n": 5001, "mean": 0.71, "se": 0.0081, "ci": [0.694, 0.726]},
                    {"variant": "friendly", "n": 4990, "mean": 0.74, "se": 0.008, "ci": [0.724, 0.756],
                     "vs_control": {"difference": 0.03, "ci": [0.008, 0.052], "p": 0.0086, "p_adjusted": 0.0086,
                        "always_valid": {"ci": [-0.004, 0.064], "p": 0.071, "p_adjusted": 0.071},
                        "power": {"detectable": 0.041, "detectable_relative": 0.0577, "worth_finding": 0.05,
                            "days_left": 2.3},
                        "chance_to_beat": 0.995, "verdict": "not_yet"}}]},
                {"metric": "latency_ms", "kind": "mean", "goal": "decrease", "primary": false, "variants": [
                    {"variant": "control", "n": 3, "mean": {"undefined": "collecting"}, "se": {"undefined": "collecting"},
                     "ci": {"undefined": "collecting"}},
                    {"variant": "friendly", "n": 2, "mean": 812.5, "se": 3.25, "ci": [806.0, 819.0],
                     "vs_control": {"undefined": "collecting"}}]}],
            "guardrails": [{"metric": "fallback", "limit": {"max_ratio": 1.25}, "state": "no_data", "evidence": 0.12,
                "control": {"bad_units": 41, "rate": 0.0217},
                "candidate": {"variant": "friendly", "bad_units": 44, "rate": {"undefined": "no outcomes"}}}],
            "reporting": {
                "variants": {
                    "friendly": {"requests": 4800, "missing": 480, "missing_share": 0.1, "delay_p99_s": 8},
                    "control": {"requests": 4900, "missing": 49, "missing_share": 0.01,
                        "delay_p99_s": {"undefined": "fewer than 100 receipts were reported"}}},
                "outcome_missing": [{"variant": "friendly", "limit": {"max_excess": 0.05}, "state": "pass",
                    "evidence": 0.5, "declared": false}]},
            "aa": [{"guardrail": "fallback", "evidence": 0.12, "would_have_frozen": false, "bad_units": [1020, 21],
                "ratio_ci": [0.5, 2.25]}]})
    }

    #[test]
    fn a_report_is_tables() {
        let expected = "\
tone: running (epoch 2, revision 17, as of 2026-12-01 10:00:05 UTC)

exposures
  variant   requests  units  outcomes
  control      5,120  1,890     5,001
  friendly     5,077  1,874     4,990

sample ratio: ok (p 0.4100)

resolved (rate, goal increase, primary)
  variant       n  mean ± se       difference in points, at any look    p   fixed size    p    chance to beat  verdict
  control   5,001  71.00 % ± 0.81
  friendly  4,990  74.00 % ± 0.80  +3.00 [-0.40, +6.40]  0.0710  [+0.80, +5.20]  0.0086  99.5 %  not yet
  friendly: by now a difference of 4.10 points (5.77 %) would be found, one of 5 % in 3 days more at this traffic

latency_ms (mean, goal decrease)
";
        let shown = shown(&report());
        let squeeze = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let head: String = shown
            .lines()
            .take(expected.lines().count())
            .collect::<Vec<_>>()
            .join("\n");
        assert_eq!(squeeze(&head), squeeze(expected), "{shown}");
        for part in [
            "control   3  – (collecting)",
            "friendly  2  812.5 ± 3.250   – (collecting)",
            "fallback   at 1.25 times control's rate at the same time  no data  █░░░░░░░░░ 0.12  2.17 %, 41 bad units",
            "friendly: – (no outcomes), 44 bad units",
            "control      4,900      1.00 %  – (fewer than 100 receipts were reported)",
            "friendly     4,800      10.0 %  8 s                                        █████░░░░░ 0.5  5 % above control's rate",
            "fallback   no                 █░░░░░░░░░ 0.12  1,020 and 21  [0.5, 2.25]",
        ] {
            assert!(shown.contains(part), "{part:?} is not in\n{shown}");
        }
    }

    #[test]
    fn a_gauge_fills_up_to_the_breach() {
        assert_eq!(gauge(0.0), "░░░░░░░░░░ 0");
        assert_eq!(gauge(0.5), "█████░░░░░ 0.5");
        assert_eq!(gauge(1.0), "██████████ 1");
        assert_eq!(gauge(1.7), "██████████ 1.7");
    }
}
