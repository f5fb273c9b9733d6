//! `serin plan`: how much traffic an answer needs, before there is any.
//!
//! Owns the options and which of them make sense together; [`design`] asks `stats::power`, [`freeze`] does the same
//! for a guardrail, [`shown`] tells it. Reads no file and asks no server.

mod design;
mod freeze;
mod shown;

use super::{
    options::{bounded, effect, positive, share, usage},
    output,
    plot::power::{self as picture, Curve, MOST_EFFECTS, PowerCurves},
};
use crate::{domain::metric::EFFECT_WORTH_FINDING, stats::power::Goal};
use anyhow::{Context as _, Result};
use design::{Arms, Baseline, Design, Requests, Traffic};
use std::{fs, path::PathBuf};

/// The effects planned for around a single one, as multiples of it.
const LADDER: [f64; 7] = [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0];
/// Of these a picture has curves.
const DRAWN: [f64; 3] = [0.5, 1.0, 2.0];
/// The ratios a guardrail is planned for.
const RATIOS: [f64; 5] = [1.5, 2.0, 3.0, 5.0, 10.0];
/// Points of a curve.
const POINTS: u32 = 120;

/// Sample sizes and smallest detectable effects, for a test at a fixed size and for intervals valid at every look
///
/// A rate: `serin plan --baseline 0.2 --mde 0.05`; a mean: add --sd. What a given number of units can find: --units.
/// When a guardrail would freeze: --guardrail. Effects are shares of control's mean: 0.05 of a rate of 0.2 is a rise to
/// 0.21.
///
/// Fixed size: (z(1−α/2) + z(power))² · variance · design effect / difference² (Chow, Shao & Wang 2008, section 3.2;
/// for rates the larger of the pooled and the unpooled form of Fleiss, Levin & Paik 2003, chapter 4). Always valid: the
/// size at which the normal-mixture interval (Robbins 1970; Johari et al. 2022) excludes 0 with that power. Design
/// effect: 1 + (requests per unit − 1) · ICC (Kish 1965); for unequal units put E[n²]/E[n] for the number of requests.
/// Guardrail: ln(1/α)/KL (Wald 1945).
#[derive(Debug, clap::Args)]
pub(super) struct Plan {
    /// Control's mean: of a rate between 0 and 1, of a number with its --sd
    #[arg(long, value_name = "NUMBER", value_parser = baseline, allow_negative_numbers = true)]
    baseline: f64,
    /// The standard deviation of single requests; makes the metric a mean
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    sd: Option<f64>,
    /// The effect worth finding, as a share of control's mean; once: a ladder around it; more often: these [default: 0.05]
    #[arg(long = "mde", value_name = "SHARE", value_parser = effect)]
    effects: Vec<f64>,
    /// The probability of finding the effect when it is there
    #[arg(long, value_name = "SHARE", default_value_t = 0.8, value_parser = share)]
    power: f64,
    /// The error rate [default: 0.05; of a guardrail 0.01]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    alpha: Option<f64>,
    /// The share of each candidate [default: all variants alike]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    share: Option<f64>,
    /// Variants with control; several candidates divide the error rate
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..=64))]
    variants: u32,
    /// Requests of one unit, on average; with how much they resemble each other
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    requests_per_unit: Option<f64>,
    /// The correlation of the requests of one unit, from 0 (unrelated) to 1 (all alike)
    #[arg(long, value_name = "SHARE", value_parser = correlation, requires = "requests_per_unit")]
    icc: Option<f64>,
    /// How many requests say as much as one independent request: `design_effect` of an experiment's results
    #[arg(long, value_name = "NUMBER", value_parser = at_least_one, conflicts_with = "icc")]
    design_effect: Option<f64>,
    /// Requests per second of all variants, for the days it takes
    #[arg(long, value_name = "NUMBER", value_parser = positive, conflicts_with = "units_per_day")]
    rps: Option<f64>,
    /// New units per day of all variants, for the days it takes
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    units_per_day: Option<f64>,
    /// The other way round: what so many units in all can find
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with_all = ["effects", "plot"])]
    units: Option<f64>,
    /// When a guardrail freezes a candidate whose bad rate is a multiple of control's (--baseline)
    #[arg(long, conflicts_with_all = ["sd", "effects", "units", "variants", "power", "plot", "icc", "design_effect",
        "requests_per_unit", "units_per_day"])]
    guardrail: bool,
    /// The candidate's bad rate as a multiple of control's, as often as needed [default: 1.5, 2, 3, 5, 10]
    #[arg(long = "ratio", value_name = "NUMBER", value_parser = ratio, requires = "guardrail")]
    ratios: Vec<f64>,
    /// Guardrails of the experiment, which divide the error rate
    #[arg(long, value_name = "N", default_value_t = 1, requires = "guardrail",
        value_parser = clap::value_parser!(u16).range(1..=64))]
    guardrails: u16,
    /// Draw the power against the size
    #[arg(long, value_name = "SVG")]
    plot: Option<PathBuf>,
}

fn baseline(written: &str) -> Result<f64, String> {
    bounded(written, "finite and not 0", |value| {
        value.is_finite() && value != 0.0
    })
}

fn at_least_one(written: &str) -> Result<f64, String> {
    bounded(written, "finite and at least 1", |value| {
        value >= 1.0 && value.is_finite()
    })
}

fn correlation(written: &str) -> Result<f64, String> {
    bounded(written, "between 0 and 1", |value| (0.0..=1.0).contains(&value))
}

fn ratio(written: &str) -> Result<f64, String> {
    bounded(written, "greater than 1", |value| {
        value > 1.0 && value.is_finite()
    })
}

/// Plans and tells.
///
/// # Errors
/// A size beyond all numbers, or the picture cannot be written.
pub(super) fn run(plan: &Plan, json: bool) -> Result<()> {
    if plan.guardrail {
        let freezes = freezes(plan)?;
        return if json {
            output::print_json(&serde_json::to_value(&freezes)?)
        } else {
            output::print(&shown::freezes(&freezes))
        };
    }
    let design = design(plan);
    if let Some(units) = plan.units {
        let found = design.detectable(units)?;
        return if json {
            output::print_json(&shown::detectable_json(&design, &found)?)
        } else {
            output::print(&shown::detectable(&design, &found))
        };
    }
    let effects = effects(plan, &design);
    let rows: Result<Vec<_>> = effects.iter().map(|effect| design.row(*effect)).collect();
    let rows = rows?;
    if let Some(file) = &plan.plot {
        let drawn: Vec<f64> = match plan.effects.len() {
            0 | 1 => {
                let sought = plan.effects.first().copied().unwrap_or(EFFECT_WORTH_FINDING);
                let around = DRAWN.map(|times| times * sought);
                around
                    .into_iter()
                    .filter(|effect| design.possible(*effect))
                    .collect()
            }
            _ => effects.iter().copied().take(MOST_EFFECTS).collect(),
        };
        let svg = picture::svg(&curves(&design, &drawn)?)?;
        fs::write(file, svg).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if json {
        output::print_json(&shown::json(&design, &rows)?)
    } else {
        output::print(&shown::words(&design, &rows))
    }
}

fn design(plan: &Plan) -> Design {
    let rate = plan.sd.is_none();
    if rate && !(plan.baseline > 0.0 && plan.baseline < 1.0) {
        usage(
            "--baseline: a rate must be greater than 0 and less than 1; give --sd for the mean of a number",
        );
    }
    let alpha = plan.alpha.unwrap_or(crate::report::ALPHA);
    let candidates = f64::from(plan.variants - 1);
    // Holm's first step, which the clearest of several candidates must pass.
    let goal = Goal {
        alpha: alpha / candidates,
        power: plan.power,
    };
    if goal.power <= goal.alpha {
        usage("--power: must be greater than --alpha");
    }
    let share = plan.share.unwrap_or(1.0 / f64::from(plan.variants));
    if share * candidates >= 1.0 {
        usage(&format!(
            "--share: {candidates} candidates of {share} each leave nothing for control; must be less than {}",
            1.0 / candidates
        ));
    }
    let requests = match (plan.requests_per_unit, plan.icc, plan.design_effect) {
        (None, _, None) => Requests::ONE_EACH,
        (per_unit, _, Some(design_effect)) => Requests {
            per_unit,
            design_effect,
        },
        (Some(per_unit), Some(icc), None) => Requests {
            per_unit: Some(per_unit),
            design_effect: 1.0 + (per_unit - 1.0) * icc,
        },
        (Some(_), None, None) => usage("--requests-per-unit: needs --icc or --design-effect"),
    };
    let needs_units = plan.units_per_day.is_some() || plan.units.is_some();
    if needs_units && requests.per_unit.is_none() {
        usage("--design-effect: units cannot be counted without --requests-per-unit");
    }
    let traffic = match (plan.rps, plan.units_per_day) {
        (Some(per_second), _) => Some(Traffic::RequestsPerDay(per_second * 86_400.0)),
        (None, Some(per_day)) => Some(Traffic::UnitsPerDay(per_day)),
        (None, None) => None,
    };
    Design {
        baseline: match plan.sd {
            Some(sd) => Baseline::Mean {
                mean: plan.baseline,
                sd,
            },
            None => Baseline::Rate(plan.baseline),
        },
        alpha,
        goal,
        arms: Arms {
            candidates: plan.variants - 1,
            share,
        },
        requests,
        traffic,
    }
}

/// What is planned for; effects that would raise a rate to 1 are left out of a ladder, and refused where asked for.
fn effects(plan: &Plan, design: &Design) -> Vec<f64> {
    for effect in &plan.effects {
        if !design.possible(*effect) {
            usage(&format!(
                "--mde {effect}: raises the rate to {}; must stay below 1, so at most {:.3}",
                plan.baseline * (1.0 + effect),
                (1.0 / plan.baseline - 1.0) * 0.999
            ));
        }
    }
    let sought = match plan.effects.as_slice() {
        [] => EFFECT_WORTH_FINDING,
        [sought] => *sought,
        several => return several.to_vec(),
    };
    let ladder = LADDER.map(|times| times * sought);
    ladder
        .into_iter()
        .filter(|effect| design.possible(*effect))
        .collect()
}

fn freezes(plan: &Plan) -> Result<freeze::Freezes> {
    let rate = plan.baseline;
    if !(rate > 0.0 && rate < 1.0) {
        usage("--baseline: the bad rate of control must be greater than 0 and less than 1");
    }
    let mut ratios = plan.ratios.clone();
    if let Some(ratio) = ratios.iter().find(|ratio| rate * **ratio > 1.0) {
        usage(&format!(
            "--ratio {ratio}: the bad rate would be {}; must be at most {}",
            rate * ratio,
            1.0 / rate
        ));
    }
    if ratios.is_empty() {
        ratios.extend(RATIOS.iter().filter(|ratio| rate * **ratio <= 1.0));
        if ratios.is_empty() {
            ratios.push(1.0 / rate);
        }
    }
    freeze::freezes(&freeze::Guard {
        rate,
        ratios,
        share: plan.share.unwrap_or(0.5),
        alpha: plan.alpha.unwrap_or(freeze::ALPHA),
        guardrails: plan.guardrails,
        requests_per_second: plan.rps,
    })
}

fn curves(design: &Design, effects: &[f64]) -> Result<PowerCurves> {
    let (mut low, mut high) = (f64::INFINITY, 0.0f64);
    for effect in effects {
        let row = design.row(*effect)?;
        low = low.min(row.fixed.all() / 8.0);
        high = high.max(row.always_valid.all() * 1.3);
    }
    let low = low.max(2.0);
    let sizes = (0..=POINTS).map(|step| low * (high / low).powf(f64::from(step) / f64::from(POINTS)));
    let curve = |effect: &f64| {
        let points: Result<Vec<_>> = sizes
            .clone()
            .map(|size| Ok((size, design.power(*effect, size)?)))
            .collect();
        let points = points?;
        Ok(Curve {
            effect: shown::effect(design, *effect),
            fixed: points.iter().map(|(size, (fixed, _))| (*size, *fixed)).collect(),
            always_valid: points
                .iter()
                .map(|(size, (_, always))| (*size, *always))
                .collect(),
        })
    };
    let curves: Result<Vec<Curve>> = effects.iter().map(curve).collect();
    Ok(PowerCurves {
        title: "The chance to find an effect".to_owned(),
        subtitle: shown::about(design),
        quantity: format!("{} of all variants", design.counted()),
        sought: design.goal.power,
        curves: curves?,
    })
}
