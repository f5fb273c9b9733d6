//! A mistake in what somebody wrote: which field, and what is allowed.

use serde::Serialize;
use std::fmt;

/// One mistake, named by the field's path, such as `variants[1].weight`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The path of the field; empty for the whole.
    pub field: String,
    /// What is wrong and what is allowed, lower case, no full stop.
    pub problem: String,
}

impl Problem {
    /// Puts the two together.
    #[must_use]
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.field, self.problem)
        }
    }
}
