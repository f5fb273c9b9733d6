//! Rows by epoch, arm and series → sums by version and block of time.
//!
//! The one place that knows which version an arm served in an epoch, and under which key a figure is counted where.

use super::Source;
use crate::{
    collector::series::{Series, SeriesRow, SeriesWindow},
    domain::{
        experiment::Experiment,
        id::{ExperimentId, MetricKey, VersionNumber},
        metric::{self, MeasureSource, MetricKind},
    },
    stats::quantile::Sketch,
};
use std::collections::{BTreeMap, BTreeSet};

/// What is shown of outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Measured {
    Success,
    Error,
    Fallback,
    Escalation,
    ManualCorrection,
    Latency,
    Quality,
    Cost,
}

/// Under which name and in which form each is reported.
const MEASURED: [(&str, MetricKind, Measured); 8] = [
    (metric::SUCCESS.0, MetricKind::Rate, Measured::Success),
    ("error", MetricKind::Rate, Measured::Error),
    ("fallback", MetricKind::Rate, Measured::Fallback),
    ("escalation", MetricKind::Rate, Measured::Escalation),
    ("manual_correction", MetricKind::Rate, Measured::ManualCorrection),
    ("latency_ms", MetricKind::Mean, Measured::Latency),
    ("quality", MetricKind::Mean, Measured::Quality),
    ("cost_usd", MetricKind::Mean, Measured::Cost),
];

/// Number and sum by the minute at which a block begins.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Blocks(pub(super) BTreeMap<u32, (u64, f64)>);

impl Blocks {
    /// How many were counted.
    pub(super) fn n(&self) -> u64 {
        self.0.values().map(|(n, _)| n).sum()
    }

    /// The sum of the values.
    pub(super) fn sum(&self) -> f64 {
        self.0.values().map(|(_, sum)| sum).sum()
    }

    fn add(&mut self, row: &SeriesRow) {
        for point in &row.points {
            let (n, sum) = self.0.entry(point.minute).or_default();
            *n += point.n;
            *sum += point.sum;
        }
    }
}

/// What one version had in one window.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) requests: Blocks,
    pub(super) outcomes: Blocks,
    pub(super) values: BTreeMap<Measured, Blocks>,
    /// Of whole hours.
    pub(super) latency: Sketch,
}

/// What one version had in both windows, from wherever it was served.
#[derive(Debug, Clone, Default)]
pub(super) struct VersionTally {
    pub(super) experiments: BTreeSet<ExperimentId>,
    /// Whether outcomes came in that name the version and no experiment.
    pub(super) outside: bool,
    pub(super) current: Tally,
    pub(super) before: Tally,
}

impl VersionTally {
    pub(super) fn has_current(&self) -> bool {
        !self.current.requests.0.is_empty() || !self.current.outcomes.0.is_empty()
    }
}

/// Adds everything up by version.
pub(super) fn by_version(sources: &[Source<'_>]) -> BTreeMap<VersionNumber, VersionTally> {
    let mut versions = BTreeMap::new();
    for source in sources {
        let keys = keys(source.experiment);
        let exposed = exposed(source);
        let mut add = |window: &SeriesWindow, part: Part| {
            for row in &window.rows {
                let Some(version) = version(source.experiment, row) else {
                    continue;
                };
                let tally: &mut VersionTally = versions.entry(version).or_default();
                if part == Part::Current && !row.points.is_empty() {
                    match source.experiment {
                        Some(experiment) => drop(tally.experiments.insert(experiment.spec.id.clone())),
                        None => tally.outside = true,
                    }
                }
                let side = match part {
                    Part::Current => &mut tally.current,
                    Part::Before | Part::JustBefore => &mut tally.before,
                };
                side.add(row, &keys, exposed.contains(&version));
                // The hour in which the window begins is the window's.
                if let (Some(sketch), true) = (&row.sketch, part != Part::JustBefore)
                    && measured(&keys, row.series) == Some(Measured::Latency)
                {
                    side.latency.merge(sketch);
                }
            }
        };
        add(source.current, Part::Current);
        add(source.whole_hours_before, Part::Before);
        add(source.rest_before, Part::JustBefore);
    }
    versions
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Current,
    Before,
    JustBefore,
}

impl Tally {
    fn add(&mut self, row: &SeriesRow, keys: &BTreeMap<MetricKey, Measured>, exposed: bool) {
        match row.series {
            Series::Requests => self.requests.add(row),
            Series::Outcomes => {
                self.outcomes.add(row);
                if !exposed {
                    self.requests.add(row);
                }
            }
            Series::Metric(_) => {
                if let Some(what) = measured(keys, row.series) {
                    self.values.entry(what).or_default().add(row);
                }
            }
        }
    }
}

/// Versions whose requests a source counted in either window, so that both are counted in one way. Where it did not,
/// as for versions served outside experiments, each outcome stands for a request.
fn exposed(source: &Source<'_>) -> BTreeSet<VersionNumber> {
    let windows = [source.current, source.whole_hours_before, source.rest_before];
    let rows = windows.into_iter().flat_map(|window| &window.rows);
    rows.filter(|row| row.series == Series::Requests && !row.points.is_empty())
        .filter_map(|row| version(source.experiment, row))
        .collect()
}

/// The version that an arm served; none where the log does not say.
fn version(experiment: Option<&Experiment>, row: &SeriesRow) -> Option<VersionNumber> {
    let Some(experiment) = experiment else {
        // Outside experiments the epochs are the versions.
        return Some(VersionNumber(row.epoch.0));
    };
    let shares = &experiment.epoch_record(row.epoch)?.shares;
    shares.iter().find(|share| share.arm == row.arm)?.version
}

fn keys(experiment: Option<&Experiment>) -> BTreeMap<MetricKey, Measured> {
    let known = |name: &str, kind: MetricKind| {
        let found = MEASURED
            .iter()
            .find(|(known, of, _)| *known == name && *of == kind);
        found.map(|(.., measured)| *measured)
    };
    match experiment {
        None => metric::of_deployed()
            .filter_map(|(key, (name, kind, _))| Some((key, known(name, kind)?)))
            .collect(),
        Some(experiment) => experiment
            .measures
            .iter()
            .filter(|measure| !matches!(measure.source, MeasureSource::Above { .. }))
            .filter_map(|measure| Some((measure.key, known(&measure.name, measure.kind)?)))
            .collect(),
    }
}

fn measured(keys: &BTreeMap<MetricKey, Measured>, series: Series) -> Option<Measured> {
    match series {
        Series::Metric(key) => keys.get(&key).copied(),
        Series::Requests | Series::Outcomes => None,
    }
}
