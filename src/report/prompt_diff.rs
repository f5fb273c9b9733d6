//! What differs between two versions of a prompt: line by line and word by word, of content and of config.
//!
//! Typed values, which the API writes as JSON and a terminal colours. Compares what it is given and looks nothing up:
//! whether that is the content as written or as resolved is the caller's choice.

use crate::domain::prompt::{ChatMessage, Config, PromptContent};
use serde::Serialize;
use similar::{ChangeTag, TextDiff};
use std::{fmt::Write as _, time::Duration};

/// Unchanged lines around a change.
const CONTEXT: usize = 3;
/// How long one comparison may look for the shortest difference; after that it takes a longer one, which is right too.
const PATIENCE: Duration = Duration::from_millis(250);

/// What happened to a line or a run of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// In both.
    Same,
    /// In the earlier one only.
    Removed,
    /// In the later one only.
    Added,
}

impl From<ChangeTag> for Change {
    fn from(tag: ChangeTag) -> Self {
        match tag {
            ChangeTag::Equal => Self::Same,
            ChangeTag::Delete => Self::Removed,
            ChangeTag::Insert => Self::Added,
        }
    }
}

/// A line, or a run of words, and what happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// What happened.
    pub change: Change,
    /// The text; a line has no line break.
    pub text: String,
}

/// A stretch of lines around changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hunk {
    /// Its first line in the earlier text, from 1; 0 when it has none there.
    pub from_line: usize,
    /// Its lines in the earlier text.
    pub from_lines: usize,
    /// Its first line in the later text, from 1; 0 when it has none there.
    pub to_line: usize,
    /// Its lines in the later text.
    pub to_lines: usize,
    /// The lines, in order.
    pub lines: Vec<Piece>,
}

/// The difference of two texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TextDifference {
    /// By line, with three lines around each change; empty when the texts are the same.
    pub hunks: Vec<Hunk>,
    /// By word, the whole of both texts; empty when they are the same.
    pub words: Vec<Piece>,
}

/// The difference of two versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PromptDifference {
    /// Of what a model sees. A message is its role in brackets and its text.
    pub content: TextDifference,
    /// Of the settings, as JSON with one line for each value.
    pub config: TextDifference,
}

impl PromptDifference {
    /// The difference between two contents and their configs.
    ///
    /// ```
    /// use serin::{domain::prompt::{Config, PromptContent}, report::prompt_diff::PromptDifference};
    /// let [from, to] = ["Be kind.\nBe short.", "Be kind.\nBe brief."].map(|text| PromptContent::Text(text.into()));
    /// let difference = PromptDifference::between((&from, &Config::new()), (&to, &Config::new()));
    /// let unified = difference.content.unified("1.0.0", "1.1.0");
    /// assert_eq!(unified, "--- 1.0.0\n+++ 1.1.0\n@@ -1,2 +1,2 @@\n Be kind.\n-Be short.\n+Be brief.\n");
    /// ```
    #[must_use]
    pub fn between(from: (&PromptContent, &Config), to: (&PromptContent, &Config)) -> Self {
        let json = |config: &Config| {
            // JSON values always have a JSON form.
            if config.is_empty() {
                String::new()
            } else {
                serde_json::to_string_pretty(config).unwrap_or_default()
            }
        };
        Self {
            content: TextDifference::between(&as_text(from.0), &as_text(to.0)),
            config: TextDifference::between(&json(from.1), &json(to.1)),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.content.is_empty() && self.config.is_empty()
    }
}

impl TextDifference {
    fn between(from: &str, to: &str) -> Self {
        if from == to {
            return Self::default();
        }
        Self {
            hunks: hunks(from, to),
            words: words(from, to),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hunks.is_empty()
    }

    /// As `diff -u` writes it, with the two names in front; empty when there is no difference.
    #[must_use]
    pub fn unified(&self, from: &str, to: &str) -> String {
        let mut text = String::new();
        if self.is_empty() {
            return text;
        }
        // Writing to a string does not fail.
        let _ = writeln!(text, "--- {from}\n+++ {to}");
        for hunk in &self.hunks {
            let Hunk {
                from_line,
                from_lines,
                to_line,
                to_lines,
                lines,
            } = hunk;
            let _ = writeln!(text, "@@ -{from_line},{from_lines} +{to_line},{to_lines} @@");
            for Piece { change, text: line } in lines {
                let sign = match change {
                    Change::Same => ' ',
                    Change::Removed => '-',
                    Change::Added => '+',
                };
                let _ = writeln!(text, "{sign}{line}");
            }
        }
        text
    }
}

fn hunks(from: &str, to: &str) -> Vec<Hunk> {
    // A text's last line is a line whether or not something ends it.
    let [from, to]: [Vec<&str>; 2] = [from, to].map(|text| text.lines().collect());
    let diff = TextDiff::configure().timeout(PATIENCE).diff_slices(&from, &to);
    let groups = diff.grouped_ops(CONTEXT).into_iter();
    let hunk = |group: Vec<similar::DiffOp>| {
        let changes = group.iter().flat_map(|op| diff.iter_changes(op));
        let lines: Vec<Piece> = changes
            .map(|change| Piece {
                change: change.tag().into(),
                text: change.value().to_owned(),
            })
            .collect();
        let count = |other: Change| lines.iter().filter(|line| line.change != other).count();
        let (from_lines, to_lines) = (count(Change::Added), count(Change::Removed));
        let first = group
            .first()
            .map_or((0, 0), |op| (op.old_range().start, op.new_range().start));
        Hunk {
            from_line: first.0 + usize::from(from_lines > 0),
            from_lines,
            to_line: first.1 + usize::from(to_lines > 0),
            to_lines,
            lines,
        }
    };
    groups.map(hunk).collect()
}

fn words(from: &str, to: &str) -> Vec<Piece> {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_words(from, to);
    let mut pieces: Vec<Piece> = Vec::new();
    for change in diff.iter_all_changes() {
        let (tag, word) = (Change::from(change.tag()), change.value());
        match pieces.last_mut() {
            Some(last) if last.change == tag => last.text.push_str(word),
            _ => pieces.push(Piece {
                change: tag,
                text: word.to_owned(),
            }),
        }
    }
    pieces
}

fn as_text(content: &PromptContent) -> String {
    match content {
        PromptContent::Text(text) => text.clone(),
        PromptContent::Chat(messages) => {
            let mut text = String::new();
            for message in messages {
                let _ = match message {
                    ChatMessage::ChatMessage { role, content } => writeln!(text, "[{role}]\n{content}\n"),
                    ChatMessage::Placeholder { name } => writeln!(text, "[placeholder {name}]\n"),
                };
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn difference(from: Value, to: Value) -> PromptDifference {
        let content = |json: &Value| serde_json::from_value(json["prompt"].clone()).unwrap();
        let config = |json: &Value| serde_json::from_value(json["config"].clone()).unwrap_or_default();
        let (from, to) = ((content(&from), config(&from)), (content(&to), config(&to)));
        PromptDifference::between((&from.0, &from.1), (&to.0, &to.1))
    }

    #[test]
    fn the_same_has_no_difference() {
        let same = json!({"prompt": "a\nb", "config": {"t": 1}});
        let found = difference(same.clone(), same);
        assert!(found.is_empty());
        assert_eq!(found.content.unified("a", "b"), "");
    }

    #[test]
    fn words_put_together_are_both_texts() {
        let (from, to) = (
            "Answer  the user\nkindly.",
            "Answer the customer\nkindly, please.",
        );
        let found = difference(json!({"prompt": from}), json!({"prompt": to})).content;
        let without = |other: Change| -> String {
            found
                .words
                .iter()
                .filter(|piece| piece.change != other)
                .map(|piece| piece.text.as_str())
                .collect()
        };
        assert_eq!(
            (without(Change::Added).as_str(), without(Change::Removed).as_str()),
            (from, to)
        );
    }

    #[test]
    fn lines_are_numbered_as_in_a_patch() {
        let from: Vec<String> = (1..=20).map(|n| n.to_string()).collect();
        let mut to = from.clone();
        to[9] = "ten".to_owned();
        to.push("21".to_owned());
        let found = difference(
            json!({"prompt": from.join("\n")}),
            json!({"prompt": to.join("\n")}),
        )
        .content;
        let places: Vec<_> = found
            .hunks
            .iter()
            .map(|h| (h.from_line, h.from_lines, h.to_line, h.to_lines))
            .collect();
        assert_eq!(places, [(7, 7, 7, 7), (18, 3, 18, 4)]);
        let from_nothing = difference(json!({"prompt": ""}), json!({"prompt": "a"})).content;
        assert_eq!(
            from_nothing.unified("x", "y"),
            "--- x\n+++ y\n@@ -0,0 +1,1 @@\n+a\n"
        );
    }

    #[test]
    fn chats_and_settings_are_compared_as_people_read_them() {
        let chat = |text: &str| json!([{"type": "chatmessage", "role": "system", "content": text}, {"type": "placeholder", "name": "past"}]);
        let found = difference(
            json!({"prompt": chat("a"), "config": {"model": "m", "t": 0.2}}),
            json!({"prompt": chat("b"), "config": {"model": "m", "t": 0.4}}),
        );
        assert!(
            found
                .content
                .unified("1", "2")
                .contains(" [system]\n-a\n+b\n \n [placeholder past]")
        );
        assert!(
            found
                .config
                .unified("1", "2")
                .contains("-  \"t\": 0.2\n+  \"t\": 0.4\n")
        );
    }

    #[test]
    fn large_texts_with_nothing_in_common_are_compared_in_time() {
        let text = |seed: u64| -> String {
            let words = (0..60_000_u64).map(|n| format!("w{} ", (n + 1).wrapping_mul(seed) % 1_000_003));
            words.collect()
        };
        let found = difference(json!({"prompt": text(7_919)}), json!({"prompt": text(104_729)})).content;
        assert!(found.words.len() > 1);
    }
}
