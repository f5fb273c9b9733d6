//! What is wrong with deploying a version: values that say where, and what to do about it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; keeps nothing from being deployed.
    Note,
    /// Has to be accepted by whoever deploys.
    Warning,
    /// Has to be mended.
    Error,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $severity:ident;)*) => {
        /// What was found. The words are stable; scripts go by them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum FindingCode {
            $($(#[$doc])* #[serde(rename = $word)] $name,)*
        }

        impl FindingCode {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word in JSON and on the command line.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// How much it weighs.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    /// `{{` without `}}`.
    UnclosedDelimiter = "unclosed_delimiter", Error;
    /// `}}` without `{{`.
    StrayDelimiter = "stray_delimiter", Note;
    /// Something in double braces that is no variable.
    NotAVariable = "not_a_variable", Warning;
    /// A name that is a variable and a placeholder.
    AmbiguousName = "ambiguous_name", Error;
    /// What it includes cannot be put together.
    Unresolved = "unresolved", Error;
    /// There is nothing in it.
    Empty = "empty", Warning;
    /// It is long enough to matter.
    Large = "large", Warning;
    /// It contains a key that gives access to something.
    Secret = "secret", Error;
    /// A variable that callers have no value for yet.
    VariableAdded = "variable_added", Warning;
    /// A variable whose value will be left out.
    VariableRemoved = "variable_removed", Warning;
    /// A placeholder that callers have no messages for yet.
    PlaceholderAdded = "placeholder_added", Warning;
    /// A placeholder whose messages will be left out.
    PlaceholderRemoved = "placeholder_removed", Warning;
    /// No evaluation of this content.
    NotEvaluated = "not_evaluated", Error;
    /// The newest evaluation failed by its own threshold, or by the environment's.
    ScoreTooLow = "score_too_low", Error;
    /// The evaluation says nothing of a segment that has a floor.
    SegmentNotEvaluated = "segment_not_evaluated", Error;
    /// A segment is below its floor.
    SegmentTooLow = "segment_too_low", Error;
    /// It was compared with another version than the one that is deployed.
    OtherBaseline = "other_baseline", Warning;
    /// The evaluation does not say what it costs more.
    CostUnknown = "cost_unknown", Error;
    /// It costs more than may pass unasked.
    CostIncrease = "cost_increase", Warning;
    /// The evaluation does not say how much slower it is.
    LatencyUnknown = "latency_unknown", Error;
    /// It is slower than may pass unasked.
    LatencyIncrease = "latency_increase", Warning;
    /// An approval that the environment asks for.
    ReviewMissing = "review_missing", Error;
    /// A reviewer said no and has not approved since.
    ReviewRejected = "review_rejected", Error;
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that stands against deploying a version, or is worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub code: FindingCode,
    /// How much it weighs.
    pub severity: Severity,
    /// Where: a field, a variable, a segment, a kind of review.
    pub place: String,
    /// What is wrong, lower case, no full stop.
    pub problem: String,
    /// What to do about it, lower case, no full stop.
    pub remedy: String,
}

impl Finding {
    /// A finding with its code's weight.
    #[must_use]
    pub fn new(
        code: FindingCode,
        place: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity: code.severity(),
            place: place.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// Whether somebody accepted it: by its code, or by code and place such as `variable_removed:question`. Only
    /// warnings can be accepted.
    ///
    /// ```
    /// use serin::domain::prompt::{Finding, FindingCode};
    /// let finding = Finding::new(FindingCode::VariableRemoved, "question", "…", "…");
    /// assert!(finding.is_accepted_by(&["variable_removed:question".to_owned()]));
    /// assert!(finding.is_accepted_by(&["variable_removed".to_owned()]));
    /// assert!(!finding.is_accepted_by(&["variable_removed:tone".to_owned()]));
    /// assert!(!Finding::new(FindingCode::Secret, "prompt", "…", "…").is_accepted_by(&["secret".to_owned()]));
    /// ```
    #[must_use]
    pub fn is_accepted_by(&self, accepted: &[String]) -> bool {
        self.severity == Severity::Warning
            && accepted.iter().any(|word| match word.split_once(':') {
                None => word == self.code.as_str(),
                Some((code, place)) => code == self.code.as_str() && place == self.place,
            })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}): {}; {}",
            self.code, self.place, self.problem, self.remedy
        )
    }
}
