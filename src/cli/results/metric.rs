//! One metric of a report: the table of its arms, and what else is known of them.

use crate::cli::{
    figures::{
        counted, figure, interval, list, missing, number, p_value, percent, points, rate, shortened, signed,
        text,
    },
    table::{Table, indented, plain},
};
use serde_json::Value;
use std::fmt::Write as _;

/// A bucket with more than this share of the variance is worth a remark.
const HEAVY: f64 = 0.1;

/// One metric with its heading: the table of its arms, and what else is known of them.
pub(in crate::cli) fn metric(metric: &Value) -> String {
    let primary = if metric["primary"] == true {
        ", primary"
    } else {
        ""
    };
    format!(
        "\n{} ({}, goal {}{primary})\n{}{}",
        plain(text(metric, "metric")),
        plain(text(metric, "kind")),
        plain(text(metric, "goal")),
        indented(&estimates(metric).to_string()),
        indented(&remarks(metric)),
    )
}

/// The figures that hold at every look come first, because people look every day. Rates are shown in per cent and
/// their differences in percentage points.
pub(super) fn estimates(metric: &Value) -> Table {
    let is_rate = metric["kind"] == "rate";
    let mut table = Table::new(&[
        "variant",
        ">n",
        "mean ± se",
        if is_rate {
            "difference in points, at any look"
        } else {
            "difference, at any look"
        },
        ">p",
        "fixed size",
        ">p",
        ">chance to beat",
        "verdict",
    ]);
    for variant in list(&metric["variants"]) {
        let mut cells = vec![
            text(variant, "variant").to_owned(),
            counted(&variant["n"]),
            mean(variant, is_rate),
        ];
        let versus = &variant["vs_control"];
        if versus.is_object() {
            let format = if is_rate { points } else { signed };
            let always = &versus["always_valid"];
            // One reason is enough where nothing can be had.
            let known = always["ci"].is_array();
            let or_dash = |shown: String| if known { shown } else { "–".to_owned() };
            cells.push(difference(versus, format));
            cells.push(or_dash(figure(&always["p_adjusted"], p_value)));
            cells.push(or_dash(interval(&versus["ci"], format)));
            cells.push(or_dash(figure(&versus["p_adjusted"], p_value)));
            cells.push(or_dash(figure(&versus["chance_to_beat"], rate)));
            cells.push(match versus["verdict"].as_str() {
                Some(verdict) => verdict.replace('_', " "),
                None => missing(&versus["verdict"]),
            });
        }
        table.row(cells);
    }
    table
}

/// What else is known of a metric's arms, a line each: what can be found and when, covariates, clipped values and
/// repeats.
fn remarks(metric: &Value) -> String {
    let is_rate = metric["kind"] == "rate";
    let format = if is_rate { points } else { signed };
    let mut out = String::new();
    for variant in list(&metric["variants"]) {
        let name = plain(text(variant, "variant"));
        let power = &variant["vs_control"]["power"];
        if let (Some(effect), Some(relative), Some(worth)) = (
            power["detectable"].as_f64(),
            power["detectable_relative"].as_f64(),
            power["worth_finding"].as_f64(),
        ) {
            let _ = write!(
                out,
                "{name}: by now a difference of {}{} ({}) would be found",
                format(effect).trim_start_matches('+'),
                if is_rate { " points" } else { "" },
                percent(relative)
            );
            let _ = match power["days_left"].as_f64() {
                Some(days) if days > 0.0 => {
                    writeln!(
                        out,
                        ", one of {} in {} more at this traffic",
                        percent(worth),
                        days_long(days)
                    )
                }
                Some(_) => writeln!(out, ", {} are worth finding", percent(worth)),
                None => writeln!(out),
            };
        }
        let cuped = &variant["vs_control"]["cuped"];
        if cuped["difference"].is_number() {
            let _ = writeln!(
                out,
                "{name}: without what the covariate explains {} {} at any look, {} of the variance saved: {}",
                figure(&cuped["difference"], format),
                interval(&cuped["always_valid"]["ci"], format),
                figure(&cuped["variance_saved"], percent),
                text(cuped, "verdict").replace('_', " "),
            );
        } else if cuped.is_object() {
            let _ = writeln!(
                out,
                "{name}: no covariate taken out {}",
                missing(&cuped["difference"])
            );
        }
        for quantile in list(&variant["quantiles"]) {
            let of_control = list(&variant["vs_control"]["quantiles"]);
            let versus = of_control.iter().find(|other| other["q"] == quantile["q"]);
            let _ = write!(
                out,
                "{name}: {} {}",
                quantile_name(&quantile["q"]),
                figure(&quantile["value"], number),
            );
            let _ = match versus.filter(|versus| versus["difference"].is_number()) {
                Some(versus) => writeln!(
                    out,
                    ", {} {} against control (per request)",
                    figure(&versus["difference"], signed),
                    interval(&versus["ci"], signed),
                ),
                None => writeln!(out),
            };
        }
        if let Some(part) = variant["heaviest_bucket"].as_f64().filter(|part| *part > HEAVY) {
            let _ = writeln!(
                out,
                "{name}: {} of the variance comes from one bucket of units: a cap would help",
                percent(part)
            );
        }
        if let Some(share) = variant["clipped"].as_f64().filter(|share| *share > 0.0) {
            let _ = writeln!(
                out,
                "{name}: {} of the values were clipped to the cap",
                percent(share)
            );
        }
    }
    out
}

/// A quantile for people.
fn quantile_name(q: &Value) -> String {
    match q.as_f64() {
        Some(0.5) => "median".to_owned(),
        Some(q) => format!("p{}", shortened(q * 100.0, 1)),
        None => String::new(),
    }
}

/// A number of days for people.
fn days_long(days: f64) -> String {
    if days < 1.0 / 24.0 {
        format!("{:.0} minutes", (days * 1440.0).ceil())
    } else if days < 2.0 {
        format!("{:.0} hours", (days * 24.0).ceil())
    } else {
        format!("{:.0} days", days.ceil())
    }
}

fn mean(variant: &Value, is_rate: bool) -> String {
    let [mean, se] = [&variant["mean"], &variant["se"]];
    match (mean.as_f64(), se.as_f64()) {
        (Some(mean), Some(se)) if is_rate => format!("{:.2} % ± {:.2}", mean * 100.0, se * 100.0),
        (Some(mean), Some(se)) => format!("{} ± {}", number(mean), number(se)),
        (Some(mean), None) if is_rate => format!("{:.2} % ± {}", mean * 100.0, missing(se)),
        (Some(mean), None) => format!("{} ± {}", number(mean), missing(se)),
        (None, _) => missing(mean),
    }
}

fn difference(versus: &Value, format: fn(f64) -> String) -> String {
    match versus["difference"].as_f64() {
        Some(difference) => format!(
            "{} {}",
            format(difference),
            interval(&versus["always_valid"]["ci"], format)
        ),
        None if versus["undefined"].is_string() => missing(versus),
        None => missing(&versus["difference"]),
    }
}
