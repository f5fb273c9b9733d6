//! How the versions of one prompt have done in a window of time: rows by minute and reports in, figures out.
//!
//! Owns what is shown of a version, from all experiments it was served in and from outcomes that name it outside any,
//! and the sentences that follow. A pure function of its arguments: it reads no clock and no store. Called by the
//! control plane.
//!
//! The figures of two versions here are **not** a comparison: they come from other users at other times. Which of two is
//! better is said only where an experiment split units between them, and then it is that experiment's report that says
//! so. Errors are made from blocks of time, because counts by minute know no units: requests close in time are alike,
//! users that come back in another block are not seen. So an interval here is a measure of how steady a figure is, and
//! wider or narrower than one with units as clusters.
//!
//! In reading order: `span` is the window and the one before; `tally` adds rows up by version; `estimate` makes figures
//! of sums, `percentiles` of sketches; `trend` puts one window against the other; `recommend` says it in words.

mod estimate;
mod percentiles;
mod recommend;
mod span;
mod tally;
mod trend;

pub use estimate::{Basis, Estimate, Total};
pub use recommend::{Recommendation, Severity};
pub use span::Span;
pub use trend::{Direction, Trend};

use super::{Figure, Report};
use crate::{
    collector::series::SeriesWindow,
    domain::{
        Timestamp,
        experiment::Experiment,
        id::{Environment, ExperimentId, PromptName, Revision, VersionNumber},
        prompt::Prompt,
    },
};
use estimate::{Form, count, estimate, sum};
use percentiles::percentile;
use serde::Serialize;
use tally::{Measured, Tally, VersionTally};

/// What the performance of a prompt is made from.
#[derive(Debug)]
pub struct Input<'a> {
    /// Which prompt.
    pub prompt: &'a Prompt,
    /// The environment that was asked for; everything given here is of it.
    pub environment: Option<&'a Environment>,
    /// The window, as it was asked for.
    pub window: &'a str,
    /// The same in minutes.
    pub span: Span,
    /// Where its versions were served.
    pub sources: &'a [Source<'a>],
    /// Its experiments that take part in decisions, with their reports.
    pub reports: &'a [(&'a Experiment, Report)],
    /// The log entry it is made at.
    pub revision: Revision,
}

/// One place where versions of the prompt were served, with what was counted there.
#[derive(Debug)]
pub struct Source<'a> {
    /// The experiment; none for outcomes that name a version outside any.
    pub experiment: Option<&'a Experiment>,
    /// What [`Span::current`] has.
    pub current: &'a SeriesWindow,
    /// What [`Span::whole_hours_before`] has.
    pub whole_hours_before: &'a SeriesWindow,
    /// What [`Span::rest_before`] has.
    pub rest_before: &'a SeriesWindow,
}

/// The answer of `GET …/performance`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Performance {
    /// Which prompt.
    pub prompt: PromptName,
    /// Only what experiments served there; none for everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// What cannot be told apart by environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<&'static str>,
    /// How long the window is.
    pub window: String,
    /// Its first minute.
    pub from: Timestamp,
    /// Behind its last minute, which is not over yet.
    pub to: Timestamp,
    /// The first minute of the window before; none when its counts are not kept any more.
    pub previous_from: Option<Timestamp>,
    /// How long a block of time is.
    pub block: String,
    /// The hours that percentiles are of: whole ones, so that they reach beyond the window.
    pub percentile_hours: (Timestamp, Timestamp),
    /// The log entry the answer was made at.
    pub revision: Revision,
    /// Every version with data in the window, by number.
    pub versions: Vec<VersionPerformance>,
    /// What follows from the tests, the most severe first.
    pub recommendations: Vec<Recommendation>,
}

/// One version, from everywhere it was served.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersionPerformance {
    /// Its number.
    pub version: VersionNumber,
    /// Its semver, if it has one.
    pub semver: Option<String>,
    /// Where it is deployed.
    pub deployed: Vec<Environment>,
    /// The experiments its data come from.
    pub experiments: Vec<ExperimentId>,
    /// Whether outcomes outside experiments are among the data.
    pub outside_experiments: bool,
    /// Requests that used it; where none were counted, as outside experiments, each outcome stands for one.
    pub requests: Total<u64>,
    /// Outcomes that were accepted.
    pub outcomes: Total<u64>,
    /// The share of requests that did what they were for.
    pub success_rate: SuccessRate,
    /// The share with `error`.
    pub error_rate: Estimate,
    /// The share with `fallback`.
    pub fallback_rate: Estimate,
    /// The share with `escalation`.
    pub escalation_rate: Estimate,
    /// The share with `manual_correction`.
    pub manual_correction_rate: Estimate,
    /// `latency_ms`.
    pub latency_ms: Latency,
    /// `quality`.
    pub quality: Quality,
    /// `cost_usd`.
    pub cost_usd: Cost,
}

/// The success rate, and what it was made from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SuccessRate {
    /// `success` where that was reported, otherwise `error`, of which it is the rest.
    pub of: &'static str,
    /// The rate.
    #[serde(flatten)]
    pub rate: Estimate,
}

/// Milliseconds; the mean of values clipped to a cap where an experiment has one, percentiles of the raw values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    /// The mean.
    pub mean: Estimate,
    /// The median.
    pub p50: Estimate,
    /// The 95th percentile.
    pub p95: Estimate,
    /// The 99th percentile.
    pub p99: Estimate,
}

/// Whatever scale the gateways use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quality {
    /// The mean.
    pub mean: Estimate,
}

/// US dollars, clipped to a cap where an experiment has one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// Of the requests whose cost was reported, the mean.
    pub per_request: Estimate,
    /// All that was reported.
    pub total: Total<Figure<f64>>,
}

/// Makes the answer.
#[must_use]
pub fn performance(input: &Input<'_>) -> Performance {
    let span = input.span;
    let tallies = tally::by_version(input.sources);
    let before: u64 = tallies.values().map(|tally| tally.before.outcomes.n()).sum();
    let mut versions: Vec<VersionPerformance> = tallies
        .into_iter()
        .filter(|(_, tally)| tally.has_current())
        .map(|(version, tally)| of_version(input, version, tally))
        .collect();
    trend::correct(versions.iter_mut().flat_map(trends).collect());
    let recommendations = recommend::recommendations(input, &versions, span.has_before().then_some(before));
    let (first_hour, last_hour) = span.hours();
    Performance {
        prompt: input.prompt.name.clone(),
        environment: input.environment.cloned(),
        left_out: input
            .environment
            .map(|_| "outcomes outside experiments, which name no environment"),
        window: input.window.to_owned(),
        from: span::at(span.from),
        to: span::at(span.to),
        previous_from: span.has_before().then(|| span::at(span.first_before())),
        block: span::long(span.block),
        percentile_hours: (span::at(first_hour), span::at(last_hour)),
        revision: input.revision,
        versions,
        recommendations,
    }
}

fn of_version(input: &Input<'_>, version: VersionNumber, tally: VersionTally) -> VersionPerformance {
    let span = input.span;
    let (now, before) = (&tally.current, span.has_before().then_some(&tally.before));
    let of = |form: Form, what: Measured| {
        estimate(
            form,
            now.values.get(&what),
            before.map(|before| before.values.get(&what)),
        )
    };
    let success_rate = if now.values.contains_key(&Measured::Success) {
        SuccessRate {
            of: "success",
            rate: of(Form::Rate, Measured::Success),
        }
    } else {
        SuccessRate {
            of: "error",
            rate: of(Form::Complement, Measured::Error),
        }
    };
    let deployed = input.prompt.deployed.iter();
    let registered = input.prompt.numbered(version);
    VersionPerformance {
        version,
        semver: registered.and_then(|version| Some(version.draft.semver.as_ref()?.to_string())),
        deployed: deployed
            .filter(|(_, deployed)| **deployed == version)
            .map(|(environment, _)| environment.clone())
            .collect(),
        requests: count(span, &now.requests, before.map(|before: &Tally| &before.requests)),
        outcomes: count(span, &now.outcomes, before.map(|before| &before.outcomes)),
        success_rate,
        error_rate: of(Form::Rate, Measured::Error),
        fallback_rate: of(Form::Rate, Measured::Fallback),
        escalation_rate: of(Form::Rate, Measured::Escalation),
        manual_correction_rate: of(Form::Rate, Measured::ManualCorrection),
        latency_ms: Latency {
            mean: of(Form::Mean, Measured::Latency),
            p50: percentile(0.5, now, before),
            p95: percentile(0.95, now, before),
            p99: percentile(0.99, now, before),
        },
        quality: Quality {
            mean: of(Form::Mean, Measured::Quality),
        },
        cost_usd: Cost {
            per_request: of(Form::Mean, Measured::Cost),
            total: sum(
                span,
                now.values.get(&Measured::Cost),
                before.map(|before| before.values.get(&Measured::Cost)),
            ),
        },
        experiments: tally.experiments.into_iter().collect(),
        outside_experiments: tally.outside,
    }
}

/// Every trend of a version.
fn trends(version: &mut VersionPerformance) -> impl Iterator<Item = &mut Trend> {
    [
        &mut version.requests.trend,
        &mut version.outcomes.trend,
        &mut version.success_rate.rate.trend,
        &mut version.error_rate.trend,
        &mut version.fallback_rate.trend,
        &mut version.escalation_rate.trend,
        &mut version.manual_correction_rate.trend,
        &mut version.latency_ms.mean.trend,
        &mut version.latency_ms.p50.trend,
        &mut version.latency_ms.p95.trend,
        &mut version.latency_ms.p99.trend,
        &mut version.quality.mean.trend,
        &mut version.cost_usd.per_request.trend,
        &mut version.cost_usd.total.trend,
    ]
    .into_iter()
}
