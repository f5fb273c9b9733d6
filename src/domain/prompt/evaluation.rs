//! Evaluations: what a run over a version's content found, as evidence for the gates of environments.

use crate::domain::{
    Timestamp,
    id::{Revision, VersionNumber},
    problem::Problem,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most segments, regressions or expected changes of one bundle.
pub const MOST_ENTRIES: usize = 200;
/// The longest text in a bundle, in bytes.
pub const LONGEST_TEXT: usize = 4_096;
/// The largest change of cost or latency that is believed, as a share: a hundredfold.
pub const LARGEST_INCREASE: f64 = 100.0;

/// What was found in one segment, such as a language or an intent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentResult {
    /// In [0, 1], like the whole.
    pub score: f64,
    /// Cases it rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cases: Option<u64>,
}

/// A case that went worse than with the version it was compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    /// Which case.
    pub case: String,
    /// Its score before, in [0, 1].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<f64>,
    /// Its score now, in [0, 1].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<f64>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The evidence that a run gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationBundle {
    /// The digest of what was evaluated; absent: the version as it resolves now. Other content is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The result of the whole, in [0, 1]: more is better.
    pub score: f64,
    /// What the suite itself asks for, in [0, 1].
    pub threshold: f64,
    /// By segment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub segments: BTreeMap<String, SegmentResult>,
    /// The version it was compared with; the next four say how it differs from that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared_with: Option<VersionNumber>,
    /// The cases that went most wrong, worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regressions: Vec<Regression>,
    /// How much slower it is, as a share: 0.1 is 10 % slower, −0.1 is 10 % faster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_increase: Option<f64>,
    /// How much more its tokens cost, as a share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_increase: Option<f64>,
    /// What users will notice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected_changes: Vec<String>,
    /// Where the run can be looked at, an http or https address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

impl EvaluationBundle {
    /// Whether the suite's own threshold is met.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.score >= self.threshold
    }

    /// Everything wrong with it; empty when it may be attached.
    ///
    /// ```
    /// # use serin::domain::prompt::EvaluationBundle;
    /// let bundle: EvaluationBundle = serde_json::from_str(r#"{"score": 92, "threshold": 0.9}"#).unwrap();
    /// assert_eq!(bundle.problems()[0].to_string(), "score: must be from 0 to 1, found 92");
    /// ```
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut share = |field: String, value: f64| {
            if !(0.0..=1.0).contains(&value) {
                problems.push(Problem::new(field, format!("must be from 0 to 1, found {value}")));
            }
        };
        share("score".to_owned(), self.score);
        share("threshold".to_owned(), self.threshold);
        for (name, segment) in &self.segments {
            share(format!("segments.{name:.80}.score"), segment.score);
        }
        for (index, regression) in self.regressions.iter().enumerate() {
            for (key, value) in [("before", regression.before), ("after", regression.after)] {
                if let Some(value) = value {
                    share(format!("regressions[{index}].{key}"), value);
                }
            }
        }
        for (field, increase) in [
            ("latency_increase", self.latency_increase),
            ("cost_increase", self.cost_increase),
        ] {
            if increase.is_some_and(|increase| !(-1.0..=LARGEST_INCREASE).contains(&increase)) {
                let found = increase.unwrap_or_default();
                problems.push(Problem::new(
                    field,
                    format!(
                        "must be a share from -1 to {LARGEST_INCREASE}, 0.1 for 10 % more, found {found}"
                    ),
                ));
            }
        }
        self.sizes(&mut problems);
        if let Some(run) = &self.run
            && !(run.starts_with("https://") || run.starts_with("http://"))
        {
            problems.push(Problem::new("run", "must be an http or https address"));
        }
        problems
    }

    fn sizes(&self, problems: &mut Vec<Problem>) {
        for (field, count) in [
            ("segments", self.segments.len()),
            ("regressions", self.regressions.len()),
            ("expected_changes", self.expected_changes.len()),
        ] {
            if count > MOST_ENTRIES {
                problems.push(Problem::new(
                    field,
                    format!("may have at most {MOST_ENTRIES}, found {count}"),
                ));
            }
        }
        let segments = self.segments.keys().map(|name| ("segments", name));
        let cases = self
            .regressions
            .iter()
            .map(|regression| ("regressions", &regression.case));
        let notes = self
            .regressions
            .iter()
            .filter_map(|regression| Some(("regressions", regression.note.as_ref()?)));
        let changes = self
            .expected_changes
            .iter()
            .map(|change| ("expected_changes", change));
        let run = self.run.iter().map(|run| ("run", run));
        for (field, text) in segments.chain(cases).chain(notes).chain(changes).chain(run) {
            if text.len() > LONGEST_TEXT {
                let problem = format!(
                    "a text may have at most {LONGEST_TEXT} bytes, found {}",
                    text.len()
                );
                problems.push(Problem::new(field, problem));
            }
        }
    }
}

/// An evaluation as it was attached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvaluationRecord {
    /// The log entry.
    pub revision: Revision,
    /// When.
    pub at: Timestamp,
    /// Who attached it.
    pub actor: String,
    /// The evidence; its digest says what it is of.
    pub bundle: EvaluationBundle,
}
