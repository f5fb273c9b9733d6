//! `{name}` → `{{name}}`: templates of Python's `format` kind, written as Serin and Langfuse write variables.

use crate::domain::prompt::{ChatMessage, PromptContent};

/// Doubles the braces around every name in the texts of a prompt; see [`doubled`].
pub(super) fn convert(content: &mut PromptContent) {
    match content {
        PromptContent::Text(text) => *text = doubled(text),
        PromptContent::Chat(messages) => {
            for message in messages {
                if let ChatMessage::ChatMessage { content, .. } = message {
                    *content = doubled(content);
                }
            }
        }
    }
}

/// Doubles single braces that hold a name and nothing else: letters, digits and `_`, not beginning with a digit.
/// All other braces stay, so JSON does: `{"a": 1}`, `{}` and `{ x }` hold no bare name. What has two or more opening
/// braces stays too, be it a variable already or a brace that `format` would have shown.
fn doubled(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let (before, braces) = rest.split_at(start);
        out.push_str(before);
        let inside = braces.trim_start_matches('{');
        let opening = braces.len() - inside.len();
        match name(inside) {
            Some(name) if opening == 1 => {
                out.push_str("{{");
                out.push_str(name);
                out.push_str("}}");
                rest = &inside[name.len() + 1..];
            }
            _ => {
                out.push_str(&braces[..opening]);
                rest = inside;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The name that a closing brace follows.
fn name(text: &str) -> Option<&str> {
    let (name, _) = text.split_once('}')?;
    let first = name.chars().next()?;
    let named = (first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    named.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_doubled_and_json_is_left_alone() {
        for (text, converted) in [
            ("Hello {name}, {_x1}!", "Hello {{name}}, {{_x1}}!"),
            (r#"{"a": {"b": 1}, "c": {}}"#, r#"{"a": {"b": 1}, "c": {}}"#),
            (r#"{"answer": "{answer}"}"#, r#"{"answer": "{{answer}}"}"#),
            (r#"{"a": {b}}"#, r#"{"a": {{b}}}"#),
            ("{{done}} {{{odd}}} {{half}", "{{done}} {{{odd}}} {{half}"),
            (
                "{1} { x } {a b} {a.b} {a:.2f} {über}",
                "{1} { x } {a b} {a.b} {a:.2f} {über}",
            ),
            ("é{ü{name}", "é{ü{{name}}"),
            ("{", "{"),
            ("{name", "{name"),
            ("", ""),
        ] {
            assert_eq!(doubled(text), converted, "{text}");
        }
    }

    #[test]
    fn converting_twice_is_converting_once() {
        let once = doubled(r#"{a} {"b": {c}} {{d}}"#);
        assert_eq!(doubled(&once), once);
    }

    #[test]
    fn every_message_of_a_chat_is_converted_and_placeholders_are_not() {
        let chat = |content: &str| {
            let content = content.to_owned();
            let role = "system".to_owned();
            let name = "{history}".to_owned();
            PromptContent::Chat(vec![
                ChatMessage::ChatMessage { role, content },
                ChatMessage::Placeholder { name },
            ])
        };
        let mut converted = chat("{a}");
        convert(&mut converted);
        assert_eq!(converted, chat("{{a}}"));
    }
}
