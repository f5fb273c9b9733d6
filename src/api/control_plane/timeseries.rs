//! What happened when: counts and sums by time of one metric, for plots.
//!
//! Owns the query and the shape of the answer. Reads nothing by itself: the collector knows how to add up what is
//! stored and what is not yet.

use super::{
    Segment, Shared, experiment_id,
    experiments::existing,
    json,
    refusal::{bad_query, collector_failed, unknown_metric},
};
use crate::{
    api::problem::Problem,
    collector::series::{MOST_STEPS, Series, SeriesError, SeriesWindow, Window},
    domain::{
        Timestamp, duration_text,
        experiment::Experiment,
        id::{ArmIndex, ExperimentId, VariantName},
        problem::Problem as Mistake,
    },
};
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use utoipa::{IntoParams, ToSchema};

const MINUTE_S: u32 = 60;
const HOUR: u32 = 60;
const DAY: u32 = 24 * HOUR;
/// Where a step is not asked for, the shortest of these that keeps the answer within bounds; each up to a window of
/// so many minutes.
const USUAL_STEPS: [(u32, u32, &str); 3] = [
    (2 * DAY, 1, "1m"),
    ((MOST_STEPS - 1) * HOUR, HOUR, "1h"),
    (u32::MAX, DAY, "1d"),
];
/// Counts that are no metric; a metric of the same name is meant instead.
const COUNTS: [(&str, Series); 2] = [("requests", Series::Requests), ("outcomes", Series::Outcomes)];

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// A metric of the experiment, `requests` or `outcomes`.
    #[param(required = true)]
    metric: Option<String>,
    /// How far to look back, such as `24h`.
    #[serde(default = "usual_window")]
    window: String,
    /// The time between points, such as `1m`; by default as fine as the window allows.
    step: Option<String>,
}

fn usual_window() -> String {
    "24h".to_owned()
}

/// What happened when.
#[derive(Serialize, ToSchema)]
pub(super) struct TimeSeries<'a> {
    #[schema(value_type = String)]
    experiment: &'a ExperimentId,
    metric: &'a str,
    window: &'a str,
    /// The first minute, at which a step begins.
    from: Timestamp,
    /// Behind the last minute, which is not over yet.
    to: Timestamp,
    step: &'a str,
    variants: Vec<VariantSeries<'a>>,
}

#[derive(Serialize, ToSchema)]
struct VariantSeries<'a> {
    #[schema(value_type = String)]
    variant: &'a VariantName,
    points: Vec<PointView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Point)]
struct PointView {
    t: Timestamp,
    n: u64,
    /// Absent for requests and outcomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    sum: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean: Option<f64>,
}

/// Counts and sums by time, for plots
#[utoipa::path(get, path = "/api/v1/experiments/{id}/timeseries", operation_id = "experiment_timeseries",
    tag = "experiments", params(("id" = String, Path, description = "The experiment"), Wanted),
    responses((status = 200, description = "One list of points for each variant", body = TimeSeries<'_>)))]
pub(super) async fn read(
    State(shared): State<Shared>,
    id: Segment,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let state = &shared.state;
    let experiment = existing(&state.plane.view(), &experiment_id(id)?)?;
    let Query(wanted) = wanted.map_err(|error| bad_query(&[Mistake::new("", error.body_text())]))?;
    let kept_days = state.collector.timeseries_days();
    let (window, step) = wanted.times(kept_days, state.clock.now())?;
    let (metric, series) = wanted.series(&experiment)?;
    let read = state.collector.series(experiment.key, Some(series), window).await;
    let found = read.map_err(|error| match error {
        SeriesError::Collector(error) => collector_failed(&error),
        too_long @ SeriesError::TooLong { .. } => bad_query(&[Mistake::new("step", too_long.to_string())]),
    })?;
    let answer = TimeSeries {
        experiment: &experiment.spec.id,
        metric,
        window: wanted.window.trim(),
        from: at(window.from),
        to: at(window.to),
        step: &step,
        variants: variants(&experiment, series, &found),
    };
    Ok(json(StatusCode::OK, &answer))
}

impl Wanted {
    /// The window in minutes, and its step as text.
    fn times(&self, kept_days: u32, now: Timestamp) -> Result<(Window, String), Problem> {
        let kept = Duration::from_secs(u64::from(kept_days * DAY) * 60);
        let mut mistakes = Vec::new();
        let window = minutes(&self.window, kept, &format!("{kept_days}d")).map_err(|problem| {
            mistakes.push(Mistake::new("window", problem));
        });
        let longest = window.map_or(kept_days * DAY, |window| window.max(DAY));
        let step = self.step.as_deref().map(|text| {
            let most = Duration::from_secs(u64::from(longest) * 60);
            minutes(text, most, &duration_text::format(most)).map_err(|problem| {
                mistakes.push(Mistake::new("step", problem));
            })
        });
        let (Ok(length), Ok(step)) = (window, step.transpose()) else {
            return Err(bad_query(&mistakes));
        };
        let usual = USUAL_STEPS.iter().find(|(up_to, ..)| length <= *up_to);
        let (step, text) = match (step, &self.step, usual) {
            (Some(step), Some(text), _) => (step, text.trim().to_owned()),
            (_, _, Some((_, step, text))) => (*step, (*text).to_owned()),
            (_, _, None) => (DAY, "1d".to_owned()),
        };
        if length / step >= MOST_STEPS {
            let least = length.div_ceil(MOST_STEPS - 1);
            let least = duration_text::format(Duration::from_secs(u64::from(least) * 60));
            let problem = format!(
                "must be at least {least} for a window of {}, so that there are at most {MOST_STEPS} points",
                self.window.trim()
            );
            return Err(bad_query(&[Mistake::new("step", problem)]));
        }
        let now = u32::try_from(now.as_second().max(0)).unwrap_or(u32::MAX) / MINUTE_S;
        let from = (now + 1).saturating_sub(length);
        let window = Window {
            // Whole steps, or the first point would look like a dip.
            from: from - from % step,
            to: now + 1,
            step,
        };
        Ok((window, text))
    }

    /// Which series is meant, with its name.
    fn series<'a>(&'a self, experiment: &Experiment) -> Result<(&'a str, Series), Problem> {
        let measures = &experiment.measures;
        let known = || {
            let measures = measures.iter().map(|measure| measure.name.as_str());
            let counts = COUNTS.iter().map(|(name, _)| *name);
            measures.chain(counts).collect::<Vec<_>>().join(", ")
        };
        let Some(name) = self.metric.as_deref() else {
            let problem = format!("is required; there are {}", known());
            return Err(bad_query(&[Mistake::new("metric", problem)]));
        };
        let measure = measures.iter().find(|measure| measure.name == name);
        let counts = COUNTS.iter().find(|(count, _)| *count == name);
        match (measure, counts) {
            (Some(measure), _) => Ok((name, Series::Metric(measure.key))),
            (None, Some((_, series))) => Ok((name, *series)),
            (None, None) => Err(unknown_metric(&experiment.spec.id, name, &known())),
        }
    }
}

/// A duration of whole minutes, from one to `most`.
pub(super) fn minutes(text: &str, most: Duration, shown: &str) -> Result<u32, String> {
    let duration = duration_text::parse(text)?;
    let whole = duration.subsec_nanos() == 0 && duration.as_secs().is_multiple_of(60);
    let minutes = u32::try_from(duration.as_secs() / 60).unwrap_or(u32::MAX);
    if whole && minutes > 0 && duration <= most {
        Ok(minutes)
    } else {
        Err(format!(
            "must be from 1m to {shown} in whole minutes, found {}",
            text.trim()
        ))
    }
}

fn at(minute: u32) -> Timestamp {
    // Every minute of 32 bits is within the years that a timestamp has.
    Timestamp::from_second(i64::from(minute) * 60).unwrap_or(Timestamp::MAX)
}

/// The variants of the present design, then others with something in the window.
fn variants<'a>(experiment: &'a Experiment, series: Series, found: &SeriesWindow) -> Vec<VariantSeries<'a>> {
    let mut by_arm: BTreeMap<ArmIndex, BTreeMap<u32, (u64, f64)>> = BTreeMap::new();
    for row in &found.rows {
        let points = by_arm.entry(row.arm).or_default();
        for point in &row.points {
            let (n, sum) = points.entry(point.minute).or_default();
            *n += point.n;
            *sum += point.sum;
        }
    }
    let is_metric = matches!(series, Series::Metric(_));
    let point = |(minute, (n, sum)): (u32, (u64, f64))| {
        let mean = sum / n as f64;
        PointView {
            t: at(minute),
            n,
            sum: is_metric.then_some(sum),
            mean: is_metric.then_some(mean),
        }
    };
    let mut of = |variant: &'a VariantName| {
        let arm = experiment.arm(variant.as_str());
        let points = arm.and_then(|arm| by_arm.remove(&arm)).unwrap_or_default();
        VariantSeries {
            variant,
            points: points.into_iter().map(point).collect(),
        }
    };
    let present = experiment.spec.variants.iter();
    let mut variants: Vec<_> = present.map(|variant| of(&variant.name)).collect();
    let former = experiment.arms.iter().map(of);
    variants.extend(
        former
            .filter(|variant| !variant.points.is_empty())
            .collect::<Vec<_>>(),
    );
    variants
}
