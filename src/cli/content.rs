//! A prompt's content as a person would write it: a text as it is, messages with their roles.

use super::{
    figures::{list, text},
    table::{facts, indented, plain},
};
use serde_json::Value;
use std::fmt::Write as _;

/// The settings below a heading; nothing where there are none.
pub(super) fn settings(config: &Value) -> String {
    let Some(config) = config.as_object().filter(|config| !config.is_empty()) else {
        return String::new();
    };
    let rows: Vec<(&str, String)> = config
        .iter()
        .map(|(key, value)| (key.as_str(), value.to_string()))
        .collect();
    format!("\nconfig\n{}", facts(&rows))
}

/// The text below a heading, or each message below its role.
pub(super) fn prompt(heading: &str, prompt: &Value) -> String {
    let mut out = String::new();
    if let Some(body) = prompt.as_str() {
        let _ = write!(out, "\n{heading}\n{}", lines(body));
    }
    for message in list(prompt) {
        let (role, body) = match message["name"].as_str() {
            Some(name) => ("placeholder", name),
            None => (text(message, "role"), text(message, "content")),
        };
        let _ = write!(out, "\n{}\n{}", plain(role), lines(body));
    }
    out
}

fn lines(body: &str) -> String {
    let clean: Vec<String> = body.lines().map(plain).collect();
    indented(&clean.join("\n"))
}
