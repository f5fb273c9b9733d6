//! The figures of a file in words and as JSON.

use super::{analysis::Analysis, problems::Told, tally::Tally};
use crate::{
    cli::{
        figures::{count, figure, missing, moment, p_value, percent},
        results,
        table::{Table, indented, plain},
    },
    domain::Timestamp,
    report::{ByVariant, MetricReport},
};
use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;

/// A file and what was read of it.
pub(super) struct Read<'a> {
    pub(super) name: &'a str,
    /// What its rows are called: `line` or `row`.
    pub(super) place: &'a str,
    pub(super) tally: &'a Tally,
}

/// The answer of `--json`; `metrics` is that of an experiment's results.
#[derive(Serialize)]
struct Answer<'a> {
    file: &'a str,
    rows: u64,
    skipped: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Told>,
    other_metrics: u64,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    control: &'a str,
    randomised: super::split::Randomised,
    units: ByVariant<u64>,
    units_on_several: u64,
    srm: &'a super::split::Split,
    notes: &'a [String],
    metrics: &'a [MetricReport],
}

/// Everything, for machines.
pub(super) fn json(file: &Read<'_>, analysis: &Analysis) -> Result<Value> {
    let tally = file.tally;
    let units = analysis.order.iter().map(|&place| {
        let units = analysis.units.on[place] * analysis.units.scale;
        (tally.variants[place].clone(), units)
    });
    Ok(serde_json::to_value(Answer {
        file: file.name,
        rows: tally.rows,
        skipped: tally.problems.count,
        problems: tally.problems.told(),
        other_metrics: tally.other_metrics,
        from: tally.span.and_then(|(first, _)| at(first)),
        to: tally.span.and_then(|(_, last)| at(last)),
        control: tally.variants[analysis.order[0]].as_str(),
        randomised: analysis.randomised,
        units: ByVariant(units.collect()),
        units_on_several: analysis.units.on_several * analysis.units.scale,
        srm: &analysis.split,
        notes: &analysis.notes,
        metrics: &analysis.metrics,
    })?)
}

fn at(ms: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(ms).ok()
}

/// Everything, for people.
pub(super) fn words(file: &Read<'_>, analysis: &Analysis) -> Result<String> {
    let answer = json(file, analysis)?;
    let tally = file.tally;
    let span = tally.span.and_then(|(first, last)| {
        let (first, last) = (at(first)?, at(last)?);
        Some(format!(", {} to {}", moment(first), moment(last)))
    });
    let mut out = format!(
        "{}: {} rows{}\n",
        plain(file.name),
        count(tally.rows),
        span.unwrap_or_default()
    );
    for note in &analysis.notes {
        let _ = writeln!(out, "note: {}", plain(note));
    }
    if tally.other_metrics > 0 {
        let _ = writeln!(
            out,
            "not counted: {} rows of other metrics",
            count(tally.other_metrics)
        );
    }
    if tally.problems.count > 0 {
        let _ = writeln!(
            out,
            "left out: {} rows that cannot be used",
            count(tally.problems.count)
        );
        for line in tally.problems.lines(file.place) {
            let _ = writeln!(out, "{}", plain(&line));
        }
    }
    let _ = write!(out, "\nunits\n{}", indented(&units(tally, analysis).to_string()));
    let srm = &answer["srm"];
    let _ = match srm["verdict"].as_str() {
        Some(verdict) => writeln!(
            out,
            "sample ratio: {} (p {}){}",
            verdict,
            figure(&srm["p"], p_value),
            if verdict == "alarm" {
                ": the variants got other units than they should, so no difference below can be trusted"
            } else {
                ""
            }
        ),
        None => writeln!(
            out,
            "sample ratio: {}{}",
            srm["p"]["undefined"]
                .as_str()
                .map_or_else(|| missing(&srm["p"]), plain),
            if srm["p"]["undefined"]
                .as_str()
                .is_some_and(|why| why.contains("is not known"))
            {
                " (--weights)"
            } else {
                ""
            }
        ),
    };
    for metric in answer["metrics"].as_array().into_iter().flatten() {
        out.push_str(&results::metric(metric));
    }
    Ok(out)
}

fn units(tally: &Tally, analysis: &Analysis) -> Table {
    let mut table = Table::new(&["variant", ">units", ">share"]);
    let total: u64 = analysis.units.on.iter().sum();
    for &place in &analysis.order {
        let units = analysis.units.on[place];
        let share = units as f64 / total.max(1) as f64;
        table.row([
            tally.variants[place].to_string(),
            count(units * analysis.units.scale),
            percent(share),
        ]);
    }
    table
}
