//! What a rollout will be able to see, before it starts.
//!
//! Owns the figures of the preflight: for each stage and guardrail the smallest harm that would be found in the stage's
//! time, how many requests the candidate gets, how long a stage takes until it may end, and where a stage is blind. A
//! pure function of the design and of what is assumed about the traffic: it reads no counts, no clock and no catalog, and
//! its warnings stop nothing. Called by `serin validate`, by the API when an experiment starts, and by the plan of an
//! apply.
//!
//! The formulas are those of [`crate::stats::power::harm`] and [`crate::stats::power::ruling_out`]: the tests that decide,
//! and not the bound of a test that knew the rates. Every stage is looked at by itself, as if the evidence of a freeze
//! began with it; the evidence that harm is ruled out goes on over the stages, as it does in a rollout, and is that of a
//! candidate as good as control.

mod ruling_out;
mod silence;
mod stage;
mod warnings;

pub use silence::SilenceForecast;

use crate::domain::{
    duration_text,
    experiment::{ExperimentKind, ExperimentSpec},
    id::{ExperimentId, VariantName},
    rollout::{Budget, OnComplete, RolloutPlan, Stage},
};
use serde::Serialize;
use stage::Judge;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The chance with which the smallest harm is found, and with which harm that is not there is ruled out by its time.
pub const POWER: f64 = 0.8;
/// The bad rate that is assumed where none was seen and nobody says.
pub const BASELINE: f64 = 0.02;
/// The span that is looked at where an experiment has neither stages nor an end.
const OPEN_SPAN: Duration = Duration::from_secs(7 * 86_400);

/// Where a figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Somebody said so.
    Given,
    /// It was counted.
    Seen,
    /// It is the default.
    Assumed,
}

/// How much traffic there is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Traffic {
    /// Requests of the experiment's audience per second, of all units, enrolled or not; greater than 0.
    pub requests_per_second: f64,
    /// Who says so.
    pub source: Source,
    /// The share of them that other experiments, layers and holdouts leave to this one, in [0, 1].
    pub reach: f64,
}

/// What is assumed.
#[derive(Debug, Clone, PartialEq)]
pub struct Assumptions {
    /// The traffic; none when nobody knows it.
    pub traffic: Option<Traffic>,
    /// Requests of a unit in a stage, at least 1.
    pub requests_per_unit: f64,
    /// The bad rate of a request where none was seen, in (0, 1).
    pub baseline: f64,
    /// Whether somebody chose the baseline.
    pub baseline_source: Source,
    /// Bad rates that were seen, by the name of the measure.
    pub seen: BTreeMap<String, f64>,
    /// Measures that nobody reports although outcomes come: their guardrails see nothing.
    pub unreported: BTreeSet<String>,
    /// The share of requests of which an outcome is reported, in (0, 1].
    pub reported_share: f64,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self {
            traffic: None,
            requests_per_unit: 1.0,
            baseline: BASELINE,
            baseline_source: Source::Assumed,
            seen: BTreeMap::new(),
            unreported: BTreeSet::new(),
            reported_share: 1.0,
        }
    }
}

/// The answer; times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preflight {
    /// Which experiment.
    pub experiment: ExperimentId,
    /// The variant that is judged: a canary's last, otherwise the one with the smallest share.
    pub candidate: VariantName,
    /// The chance with which the smallest harm is found.
    pub power: f64,
    /// The traffic it is for; null when that is unknown.
    pub traffic: Option<Traffic>,
    /// Requests of a unit in a stage.
    pub requests_per_unit: f64,
    /// In order.
    pub stages: Vec<StageForecast>,
    /// How long the whole rollout takes in most cases, for a candidate as good as control; null where the traffic is unknown or a
    /// stage cannot end before its deadline.
    pub expected_s: Option<f64>,
    /// In words.
    pub warnings: Vec<String>,
}

/// What one stage can see.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageForecast {
    /// From 1.
    pub stage: usize,
    /// As designed: the candidate's share, or for an experiment the enrolled share.
    pub share: f64,
    /// The candidate's share of the candidate and control.
    pub candidate_share: f64,
    /// The least time it lasts.
    pub for_s: f64,
    /// Whether that is only the span that is looked at, because the design has no stages.
    pub open: bool,
    /// When it freezes if it may not end.
    pub deadline_s: f64,
    /// The candidate's requests in the least time.
    pub candidate_requests: Option<f64>,
    /// Control's.
    pub control_requests: Option<f64>,
    /// When both arms have the outcomes that the stage asks for.
    pub min_outcomes_after_s: Option<f64>,
    /// How long it takes until it may end, for a candidate as good as control.
    pub expected_s: Option<f64>,
    /// What it waits for longest: `for`, `min_outcomes`, or the guardrail that rules harm out last.
    pub waits_for: Option<String>,
    /// In the order of the design, but for silence (`max_excess`), which is watched without being asked for.
    pub guardrails: Vec<GuardrailForecast>,
    /// What is noticed of requests that nobody reports; null where nothing depends on outcomes, or the traffic is unknown.
    pub silence: Option<SilenceForecast>,
}

/// What one guardrail finds in a stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GuardrailForecast {
    /// The measure's name.
    pub metric: String,
    /// `max_ratio` or `max_rate`.
    pub limit: &'static str,
    /// Control's bad rate that is assumed.
    pub base_rate: f64,
    /// Where that comes from.
    pub base_rate_from: Source,
    /// The smallest harm that is found in the stage's least time; null when the stage is blind, or the traffic unknown.
    pub finds: Option<Harm>,
    /// Whether not even the largest harm would be found.
    pub blind: bool,
    /// Whether that is because nobody reports the metric.
    pub unreported: bool,
    /// After how much of the stage harm beyond the margin is ruled out in four of five rollouts whose candidate is as good
    /// as control; null where it never is.
    pub ruled_out_after_s: Option<f64>,
    /// Requests per second of the audience from which the stage is not blind; only where it is, or the traffic is unknown,
    /// and null where no traffic would do.
    pub needs_rps: Option<f64>,
    /// Requests per second of the audience from which twice control's rate, or twice the limit, is found; in
    /// the same cases.
    pub doubling_needs_rps: Option<f64>,
}

/// A harm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Harm {
    /// The candidate's bad rate as a multiple of control's.
    pub ratio: f64,
    /// The candidate's bad rate.
    pub rate: f64,
}

/// What a design will be able to see. None for a design without a candidate, which no check lets pass.
///
/// ```
/// use serin::preflight::{Assumptions, Source, Traffic, preflight};
/// # let spec: serin::domain::experiment::ExperimentSpec = serde_json::from_str(r#"{
/// #   "id": "a", "prompt": "p", "environment": "production", "kind": "canary", "status": "running", "unit": "user",
/// #   "traffic": 1.0, "guardrails": [{"metric": "fallback", "max_ratio": 1.25, "settle": "0s"}],
/// #   "rollout": {"stages": [{"share": 0.01, "for": "15m"}]},
/// #   "variants": [{"name": "a", "version": 1, "weight": 1}, {"name": "b", "version": 2, "weight": 1}]}"#).unwrap();
/// let traffic = Traffic { requests_per_second: 100.0, source: Source::Given, reach: 1.0 };
/// let found = preflight(&spec, &Assumptions { traffic: Some(traffic), ..Assumptions::default() }).unwrap();
/// assert_eq!(found.stages[0].candidate_requests, Some(900.0));
/// let harm = found.stages[0].guardrails[0].finds.unwrap();
/// assert!((2.3..2.7).contains(&harm.ratio), "{harm:?}");
/// ```
#[must_use]
pub fn preflight(spec: &ExperimentSpec, assumed: &Assumptions) -> Option<Preflight> {
    let open = spec.rollout.is_none();
    let plan = spec.rollout.clone().unwrap_or_else(|| whole_time(spec));
    let mut judge = Judge::new(spec, assumed)?;
    let stages = plan.stages.iter().enumerate();
    let forecasts: Vec<StageForecast> = stages
        .map(|(index, stage)| judge.stage(index, stage, plan.deadline(stage), open))
        .collect();
    let expected = |forecast: &StageForecast| forecast.expected_s.filter(|s| *s <= forecast.deadline_s);
    let expected_s = if open {
        None
    } else {
        forecasts.iter().map(expected).sum()
    };
    let mut found = Preflight {
        experiment: spec.id.clone(),
        candidate: judge.candidate().clone(),
        power: POWER,
        traffic: assumed.traffic,
        requests_per_unit: assumed.requests_per_unit,
        stages: forecasts,
        expected_s,
        warnings: Vec::new(),
    };
    found.warnings = warnings::of(spec, &found);
    Some(found)
}

/// A design without stages, as one stage.
fn whole_time(spec: &ExperimentSpec) -> RolloutPlan {
    let scheduled = match (spec.start, spec.end) {
        (Some(start), Some(end)) => Duration::try_from(end.duration_since(start)).ok(),
        _ => None,
    };
    let stage = Stage {
        share: match spec.kind {
            ExperimentKind::Experiment => 1.0,
            ExperimentKind::Canary => last_share(spec),
        },
        duration: scheduled.unwrap_or(OPEN_SPAN),
        min_outcomes: 0,
        budget: Budget::default(),
    };
    RolloutPlan {
        stages: vec![stage],
        on_complete: OnComplete::default(),
        deadline: None,
    }
}

fn last_share(spec: &ExperimentSpec) -> f64 {
    let sum: f64 = spec.variants.iter().map(|variant| variant.weight).sum();
    spec.variants.last().map_or(0.0, |variant| variant.weight / sum)
}

/// A stage in words: `stage 2 (10 % for 1h)`.
fn words(forecast: &StageForecast) -> String {
    let time = long(forecast.for_s);
    if forecast.open {
        return format!("the first {time}");
    }
    format!(
        "stage {} ({} for {time})",
        forecast.stage,
        percent(forecast.share)
    )
}

/// Seconds as people write them, to two units: `15m`, `1d 4h`, `45s`.
#[must_use]
pub fn long(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let rounded = match whole {
        0..60 => return duration_text::format(Duration::from_secs(whole)),
        60..3_600 => whole,
        3_600..86_400 => whole.div_ceil(60) * 60,
        _ => whole.div_ceil(3_600) * 3_600,
    };
    let mut text = String::new();
    let mut rest = rounded;
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if rest >= length {
            let space = if text.is_empty() { "" } else { " " };
            text = format!("{text}{space}{}{unit}", rest / length);
            rest %= length;
        }
    }
    text
}

/// A share in per cent, without needless zeros.
#[must_use]
pub fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_write_them() {
        let told = [0.0, 45.4, 900.0, 3_661.0, 5_400.0, 90_000.0, 864_001.0].map(long);
        assert_eq!(told, ["0s", "45s", "15m", "1h 2m", "1h 30m", "1d 1h", "10d 1h"]);
        for text in told {
            assert!(duration_text::parse(&text).is_ok(), "{text}");
        }
        assert_eq!(
            [0.05, 0.125, 1.0, 0.0001].map(percent),
            ["5 %", "12.5 %", "100 %", "0.01 %"]
        );
    }
}
