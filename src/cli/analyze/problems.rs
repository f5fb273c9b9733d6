//! Rows that cannot be used: how many, and the first of them.

use super::row::{Column, Problem};
use crate::cli::figures::count;
use serde::Serialize;

/// So many are named.
const NAMED: usize = 5;

/// The rows that were left out.
#[derive(Debug, Default)]
pub(super) struct Problems {
    pub(super) count: u64,
    pub(super) first: Vec<Problem>,
}

/// A problem as JSON has it.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    /// `line` of a text or `row` of a table.
    at: u64,
    column: Option<&'static str>,
    detail: String,
}

impl Problems {
    pub(super) fn note(&mut self, problem: Problem) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(problem);
        }
    }

    pub(super) fn told(&self) -> Vec<Told> {
        let told = |problem: &Problem| Told {
            at: problem.at,
            column: problem.column.map(Column::name),
            detail: problem.detail.clone(),
        };
        self.first.iter().map(told).collect()
    }

    /// A line for each of the first, and one for the rest; `place` is `line` or `row`.
    pub(super) fn lines(&self, place: &str) -> Vec<String> {
        let first = self.first.iter().map(|problem| format!("  {place} {problem}"));
        let rest = self.count - self.first.len() as u64;
        let rest = (rest > 0).then(|| format!("  and {} more", count(rest)));
        first.chain(rest).collect()
    }
}
