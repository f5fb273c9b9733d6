//! What follows from the figures, in sentences an engineer would write.
//!
//! Every one of them comes from a test: a trend, a verdict of an experiment's report, a guardrail, the check of the
//! split; or from data that are missing. Two versions are called better and worse only as an experiment found them.

mod experiments;
mod silence;
mod trends;
mod words;

use super::{Input, VersionPerformance};
use crate::domain::id::{ExperimentId, VersionNumber};
use serde::Serialize;

/// How soon somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Now.
    Critical,
    /// Today.
    Warning,
    /// When there is time.
    Info,
}

/// One sentence, and the figures behind it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recommendation {
    /// How soon somebody should look.
    pub severity: Severity,
    /// The sentence.
    pub text: String,
    /// The figures it comes from, in words.
    pub because: String,
    /// The experiment it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<ExperimentId>,
    /// The version it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionNumber>,
}

impl Recommendation {
    fn new(severity: Severity, text: String, because: String) -> Self {
        Self {
            severity,
            text,
            because,
            experiment: None,
            version: None,
        }
    }

    fn in_experiment(self, experiment: &ExperimentId) -> Self {
        Self {
            experiment: Some(experiment.clone()),
            ..self
        }
    }

    fn of_version(self, version: Option<VersionNumber>) -> Self {
        Self { version, ..self }
    }
}

/// All of them, the most severe first. `outcomes_before`: how many outcomes the window before had, where it is kept.
pub(super) fn recommendations(
    input: &Input<'_>,
    versions: &[VersionPerformance],
    outcomes_before: Option<u64>,
) -> Vec<Recommendation> {
    let mut all = silence::silence(input, versions, outcomes_before);
    for (experiment, report) in input.reports {
        all.extend(experiments::of_report(input.prompt, experiment, report));
    }
    for version in versions {
        all.extend(trends::of_version(input, version));
    }
    all.sort_by_key(|found| found.severity);
    all
}
