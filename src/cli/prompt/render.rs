//! `serin prompt render`: a version with values put in.

use super::{
    named::{Named, Selected},
    refusal::Subject,
    words::joined,
};
use crate::cli::{
    Global, content,
    figures::list,
    output::{self, Told},
};
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::io::{self, IsTerminal as _};

/// A version with values for its variables and placeholders put in; changes nothing
///
/// A text goes to standard output as it is, for the next program in a pipe; what has no value stays as it was written, and
/// is told on standard error.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Render {
    #[command(flatten)]
    of: Named,
    #[command(flatten)]
    selected: Selected,
    /// The value of a variable, as often as needed
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,
    /// The messages for a placeholder, as a JSON list of objects with `role` and `content`
    #[arg(long = "placeholder", value_name = "NAME=JSON", value_parser = placeholder)]
    placeholders: Vec<(String, Value)>,
    /// Fail when a variable or placeholder has no value
    #[arg(long)]
    strict: bool,
}

/// NAME=VALUE; the value may hold `=` itself.
fn variable(written: &str) -> Result<(String, String), String> {
    match written.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

fn placeholder(written: &str) -> Result<(String, Value), String> {
    let (name, value) = variable(written)?;
    match serde_json::from_str(&value) {
        Ok(messages @ Value::Array(_)) => Ok((name, messages)),
        _ => Err("the messages must be a JSON list".to_owned()),
    }
}

/// Renders it.
///
/// # Errors
/// The server's reason to refuse, or that there is none; with `--strict` [`Told`] when a value is missing.
pub(super) fn run(asked: &Render, global: &Global) -> Result<()> {
    let answer = asked
        .of
        .post(global, &Subject::prompt(&asked.of.name), "/render", &asked.body())?;
    let terminal = io::stdout().is_terminal();
    answer.print(global.json, |answer| shown(answer, terminal))?;
    let missing = joined(&answer.json["missing"]);
    if !global.json {
        let unused = joined(&answer.json["unused"]);
        if !missing.is_empty() {
            output::complain(&format!(
                "no value for {missing}: give one with --var or --placeholder"
            ));
        }
        if !unused.is_empty() {
            output::complain(&format!("nothing asks for {unused}"));
        }
    }
    if asked.strict && !missing.is_empty() {
        return Err(Told.into());
    }
    Ok(())
}

impl Render {
    fn body(&self) -> Value {
        let variables: Map<String, Value> = self
            .variables
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        let placeholders: Map<String, Value> = self.placeholders.iter().cloned().collect();
        let mut body = json!({"variables": variables, "placeholders": placeholders});
        self.selected.add_to(&mut body);
        body
    }
}

/// A text as it is where a program reads it; on a terminal nothing of it can steer that.
fn shown(answer: &Value, terminal: bool) -> String {
    let prompt = &answer["prompt"];
    let Some(text) = prompt.as_str() else {
        let roles = if list(prompt).is_empty() {
            String::new()
        } else {
            content::prompt("", prompt)
        };
        return roles.trim_start_matches('\n').to_owned();
    };
    let ended = if text.ends_with('\n') { "" } else { "\n" };
    if terminal {
        let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
        return text.replace(steers, " ") + ended;
    }
    format!("{text}{ended}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_as_they_are_written() {
        assert_eq!(variable("q=a=b"), Ok(("q".to_owned(), "a=b".to_owned())));
        assert_eq!(variable("q="), Ok(("q".to_owned(), String::new())));
        assert!(variable("q").is_err() && variable("=x").is_err());
        assert!(placeholder("past={}").is_err() && placeholder("past=[").is_err());
        assert_eq!(placeholder("past=[]"), Ok(("past".to_owned(), json!([]))));
    }

    #[test]
    fn a_text_is_itself_and_messages_have_their_roles() {
        let answer = json!({"prompt": "a\u{1b}[2J\tb"});
        assert_eq!(shown(&answer, false), "a\u{1b}[2J\tb\n");
        assert_eq!(shown(&answer, true), "a [2J\tb\n");
        let chat = json!({"prompt": [{"type": "chatmessage", "role": "system", "content": "Hi"},
            {"type": "placeholder", "name": "past"}]});
        assert_eq!(shown(&chat, false), "system\n  Hi\n\nplaceholder\n  past\n");
    }
}
