//! A file or a JSON body as one tree: values with the place they were written at.
//!
//! TOML syntax ends here: whoever reads fields sees the same tree whether a person wrote a file or a program
//! sent JSON. Only files have lines.

use super::mistake::Mistake;
use std::{collections::HashMap, fs, io::Read as _, path::Path};
use toml::de::{DeInteger, DeTable, DeValue};

/// The largest file that is read, in bytes.
pub const LARGEST_FILE: u64 = 1_048_576;

/// The most syntax errors told about one file: after a broken line the rest is often noise.
const MOST_SYNTAX_ERRORS: usize = 20;

/// Where something was written, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The place in the line, in bytes.
    pub column: usize,
}

/// Field path → place, for problems that are found after the file was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines(HashMap<String, Place>);

impl Lines {
    /// Whether this very field was written.
    #[must_use]
    pub fn has(&self, field: &str) -> bool {
        self.0.contains_key(field)
    }

    /// The place of a field, or of the nearest one around it; line 1 for the whole file.
    ///
    /// `variants[1].weight` is looked up as itself, then as `variants[1]`, then as `variants`.
    #[must_use]
    pub fn nearest(&self, field: &str) -> Option<Place> {
        let mut path = field;
        loop {
            if let Some(place) = self.0.get(path) {
                return Some(*place);
            }
            if path.is_empty() {
                return None;
            }
            path = enclosing(path);
        }
    }
}

/// The path of the field around another one; empty for the whole.
pub(crate) fn enclosing(path: &str) -> &str {
    let end = path.rfind(['.', '[']).unwrap_or(0);
    &path[..end]
}

/// The path of `key` in the table at `path`. Keys with odd characters are quoted and cut, so that a message stays
/// on one line.
pub(crate) fn key_path(path: &str, key: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
    let key = if !key.is_empty() && key.len() <= 80 && key.chars().all(plain) {
        key.to_owned()
    } else {
        quoted(key)
    };
    if path.is_empty() {
        key
    } else {
        format!("{path}.{key}")
    }
}

/// Text from a file for use in a message: quoted, escaped, at most 80 characters.
pub(crate) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Option<Place>,
    pub(crate) content: Content,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    Whole(i128),
    Number(f64),
    Text(String),
    /// TOML's date or time, in RFC 3339's spelling, possibly without offset.
    Time(String),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

/// A tree and the places of its fields.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    pub(crate) root: Node,
    pub(crate) lines: Lines,
}

impl Document {
    /// Reads a TOML file.
    pub(crate) fn open(file: &Path) -> Result<Self, Vec<Mistake>> {
        let text = text_of(file).map_err(|mistake| vec![mistake])?;
        Self::toml(&text, file)
    }

    /// Reads TOML text; `file` is the name that mistakes carry.
    pub(crate) fn toml(text: &str, file: &Path) -> Result<Self, Vec<Mistake>> {
        let index = LineIndex::new(text);
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let mistake = |error: &toml::de::Error| {
                let place = error.span().map(|span| index.place(span.start));
                Mistake {
                    line: place.map(|place| place.line),
                    column: place.map(|place| place.column),
                    ..Mistake::of_file(file, format!("not valid TOML: {}", error.message()))
                }
            };
            let mut mistakes: Vec<Mistake> = errors.iter().map(mistake).collect();
            // The second error of a line mostly follows from the first.
            mistakes.dedup_by_key(|mistake| mistake.line);
            mistakes.truncate(MOST_SYNTAX_ERRORS);
            return Err(mistakes);
        }
        let root = Node {
            place: Some(Place { line: 1, column: 1 }),
            content: table_content(table.get_ref(), &index),
        };
        let mut lines = Lines::default();
        note_places(&root, String::new(), &mut lines);
        Ok(Self { root, lines })
    }

    /// Takes over JSON, which has no lines.
    pub(crate) fn json(value: &serde_json::Value) -> Self {
        Self {
            root: json_node(value),
            lines: Lines::default(),
        }
    }
}

/// The text of a file, or why it cannot be had.
pub(crate) fn text_of(file: &Path) -> Result<String, Mistake> {
    let wrong = |problem: String| Mistake::of_file(file, problem);
    let unreadable = |error: std::io::Error| wrong(format!("cannot be read: {error}"));
    let metadata = fs::metadata(file).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(wrong("expected a file, found a directory".to_owned()));
    }
    // Opening a pipe would wait for its other end, and a device may never end.
    if !metadata.is_file() {
        return Err(wrong("expected a regular file".to_owned()));
    }
    let too_large = || wrong(format!("may have at most {LARGEST_FILE} bytes"));
    if metadata.len() > LARGEST_FILE {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // The file may grow between the look and the reading.
    let mut limited = fs::File::open(file).map_err(unreadable)?.take(LARGEST_FILE + 1);
    limited.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(too_large());
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        Mistake {
            line: Some(line),
            ..wrong("not valid UTF-8".to_owned())
        }
    })
}

/// Byte offsets → places, without counting lines again for every value.
struct LineIndex(Vec<usize>);

impl LineIndex {
    fn new(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect())
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.0.partition_point(|start| *start <= offset).max(1);
        Place {
            line,
            column: offset - self.0[line - 1] + 1,
        }
    }
}

fn table_content(table: &DeTable<'_>, index: &LineIndex) -> Content {
    let entry = |(key, value): (
        &toml::Spanned<toml::de::DeString<'_>>,
        &toml::Spanned<DeValue<'_>>,
    )| {
        let node = toml_node(value.get_ref(), key.span().start, index);
        (key.get_ref().clone().into_owned(), node)
    };
    Content::Table(table.iter().map(entry).collect())
}

/// A field's place is its key's: the line a person looks for, also where the value is a table further down.
fn toml_node(value: &DeValue<'_>, offset: usize, index: &LineIndex) -> Node {
    let content = match value {
        DeValue::String(text) => Content::Text(text.clone().into_owned()),
        DeValue::Integer(number) => Content::Whole(whole(number)),
        // Text that TOML takes as a float is one for Rust too, `inf` and `nan` included; beyond f64 it is infinite.
        DeValue::Float(number) => Content::Number(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Content::Bool(*value),
        DeValue::Datetime(time) => Content::Time(time.to_string()),
        DeValue::Array(list) => Content::List(
            list.iter()
                .map(|item| toml_node(item.get_ref(), item.span().start, index))
                .collect(),
        ),
        DeValue::Table(table) => table_content(table, index),
    };
    Node {
        place: Some(index.place(offset)),
        content,
    }
}

/// Beyond i128 a number saturates: every range that is checked later is far narrower.
fn whole(number: &DeInteger<'_>) -> i128 {
    let text = number.as_str();
    i128::from_str_radix(text, number.radix()).unwrap_or(if text.starts_with('-') {
        i128::MIN
    } else {
        i128::MAX
    })
}

fn json_node(value: &serde_json::Value) -> Node {
    use serde_json::Value;
    let content = match value {
        Value::Null => Content::Null,
        Value::Bool(value) => Content::Bool(*value),
        Value::Number(number) => {
            let whole = number
                .as_i64()
                .map(i128::from)
                .or_else(|| number.as_u64().map(i128::from));
            whole.map_or_else(
                || Content::Number(number.as_f64().unwrap_or(f64::NAN)),
                Content::Whole,
            )
        }
        Value::String(text) => Content::Text(text.clone()),
        Value::Array(list) => Content::List(list.iter().map(json_node).collect()),
        Value::Object(map) => Content::Table(
            map.iter()
                .map(|(key, value)| (key.clone(), json_node(value)))
                .collect(),
        ),
    };
    Node { place: None, content }
}

fn note_places(node: &Node, path: String, lines: &mut Lines) {
    match &node.content {
        Content::List(items) => {
            for (index, item) in items.iter().enumerate() {
                note_places(item, format!("{path}[{index}]"), lines);
            }
        }
        Content::Table(entries) => {
            for (key, value) in entries {
                note_places(value, key_path(&path, key), lines);
            }
        }
        _ => {}
    }
    if let Some(place) = node.place {
        lines.0.insert(path, place);
    }
}
