//! Cells of the arms → the figures of one metric.
//!
//! The one road from sums to figures: a running experiment, a segment of it and a file of rows all take it. What is
//! known of the arms comes as [`MetricInput`]; which epochs, segments or rows are behind it does not matter here.

use super::{
    ALPHA, Figure, adjusted,
    metric::{AlwaysValidFigures, Decision, MetricReport, PowerFigures, VariantFigures, VersusControl},
    quantiles::{self, Distribution, QuantileDifferenceFigures},
    strata::{Gate, Stratum, Summaries, compared, plain},
};
use crate::{
    collector::{buckets, cells::Cell},
    domain::{
        id::VariantName,
        metric::{Goal, Measure, MeasureSource, MetricKind},
    },
    stats::{
        Undefined, bayesian, cluster,
        difference::Difference,
        lift::{Lift, lift},
        moments::{Moments, pooled_sd},
        occupancy,
        power::{
            Goal as PowerGoal,
            progress::{Progress, days_left_always_valid, detectable_always_valid},
        },
        sequential::{AlwaysValid, always_valid},
    },
};
use std::borrow::Cow;

/// A sum of squares that falls to this share of itself by taking the mean away is rounding, not variance.
const ROUNDING: f64 = 1e-13;

/// How surely an effect is to be found.
const GOAL: PowerGoal = PowerGoal {
    alpha: ALPHA,
    power: 0.8,
};

const SECONDS_PER_DAY: f64 = 86_400.0;

/// What the figures of one metric are made from.
#[derive(Debug, Clone)]
pub struct MetricInput<'a> {
    /// What is measured.
    pub measure: &'a Measure,
    /// The arms, control first.
    pub arms: Vec<ArmInput<'a>>,
    /// Distinct units each arm needs before it is judged.
    pub min_units: u32,
    /// Seconds in which all of this was counted; none where nobody knows.
    pub observed_s: Option<f64>,
}

/// One arm of a metric.
#[derive(Debug, Clone)]
pub struct ArmInput<'a> {
    /// Its name.
    pub name: &'a VariantName,
    /// Distinct units known to have been on the arm, whether they reported or not; 0 where nobody counted.
    pub units: u64,
    /// All values of the arm, whatever the split was: right for the arm by itself, wrong for comparing it.
    pub whole: Cow<'a, Cell>,
    /// The arm and control in stretches of one split each; empty for control.
    pub strata: Vec<Stratum<'a>>,
}

/// The figures of one metric. The corrections for several comparisons are made over all metrics, by
/// [`correct`](super::correct); until then `p_adjusted` is `p`.
#[must_use]
pub fn metric_report(input: &MetricInput<'_>) -> MetricReport {
    let measure = input.measure;
    let summaries = Summaries::of(input.arms.iter().map(|arm| &*arm.whole));
    let variants = (0..input.arms.len()).map(|index| {
        let arm = &input.arms[index];
        let versus = (index > 0).then(|| versus_control(input, &summaries, &input.arms[0], arm));
        alone(measure, &summaries, arm, versus)
    });
    MetricReport {
        metric: measure.name.clone(),
        kind: measure.kind,
        goal: measure.goal,
        primary: matches!(measure.source, MeasureSource::Declared { primary: true }),
        margin: measure.margin,
        variants: variants.collect(),
    }
}

/// Distinct units behind an arm: those counted when they were assigned or, where more of them reported than that, as
/// for outcomes sent without a decision of this process, the number estimated from the filled buckets.
fn units(arm: &ArmInput<'_>) -> f64 {
    let assigned = arm.units as f64;
    reporting_units(&arm.whole).max(assigned)
}

fn reporting_units(cell: &Cell) -> f64 {
    occupancy::units(cell.buckets.count_filled(), buckets::COUNT)
}

fn alone(
    measure: &Measure,
    summaries: &Summaries<'_>,
    arm: &ArmInput<'_>,
    vs_control: Option<VersusControl>,
) -> VariantFigures {
    let cell = &*arm.whole;
    let summary = summaries.get(cell);
    let se = summary.and_then(|arm| {
        if arm.se > 0.0 {
            Ok(arm.se)
        } else {
            Err(Undefined::ZeroVariance)
        }
    });
    let clipped = measure
        .cap
        .map(|_| cell.clipped as f64 / (cell.n as f64).max(1.0));
    VariantFigures {
        variant: arm.name.clone(),
        n: cell.n,
        mean: Figure::of(cell.mean().ok_or("nothing was reported yet")),
        se: Figure::of(se),
        ci: Figure::of(summary.and_then(|arm| cluster::interval(&arm, ALPHA))),
        units: reporting_units(cell).round(),
        n_eff: Figure::of(summary.map(|arm| arm.n_eff)),
        design_effect: Figure::of(se.and_then(|se| design_effect(cell, se))),
        heaviest_bucket: Figure::of(summary.map(|arm| arm.largest_part)),
        clipped,
        quantiles: distribution(measure, summaries, cell).map_or_else(Vec::new, quantiles::of_arm),
        vs_control,
    }
}

fn versus_control(
    input: &MetricInput<'_>,
    summaries: &Summaries<'_>,
    control: &ArmInput<'_>,
    arm: &ArmInput<'_>,
) -> VersusControl {
    let measure = input.measure;
    let gate = Gate {
        rate: measure.kind == MetricKind::Rate,
        min_units: input.min_units,
        names: [control.name.as_str(), arm.name.as_str()],
        units: [units(control), units(arm)],
        summaries,
    };
    let test = compared(&arm.strata, &gate);
    let look = test.clone().and_then(|test| look_at(&test, measure.mde));
    let of_test = |figure: fn(&Difference) -> f64| Figure::of(test.as_ref().map(figure));
    let plain = match &test {
        Ok(test) => Ok((test.control.mean, test.difference)),
        Err(_) => plain(&arm.strata).ok_or("nothing was reported on both arms yet"),
    };
    let difference = plain.map(|(_, difference)| difference);
    let relative = plain.map_err(str::to_owned).and_then(|(base, difference)| {
        if base == 0.0 {
            Err(Undefined::NoControlEffect.to_string())
        } else {
            Ok(difference / base)
        }
    });
    let effect_size = difference.map_err(str::to_owned).and_then(|difference| {
        Ok(difference / deviation([&control.whole, &arm.whole]).map_err(|reason| reason.to_string())?)
    });
    let posterior = test.clone().and_then(|test| {
        bayesian::effect(test.difference, test.se, ALPHA).map_err(|reason| reason.to_string())
    });
    // What is good of a difference depends on the goal, and so does what is lost by it.
    let for_goal = |increase: fn(&bayesian::Posterior) -> f64, decrease: fn(&bayesian::Posterior) -> f64| {
        Figure::of(posterior.as_ref().map(match measure.goal {
            Goal::Increase => increase,
            Goal::Decrease => decrease,
        }))
    };
    VersusControl {
        difference: checked("the difference", difference),
        ci: Figure::of(test.as_ref().map(|test| test.ci)),
        relative: checked("the relative difference", relative),
        relative_ci: Figure::of(test.clone().and_then(|test| relative_interval(&test))),
        t: of_test(|test| test.t),
        dof: of_test(|test| test.dof),
        p: of_test(|test| test.p),
        p_adjusted: of_test(|test| test.p),
        effect_size: checked("the effect size", effect_size),
        always_valid: AlwaysValidFigures {
            ci: Figure::of(look.as_ref().map(|look| look.ci)),
            p: Figure::of(look.as_ref().map(|look| look.p)),
            p_adjusted: Figure::of(look.as_ref().map(|look| look.p)),
            log_e: look.as_ref().ok().map(|look| look.log_e),
        },
        chance_to_beat: for_goal(|of| of.chance_to_beat, |of| 1.0 - of.chance_to_beat),
        expected_loss: for_goal(|of| of.risk_treatment, |of| of.risk_control),
        verdict: match (&test, &look) {
            (Ok(test), Ok(look)) => decision(look, measure, test.control.mean),
            _ => Decision::NotYet,
        },
        power: power_figures(input, &test),
        cuped: measure.covariate.map(|_| {
            adjusted::adjusted(
                &arm.strata,
                &gate,
                (covered(&control.whole), covered(&arm.whole)),
                |test| look_at(test, measure.mde),
                |look, base| decision(look, measure, base),
            )
        }),
        quantiles: quantile_differences(measure, summaries, &arm.strata),
    }
}

/// The share of values that came with the covariate.
fn covered(cell: &Cell) -> f64 {
    let with = cell
        .covariate
        .as_ref()
        .map_or(0.0, |covariate| covariate.total().0);

    with / (cell.n as f64).max(1.0)
}

/// The distribution of a cell, for a metric that is a number.
fn distribution<'a>(
    measure: &Measure,
    summaries: &Summaries<'_>,
    cell: &'a Cell,
) -> Option<Distribution<'a>> {
    let sketch = cell
        .sketch
        .as_deref()
        .filter(|_| measure.kind == MetricKind::Mean)?;
    let effect = summaries.get(cell).and_then(|arm| design_effect(cell, arm.se));
    Some(Distribution {
        sketch,
        design_effect: effect.unwrap_or(1.0).max(1.0),
    })
}

/// Of the stratum with the most data, because sketches of different splits must not be added up.
fn quantile_differences(
    measure: &Measure,
    summaries: &Summaries<'_>,
    strata: &[Stratum<'_>],
) -> Vec<QuantileDifferenceFigures> {
    let largest = strata
        .iter()
        .max_by_key(|stratum| stratum.control.n.min(stratum.candidate.n));
    let distributions = largest.and_then(|stratum| {
        let of = |cell| distribution(measure, summaries, cell);
        Some((of(&stratum.control)?, of(&stratum.candidate)?))
    });
    distributions.map_or_else(Vec::new, |(control, arm)| quantiles::differences(control, arm))
}

fn checked(what: &'static str, value: Result<f64, impl ToString>) -> Figure<f64> {
    match value {
        Ok(value) => Figure::finite(what, value),
        Err(reason) => Figure::of(Err(reason)),
    }
}

fn relative_interval(test: &Difference) -> Result<(f64, f64), String> {
    match lift(test).map_err(|reason| reason.to_string())? {
        (_, Lift::Bounded(low, high)) => Ok((low, high)),
        (_, Lift::Complement(..) | Lift::All) => {
            Err("control's mean is not clearly different from 0, so nothing bounds a ratio to it".to_owned())
        }
    }
}

/// The effect worth finding in the unit of the metric.
fn worth_finding(test: &Difference, mde: f64) -> Result<f64, String> {
    let effect = mde * test.control.mean.abs();
    if effect > 0.0 {
        Ok(effect)
    } else {
        Err("control's mean is 0, and so is the effect worth finding, which is a share of it".to_owned())
    }
}

fn look_at(test: &Difference, mde: f64) -> Result<AlwaysValid, String> {
    let tau = worth_finding(test, mde)?;
    always_valid(test.difference, test.se, tau, ALPHA).map_err(|reason| reason.to_string())
}

/// What follows from one interval alone, before the correction for several comparisons.
fn decision(look: &AlwaysValid, measure: &Measure, base: f64) -> Decision {
    let (higher, lower) = match measure.goal {
        Goal::Increase => (Decision::Better, Decision::Worse),
        Goal::Decrease => (Decision::Worse, Decision::Better),
    };
    let margin = measure.margin * base.abs();
    match look.ci {
        (low, _) if low > 0.0 => higher,
        (_, high) if high < 0.0 => lower,
        (low, high) if -margin < low && high < margin => Decision::NoDifference,
        _ => Decision::NotYet,
    }
}

fn power_figures(input: &MetricInput<'_>, test: &Result<Difference, String>) -> PowerFigures {
    let mde = input.measure.mde;
    let found = test.as_ref().map_err(Clone::clone).and_then(|test| {
        let tau = worth_finding(test, mde)?;
        let effect = detectable_always_valid(test.se, tau, GOAL);
        Ok((test, tau, effect.map_err(|reason| reason.to_string())?))
    });
    let days_left = found.clone().and_then(|(test, tau, _)| {
        let observed = input
            .observed_s
            .ok_or("how long this took to count is not known")?;
        let progress = Progress {
            se: test.se,
            traffic: 1.0,
            elapsed: observed / SECONDS_PER_DAY,
        };
        let left = days_left_always_valid(&progress, tau, tau, GOAL).map_err(|reason| reason.to_string())?;
        Ok(left.days)
    });
    PowerFigures {
        detectable: Figure::of(found.as_ref().map(|(_, _, effect)| *effect)),
        detectable_relative: Figure::of(
            found
                .as_ref()
                .map(|(test, _, effect)| effect / test.control.mean.abs()),
        ),
        worth_finding: mde,
        days_left: checked("the time left", days_left),
    }
}

/// How many times the squared standard error exceeds that of as many independent requests.
fn design_effect(cell: &Cell, se: f64) -> Result<f64, Undefined> {
    let variance = moments(cell)?.variance()?;
    if variance == 0.0 {
        return Err(Undefined::ZeroVariance);
    }
    Ok(se * se * cell.n as f64 / variance)
}

/// The standard deviation of single requests within both arms.
fn deviation([control, candidate]: [&Cell; 2]) -> Result<f64, Undefined> {
    let deviation = pooled_sd(&moments(control)?, &moments(candidate)?)?;
    if deviation == 0.0 {
        return Err(Undefined::ZeroVariance);
    }
    Ok(deviation)
}

fn moments(cell: &Cell) -> Result<Moments, Undefined> {
    let n = cell.n as f64;
    let squares = cell.sum_sq_shifted - cell.sum_shifted * (cell.sum_shifted / n.max(1.0));
    let squares = if squares <= ROUNDING * cell.sum_sq_shifted {
        0.0
    } else {
        squares
    };
    Moments::from_summary(cell.n, cell.mean().unwrap_or(0.0), squares / (n - 1.0).max(1.0))
}
