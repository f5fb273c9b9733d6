//! A mistake in a file, and all of them together.

use super::document::Lines;
use crate::domain::problem::Problem;
use serde::Serialize;
use std::{fmt, path::Path};

/// One mistake: `config/experiments/a.toml:12: variants[1].weight: must be a finite number greater than 0, found 0`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// The file or folder, as it was named to the reader.
    pub file: String,
    /// The line, from 1; none when the file has no readable lines.
    pub line: Option<usize>,
    /// The place in the line in bytes, from 1.
    pub column: Option<usize>,
    /// The path of the field, such as `variants[1].weight`; empty for the whole file.
    pub field: String,
    /// What is wrong and what is allowed, lower case, no full stop.
    pub problem: String,
}

impl Mistake {
    /// A mistake of a file as a whole: missing, unreadable, too large.
    #[must_use]
    pub fn of_file(file: &Path, problem: impl Into<String>) -> Self {
        Self {
            file: file.display().to_string(),
            line: None,
            column: None,
            field: String::new(),
            problem: problem.into(),
        }
    }

    /// Gives a problem its file, and the line of its field or of the nearest field around it.
    #[must_use]
    pub fn located(file: &Path, lines: &Lines, problem: Problem) -> Self {
        let place = lines.nearest(&problem.field);
        Self {
            file: file.display().to_string(),
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            field: problem.field,
            problem: problem.problem,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// Every mistake of a run, by file and line; never empty where it is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(transparent)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// Sorts the mistakes by file, then line, keeping the order within a line.
    #[must_use]
    pub fn sorted(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        Self(mistakes)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}
