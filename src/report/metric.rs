//! One metric: each arm by itself, and each against control.

use super::{
    ALPHA, Figure,
    strata::{compared, plain, strata, summary},
    traffic::Arm,
};
use crate::{
    collector::cells::Cell,
    domain::{
        experiment::Experiment,
        id::VariantName,
        metric::{Goal, Measure, MeasureSource, MetricKind},
    },
    stats::{
        Undefined, cluster,
        difference::Difference,
        lift::{Lift, lift},
        moments::{Moments, pooled_sd},
        sequential::{AlwaysValid, always_valid},
    },
};
use serde::Serialize;

/// The effect worth finding, as a share of control's mean: what the always-valid interval is tuned to.
const EFFECT_WORTH_FINDING: f64 = 0.05;

/// A sum of squares that falls to this share of itself by taking the mean away is rounding, not variance.
const ROUNDING: f64 = 1e-13;

/// What a figure of a later release says.
const NOT_COMPUTED: &str = "not computed by this release";

/// One metric of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricReport {
    /// Its name.
    pub metric: String,
    /// Rate or mean.
    pub kind: MetricKind,
    /// The better direction.
    pub goal: Goal,
    /// Whether the experiment is decided by it.
    pub primary: bool,
    /// The arms, control first.
    pub variants: Vec<VariantFigures>,
}

/// One arm of one metric, over all epochs in which units were split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VariantFigures {
    /// The arm.
    pub variant: VariantName,
    /// How many values were counted.
    pub n: u64,
    /// Their mean; of a rate the share of ones.
    pub mean: Figure<f64>,
    /// The standard error of the mean, with units as clusters.
    pub se: Figure<f64>,
    /// The 95 % interval of the mean.
    pub ci: Figure<(f64, f64)>,
    /// Against control; none for control itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vs_control: Option<VersusControl>,
}

/// One arm against control. Differences are the arm's minus control's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersusControl {
    /// In the unit of the metric, from the first values on.
    pub difference: Figure<f64>,
    /// The 95 % interval of the difference, for a size of sample that was fixed beforehand.
    pub ci: Figure<(f64, f64)>,
    /// The difference divided by control's mean.
    pub relative: Figure<f64>,
    /// Its 95 % interval (Fieller), which excludes 0 exactly when `p` is below 0.05.
    pub relative_ci: Figure<(f64, f64)>,
    /// The difference in standard errors.
    pub t: Figure<f64>,
    /// Degrees of freedom of the t distribution it refers to.
    pub dof: Figure<f64>,
    /// The two-sided p-value, for a size of sample that was fixed beforehand.
    pub p: Figure<f64>,
    /// The same after correction for several comparisons.
    pub p_adjusted: Figure<f64>,
    /// The difference in standard deviations of single requests (Cohen's d).
    pub effect_size: Figure<f64>,
    /// What holds however often somebody looks.
    pub always_valid: AlwaysValidFigures,
    /// The probability that the arm is better than control.
    pub chance_to_beat: Figure<f64>,
    /// What is lost on average by choosing the arm, in the unit of the metric.
    pub expected_loss: Figure<f64>,
    /// What follows, from the always-valid interval alone.
    pub verdict: Decision,
}

/// Figures that stay valid at every look.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlwaysValidFigures {
    /// The 95 % interval of the difference.
    pub ci: Figure<(f64, f64)>,
    /// The p-value at this look.
    pub p: Figure<f64>,
}

/// What is known about an arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Better than control.
    Better,
    /// Worse than control.
    Worse,
    /// No difference larger than the margin.
    NoDifference,
    /// Not known yet.
    NotYet,
}

/// The declared metrics in the order of the file, then the built-in ones with data.
pub(super) fn reports(experiment: &Experiment, arms: &[Arm<'_>]) -> Vec<MetricReport> {
    let reported = |measure: &Measure| {
        let cells = arms.iter().flat_map(|arm| &arm.counts);
        cells
            .filter_map(|(_, counts)| counts.cell(measure.key))
            .any(|cell| cell.n > 0)
    };
    let wanted = |measure: &&Measure| match measure.source {
        MeasureSource::Declared { .. } => true,
        MeasureSource::BuiltIn => reported(measure),
        MeasureSource::Above { .. } => false,
    };
    experiment
        .measures
        .iter()
        .filter(wanted)
        .map(|measure| MetricReport {
            metric: measure.name.clone(),
            kind: measure.kind,
            goal: measure.goal,
            primary: matches!(measure.source, MeasureSource::Declared { primary: true }),
            variants: figures(experiment, measure, arms),
        })
        .collect()
}

fn figures(experiment: &Experiment, measure: &Measure, arms: &[Arm<'_>]) -> Vec<VariantFigures> {
    let cells: Vec<Cell> = arms.iter().map(|arm| pooled(measure, arm)).collect();
    let versus = |index: usize| {
        let (control, base) = (arms.first()?, cells.first()?);
        (index > 0).then(|| versus_control(experiment, measure, [control, &arms[index]], [base, &cells[index]]))
    };
    let of = |(index, arm): (usize, &Arm<'_>)| alone(arm.name, &cells[index], versus(index));
    arms.iter().enumerate().map(of).collect()
}

/// All values of an arm, whatever the split was: right for the arm by itself, wrong for comparing it.
fn pooled(measure: &Measure, arm: &Arm<'_>) -> Cell {
    let mut all = Cell::default();
    let cells = arm.counts.iter().filter_map(|(_, counts)| counts.cell(measure.key));
    cells.for_each(|cell| all.merge(cell));
    all
}

fn alone(name: &VariantName, cell: &Cell, vs_control: Option<VersusControl>) -> VariantFigures {
    let summary = summary(cell);
    let mean = cell.mean().ok_or("nothing was reported yet");
    let se = summary.and_then(|arm| {
        if arm.se > 0.0 {
            Ok(arm.se)
        } else {
            Err(Undefined::ZeroVariance)
        }
    });
    VariantFigures {
        variant: name.clone(),
        n: cell.n,
        mean: Figure::of(mean),
        se: Figure::of(se),
        ci: Figure::of(summary.and_then(|arm| cluster::interval(&arm, ALPHA))),
        vs_control,
    }
}

fn versus_control(
    experiment: &Experiment,
    measure: &Measure,
    arms: [&Arm<'_>; 2],
    pooled: [&Cell; 2],
) -> VersusControl {
    let strata = strata(experiment, measure.key, arms[0], arms[1]);
    let names = arms.map(|arm| arm.name.as_str());
    let test = compared(&strata, measure.kind == MetricKind::Rate, names);
    let look = test.clone().and_then(|test| look(&test));
    let of_test = |figure: fn(&Difference) -> f64| Figure::of(test.as_ref().map(figure));
    let plain = match &test {
        Ok(test) => Ok((test.control.mean, test.difference)),
        Err(_) => plain(&strata).ok_or("nothing was reported on both arms yet"),
    };
    let difference = plain.map(|(_, difference)| difference);
    let relative = plain.map_err(str::to_owned).and_then(|(control, difference)| {
        if control == 0.0 {
            Err(Undefined::NoControlEffect.to_string())
        } else {
            Ok(difference / control)
        }
    });
    VersusControl {
        difference: checked("the difference", difference),
        ci: Figure::of(test.as_ref().map(|test| test.ci)),
        relative: checked("the relative difference", relative),
        relative_ci: Figure::of(test.clone().and_then(|test| relative_interval(&test))),
        t: of_test(|test| test.t),
        dof: of_test(|test| test.dof),
        p: of_test(|test| test.p),
        p_adjusted: Figure::undefined(NOT_COMPUTED),
        effect_size: checked(
            "the effect size",
            difference
                .map_err(str::to_owned)
                .and_then(|difference| Ok(difference / deviation(pooled).map_err(|reason| reason.to_string())?)),
        ),
        always_valid: AlwaysValidFigures {
            ci: Figure::of(look.as_ref().map(|look| look.ci)),
            p: Figure::of(look.as_ref().map(|look| look.p)),
        },
        chance_to_beat: Figure::undefined(NOT_COMPUTED),
        expected_loss: Figure::undefined(NOT_COMPUTED),
        verdict: look.map_or(Decision::NotYet, |look| decision(&look, measure.goal)),
    }
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

fn look(test: &Difference) -> Result<AlwaysValid, String> {
    let worth_finding = EFFECT_WORTH_FINDING * test.control.mean.abs();
    if worth_finding == 0.0 {
        return Err("control's mean is 0, and so is 5 % of it, the effect worth finding".to_owned());
    }
    always_valid(test.difference, test.se, worth_finding, ALPHA).map_err(|reason| reason.to_string())
}

fn decision(look: &AlwaysValid, goal: Goal) -> Decision {
    let (higher, lower) = match goal {
        Goal::Increase => (Decision::Better, Decision::Worse),
        Goal::Decrease => (Decision::Worse, Decision::Better),
    };
    match look.ci {
        (low, _) if low > 0.0 => higher,
        (_, high) if high < 0.0 => lower,
        _ => Decision::NotYet,
    }
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
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    let n = cell.n as f64;
    let squares = cell.sum_sq_shifted - cell.sum_shifted * (cell.sum_shifted / n.max(1.0));
    let squares = if squares <= ROUNDING * cell.sum_sq_shifted {
        0.0
    } else {
        squares
    };
    Moments::from_summary(cell.n, cell.mean().unwrap_or(0.0), squares / (n - 1.0).max(1.0))
}
