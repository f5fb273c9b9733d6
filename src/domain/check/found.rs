//! The problems found so far, and the rules that several fields share.

use super::{super::problem::Problem, LONGEST_NAME};
use std::{collections::HashMap, fmt};

#[derive(Default)]
pub(super) struct Found(Vec<Problem>);

impl Found {
    pub(super) fn problems(self) -> Vec<Problem> {
        self.0
    }

    pub(super) fn add(&mut self, field: impl fmt::Display, problem: impl fmt::Display) {
        self.0.push(Problem::new(field.to_string(), problem.to_string()));
    }

    pub(super) fn positive(&mut self, field: impl fmt::Display, number: f64) {
        if !(number > 0.0 && number.is_finite()) {
            self.add(
                field,
                format_args!("must be a finite number greater than 0, found {number}"),
            );
        }
    }

    pub(super) fn count(&mut self, field: &str, count: usize, least: usize, most: usize) {
        if count < least {
            self.add(field, format_args!("must have at least {least}, found {count}"));
        } else if count > most {
            self.add(field, format_args!("may have at most {most}, found {count}"));
        }
    }

    pub(super) fn length(&mut self, field: impl fmt::Display, text: Option<&str>, longest: usize) {
        if let Some(text) = text
            && text.len() > longest
        {
            self.add(
                field,
                format_args!("may have at most {longest} bytes, found {}", text.len()),
            );
        }
    }

    pub(super) fn short_text(&mut self, field: impl fmt::Display, text: Option<&str>) {
        if text.is_some_and(|text| text.trim().is_empty()) {
            self.add(field, "must not be empty");
        } else {
            self.length(field, text, LONGEST_NAME);
        }
    }

    pub(super) fn unique<'a>(
        &mut self,
        first: &mut HashMap<&'a str, usize>,
        list: &str,
        index: usize,
        name: &'a str,
        what: &str,
    ) {
        let earlier = *first.entry(name).or_insert(index);
        if earlier != index {
            self.add(
                format_args!("{list}[{index}].name"),
                format_args!("{what} must be unique, and {list}[{earlier}] is `{name}` already"),
            );
        }
    }
}
