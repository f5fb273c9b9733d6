//! What can be wrong with an audience: when it is compiled, with a place, and when it is asked, with nothing.

use super::scan::{MOST_BYTES, MOST_NESTING};
use std::fmt;
use thiserror::Error;

/// Why an audience was refused. Messages are for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AudienceError {
    /// Nothing but spaces or comments.
    #[error("empty audience, leave it out to mean everyone")]
    Empty,
    /// More than [`MOST_BYTES`].
    #[error("audience of {bytes} bytes, at most {MOST_BYTES} are allowed")]
    TooLong {
        /// Length of the source.
        bytes: usize,
    },
    /// Deeper than [`MOST_NESTING`], which could exhaust the stack.
    #[error(
        "{place}: nested too deeply, at most {MOST_NESTING} levels of brackets and operators are allowed"
    )]
    TooDeep {
        /// Where it became too deep.
        place: Place,
    },
    /// Not an expression.
    #[error("{place}: {problem}")]
    Syntax {
        /// Where it stops making sense.
        place: Place,
        /// What is wrong, with a hint for the usual slips.
        problem: String,
    },
    /// A function or macro that does not exist.
    #[error("{place}: unknown function `{name}`{}", .hint.as_deref().unwrap_or_default())]
    UnknownFunction {
        /// Where it is called.
        place: Place,
        /// As it was written.
        name: String,
        /// What may have been meant, in words that follow the name.
        hint: Option<String>,
    },
    /// A function that exists, with arguments it does not take.
    #[error("{place}: {problem}")]
    Arguments {
        /// Where it is called.
        place: Place,
        /// What it takes.
        problem: String,
    },
    /// Values that an operator or function can never take, or an audience that is never true or false.
    #[error("{place}: {problem}")]
    Type {
        /// Where the values meet.
        place: Place,
        /// Which values.
        problem: String,
    },
    /// A construct that is refused because an answer could cost too much.
    #[error("{place}: {problem}")]
    TooCostly {
        /// Where it begins.
        place: Place,
        /// Why.
        problem: String,
    },
}

/// A place in the source; both numbers count from one, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Place {
    /// The place of a byte offset; offsets behind the end mean the end.
    pub(super) fn of(source: &str, offset: usize) -> Self {
        let before = source.get(..offset).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: 1 + before.matches('\n').count(),
            column: 1 + before[line_start..].chars().count(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 1 {
            write!(f, "line {}, ", self.line)?;
        }
        write!(f, "column {}", self.column)
    }
}

/// The expression does not fit the attributes of this request. It has no details, so that it costs nothing on the
/// decision path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the audience does not fit the attributes")]
pub struct AudienceEvaluationError;
