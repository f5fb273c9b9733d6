//! The performance of a prompt's versions over a window.
//!
//! Owns the query. Gathers what the answer is made from and leaves the making to the report.

use super::{
    Segment, Shared, blocking, json, prompts,
    refusal::{bad_query, collector_failed},
    segment,
    timeseries::minutes,
};
use crate::{
    api::problem::Problem,
    collector::{
        Collector,
        series::{SeriesError, SeriesWindow, Window},
    },
    control_plane::View,
    domain::{
        experiment::{Experiment, State as LifeState},
        id::{Environment, ExperimentKey},
        problem::Problem as Mistake,
        prompt::Prompt,
    },
    report::{
        performance::{Input, Source, Span, performance},
        report,
    },
};
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use hyper::StatusCode;
use serde::Deserialize;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use utoipa::IntoParams;

const DAY: u32 = 24 * 60;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// How far to look back, such as `24h`.
    #[serde(default = "usual_window")]
    window: String,
    /// Only what experiments of this environment served.
    environment: Option<String>,
}

fn usual_window() -> String {
    "24h".to_owned()
}

/// How the versions of a prompt do
///
/// Each version's rates, latency, quality and cost in a window, wherever it was served, against the window before, and
/// what follows in plain words.
#[utoipa::path(get, path = "/api/v1/prompts/{name}/performance", operation_id = "prompt_performance", tag = "prompts",
    params(("name" = String, Path, description = "The prompt; slashes may be written as they are"), Wanted),
    responses((status = 200, description = "The report", body = Object)))]
pub(super) async fn read(
    State(shared): State<Shared>,
    name: Segment,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let view = shared.state.plane.view();
    let prompt = prompts::existing(&view, &segment(name)?)?;
    let Query(wanted) = wanted.map_err(|error| bad_query(&[Mistake::new("", error.body_text())]))?;
    let asked = wanted.understood(&shared, &view, &prompt)?;
    let collector = &shared.state.collector;
    let mut counted = Vec::new();
    for experiment in asked.experiments {
        if !experiment.epochs.is_empty() {
            let windows = Windows::read(collector, experiment.key, asked.span).await?;
            counted.push((Some(experiment), windows));
        }
    }
    // These name no environment, so they are nobody's when one is asked for.
    if asked.environment.is_none() {
        let key = ExperimentKey::of_deployed(prompt.key);
        counted.push((None, Windows::read(collector, key, asked.span).await?));
    }
    let (window, environment, span) = (wanted.window, asked.environment, asked.span);
    blocking(move || {
        let state = &shared.state;
        let now = state.clock.now();
        let known = counted.iter().filter_map(|(experiment, _)| experiment.as_deref());
        let live =
            known.filter(|experiment| experiment.state.splits() || experiment.state == LifeState::Frozen);
        let reports: Vec<_> = live
            .map(|experiment| {
                let counts = state.collector.arm_counts(experiment.key);
                let guardrails = (state.assess)(experiment, false);
                let revision = view.catalog.revision;
                (experiment, report(experiment, &counts, guardrails, revision, now))
            })
            .collect();
        let sources: Vec<_> = counted
            .iter()
            .map(|(experiment, windows)| Source {
                experiment: experiment.as_deref(),
                current: &windows.current,
                whole_hours_before: &windows.whole_hours_before,
                rest_before: &windows.rest_before,
            })
            .collect();
        let answer = performance(&Input {
            prompt: &prompt,
            environment: environment.as_ref(),
            window: window.trim(),
            span,
            sources: &sources,
            reports: &reports,
            revision: view.catalog.revision,
        });
        Ok(json(StatusCode::OK, &answer))
    })
    .await
}

/// A query that makes sense.
struct Asked {
    span: Span,
    environment: Option<Environment>,
    /// Of the prompt, in the environment that was asked for.
    experiments: Vec<Arc<Experiment>>,
}

impl Wanted {
    fn understood(&self, shared: &Shared, view: &View, prompt: &Prompt) -> Result<Asked, Problem> {
        let kept_days = shared.state.collector.timeseries_days();
        let kept = Duration::from_secs(u64::from(kept_days * DAY) * 60);
        let mut mistakes = Vec::new();
        let length = minutes(&self.window, kept, &format!("{kept_days}d")).map_err(|problem| {
            mistakes.push(Mistake::new("window", problem));
        });
        let all = view.catalog.experiments.values();
        let mut experiments: Vec<_> = all
            .filter(|experiment| experiment.spec.prompt == prompt.name)
            .cloned()
            .collect();
        let environment = self.environment.as_deref().map(|text| {
            let named = experiments.iter().map(|experiment| &experiment.spec.environment);
            let known: BTreeSet<_> = prompt.deployed.keys().chain(named).collect();
            let found = known.iter().find(|known| known.as_str() == text);
            found.map(|found| Environment::clone(found)).ok_or_else(|| {
                let known: Vec<_> = known.iter().map(|known| known.as_str()).collect();
                let text: String = text.chars().take(40).collect();
                let problem = format!(
                    "nothing of this prompt is served in `{text}`; there are {}",
                    known.join(", ")
                );
                mistakes.push(Mistake::new("environment", problem));
            })
        });
        let (Ok(length), Ok(environment)) = (length, environment.transpose()) else {
            return Err(bad_query(&mistakes));
        };
        if let Some(environment) = &environment {
            experiments.retain(|experiment| experiment.spec.environment == *environment);
        }
        let now = shared.state.clock.now().as_second().max(0) / 60;
        let to = u32::try_from(now).unwrap_or(u32::MAX - 1).saturating_add(1);
        Ok(Asked {
            span: Span::before(to, length, kept_days * DAY),
            environment,
            experiments,
        })
    }
}

/// What was counted in the window and before it.
struct Windows {
    current: SeriesWindow,
    whole_hours_before: SeriesWindow,
    rest_before: SeriesWindow,
}

impl Windows {
    async fn read(collector: &Collector, key: ExperimentKey, span: Span) -> Result<Self, Problem> {
        let read = async |window: Window| {
            let read = collector.series(key, None, window).await;
            read.map_err(|error| match error {
                SeriesError::Collector(error) => collector_failed(&error),
                too_long @ SeriesError::TooLong { .. } => {
                    bad_query(&[Mistake::new("window", too_long.to_string())])
                }
            })
        };
        Ok(Self {
            current: read(span.current()).await?,
            whole_hours_before: read(span.whole_hours_before()).await?,
            rest_before: read(span.rest_before()).await?,
        })
    }
}
