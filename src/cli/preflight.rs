//! The preflight and the exclusions, as a person reads them: from the JSON that the API answers too.

use super::{
    figures::{counted, list, number, percent, shortened, text},
    options::{bounded, positive, share},
    output,
    table::{Table, indented, plain},
};
use crate::domain::guardrail::OUTCOME_MISSING;
use crate::preflight::{Assumptions, BASELINE, Source, Traffic, long};
use serde_json::Value;
use std::fmt::Write as _;

/// What a person assumes about the traffic.
#[derive(Debug, clap::Args)]
pub(super) struct Assumed {
    /// Requests per second of each experiment's audience
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    pub(super) rps: Option<f64>,
    /// Control's bad rate where none is known [default: 0.02]
    #[arg(long, value_name = "RATE", value_parser = share)]
    pub(super) baseline: Option<f64>,
    /// Requests of one unit in a stage, on average
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = at_least_one)]
    pub(super) requests_per_unit: f64,
}

fn at_least_one(written: &str) -> Result<f64, String> {
    bounded(written, "finite and at least 1", |value| {
        value >= 1.0 && value.is_finite()
    })
}

impl Assumed {
    /// For an experiment to which others leave `reach` of its audience.
    pub(super) fn assumptions(&self, reach: f64) -> Assumptions {
        Assumptions {
            traffic: self.rps.map(|requests_per_second| Traffic {
                requests_per_second,
                source: Source::Given,
                reach,
            }),
            requests_per_unit: self.requests_per_unit,
            baseline: self.baseline.unwrap_or(BASELINE),
            baseline_source: if self.baseline.is_some() {
                Source::Given
            } else {
                Source::Assumed
            },
            ..Assumptions::default()
        }
    }
}

/// One experiment's stages, with what they find. Nothing for one without guardrails.
pub(super) fn forecast(found: &Value) -> String {
    let stages = list(&found["stages"]);
    if stages.iter().all(|stage| list(&stage["guardrails"]).is_empty()) {
        return String::new();
    }
    let name = plain(text(found, "experiment"));
    match found["traffic"]["requests_per_second"].as_f64() {
        Some(rps) => known(found, &name, rps, stages),
        None => unknown(&name, stages),
    }
}

fn known(found: &Value, name: &str, rps: f64, stages: &[Value]) -> String {
    let mut table = Table::new(&[
        "stage",
        ">for",
        ">takes",
        ">requests of the candidate",
        "guardrail",
        ">bad rate",
        ">finds",
        ">harm ruled out",
    ]);
    for stage in stages {
        let requests = stage["candidate_requests"].as_f64().map_or(0.0, f64::round);
        let mut first = [
            title(stage),
            time(&stage["for_s"]),
            takes(stage),
            counted(&Value::from(requests as u64)),
        ];
        for guardrail in list(&stage["guardrails"]) {
            let ruled_out = &guardrail["ruled_out_after_s"];
            table.row(first.into_iter().chain([
                limited(guardrail),
                rate(guardrail),
                harm(&guardrail["finds"]),
                time(ruled_out),
            ]));
            first = Default::default();
        }
        if stage["silence"].is_object() {
            let missing = stage["silence"]["finds_missing"].as_f64();
            table.row(first.into_iter().chain([
                format!("{OUTCOME_MISSING} max_excess"),
                format!("{} assumed", percent(0.0)),
                missing.map_or_else(|| "blind".to_owned(), |share| format!("{} more", percent(share))),
                time(&Value::Null),
            ]));
        }
    }
    let mut out = format!(
        "{name} at {} requests/s ({}), with {} power for harm in `{}`:\n{}",
        shortened(rps, 2),
        plain(text(&found["traffic"], "source")),
        found["power"].as_f64().map_or_else(String::new, percent),
        plain(text(found, "candidate")),
        indented(&table.to_string()),
    );
    if let Some(expected) = found["expected_s"].as_f64() {
        let _ = writeln!(
            out,
            "  the whole rollout takes {} when the candidate is as good as control",
            long(expected)
        );
    }
    out
}

fn unknown(name: &str, stages: &[Value]) -> String {
    let mut table = Table::new(&[
        "stage",
        ">for",
        "guardrail",
        ">bad rate",
        ">requests/s not to be blind",
        ">to find twice the rate",
    ]);
    for stage in stages {
        let mut first = [title(stage), time(&stage["for_s"])];
        for guardrail in list(&stage["guardrails"]) {
            let rps = |member: &str| guardrail[member].as_f64().map_or_else(|| "–".to_owned(), number);
            table.row(first.into_iter().chain([
                limited(guardrail),
                rate(guardrail),
                rps("needs_rps"),
                rps("doubling_needs_rps"),
            ]));
            first = Default::default();
        }
    }
    format!(
        "{name} needs, since its traffic is unknown (`serin validate --rps` takes it):\n{}",
        indented(&table.to_string())
    )
}

fn title(stage: &Value) -> String {
    if stage["open"].as_bool() == Some(true) {
        return "open".to_owned();
    }
    let share = stage["share"].as_f64().map_or_else(String::new, percent);
    format!("{}: {share}", stage["stage"])
}

fn takes(stage: &Value) -> String {
    let waits = text(stage, "waits_for");
    match stage["expected_s"].as_f64() {
        Some(seconds) if waits == "for" => long(seconds),
        Some(seconds) => format!("{} ({})", long(seconds), plain(waits)),
        None => "never ends".to_owned(),
    }
}

fn time(seconds: &Value) -> String {
    seconds.as_f64().map_or_else(|| "–".to_owned(), long)
}

fn limited(guardrail: &Value) -> String {
    format!("{} {}", text(guardrail, "metric"), text(guardrail, "limit"))
}

fn rate(guardrail: &Value) -> String {
    let rate = guardrail["base_rate"].as_f64().map_or_else(String::new, percent);
    format!("{rate} {}", text(guardrail, "base_rate_from"))
}

fn harm(finds: &Value) -> String {
    match (finds["ratio"].as_f64(), finds["rate"].as_f64()) {
        (Some(ratio), Some(rate)) => format!("{} × ({})", shortened(ratio, 2), percent(rate)),
        _ => "blind".to_owned(),
    }
}

/// Who excludes whom, in sentences; nothing where nobody meets anybody.
pub(super) fn exclusions(meetings: &Value) -> String {
    let sentences = list(meetings)
        .iter()
        .flat_map(|meeting| list(&meeting["explained"]));
    sentences
        .filter_map(Value::as_str)
        .map(|sentence| format!("{}\n", plain(sentence)))
        .collect()
}

/// Warnings, a line each.
pub(super) fn warnings(warnings: &Value) -> String {
    list(warnings)
        .iter()
        .filter_map(Value::as_str)
        .map(|warning| format!("warning: {}\n", plain(warning)))
        .collect()
}

/// Tells warnings apart from an answer that goes to standard output.
pub(super) fn complain(found: &Value) {
    let told = warnings(found);
    if !told.is_empty() {
        output::complain(told.trim_end());
    }
}
