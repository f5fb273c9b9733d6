//! The tally of a file → its figures, through the same functions as a running experiment's.
//!
//! Owns what a file leaves open: which variant is the control, whether units or requests were randomised, of what kind
//! a metric is. Judges no figure itself.

use super::{
    tally::{MetricTally, Tally},
    units::UnitCounts,
};
use crate::{
    cli::figures::{count, percent},
    collector::cells::Cell,
    domain::{
        id::{MetricKey, VariantName},
        metric::{Goal, Measure, MeasureSource, MetricKind, built_in},
    },
    report::{
        ArmInput, Figure, MetricInput, MetricReport, SplitVerdict, Stratum, UnitsOfArm, correct,
        metric_report,
    },
    stats::sample_ratio::chi_square,
};
use anyhow::{Result, bail};
use serde::Serialize;
use std::borrow::Cow;

/// From this share of units on more than one variant on, requests were randomised and not units. Fewer are strays: a
/// mixed-up id, a changed split. A file of single visits and randomised requests has few of them too, and then the
/// variants share so little that comparing them as independent is right.
const REQUESTS_RANDOMISED_FROM: f64 = 0.01;
/// Units an arm must be expected to have before the chi-square approximation holds.
const LEAST_EXPECTED_UNITS: f64 = 5.0;

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

/// The split that was meant.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Weights {
    Equal,
    Of(Vec<(String, f64)>),
}

/// What was randomised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Randomised {
    Units,
    Requests,
}

/// The check of the split.
#[derive(Debug, Serialize)]
pub(super) struct Split {
    pub(super) p: Figure<f64>,
    pub(super) verdict: Figure<SplitVerdict>,
    pub(super) units: Vec<UnitsOfArm>,
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
            strata: self.stratum(control, variant, &cell).into_iter().collect(),
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
        #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
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

#[allow(clippy::cast_precision_loss, reason = "times are far below 2^53 ms")]
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

fn randomised(units: &UnitCounts, notes: &mut Vec<String>) -> Randomised {
    if units.on_several == 0 {
        return Randomised::Units;
    }
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    let share = units.on_several as f64 / units.total as f64;
    let several = format!(
        "{} of {} units ({}) are on more than one variant",
        count(units.on_several * units.scale),
        count(units.total * units.scale),
        percent(share)
    );
    if share >= REQUESTS_RANDOMISED_FROM {
        notes.push(format!(
            "{several}: requests were randomised, so what a unit does alike on both is taken out (paired comparison)"
        ));
        Randomised::Requests
    } else {
        notes.push(format!(
            "{several}: taken for strays, counted where each row says; find out why, they blur every difference"
        ));
        Randomised::Units
    }
}

fn split(
    tally: &Tally,
    order: &[usize],
    units: &UnitCounts,
    randomised: Randomised,
    weights: Option<&Weights>,
) -> Result<Split> {
    let unknown = |reason: &str| Split {
        p: Figure::undefined(reason),
        verdict: Figure::undefined(reason),
        units: Vec::new(),
    };
    let Some(weights) = weights else {
        return Ok(unknown(
            "not checked, because the split that was meant is not known",
        ));
    };
    let weights: Vec<f64> = match weights {
        Weights::Equal => vec![1.0; tally.variants.len()],
        Weights::Of(named) => {
            if let Some((name, _)) = named
                .iter()
                .find(|(name, _)| !tally.variants.iter().any(|variant| variant.as_str() == name))
            {
                bail!("--weights: no row is of variant `{name}`");
            }
            let of = |variant: &VariantName| named.iter().find(|(name, _)| name == variant.as_str());
            let mut weights = Vec::with_capacity(tally.variants.len());
            for variant in &tally.variants {
                match of(variant) {
                    Some((_, weight)) => weights.push(*weight),
                    None => {
                        bail!("--weights: variant `{variant}` has none; name all or write --weights equal")
                    }
                }
            }
            weights
        }
    };
    if randomised == Randomised::Requests {
        return Ok(unknown(
            "not checked, because requests were randomised and not units",
        ));
    }
    let total: f64 = weights.iter().sum();
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    let all = units.only_on.iter().sum::<u64>() as f64;
    let expected: Vec<f64> = weights.iter().map(|weight| weight / total * all).collect();
    let of_arms = order.iter().map(|&place| UnitsOfArm {
        variant: tally.variants[place].clone(),
        observed: units.only_on[place],
        expected: expected[place],
    });
    let least = expected.iter().copied().fold(f64::INFINITY, f64::min);
    let test = if least < LEAST_EXPECTED_UNITS {
        Err(format!(
            "collecting: {least:.1} units expected on the smallest arm, judged from {LEAST_EXPECTED_UNITS}"
        ))
    } else {
        chi_square(&units.only_on, &expected).map_err(|reason| reason.to_string())
    };
    let verdict = test.clone().map(|test| {
        if test.alarm() {
            SplitVerdict::Alarm
        } else {
            SplitVerdict::Ok
        }
    });
    Ok(Split {
        p: Figure::of(test.map(|test| test.p)),
        verdict: Figure::of(verdict),
        units: of_arms.collect(),
    })
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
