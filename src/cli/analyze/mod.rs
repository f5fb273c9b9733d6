//! `serin analyze`: the statistics of a running experiment over a file of rows.
//!
//! One road: a reader ([`csv`], [`parquet`]) makes fields, [`row`] checks them, [`tally`] folds them into the
//! collector's cells, [`analysis`] hands those to the report, [`shown`] tells it. Rows are never kept, so the memory
//! depends on variants and metrics and not on the length of the file.

mod analysis;
mod csv;
mod parquet;
mod problems;
mod row;
mod shown;
mod slices;
mod split;
mod tally;
mod trend;
mod units;

use super::{
    options::{self, usage},
    output,
};
use crate::domain::{
    experiment::MIN_UNITS,
    metric::{EFFECT_WORTH_FINDING, Goal, MetricKind},
};
use analysis::{Analysis, Choices, analysis};
use anyhow::{Context as _, Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use split::Weights;
use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};
use tally::{Tally, Wishes};

/// The first bytes of a Parquet file.
const PARQUET: &[u8] = b"PAR1";

/// Compare the variants of a CSV or Parquet file with the statistics of a running experiment
///
/// Columns: unit, variant, metric, value; optional: time (RFC 3339, or seconds or milliseconds since 1970) and
/// covariate (a number known of the unit beforehand). One row is one measurement; a unit may have many. The file is
/// taken for one stretch of one split: analyze days with different splits apart.
#[derive(Debug, clap::Args)]
pub(super) struct Analyze {
    /// The file; `-` reads CSV from standard input
    file: PathBuf,
    /// The variant to compare with [default: `control`, else the first of the file]
    #[arg(long, value_name = "NAME")]
    control: Option<String>,
    /// Only this metric, as often as needed [default: all]
    #[arg(long = "metric", value_name = "NAME")]
    metrics: Vec<String>,
    /// The metric all is decided by; a single metric is it anyway
    #[arg(long, value_name = "NAME")]
    primary: Option<String>,
    /// Which direction is better: METRIC=increase or METRIC=decrease [default: that of a built-in metric, else increase]
    #[arg(long = "goal", value_name = "METRIC=GOAL", value_parser = goal)]
    goals: Vec<(String, Goal)>,
    /// METRIC=rate (0, 1, true, false) or METRIC=mean [default: rate where all values are such]
    #[arg(long = "kind", value_name = "METRIC=KIND", value_parser = kind)]
    kinds: Vec<(String, MetricKind)>,
    /// Larger values of a mean count as this one: METRIC=60000
    #[arg(long = "cap", value_name = "METRIC=NUMBER", value_parser = cap)]
    caps: Vec<(String, f64)>,
    /// The effect worth finding, as a share of control's mean
    #[arg(long, value_name = "SHARE", default_value_t = EFFECT_WORTH_FINDING, value_parser = options::effect)]
    mde: f64,
    /// Differences up to this share of control's mean are as good as none [default: the effect worth finding]
    #[arg(long, value_name = "SHARE", value_parser = options::effect)]
    margin: Option<f64>,
    /// Distinct units each variant needs before it is judged
    #[arg(long, value_name = "N", default_value_t = MIN_UNITS)]
    min_units: u32,
    /// The split that was meant, to be checked: control=50,friendly=50, or `equal`
    #[arg(long, value_name = "WEIGHTS", value_parser = weights)]
    weights: Option<Weights>,
    /// End at the first row that cannot be used, instead of counting and leaving it out
    #[arg(long)]
    strict: bool,
    /// Draw the intervals over time (of the primary metric, else the first) or, without times, of every metric
    #[arg(long, value_name = "SVG")]
    plot: Option<PathBuf>,
}

fn goal(written: &str) -> Result<(String, Goal), String> {
    options::named(written, |goal| match goal {
        "increase" => Ok(Goal::Increase),
        "decrease" => Ok(Goal::Decrease),
        _ => Err("the goal is increase or decrease".to_owned()),
    })
}

fn kind(written: &str) -> Result<(String, MetricKind), String> {
    options::named(written, |kind| match kind {
        "rate" => Ok(MetricKind::Rate),
        "mean" => Ok(MetricKind::Mean),
        _ => Err("the kind is rate or mean".to_owned()),
    })
}

fn cap(written: &str) -> Result<(String, f64), String> {
    options::named(written, options::positive)
}

fn weights(written: &str) -> Result<Weights, String> {
    if written == "equal" {
        return Ok(Weights::Equal);
    }
    let named: Result<Vec<_>, _> = written
        .split(',')
        .map(|weight| options::named(weight, options::positive))
        .collect();
    let named = named?;
    for (place, (name, _)) in named.iter().enumerate() {
        if named[..place].iter().any(|(other, _)| other == name) {
            return Err(format!("`{name}` has two weights"));
        }
    }
    Ok(Weights::Of(named))
}

/// Reads the file and tells its figures.
///
/// # Errors
/// The file cannot be read or compared, or the picture not be written.
pub(super) fn run(analyze: &Analyze, json: bool) -> Result<()> {
    let rates = analyze.kinds.iter().filter(|(_, kind)| *kind == MetricKind::Rate);
    for (metric, _) in rates {
        if analyze.caps.iter().any(|(capped, _)| capped == metric) {
            usage(&format!("--cap {metric}: a rate has no cap"));
        }
    }
    let name = if analyze.file == Path::new("-") {
        "standard input".to_owned()
    } else {
        analyze.file.display().to_string()
    };
    let mut tally = Tally::new(wishes(analyze));
    let place = read(&analyze.file, &mut tally).with_context(|| name.clone())?;
    let analysis = compared(analyze, &tally, place).with_context(|| name.clone())?;
    if let Some(picture) = &analyze.plot {
        let svg = trend::picture(&tally, &analysis, &name)?;
        fs::write(picture, svg).with_context(|| format!("cannot write {}", picture.display()))?;
    }
    let file = shown::Read {
        name: &name,
        place,
        tally: &tally,
    };
    if json {
        output::print_json(&shown::json(&file, &analysis)?)
    } else {
        output::print(&shown::words(&file, &analysis)?)
    }
}

fn wishes(analyze: &Analyze) -> Wishes {
    Wishes {
        only: analyze.metrics.clone(),
        primary: analyze.primary.clone(),
        kinds: analyze.kinds.clone(),
        caps: analyze.caps.clone(),
        strict: analyze.strict,
        over_time: analyze.plot.is_some(),
    }
}

fn compared(analyze: &Analyze, tally: &Tally, place: &str) -> Result<Analysis> {
    if tally.rows == 0 {
        bail!("has no rows");
    }
    if tally.rows == tally.problems.count {
        let lines = tally.problems.lines(place).join("\n");
        bail!("no row can be used:\n{lines}");
    }
    let choices = Choices {
        control: analyze.control.clone(),
        primary: analyze.primary.clone(),
        goals: analyze.goals.clone(),
        mde: analyze.mde,
        margin: analyze.margin.unwrap_or(analyze.mde),
        min_units: analyze.min_units,
        weights: analyze.weights.clone(),
    };
    analysis(tally, &choices)
}

/// Counts every row of the file; the answer is what its rows are called: `line` or `row`.
fn read(path: &Path, tally: &mut Tally) -> Result<&'static str> {
    if path == Path::new("-") {
        let bar = bar(None);
        let mut input = bar.wrap_read(BufReader::new(io::stdin().lock()));
        if matches!(format(input.fill_buf().context("cannot read")?)?, Format::Parquet) {
            bail!("is a Parquet file, whose index is at its end: name the file instead of `-`");
        }
        csv::read(input, tally)?;
        bar.finish_and_clear();
        return Ok("line");
    }
    let file = File::open(path).context("cannot open")?;
    let about = file.metadata().context("cannot read")?;
    if about.is_dir() {
        bail!("is a folder: name a file");
    }
    let bar = bar(about.is_file().then_some(about.len()));
    let mut input = BufReader::with_capacity(1 << 18, file);
    let place = match format(input.fill_buf().context("cannot read")?)? {
        Format::Text => {
            csv::read(bar.wrap_read(input), tally)?;
            "line"
        }
        Format::Parquet => {
            parquet::read(input.into_inner(), &bar, tally)?;
            "row"
        }
    };
    bar.finish_and_clear();
    Ok(place)
}

enum Format {
    Text,
    Parquet,
}

/// Tells the format by the first bytes, because names of files lie.
fn format(beginning: &[u8]) -> Result<Format> {
    let packed = [
        (&b"\x1f\x8b"[..], "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"PK\x03\x04", "zip"),
    ];
    if beginning.starts_with(PARQUET) {
        return Ok(Format::Parquet);
    }
    if let Some((_, name)) = packed.iter().find(|(magic, _)| beginning.starts_with(magic)) {
        bail!("is compressed with {name}: unpack it first (Parquet may be compressed inside)");
    }
    if beginning.starts_with(b"\xff\xfe") || beginning.starts_with(b"\xfe\xff") {
        bail!("is UTF-16: save it as UTF-8");
    }
    if beginning.iter().take(4096).any(|byte| *byte == 0) {
        bail!("is neither CSV nor Parquet");
    }
    Ok(Format::Text)
}

/// How far the reading is; nothing where standard error is no terminal.
fn bar(bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match bytes {
        Some(bytes) => (
            ProgressBar::new(bytes),
            "{wide_bar} {bytes} of {total_bytes}, {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} read"),
    };
    // The templates are fixed and right; a bar of the default looks is no reason to fail.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// What the picture cannot do without.
fn undrawable(what: &str) -> anyhow::Error {
    anyhow!("--plot: {what}")
}
