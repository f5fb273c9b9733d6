//! `serin simulate`: how often would this program be wrong? Asks no server.

use super::{
    figures::count,
    output::{self, Told},
    table::{Table, indented},
};
use crate::simulation::{
    Bound, Plan, Progress, Row, Size, Study,
    tally::{TOLERANCE, Unit},
    traffic::MODEL,
};
use anyhow::{Result, anyhow};
use clap::builder::PossibleValue;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::{fmt::Write as _, num::NonZeroUsize};

/// Run seeded traffic through the real code and count its errors
///
/// Users that do not exist are assigned, counted, compared and guarded by the code that serves real ones, many times
/// over; then it is known how often the results are wrong. A quarter of an hour or more with all studies, most of it for
/// `rollout`; the same seed gives the same figures on any number of processors. Exit code 1 when a figure misses its bound.
#[derive(Debug, clap::Args)]
pub(super) struct Simulate {
    /// Only these studies [default: all]
    #[arg(long, value_name = "STUDY")]
    study: Vec<Study>,
    /// Only cases with this text in their names
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Runs of each case [default: as many as its figures need]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    runs: Option<u64>,
    /// A twentieth of the runs: seconds, and wide errors
    #[arg(long, conflicts_with = "runs")]
    quick: bool,
    /// Another seed is another world
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

impl clap::ValueEnum for Study {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()).help(self.question()))
    }
}

/// Makes the studies and shows them.
///
/// # Errors
/// [`Told`] when a figure misses its bound; otherwise the simulation's failure.
pub(super) fn run(simulate: &Simulate, json: bool) -> Result<()> {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len}  {msg}") {
        bar.set_style(style);
    }
    let progress = |progress: Progress<'_>| {
        bar.set_length(progress.of);
        bar.set_position(progress.done);
        // Not for every run: both are strings.
        if progress.done == 1 || progress.done == progress.of {
            bar.set_prefix(progress.study.name());
            bar.set_message(progress.case.to_owned());
        }
    };
    let plan = Plan {
        seed: simulate.seed,
        size: simulate.size(),
        only: simulate.case.as_deref(),
        threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        progress: &progress,
    };
    let mut studies = simulate.study.clone();
    studies.sort_unstable();
    studies.dedup();
    if studies.is_empty() {
        studies = Study::ALL.to_vec();
    }
    let mut rows = Vec::new();
    for study in &studies {
        rows.extend(study.run(&plan)?);
    }
    bar.finish_and_clear();
    if rows.is_empty() {
        return Err(anyhow!(
            "no case of these studies has `{}` in its name",
            simulate.case.as_deref().unwrap_or_default()
        ));
    }
    let missed = rows.iter().filter(|row| row.holds == Some(false)).count();
    if json {
        output::print_json(&json!({
            "seed": simulate.seed, "runs": simulate.runs_in_words(), "users": MODEL, "days": Study::Rollout.model(), "tolerance": TOLERANCE,
            "rows": rows, "missed": missed,
        }))?;
    } else {
        output::print(&shown(simulate, &studies, &rows, missed))?;
    }
    if missed > 0 { Err(Told.into()) } else { Ok(()) }
}

impl Simulate {
    fn size(&self) -> Size {
        match self.runs {
            Some(runs) => Size::Runs(runs),
            None if self.quick => Size::Quick,
            None => Size::Full,
        }
    }

    fn runs_in_words(&self) -> String {
        match self.size() {
            Size::Runs(runs) => runs.to_string(),
            Size::Quick => "quick".to_owned(),
            Size::Full => "full".to_owned(),
        }
    }
}

fn shown(simulate: &Simulate, studies: &[Study], rows: &[Row], missed: usize) -> String {
    let mut out = format!(
        "seed {}, runs: {}\n{MODEL}\n",
        simulate.seed,
        simulate.runs_in_words()
    );
    for study in studies {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.study == *study).collect();
        let table = match study {
            Study::Rollout => by_case(&rows),
            _ => by_figure(&rows),
        };
        let _ = write!(out, "\n{}: {}\n", study.name(), study.question());
        if study.model() != MODEL {
            let _ = writeln!(out, "{}", study.model());
        }
        if let Some(naively) = study.naively() {
            let _ = writeln!(out, "naively: {naively}");
        }
        out += &indented(&table.to_string());
    }
    let bounds = rows.iter().filter(|row| row.holds.is_some()).count();
    let _ = match missed {
        0 => writeln!(
            out,
            "\nall {bounds} bounds hold (missed is what lies beyond by more than {TOLERANCE} errors of the simulation)"
        ),
        _ => writeln!(
            out,
            "\n{missed} of {bounds} bounds are missed, by more than {TOLERANCE} errors of the simulation"
        ),
    };
    out
}

/// A line for each figure.
fn by_figure(rows: &[&Row]) -> Table {
    let columns: Vec<&Column> = COLUMNS
        .iter()
        .filter(|(_, cell)| rows.iter().any(|row| !cell(row).is_empty()))
        .collect();
    let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
    let mut table = Table::new(&headings);
    for row in rows {
        table.row(columns.iter().map(|(_, cell)| cell(row)));
    }
    table
}

/// A line for each case, with its figures beside each other: for a study whose cases have the same ones.
fn by_case(rows: &[&Row]) -> Table {
    let (mut cases, mut figures): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for row in rows {
        if !cases.contains(&row.case.as_str()) {
            cases.push(&row.case);
        }
        if !figures.contains(&row.figure) {
            figures.push(row.figure);
        }
    }
    let columns: Vec<String> = figures.iter().map(|figure| format!(">{figure}")).collect();
    let headings = ["case", ">runs"]
        .into_iter()
        .chain(columns.iter().map(String::as_str));
    let mut table = Table::new(&headings.collect::<Vec<_>>());
    for case in cases {
        let of_case = || rows.iter().filter(|row| row.case == case);
        let runs = of_case().map(|row| row.runs + row.without).max().unwrap_or(0);
        let cell = |figure: &&str| {
            of_case()
                .find(|row| row.figure == *figure)
                .map_or_else(String::new, |row| judged(row))
        };
        table.row(
            [case.to_owned(), count(runs)]
                .into_iter()
                .chain(figures.iter().map(cell)),
        );
    }
    table
}

/// A figure with what another seed may change, and whether it misses its bound.
fn judged(row: &Row) -> String {
    let missed = if row.holds == Some(false) { " MISSED" } else { "" };
    match row.unit {
        _ if row.runs == 0 && row.holds.is_none() => String::new(),
        Unit::Share => format!("{}{missed}", written(row.value, row.unit)),
        unit => format!(
            "{} ± {}{missed}",
            written(row.value, unit),
            written(row.error, unit)
        ),
    }
}

/// A heading and what stands below it.
type Column = (&'static str, fn(&Row) -> String);

/// The columns of a study's table; those without any text are left out.
const COLUMNS: [Column; 11] = [
    ("case", |row| row.case.clone()),
    ("metric", |row| row.metric.unwrap_or_default().to_owned()),
    ("figure", |row| row.figure.to_owned()),
    (">runs", |row| count(row.runs)),
    (">without", |row| match row.without {
        0 => String::new(),
        without => count(without),
    }),
    (">found", |row| written(row.value, row.unit)),
    (">±", |row| written(row.error, row.unit)),
    (">nominal", |row| {
        row.nominal
            .map_or_else(String::new, |nominal| written(nominal, row.unit))
    }),
    (">bound", bound),
    ("", |row| match row.holds {
        Some(true) => "ok".to_owned(),
        Some(false) => "MISSED".to_owned(),
        None => String::new(),
    }),
    (">naively", |row| {
        row.naively
            .map_or_else(String::new, |naively| written(naively, row.unit))
    }),
];

fn written(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Share if value > 0.0 && value < 0.01 => format!("{:.3} %", 100.0 * value),
        Unit::Share => format!("{:.2} %", 100.0 * value),
        Unit::Times => format!("{value:.2}"),
        Unit::Difference => format!("{:.2} points", 100.0 * value),
        Unit::Hours => format!("{value:.2} h"),
        Unit::Count => format!("{value:.1}"),
    }
}

fn bound(row: &Row) -> String {
    let figure = |value: f64| written(value, row.unit);
    match row.bound {
        Bound::None => String::new(),
        Bound::AtMost(most) => format!("≤ {}", figure(most)),
        Bound::AtLeast(least) => format!("≥ {}", figure(least)),
        Bound::Within(least, most) if least == most => figure(least),
        Bound::Within(least, most) => format!("{} … {}", figure(least), figure(most)),
    }
}
