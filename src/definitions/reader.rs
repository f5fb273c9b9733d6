//! Takes fields from a [`Node`] tree and collects everything that is wrong instead of stopping at the first.
//!
//! Only shapes are judged here: is the key there, is it known, is it of the right type. What a value may be is the
//! business of `domain::check` and of the settings. The keys a caller asks a [`Table`] for are the keys allowed in
//! it, so there is no second list to keep in step.

use super::document::{Content, Node, key_path, quoted};
use crate::domain::{
    Timestamp, duration_text,
    id::{NameError, VersionNumber},
    problem::Problem,
    prompt::VersionRef,
};
use std::{cell::RefCell, fmt, ops::RangeInclusive, time::Duration};

/// Longer text is no version, and would only make a long message.
const LONGEST_VERSION: usize = 256;

/// The problems found so far; shared by all the readers of one document.
#[derive(Debug, Default)]
pub(crate) struct Report(RefCell<Vec<Problem>>);

impl Report {
    pub(crate) fn add(&self, field: impl Into<String>, problem: impl fmt::Display) {
        self.0.borrow_mut().push(Problem::new(field, problem.to_string()));
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// A table whose keys are known; [`Table::finish`] complains about the others.
pub(crate) struct Table<'n> {
    path: String,
    entries: &'n [(String, Node)],
    report: &'n Report,
    asked: Vec<&'static str>,
}

impl<'n> Table<'n> {
    /// The table at the root of a document; none, with a problem, when the root is something else.
    pub(crate) fn root(node: &'n Node, report: &'n Report) -> Option<Self> {
        let path = String::new();
        Field { path, node, report }.table()
    }

    /// A table without fields.
    pub(crate) fn empty(report: &'n Report) -> Self {
        Self {
            path: String::new(),
            entries: &[],
            report,
            asked: Vec::new(),
        }
    }

    /// A field that may be absent; JSON's null is absent too.
    pub(crate) fn optional(&mut self, key: &'static str) -> Option<Field<'n>> {
        self.asked.push(key);
        let (_, node) = self.entries.iter().find(|(name, _)| name == key)?;
        let present = node.content != Content::Null;
        present.then(|| Field {
            path: key_path(&self.path, key),
            node,
            report: self.report,
        })
    }

    /// A field that must be there; `meaning` tells a person what to write.
    pub(crate) fn required(&mut self, key: &'static str, meaning: &str) -> Option<Field<'n>> {
        let field = self.optional(key);
        if field.is_none() {
            self.report
                .add(key_path(&self.path, key), format_args!("is required: {meaning}"));
        }
        field
    }

    /// A table in this one; as an empty one when it is absent, so that every key in it takes its default.
    pub(crate) fn section(&mut self, key: &'static str) -> Table<'n> {
        self.optional(key)
            .and_then(|field| field.table())
            .unwrap_or(Table {
                path: key_path(&self.path, key),
                ..Table::empty(self.report)
            })
    }

    /// Every field, for tables whose keys are the user's.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'n str, Field<'n>)> {
        let report = self.report;
        self.entries.iter().map(move |(key, node)| {
            let path = key_path(&self.path, key);
            (key.as_str(), Field { path, node, report })
        })
    }

    /// Whether a list of this table has anything in it.
    pub(crate) fn has_items(&self, key: &str) -> bool {
        let found = self.entries.iter().find(|(name, _)| name == key);
        found.is_some_and(|(_, node)| matches!(&node.content, Content::List(items) if !items.is_empty()))
    }

    /// The path of this table, or of a key in it.
    pub(crate) fn path_of(&self, key: &str) -> String {
        key_path(&self.path, key)
    }

    /// Complains about every key that nobody asked for: a misspelt key must not be a silent default.
    pub(crate) fn finish(self) {
        for (key, _) in self.entries {
            if self.asked.contains(&key.as_str()) {
                continue;
            }
            let advice = nearest(key, self.asked.iter().copied()).map_or_else(
                || format!("allowed here: {}", self.asked.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.report
                .add(key_path(&self.path, key), format_args!("unknown key, {advice}"));
        }
    }
}

/// One value, not yet looked at.
pub(crate) struct Field<'n> {
    path: String,
    node: &'n Node,
    report: &'n Report,
}

impl<'n> Field<'n> {
    pub(crate) fn content(&self) -> &'n Content {
        &self.node.content
    }

    /// Adds a problem of this field.
    pub(crate) fn wrong(&self, problem: impl fmt::Display) {
        self.report.add(self.path.clone(), problem);
    }

    /// Adds "expected …, found …".
    pub(crate) fn expected<T>(&self, what: &str) -> Option<T> {
        self.wrong(format_args!(
            "expected {what}, found {}",
            found(&self.node.content)
        ));
        None
    }

    pub(crate) fn text(&self) -> Option<&'n str> {
        match &self.node.content {
            Content::Text(text) => Some(text),
            _ => self.expected("text"),
        }
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        match self.node.content {
            Content::Bool(value) => Some(value),
            _ => self.expected("true or false"),
        }
    }

    /// Any number, whole ones included; what it may be is for others to judge.
    pub(crate) fn number(&self) -> Option<f64> {
        match self.node.content {
            Content::Whole(number) => Some(number as f64),
            Content::Number(number) => Some(number),
            _ => self.expected("a number"),
        }
    }

    pub(crate) fn whole(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let (least, most) = (range.start(), range.end());
        match self.node.content {
            Content::Whole(number) => {
                let number = u64::try_from(number).ok().filter(|n| range.contains(n));
                number.or_else(|| self.expected(&format!("a whole number from {least} to {most}")))
            }
            Content::Number(_) => self.expected(&format!("a whole number from {least} to {most}")),
            _ => self.expected("a whole number"),
        }
    }

    /// A length of time such as `15m`.
    pub(crate) fn duration(&self) -> Option<Duration> {
        match &self.node.content {
            Content::Text(text) if text.len() <= 80 => match duration_text::parse(text) {
                Ok(duration) => Some(duration),
                Err(problem) => {
                    self.wrong(problem);
                    None
                }
            },
            _ => self.expected("a duration in quotes, such as \"250ms\", \"5s\", \"15m\", \"4h\" or \"7d\""),
        }
    }

    /// A moment: TOML's offset date-time, or the same as text.
    pub(crate) fn timestamp(&self) -> Option<Timestamp> {
        let (Content::Text(text) | Content::Time(text)) = &self.node.content else {
            return self.expected("a date and time such as 2026-12-01T00:00:00Z");
        };
        text.parse().map_or_else(
            |_| {
                if text.parse::<jiff::civil::DateTime>().is_ok() {
                    self.wrong(format_args!(
                        "{} has no time zone; write it like 2026-12-01T00:00:00Z or 2026-12-01T01:00:00+01:00",
                        quoted(text)
                    ));
                } else {
                    self.wrong(format_args!(
                        "expected a date and time such as 2026-12-01T00:00:00Z, found {}",
                        quoted(text)
                    ));
                }
                None
            },
            Some,
        )
    }

    /// A name that keeps its type's rule.
    pub(crate) fn name<T>(&self, make: impl Fn(&str) -> Result<T, NameError>) -> Option<T> {
        match make(self.text()?) {
            Ok(name) => Some(name),
            Err(problem) => {
                self.wrong(problem);
                None
            }
        }
    }

    /// A prompt version: `"1.1.0"`, `"2"` or `2`.
    pub(crate) fn version(&self) -> Option<VersionRef> {
        let number = match &self.node.content {
            Content::Whole(number) => u32::try_from(*number).unwrap_or(0),
            Content::Text(text) if text.len() <= LONGEST_VERSION => match text.parse() {
                Ok(VersionRef::Number(number)) => number.0,
                Ok(semver) => return Some(semver),
                Err(problem) => {
                    self.wrong(problem);
                    return None;
                }
            },
            _ => return self.expected("a semver such as \"1.1.0\" or a version number such as 2"),
        };
        if number == 0 {
            return self.expected("a version number from 1 to 4294967295");
        }
        Some(VersionRef::Number(VersionNumber(number)))
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let list: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let expected = format!("one of {}", list.join(", "));
        let Content::Text(text) = &self.node.content else {
            return self.expected(&expected);
        };
        let chosen = words.iter().find(|(word, _)| word == text);
        if chosen.is_none() {
            let near = nearest(text, words.iter().map(|(word, _)| *word));
            let advice = near.map_or_else(String::new, |near| format!(", did you mean \"{near}\"?"));
            self.wrong(format_args!(
                "expected {expected}, found {}{advice}",
                quoted(text)
            ));
        }
        chosen.map(|(_, value)| *value)
    }

    /// Whether a list is written, where one value would do as well.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.node.content, Content::List(_))
    }

    pub(crate) fn list(&self) -> Option<Vec<Field<'n>>> {
        let Content::List(items) = &self.node.content else {
            return self.expected("a list");
        };
        let field = |(index, node)| Field {
            path: format!("{}[{index}]", self.path),
            node,
            report: self.report,
        };
        Some(items.iter().enumerate().map(field).collect())
    }

    pub(crate) fn table(&self) -> Option<Table<'n>> {
        let Content::Table(entries) = &self.node.content else {
            return self.expected("a table");
        };
        Some(Table {
            path: self.path.clone(),
            entries,
            report: self.report,
            asked: Vec::new(),
        })
    }
}

/// What stands there instead, short enough for a message.
fn found(content: &Content) -> String {
    match content {
        Content::Null => "null".to_owned(),
        Content::Bool(value) => value.to_string(),
        Content::Whole(number) => number.to_string(),
        Content::Number(number) => format!("{number:?}"),
        Content::Text(text) => format!("text {}", quoted(text)),
        Content::Time(time) => format!("the time {time}"),
        Content::List(_) => "a list".to_owned(),
        Content::Table(_) => "a table".to_owned(),
    }
}

/// The word that was probably meant; none when nothing is close.
fn nearest<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    const LONGEST_TYPO: usize = 64;
    if text.len() > LONGEST_TYPO {
        return None;
    }
    let lower = text.to_lowercase();
    words
        .map(|word| (strsim::damerau_levenshtein(&lower, word), word))
        .filter(|(distance, word)| *distance <= 1 + word.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}
