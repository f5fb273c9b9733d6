//! What a rollout will be able to see, from the traffic of the last day: the preflight of one experiment.
//!
//! Owns where the figures of a preflight come from here: requests and bad rates are counted by minute, other experiments
//! come from the catalog, and a caller's own figures stand before both.

use super::{
    Segment, Shared, blocking, experiment_id,
    experiments::existing,
    json,
    refusal::{bad_query, collector_failed},
};
use crate::{
    api::problem::Problem,
    collector::series::{Series, SeriesError, Window},
    control_plane::catalog::Catalog,
    definitions::exclusions,
    domain::{
        experiment::Experiment,
        id::{ArmIndex, ExperimentKey, MetricKey},
        metric::MeasureSource,
        problem::Problem as Mistake,
    },
    preflight::{Assumptions, BASELINE, Preflight, Source, Traffic, preflight},
};
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use hyper::StatusCode;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::IntoParams;

/// How far back is looked, in minutes.
const WINDOW: u32 = 24 * 60;
/// Counts are added up to steps of so many minutes.
const STEP: u32 = 10;

/// What a caller knows better.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Requests per second to expect instead of those seen; greater than 0.
    rps: Option<f64>,
    /// The rate of bad outcomes where none was seen; greater than 0 and less than 1.
    baseline: Option<f64>,
    /// Requests of one unit during a stage; at least 1.
    requests_per_unit: Option<f64>,
}

impl Wanted {
    fn checked(self) -> Result<Self, Problem> {
        let mut mistakes = Vec::new();
        let mut check = |field, value: Option<f64>, bound, holds: fn(f64) -> bool| {
            if let Some(value) = value
                && !(value.is_finite() && holds(value))
            {
                mistakes.push(Mistake::new(
                    field,
                    format!("must be a number {bound}, found {value}"),
                ));
            }
        };
        check("rps", self.rps, "greater than 0", |rps| rps > 0.0);
        check(
            "baseline",
            self.baseline,
            "greater than 0 and less than 1",
            |rate| rate > 0.0 && rate < 1.0,
        );
        check(
            "requests_per_unit",
            self.requests_per_unit,
            "of at least 1",
            |n| n >= 1.0,
        );
        if mistakes.is_empty() {
            Ok(self)
        } else {
            Err(bad_query(&mistakes))
        }
    }
}

/// What a rollout will be able to see
///
/// The smallest harm that each guardrail can find in each stage, at the traffic of the last day, and how long it all takes.
#[utoipa::path(get, path = "/api/v1/experiments/{id}/preflight", operation_id = "preflight", tag = "experiments",
    params(("id" = String, Path, description = "The experiment"), Wanted),
    responses((status = 200, description = "By stage and guardrail, with warnings", body = Object)))]
pub(super) async fn read(
    State(shared): State<Shared>,
    id: Segment,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let id = experiment_id(id)?;
    let view = shared.state.plane.view();
    let experiment = existing(&view, &id)?;
    let refused = |error: QueryRejection| bad_query(&[Mistake::new("", error.body_text())]);
    let Query(wanted) = wanted.map_err(refused)?;
    let found = of(&shared, &view.catalog, &experiment, &wanted.checked()?).await?;
    let nothing = || {
        let detail = format!("experiment `{id}` has no candidate to look out for");
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "NO_CANDIDATE", detail)
    };
    Ok(json(StatusCode::OK, &found.ok_or_else(nothing)?))
}

/// The preflight of an experiment that somebody is about to start; none where it cannot be had, which stops no start.
pub(super) async fn before_start(shared: &Shared, id: &Segment) -> Option<Preflight> {
    let id = experiment_id(Ok(axum::extract::Path(id.as_ref().ok()?.0.clone()))).ok()?;
    let view = shared.state.plane.view();
    let experiment = existing(&view, &id).ok()?;
    of(shared, &view.catalog, &experiment, &Wanted::default())
        .await
        .ok()?
}

/// The preflight of an experiment of a catalog, which may be the one that is to come.
pub(super) async fn of(
    shared: &Shared,
    catalog: &Catalog,
    experiment: &Experiment,
    wanted: &Wanted,
) -> Result<Option<Preflight>, Problem> {
    let seen = Seen::read(shared, catalog, experiment).await?;
    let (reach, gets) = reach(catalog, experiment);
    let requests_per_second = wanted.rps.or_else(|| seen.requests_per_second(gets));
    let assumed = Assumptions {
        traffic: requests_per_second.map(|requests_per_second| Traffic {
            requests_per_second,
            source: if wanted.rps.is_some() {
                Source::Given
            } else {
                Source::Seen
            },
            reach,
        }),
        requests_per_unit: wanted.requests_per_unit.unwrap_or(1.0),
        baseline: wanted.baseline.unwrap_or(BASELINE),
        baseline_source: if wanted.baseline.is_some() {
            Source::Given
        } else {
            Source::Assumed
        },
        seen: seen.rates(experiment),
        unreported: seen
            .unreported(experiment)
            .into_iter()
            .map(|(name, _)| name)
            .collect(),
        reported_share: seen.reported_share(),
    };
    let silent = seen.silent(experiment);
    let spec = std::sync::Arc::clone(&experiment.spec);
    blocking(move || {
        let found = preflight(&spec, &assumed).map(|mut found| {
            found.warnings.extend(silent);
            found
        });
        Ok(found)
    })
    .await
}

/// The share of its audience that reaches an experiment, and the share that it gets, at most.
fn reach(catalog: &Catalog, experiment: &Experiment) -> (f64, f64) {
    let meetings = exclusions::of_catalog(catalog, Some(experiment));
    let places = meetings.iter().flat_map(|meeting| &meeting.experiments);
    let mut own = places.filter(|place| place.experiment == experiment.spec.id);
    own.next().map_or((1.0, experiment.enrolled_share()), |place| {
        (place.reach.at_most, place.gets.at_most)
    })
}

/// What was counted for the prompt in the last day, wherever it was served.
#[derive(Debug, Default)]
struct Seen {
    /// By the experiment itself.
    own_requests: u64,
    /// By everybody; outside experiments an outcome stands for a request.
    requests: u64,
    outcomes: u64,
    /// From the first of them to now, in minutes.
    minutes: u32,
    /// Outcomes with a metric, on any arm.
    reported: BTreeSet<MetricKey>,
    /// Outcomes and bad ones among them, on control.
    control: BTreeMap<MetricKey, (u64, f64)>,
}

impl Seen {
    async fn read(shared: &Shared, catalog: &Catalog, experiment: &Experiment) -> Result<Self, Problem> {
        let now = shared.state.clock.now().as_second().max(0) / 60;
        let to = u32::try_from(now).unwrap_or(u32::MAX - 1).saturating_add(1);
        let window = Window {
            from: to.saturating_sub(WINDOW) / STEP * STEP,
            to,
            step: STEP,
        };
        let spec = &experiment.spec;
        let mut sources: Vec<(ExperimentKey, Option<ArmIndex>)> = catalog
            .experiments
            .values()
            .filter(|other| other.spec.prompt == spec.prompt && other.spec.environment == spec.environment)
            .filter(|other| !other.epochs.is_empty())
            .map(|other| {
                let control = other.spec.control();
                (
                    other.key,
                    control.and_then(|control| other.arm(control.name.as_str())),
                )
            })
            .collect();
        // Outcomes outside experiments name no environment; they are taken for those of the server's own.
        if spec.environment == shared.state.environment
            && let Some(prompt) = catalog.prompts.get(&spec.prompt)
        {
            sources.push((ExperimentKey::of_deployed(prompt.key), None));
        }
        let mut seen = Self::default();
        let mut first = to;
        for (key, control) in sources {
            let outside = key.deployed_prompt().is_some();
            let read = shared.state.collector.series(key, None, window).await;
            let found = read.map_err(|error| match error {
                SeriesError::Collector(error) => collector_failed(&error),
                too_long @ SeriesError::TooLong { .. } => {
                    bad_query(&[Mistake::new("", too_long.to_string())])
                }
            })?;
            for row in found.rows {
                let n: u64 = row.points.iter().map(|point| point.n).sum();
                let sum: f64 = row.points.iter().map(|point| point.sum).sum();
                if n == 0 {
                    continue;
                }
                first = row.points.iter().map(|point| point.minute).fold(first, u32::min);
                match row.series {
                    Series::Requests => {
                        seen.requests += n;
                        seen.own_requests += if key == experiment.key { n } else { 0 };
                    }
                    Series::Outcomes => {
                        seen.outcomes += n;
                        seen.requests += if outside { n } else { 0 };
                    }
                    Series::Metric(metric) => {
                        seen.reported.insert(metric);
                        if outside || control == Some(row.arm) {
                            let (all, bad) = seen.control.entry(metric).or_default();
                            *all += n;
                            *bad += sum;
                        }
                    }
                }
            }
        }
        seen.minutes = to - first;
        Ok(seen)
    }

    /// The requests of the audience per second. Where only this experiment is counted, its own requests are those of the
    /// share it gets.
    fn requests_per_second(&self, gets: f64) -> Option<f64> {
        let own = if gets > 0.0 {
            self.own_requests as f64 / gets
        } else {
            0.0
        };
        let requests = own.max(self.requests as f64);
        (requests > 0.0).then(|| requests / (f64::from(self.minutes.max(STEP)) * 60.0))
    }

    /// Control's bad rates, by the name of the measure.
    fn rates(&self, experiment: &Experiment) -> BTreeMap<String, f64> {
        let guarded = experiment.measures.iter().filter(|measure| measure.guarded);
        guarded
            .filter_map(|measure| {
                let (all, bad) = self.control.get(&measure.key)?;
                Some((measure.name.clone(), bad / *all as f64))
            })
            .collect()
    }

    /// The share of requests of which an outcome came; all of them where none was counted yet.
    fn reported_share(&self) -> f64 {
        if self.outcomes == 0 || self.requests == 0 {
            return 1.0;
        }
        (self.outcomes as f64 / self.requests as f64).min(1.0)
    }

    /// Guarded measures that no outcome reports although outcomes come, each with the metric that it is made of.
    fn unreported(&self, experiment: &Experiment) -> Vec<(String, String)> {
        if self.outcomes == 0 {
            return Vec::new();
        }
        let reported = |name: &str| {
            experiment
                .measure(name)
                .is_some_and(|measure| self.reported.contains(&measure.key))
        };
        let guarded = experiment.measures.iter().filter(|measure| measure.guarded);
        guarded
            .filter(|measure| !reported(&measure.name))
            .filter_map(|measure| match &measure.source {
                MeasureSource::Above { metric, .. } if reported(metric.as_str()) => None,
                MeasureSource::Above { metric, .. } => Some((measure.name.clone(), metric.to_string())),
                _ => Some((measure.name.clone(), measure.name.clone())),
            })
            .collect()
    }

    /// What a person should know of the reports themselves.
    fn silent(&self, experiment: &Experiment) -> Vec<String> {
        if self.outcomes == 0 && self.requests > 0 && !experiment.spec.guardrails.is_empty() {
            return vec![format!(
                "none of the {} requests of the last day was reported: the guardrails see nothing, and an arm of which \
                 nothing is reported freezes",
                self.requests
            )];
        }
        let unreported = self.unreported(experiment).into_iter();
        unreported
            .map(|(_, metric)| {
                format!(
                    "none of the {} outcomes of the last day reports `{metric}`: its guardrail sees nothing",
                    self.outcomes
                )
            })
            .collect()
    }
}
