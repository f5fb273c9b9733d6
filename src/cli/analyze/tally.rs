//! The fold: rows in, cells out. Nothing of a row is kept but its sums.
//!
//! Owns the variants and metrics of a file in the order they come, and what is left out. Called by both readers, row
//! by row; judged by `analysis` afterwards.

use super::{
    problems::Problems,
    row::{Column, Problem, Row, Value, shortened},
    slices::Slices,
    units::{MOST_VARIANTS, Units},
};
use crate::{
    collector::cells::Cell,
    domain::{
        id::VariantName,
        metric::{MetricKind, NEVER_NEGATIVE},
    },
};
use anyhow::{Result, anyhow, bail};

/// The most metrics of one file; more are no metrics but, say, times in the wrong column.
const MOST_METRICS: usize = 256;

/// What is known of the metrics before the first row.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// The metrics that count, where not all do.
    pub(super) only: Vec<String>,
    /// The metric everything is decided by.
    pub(super) primary: Option<String>,
    /// The kinds that need not be guessed.
    pub(super) kinds: Vec<(String, MetricKind)>,
    /// Larger values count as this.
    pub(super) caps: Vec<(String, f64)>,
    /// Whether the first problem ends it all.
    pub(super) strict: bool,
    /// Whether the course over time is wanted, of the primary metric or the first one.
    pub(super) over_time: bool,
}

/// Everything counted.
#[derive(Debug)]
pub(super) struct Tally {
    wishes: Wishes,
    /// Rows of any kind.
    pub(super) rows: u64,
    /// Rows of metrics that do not count.
    pub(super) other_metrics: u64,
    pub(super) problems: Problems,
    pub(super) variants: Vec<VariantName>,
    pub(super) metrics: Vec<MetricTally>,
    pub(super) units: Units,
    /// The first and the last time of a row, in milliseconds since 1970.
    pub(super) span: Option<(i64, i64)>,
    /// Rows of the metric over time that say no time.
    pub(super) timeless: u64,
    pub(super) slices: Slices,
    /// The metric and the variant of the row before: mostly those of the next one.
    last: (usize, usize),
    /// Names of metrics that do not count.
    others: Vec<String>,
}

/// One metric.
#[derive(Debug)]
pub(super) struct MetricTally {
    pub(super) name: String,
    /// None until all values were seen.
    pub(super) kind: Option<MetricKind>,
    pub(super) cap: Option<f64>,
    never_negative: bool,
    /// By variant; one that has no row of the metric may be missing at the end.
    pub(super) cells: Vec<Cell>,
    /// Whether every value was 0, 1, true or false.
    pub(super) truths_only: bool,
    /// Whether there were words, and numbers other than 0 and 1.
    pub(super) words: bool,
    pub(super) numbers: bool,
}

impl Tally {
    pub(super) fn new(wishes: Wishes) -> Self {
        Self {
            wishes,
            rows: 0,
            other_metrics: 0,
            problems: Problems::default(),
            variants: Vec::new(),
            metrics: Vec::new(),
            units: Units::default(),
            span: None,
            timeless: 0,
            slices: Slices::default(),
            last: (0, 0),
            others: Vec::new(),
        }
    }

    /// The metric whose course over time is kept.
    pub(super) fn over_time(&self) -> Option<usize> {
        let of_name = |name: &String| self.metrics.iter().position(|metric| metric.name == *name);
        match (&self.wishes.primary, self.wishes.only.first()) {
            (Some(name), _) | (None, Some(name)) => of_name(name),
            (None, None) => (!self.metrics.is_empty()).then_some(0),
        }
    }

    /// Every metric of the file, also those that do not count.
    pub(super) fn metric_names(&self) -> impl Iterator<Item = &str> {
        let counted = self.metrics.iter().map(|metric| metric.name.as_str());
        counted.chain(self.others.iter().map(String::as_str))
    }

    /// The options that name metrics, with the names.
    pub(super) fn asked_for(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let wishes = &self.wishes;
        let only = wishes.only.iter().map(|name| ("--metric", name));
        let kinds = wishes.kinds.iter().map(|(name, _)| ("--kind", name));
        let caps = wishes.caps.iter().map(|(name, _)| ("--cap", name));
        only.chain(kinds).chain(caps)
    }

    /// Counts a row, or why it cannot be counted.
    ///
    /// # Errors
    /// The first problem where none is allowed, and more variants or metrics than an experiment has.
    pub(super) fn take(&mut self, row: Result<Row<'_>, Problem>) -> Result<()> {
        self.rows += 1;
        let at = self.rows;
        let counted = row.and_then(|row| self.count(&row).map_err(|refused| refused.of(&row)));
        match counted {
            Ok(()) => {}
            Err(problem) if self.wishes.strict => {
                bail!("{problem}; without --strict such rows are counted and left out")
            }
            Err(problem) => self.problems.note(problem),
        }
        if self.variants.len() > MOST_VARIANTS || self.metrics.len() > MOST_METRICS {
            return Err(anyhow!(
                "more than {MOST_VARIANTS} variants or {MOST_METRICS} metrics in the first {at} rows: are the columns \
                 what their names say?"
            ));
        }
        Ok(())
    }

    fn count(&mut self, row: &Row<'_>) -> Result<(), Refused> {
        let metric = self.metric(&row.metric);
        if let Some(metric) = metric {
            self.metrics[metric].fits(row.value)?;
        }
        let variant = self.variant(&row.variant)?;
        self.units.see(row.unit, variant);
        let Some(metric) = metric else {
            self.other_metrics += 1;
            return Ok(());
        };
        self.last = (metric, variant);
        if let Some(time) = row.time {
            let (first, last) = self.span.unwrap_or((time, time));
            self.span = Some((first.min(time), last.max(time)));
        }
        let tally = &mut self.metrics[metric];
        let number = tally.note(row.value);
        if tally.cells.len() <= variant {
            tally.cells.resize_with(variant + 1, Cell::default);
        }
        let cap = tally.cap;
        let cell = &mut tally.cells[variant];
        cell.add(row.unit, number, cap);
        if let Some(covariate) = row.covariate {
            cell.add_covariate(row.unit, covariate);
        }
        if tally.kind != Some(MetricKind::Rate) {
            cell.add_to_sketch(number);
        }
        if self.wishes.over_time && self.over_time() == Some(metric) {
            match row.time {
                Some(time) => self.slices.cell(time, variant).add(row.unit, number, cap),
                None => self.timeless += 1,
            }
        }
        Ok(())
    }

    /// The place of a metric; none for one that does not count.
    fn metric(&mut self, name: &str) -> Option<usize> {
        let last = self.last.0;
        if self.metrics.get(last).is_some_and(|metric| metric.name == name) {
            return Some(last);
        }
        if let Some(place) = self.metrics.iter().position(|metric| metric.name == name) {
            return Some(place);
        }
        if !self.wishes.only.is_empty() && !self.wishes.only.iter().any(|wanted| wanted == name) {
            if self.others.len() < MOST_METRICS && !self.others.iter().any(|other| other == name) {
                self.others.push(name.to_owned());
            }
            return None;
        }
        self.metrics.push(MetricTally::new(name, &self.wishes));
        Some(self.metrics.len() - 1)
    }

    fn variant(&mut self, name: &str) -> Result<usize, Refused> {
        let last = self.last.1;
        if self
            .variants
            .get(last)
            .is_some_and(|variant| variant.as_str() == name)
        {
            return Ok(last);
        }
        if let Some(place) = self.variants.iter().position(|variant| variant.as_str() == name) {
            return Ok(place);
        }
        let new = VariantName::new(name).map_err(|_| Refused::Variant)?;
        self.variants.push(new);
        Ok(self.variants.len() - 1)
    }
}

impl MetricTally {
    fn new(name: &str, wishes: &Wishes) -> Self {
        fn of<T: Copy>(pairs: &[(String, T)], name: &str) -> Option<T> {
            let found = pairs.iter().rev().find(|(metric, _)| metric == name);
            found.map(|(_, value)| *value)
        }
        let cap = of(&wishes.caps, name);
        // Only numbers are clipped.
        let kind = of(&wishes.kinds, name).or(cap.map(|_| MetricKind::Mean));
        Self {
            name: name.to_owned(),
            kind: kind.or(crate::domain::metric::built_in(name).map(|(kind, _)| kind)),
            cap,
            never_negative: NEVER_NEGATIVE.contains(&name),
            cells: Vec::new(),
            truths_only: true,
            words: false,
            numbers: false,
        }
    }

    /// Refuses what a running experiment would refuse too.
    fn fits(&self, value: Value) -> Result<(), Refused> {
        match (self.kind, value) {
            (Some(MetricKind::Rate), Value::Number(number)) if number != 0.0 && number != 1.0 => {
                Err(Refused::NoTruth(number))
            }
            (Some(MetricKind::Mean), Value::Truth(_)) => Err(Refused::NoNumber),
            (_, Value::Number(number)) if self.never_negative && number < 0.0 => {
                Err(Refused::Negative(number))
            }
            _ => Ok(()),
        }
    }

    /// Learns from a value what kind of metric it is, and makes a number of it.
    fn note(&mut self, value: Value) -> f64 {
        match value {
            Value::Truth(truth) => {
                self.words = true;
                f64::from(u8::from(truth))
            }
            Value::Number(number) => {
                if number != 0.0 && number != 1.0 {
                    self.numbers = true;
                    self.truths_only = false;
                }
                number
            }
        }
    }
}

/// Why a row whose fields are right by themselves does not fit.
enum Refused {
    Variant,
    NoTruth(f64),
    NoNumber,
    Negative(f64),
}

impl Refused {
    fn of(self, row: &Row<'_>) -> Problem {
        let metric = &row.metric;
        let (column, detail) = match self {
            Self::Variant => (
                Column::Variant,
                format!(
                    "is `{}`, but must be 1 to 64 of letters, digits, `.`, `_`, `-`, and not the reserved `deployed`",
                    shortened(&row.variant)
                ),
            ),
            Self::NoTruth(number) => (
                Column::Value,
                format!("is {number}, but `{metric}` is a rate: 0, 1, true or false"),
            ),
            Self::NoNumber => (
                Column::Value,
                format!("is true or false, but `{metric}` is a mean of numbers"),
            ),
            Self::Negative(number) => (
                Column::Value,
                format!("is {number}, but `{metric}` cannot be negative"),
            ),
        };
        Problem {
            at: row.at,
            column: Some(column),
            detail,
        }
    }
}
