//! A plan in words and as JSON.

use super::{
    design::{Baseline, Design, Detectable, Found, Needed, Row},
    freeze::{Freezes, LEAST_BAD_UNITS, TIMES_BOUND},
};
use crate::{
    cli::{
        figures::{count, number, percent, rate, seconds, shortened},
        table::{Table, indented},
    },
    domain::experiment::MIN_UNITS,
};
use anyhow::Result;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What is planned, in a line.
pub(super) fn about(design: &Design) -> String {
    let what = match design.baseline {
        Baseline::Rate(of) => format!("a rate of {}", percent(of)),
        Baseline::Mean { mean, sd } => format!("a mean of {} ± {} per request", short(mean), short(sd)),
    };
    let variants = design.arms.candidates + 1;
    let mut out = format!(
        "{what}, {variants} variants, {} on each candidate, power {}, error rate {}",
        percent(design.arms.share),
        percent(design.goal.power),
        percent(design.alpha),
    );
    if design.requests.design_effect > 1.0 {
        let _ = write!(
            out,
            ", design effect {}",
            shortened(design.requests.design_effect, 2)
        );
    }
    out
}

/// An effect with what it means for the mean.
pub(super) fn effect(design: &Design, effect: f64) -> String {
    let from = design.mean();
    let to = from + effect * from.abs();
    match design.baseline {
        Baseline::Rate(_) => format!("{}: {} → {}", percent(effect), share(from), share(to)),
        Baseline::Mean { .. } => format!("{}: {} → {}", percent(effect), short(from), short(to)),
    }
}

/// The table of sizes.
pub(super) fn words(design: &Design, rows: &[Row]) -> String {
    let even = rows
        .iter()
        .all(|row| row.fixed.requests.control == row.fixed.requests.candidate);
    let with_days = design.traffic.is_some();
    let counted = design.counted();
    let mut headings = vec!["effect".to_owned()];
    for form in ["fixed size", "always valid"] {
        if even {
            headings.push(format!(">{form}: {counted} per variant"));
        } else {
            headings.push(format!(">{form}: {counted} of control"));
            headings.push(">of each candidate".to_owned());
        }
        headings.push(">in all".to_owned());
        if with_days {
            headings.push(">days".to_owned());
        }
    }
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let mut table = Table::new(&headings);
    for row in rows {
        let mut cells = vec![effect(design, row.effect)];
        for needed in [&row.fixed, &row.always_valid] {
            cells.extend(sizes(needed, even));
        }
        table.row(cells);
    }
    format!(
        "{}\n\n{}\n{}",
        about(design),
        indented(&table.to_string()),
        notes(design, true)
    )
}

fn sizes(needed: &Needed, even: bool) -> Vec<String> {
    let counted = needed.counted();
    let mut cells = vec![count(counted.control)];
    if !even {
        cells.push(count(counted.candidate));
    }
    cells.push(count(counted.all));
    cells.extend(needed.days.map(days));
    cells
}

/// What a number of units can find.
pub(super) fn detectable(design: &Design, found: &Detectable) -> String {
    let mut table = Table::new(&["", "smallest effect", ">difference"]);
    for (form, smallest) in [
        ("fixed size", &found.fixed),
        ("always valid", &found.always_valid),
    ] {
        table.row(match smallest {
            Some(Found {
                effect: of,
                difference,
            }) => vec![
                form.to_owned(),
                effect(design, *of),
                match design.baseline {
                    Baseline::Rate(_) => format!("{} points", number(100.0 * difference)),
                    Baseline::Mean { .. } => number(*difference),
                },
            ],
            None => vec![
                form.to_owned(),
                "none: too few units even for a rise to 100 %".to_owned(),
            ],
        });
    }
    let time = found.days.map_or_else(String::new, |length| {
        format!(" ({} days of traffic)", days(length))
    });
    format!(
        "{}\n{} units in all{time}\n\n{}\n{}",
        about(design),
        number_of(found.units),
        indented(&table.to_string()),
        notes(design, false)
    )
}

/// When a guardrail freezes.
pub(super) fn freezes(freezes: &Freezes) -> String {
    let guard = &freezes.guard;
    let with_time = guard.requests_per_second.is_some();
    let mut headings = vec![
        ">ratio",
        ">bad rate",
        ">Wald's bound",
        ">candidate requests to freeze",
    ];
    if with_time {
        headings.push(">time");
    }
    let mut table = Table::new(&headings);
    for freeze in &freezes.freezes {
        let mut cells = vec![
            format!("{} ×", shortened(freeze.ratio, 2)),
            rate(freeze.rate),
            number_of(freeze.bound),
            format!(
                "{} – {}",
                number_of(freeze.expected.0),
                number_of(freeze.expected.1)
            ),
        ];
        if let Some((from, to)) = freeze.expected_s {
            cells.push(format!("{} – {}", long(from), long(to)));
        }
        table.row(cells);
    }
    format!(
        "control's bad rate {}, {} of the two arms on the candidate, error rate {} of {} guardrail{}\n\n{}\n\
         Wald's bound: ln(guardrails/error rate)/KL(θ‖q) bad requests, the least any test needs on average (Wald 1945).\n\
         To freeze: {} to {} times that bound on average, as measured in simulations, and at least {} bad units.\n\
         A bad candidate is judged by the first bad request of each unit: units that come back make it slower.\n",
        percent(guard.rate),
        percent(guard.share),
        percent(guard.alpha),
        guard.guardrails,
        if guard.guardrails == 1 { "" } else { "s" },
        indented(&table.to_string()),
        TIMES_BOUND.0,
        TIMES_BOUND.1,
        LEAST_BAD_UNITS,
    )
}

/// The table for machines.
pub(super) fn json(design: &Design, rows: &[Row]) -> Result<Value> {
    let mut answer = common(design);
    answer["effects"] = serde_json::to_value(rows)?;
    Ok(answer)
}

/// What can be found, for machines.
pub(super) fn detectable_json(design: &Design, found: &Detectable) -> Result<Value> {
    let mut answer = common(design);
    answer["detectable"] = serde_json::to_value(found)?;
    Ok(answer)
}

fn common(design: &Design) -> Value {
    let (kind, sd) = match design.baseline {
        Baseline::Rate(_) => ("rate", Value::Null),
        Baseline::Mean { sd, .. } => ("mean", json!(sd)),
    };
    json!({
        "kind": kind, "baseline": design.mean(), "sd": sd,
        "variants": design.arms.candidates + 1, "share": design.arms.share,
        "alpha": design.alpha, "alpha_per_comparison": design.goal.alpha, "power": design.goal.power,
        "requests_per_unit": design.requests.per_unit, "design_effect": design.requests.design_effect,
    })
}

fn notes(design: &Design, sizes: bool) -> String {
    let mut out = String::from(
        "Fixed size: for one look, at the end; (z(1−α/2) + z(power))² · variance · design effect / difference².\n\
         Always valid: the interval that may be looked at every day excludes 0 with that power at one look, when the\n\
         effect worth finding (mde) of the metric is the effect of the row; earlier looks can only find it sooner.\n",
    );
    if design.arms.candidates > 1 {
        let _ = writeln!(
            out,
            "Each of the {} candidates gets {} of the error rate, as Holm's correction gives the clearest.",
            design.arms.candidates,
            percent(design.goal.alpha)
        );
    }
    if sizes {
        let _ = writeln!(
            out,
            "Results are shown from {MIN_UNITS} units per variant on, and rates from 10 groups of units with an event."
        );
    }
    if design.traffic.is_some() {
        out.push_str("Days hold while the units are new: the same units coming back say less.\n");
    }
    out
}

/// A rate with the digits that small effects need.
fn share(rate: f64) -> String {
    format!("{} %", shortened(rate * 100.0, if rate < 0.01 { 4 } else { 2 }))
}

/// A number as it was typed.
fn short(value: f64) -> String {
    shortened(value, 4)
}

fn number_of(value: f64) -> String {
    count(value.ceil() as u64)
}

fn days(days: f64) -> String {
    if days < 1.0 {
        format!("{days:.2}")
    } else if days < 10.0 {
        format!("{days:.1}")
    } else {
        number_of(days)
    }
}

/// A length of time in seconds, up to days.
fn long(length: f64) -> String {
    const HOUR: f64 = 3600.0;
    if length < HOUR {
        seconds(length)
    } else if length < 48.0 * HOUR {
        format!("{:.1} h", length / HOUR)
    } else {
        format!("{:.0} days", length / (24.0 * HOUR))
    }
}
