//! `{{name}}` in a prompt: which variables there are, what stands in braces without being one, and filling them in.
//!
//! A name begins with a letter or `_`, goes on with letters, digits, `_`, `-` or `.`, and has at most 128 bytes; spaces
//! inside the braces do not count. This is what Langfuse's Python and JavaScript clients replace alike. Sections and
//! other tags of Mustache are text here, because only one of the two knows them.

use super::content::{ChatMessage, PromptContent};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

const OPEN: &str = "{{";
const CLOSE: &str = "}}";
const LONGEST_VARIABLE: usize = 128;

/// Something in double braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Braced<'a> {
    /// A variable.
    Variable {
        /// Braces included, in bytes.
        place: Range<usize>,
        /// Its name.
        name: &'a str,
    },
    /// No variable: every client leaves it or reads it in a way of its own.
    Other {
        /// Braces included, in bytes.
        place: Range<usize>,
        /// What is inside.
        inner: &'a str,
    },
    /// Braces that nothing closes.
    Unclosed {
        /// The place of the first, in bytes.
        at: usize,
    },
}

/// Whether a variable may be called so.
#[must_use]
pub fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= LONGEST_VARIABLE
        && bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Everything in double braces, in order. Closing braces that nothing opened are text: JSON ends so.
///
/// ```
/// use serin::domain::prompt::variables::{Braced, braced};
/// let found = braced("Hi {{ name }}, {{#if}} {{");
/// assert!(matches!(found[0], Braced::Variable { name: "name", .. }));
/// assert!(matches!(found[1], Braced::Other { inner: "#if", .. }));
/// assert_eq!(found[2], Braced::Unclosed { at: 23 });
/// ```
#[must_use]
pub fn braced(text: &str) -> Vec<Braced<'_>> {
    let mut found = Vec::new();
    let mut next = text.find(OPEN);
    while let Some(at) = next {
        let inner = at + OPEN.len();
        next = text[inner..].find(OPEN).map(|open| inner + open);
        // Looked for up to the next opening only, so that a text of nothing but braces is read once.
        let within = &text[inner..next.unwrap_or(text.len())];
        let Some(end) = within.find(CLOSE) else {
            found.push(Braced::Unclosed { at });
            continue;
        };
        let place = at..inner + end + CLOSE.len();
        let (inner, name) = (&within[..end], within[..end].trim());
        found.push(if is_variable(name) {
            Braced::Variable { place, name }
        } else {
            Braced::Other { place, inner }
        });
    }
    found
}

/// The variables of a content, sorted, each once.
#[must_use]
pub fn variables(content: &PromptContent) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, text) in content.texts() {
        names.extend(braced(text).into_iter().filter_map(|braced| match braced {
            Braced::Variable { name, .. } => Some(name.to_owned()),
            Braced::Other { .. } | Braced::Unclosed { .. } => None,
        }));
    }
    names
}

/// Names that are a variable and a placeholder at once: a caller could fill only one of the two.
#[must_use]
pub fn ambiguous(content: &PromptContent) -> BTreeSet<String> {
    let variables = variables(content);
    let placeholders = content.placeholders();
    placeholders
        .filter(|name| variables.contains(*name))
        .map(str::to_owned)
        .collect()
}

/// `{name}`, as other tools write variables, turned into `{{name}}`. What has double braces already stays as it is, and
/// so does everything in single braces that could not be a variable, such as JSON.
///
/// ```
/// use serin::domain::prompt::variables::double_braces;
/// assert_eq!(double_braces(r#"{question} {{tone}} {"a": {}} { x }"#), r#"{{question}} {{tone}} {"a": {}} { x }"#);
/// ```
#[must_use]
pub fn double_braces(text: &str) -> String {
    let mut converted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        converted.push_str(&rest[..at]);
        rest = &rest[at..];
        let run = rest.bytes().take_while(|b| *b == b'{').count();
        let name = rest[run..].split(['{', '}']).next().unwrap_or_default();
        let closing = rest[run + name.len()..]
            .bytes()
            .take_while(|b| *b == b'}')
            .count();
        if run == 1 && closing == 1 && is_variable(name) {
            converted.push_str(OPEN);
            converted.push_str(name);
            converted.push_str(CLOSE);
            rest = &rest[1 + name.len() + 1..];
        } else {
            converted.push_str(&rest[..run]);
            rest = &rest[run..];
        }
    }
    converted.push_str(rest);
    converted
}

/// What is put into a prompt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values {
    /// Text by variable.
    pub variables: BTreeMap<String, String>,
    /// Messages by placeholder of a chat.
    pub placeholders: BTreeMap<String, Vec<ChatMessage>>,
}

/// A prompt with its values, and what did not fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The content; what is missing stands in it as it was written.
    pub content: PromptContent,
    /// Variables and placeholders without a value, sorted.
    pub missing: Vec<String>,
    /// Values that nothing asks for, sorted.
    pub unused: Vec<String>,
}

/// A prompt cannot be sent as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no value for {}: give one for each variable and placeholder", .0.join(", "))]
pub struct MissingValues(pub Vec<String>);

impl Rendered {
    /// The content, when every variable and placeholder has a value.
    ///
    /// # Errors
    /// [`MissingValues`] with the names of the others.
    pub fn complete(self) -> Result<PromptContent, MissingValues> {
        if self.missing.is_empty() {
            Ok(self.content)
        } else {
            Err(MissingValues(self.missing))
        }
    }
}

/// Puts values in. A value is text: braces in it stay as they are, and so nobody's answer can ask for another value.
#[must_use]
pub fn render(content: &PromptContent, values: &Values) -> Rendered {
    let mut missing = BTreeSet::new();
    let mut fill = |text: &str| {
        let mut filled = String::with_capacity(text.len());
        let mut from = 0;
        for braced in braced(text) {
            let Braced::Variable { place, name } = braced else {
                continue;
            };
            filled.push_str(&text[from..place.start]);
            match values.variables.get(name) {
                Some(value) => filled.push_str(value),
                None => {
                    missing.insert(name.to_owned());
                    filled.push_str(&text[place.clone()]);
                }
            }
            from = place.end;
        }
        filled.push_str(&text[from..]);
        filled
    };
    let rendered = match content {
        PromptContent::Text(text) => PromptContent::Text(fill(text)),
        PromptContent::Chat(messages) => {
            let mut filled = Vec::with_capacity(messages.len());
            for message in messages {
                match message {
                    ChatMessage::ChatMessage { role, content } => filled.push(ChatMessage::ChatMessage {
                        role: role.clone(),
                        content: fill(content),
                    }),
                    ChatMessage::Placeholder { name } => match values.placeholders.get(name) {
                        Some(messages) => filled.extend(messages.iter().cloned()),
                        None => filled.push(message.clone()),
                    },
                }
            }
            PromptContent::Chat(filled)
        }
    };
    let placeholders: BTreeSet<&str> = content.placeholders().collect();
    missing.extend(
        placeholders
            .iter()
            .filter(|name| !values.placeholders.contains_key(**name))
            .map(|name| (*name).to_owned()),
    );
    let known = variables(content);
    let unused = values.variables.keys().filter(|name| !known.contains(*name));
    let unplaced = values
        .placeholders
        .keys()
        .filter(|name| !placeholders.contains(name.as_str()));
    let unused: BTreeSet<&String> = unused.chain(unplaced).collect();
    Rendered {
        content: rendered,
        missing: missing.into_iter().collect(),
        unused: unused.into_iter().cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> PromptContent {
        PromptContent::Text(text.to_owned())
    }

    #[test]
    fn what_is_a_variable_and_what_is_not() {
        for (written, expected) in [
            ("{{a}} {{ a }} {{a.b-c_1}}", vec!["a", "a.b-c_1"]),
            ("{{1a}} {{}} {{a b}} {{{a}}} {{#a}}", vec![]),
            ("{{ {{a}}", vec!["a"]),
            (r#"{"a":{"b":{}}} }}"#, vec![]),
            ("{{é}} {{a}}", vec!["a"]),
        ] {
            let found: Vec<String> = variables(&text(written)).into_iter().collect();
            assert_eq!(found, expected, "{written}");
        }
        assert_eq!(braced("{{a {{b}}")[0], Braced::Unclosed { at: 0 });
        assert_eq!(braced(r#"{"a":{"b":1}}"#), []);
    }

    #[test]
    fn values_are_put_in_once_and_the_rest_is_told() {
        let values = Values {
            variables: [("a", "{{b}}"), ("c", "x")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            placeholders: BTreeMap::new(),
        };
        let rendered = render(&text("{{ a }} {{b}}"), &values);
        assert_eq!(rendered.content, text("{{b}} {{b}}"));
        assert_eq!(
            (rendered.missing.join(","), rendered.unused.join(",")),
            ("b".to_owned(), "c".to_owned())
        );
        assert_eq!(
            rendered.complete().unwrap_err().to_string(),
            "no value for b: give one for each variable and placeholder"
        );
    }

    #[test]
    fn placeholders_become_messages() {
        let chat: PromptContent = serde_json::from_str(
            r#"[{"type": "chatmessage", "role": "system", "content": "Hi {{a}}"}, {"type": "placeholder", "name": "past"},
                {"type": "placeholder", "name": "later"}]"#,
        )
        .unwrap();
        let message = ChatMessage::ChatMessage {
            role: "user".into(),
            content: "{{a}}".into(),
        };
        let values = Values {
            variables: BTreeMap::new(),
            placeholders: BTreeMap::from([("past".to_owned(), vec![message.clone(), message.clone()])]),
        };
        let rendered = render(&chat, &values);
        assert_eq!(rendered.missing, ["a", "later"]);
        let PromptContent::Chat(messages) = rendered.content else {
            panic!("a chat stays one")
        };
        assert_eq!(messages[1..3], [message.clone(), message]);
        assert_eq!(messages.len(), 4);
    }
}
