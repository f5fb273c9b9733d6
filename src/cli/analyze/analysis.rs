//! The tally of a file → its figures, through the same functions as a running experiment's.
//!
//! Owns what a file leaves open: which variant is the control, whether units or requests were randomised, of what kind
//! a metric is. Judges no figure itself.

use super::{
    split::{Randomised, Split, Weights, randomised, split},
    tally::{MetricTally, Tally},
    units::UnitCounts,
};
use crate::{
    collector::cells::Cell,
    domain::{
        id::{MetricKey, VariantName},
        metric::{Goal, Measure, MeasureSource, MetricKind, built_in},
    },
    report::{ArmInput, MetricInput, MetricReport, Stratum, correct, metric_report},
};
use anyhow::{Result, bail};
use std::borrow::Cow;

/// What the user decides.
#[derive(Debug)]
pub(super) struct Choices {
    pub(super) control: Option<String>,
    pub(super) primary: Option<String>,
    pub(super) goals: Vec<(String, Goal)>,
    pub(super) mde: f64,
    pub(super) margin: f64,
    pub(super) min_units: u32,
    pub(super) weights: Option<Weights>,
}

/// The figures of a file.
#[derive(Debug)]
pub(super) struct Analysis {
    /// Places of the variants in the tally, control first.
    pub(super) order: Vec<usize>,
    pub(super) units: UnitCounts,
    pub(super) randomised: Randomised,
    pub(super) split: Split,
    /// What was assumed and what is odd, a sentence each.
    pub(super) notes: Vec<String>,
    pub(super) metrics: Vec<MetricReport>,
    measures: Vec<Measure>,
    min_units: u32,
}

/// The figures of everything counted.
///
/// # Errors
/// There is nothing to compare, or the options name what the file does not have.
pub(super) fn analysis(tally: &Tally, choices: &Choices) -> Result<Analysis> {
    check_names(tally, choices)?;
    let mut notes = Vec::new();
    let control = control(tally, choices, &mut notes)?;
    let mut order: Vec<usize> = vec![control];
    order.extend((0..tally.variants.len()).filter(|place| *place != control));

    let units = tally.units.count(tally.variants.len());
    let randomised = randomised(&units, &mut notes);
    if units.scale > 1 {
        notes.push(format!(
            "units are estimated from a sample: every {}th of them was counted",
            units.scale
        ));
    }
    let split = split(tally, &order, &units, randomised, choices.weights.as_ref())?;
    let counted: Vec<&MetricTally> = tally.metrics.iter().filter(|metric| metric.n() > 0).collect();
    for metric in &counted {
        if metric.words && metric.numbers {
            notes.push(format!(
                "`{}` mixes true and false with numbers: counted as 1 and 0",
                metric.name
            ));
        }
    }
    // What is decided by one metric alone is decided by it.
    let only = counted.len() == 1 && choices.primary.is_none();
    let measures: Vec<Measure> = (0..)
        .zip(&counted)
        .map(|(key, metric)| measure(MetricKey(key), metric, choices, only))
        .collect();
    let mut analysis = Analysis {
        order,
        units,
        randomised,
        split,
        notes,
        metrics: Vec::new(),
        measures,
        min_units: choices.min_units,
    };
    let observed_s = tally
        .span
        .map(|(first, last)| seconds(last - first))
        .filter(|seconds| *seconds > 0.0);
    let reports = (0..).zip(&counted);
    analysis.metrics = reports
        .map(|(place, metric)| analysis.report(place, &tally.variants, &metric.cells, observed_s))
        .collect();
    correct(&mut analysis.metrics);
    Ok(analysis)
}

impl Analysis {
    /// The figures of one metric from its cells by variant, as the tally has them.
    pub(super) fn report(
        &self,
        metric: usize,
        variants: &[VariantName],
        cells: &[Cell],
        observed_s: Option<f64>,
    ) -> MetricReport {
        let cell = |variant: usize| {
            cells
                .get(variant)
                .map_or_else(|| Cow::Owned(Cell::default()), Cow::Borrowed)
        };
        let control = self.order[0];
        let arm = |&variant: &usize| ArmInput {
            name: &variants[variant],
            units: self.units.on[variant] * self.units.scale,
            whole: cell(variant),
            strata: self.stratum(control, variant, cell).into_iter().collect(),
        };
        metric_report(&MetricInput {
            measure: &self.measures[metric],
            arms: self.order.iter().map(arm).collect(),
            min_units: self.min_units,
            observed_s,
        })
    }

    /// A file is one stretch of one split.
    fn stratum<'c>(
        &self,
        control: usize,
        variant: usize,
        cell: impl Fn(usize) -> Cow<'c, Cell>,
    ) -> Option<Stratum<'c>> {
        let (ours, theirs) = (cell(variant), cell(control));
        if variant == control || ours.n == 0 || theirs.n == 0 {
            return None;
        }
        let [of_variant, of_control] = [variant, control].map(|place| self.units.on[place].max(1) as f64);
        Some(Stratum {
            share: of_variant / (of_variant + of_control),
            control: theirs,
            candidate: ours,
            paired: self.randomised == Randomised::Requests,
        })
    }

    /// The place of a metric among the reports.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.metrics.iter().position(|metric| metric.metric == name)
    }
}

impl MetricTally {
    fn n(&self) -> u64 {
        self.cells.iter().map(|cell| cell.n).sum()
    }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// Every name that an option has must be one of the file: a misspelt one must not go unnoticed.
fn check_names(tally: &Tally, choices: &Choices) -> Result<()> {
    let goals = choices.goals.iter().map(|(name, _)| ("--goal", name));
    let primary = choices.primary.iter().map(|name| ("--primary", name));
    for (option, name) in goals.chain(primary).chain(tally.asked_for()) {
        if !tally.metric_names().any(|metric| metric == name) {
            let names: Vec<String> = tally
                .metric_names()
                .take(12)
                .map(|name| format!("`{name}`"))
                .collect();
            bail!("{option}: no metric `{name}`; there are {}", names.join(", "));
        }
    }
    Ok(())
}

fn control(tally: &Tally, choices: &Choices, notes: &mut Vec<String>) -> Result<usize> {
    let place = |name: &str| tally.variants.iter().position(|variant| variant.as_str() == name);
    let names = || {
        let names: Vec<String> = tally.variants.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    if tally.variants.len() < 2 {
        bail!("has one variant only, {}: a comparison needs two", names());
    }
    match &choices.control {
        Some(name) => match place(name) {
            Some(place) => Ok(place),
            None => bail!("--control: no variant `{name}`; there are {}", names()),
        },
        None => Ok(place("control").unwrap_or_else(|| {
            notes.push(format!(
                "no variant is named `control`: compared with `{}`, the first of the file (--control names another)",
                tally.variants[0]
            ));
            0
        })),
    }
}

fn measure(key: MetricKey, metric: &MetricTally, choices: &Choices, only: bool) -> Measure {
    let guessed = if metric.truths_only {
        MetricKind::Rate
    } else {
        MetricKind::Mean
    };
    let wished = choices.goals.iter().rev().find(|(name, _)| *name == metric.name);
    let goal = wished.map(|(_, goal)| *goal);
    let primary = only || choices.primary.as_ref() == Some(&metric.name);
    Measure {
        key,
        name: metric.name.clone(),
        kind: metric.kind.unwrap_or(guessed),
        goal: goal
            .or(built_in(&metric.name).map(|(_, goal)| goal))
            .unwrap_or(Goal::Increase),
        cap: metric.cap,
        // The only one there is.
        covariate: metric
            .cells
            .iter()
            .any(|cell| cell.covariate.is_some())
            .then_some(0),
        mde: choices.mde,
        margin: choices.margin,
        source: MeasureSource::Declared { primary },
        guarded: false,
    }
}
