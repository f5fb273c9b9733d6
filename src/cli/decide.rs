//! `serin decide`: which version does this user get, and why?

use super::{
    Global, client, content,
    figures::{list, text},
    table::{facts, plain},
};
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Ask the running server which version a user gets, without being counted
///
/// A look from here is no exposure and changes no result, unless --expose is given.
#[derive(Debug, clap::Args)]
pub(super) struct Decide {
    /// The prompt's name
    prompt: String,
    /// The unit: short for `--attribute user=…`, always sent as text
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// A context attribute, as often as needed
    ///
    /// A value that reads as a JSON number, true or false is sent as such, anything else as text. Quotes make text
    /// of everything: --attribute 'build="42"'.
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = attribute)]
    attributes: Vec<(String, Value)>,
    /// The environment, where it is not the server's own
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Also show the version's content and config
    #[arg(long)]
    content: bool,
    /// Also show every step that led to the answer
    #[arg(long)]
    explain: bool,
    /// Count the look as an exposure and take a receipt, as a gateway would
    #[arg(long)]
    expose: bool,
    /// The data plane's address [default: the one in the settings file]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

fn attribute(written: &str) -> Result<(String, Value), String> {
    match written.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value_of(value))),
        _ => Err("write NAME=VALUE, such as country=DE".to_owned()),
    }
}

fn value_of(written: &str) -> Value {
    match serde_json::from_str(written) {
        // A whole number that fits no integer would lose digits, and an id must not.
        Ok(Value::Number(number)) if number.is_f64() && !written.contains(['.', 'e', 'E']) => written.into(),
        Ok(value @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => value,
        _ => written.into(),
    }
}

/// Asks and shows the answer.
///
/// # Errors
/// The server's reason to refuse, or that there is none.
pub(super) fn run(decide: &Decide, global: &Global) -> Result<()> {
    let server = global.server(decide.url.as_deref(), |settings| settings.data_plane.listen)?;
    let answer = client::run(async { Ok(server.post("/v1/decide", &question(decide)).await?) })?;
    answer.print(global.json, |answer| {
        shown(answer, decide.explain, decide.content)
    })
}

fn question(decide: &Decide) -> Value {
    let mut context: Map<String, Value> = decide.attributes.iter().cloned().collect();
    if let Some(user) = &decide.user {
        context.insert("user".to_owned(), user.as_str().into());
    }
    let mut question = json!({"prompt": decide.prompt, "context": context, "expose": decide.expose});
    if let Some(environment) = &decide.environment {
        question["environment"] = environment.as_str().into();
    }
    for (member, wanted) in [("content", decide.content), ("explain", decide.explain)] {
        if wanted {
            question[member] = true.into();
        }
    }
    question
}

fn shown(answer: &Value, explain: bool, content: bool) -> String {
    let mut out = String::new();
    if explain {
        out.push_str(&trace(list(&answer["explain"])));
    }
    let version = match answer["semver"].as_str() {
        Some(semver) => format!("{} (version {})", plain(semver), answer["version"]),
        None => format!("version {}", answer["version"]),
    };
    let variant = plain(text(answer, "variant"));
    let _ = writeln!(
        out,
        "{} → {version}, variant {variant}",
        plain(text(answer, "prompt"))
    );
    let mut rows = vec![("reason", reason(answer))];
    if let Some(experiment) = answer["experiment"].as_str() {
        rows.push(("experiment", format!("{experiment} ({})", text(answer, "state"))));
    }
    if let Some(receipt) = answer["receipt"].as_str() {
        rows.push(("receipt", receipt.to_owned()));
    }
    rows.push(("revision", answer["revision"].to_string()));
    out.push_str(&facts(&rows));
    if content {
        out.push_str(&content_of(answer));
    }
    out
}

/// One line per step: a check mark where the walk went on inside the experiment, a cross where it left it.
fn trace(steps: &[Value]) -> String {
    if steps.is_empty() {
        return "no experiment looked at this request\n".to_owned();
    }
    let mut out = String::new();
    let mut experiment = "";
    for step in steps {
        if text(step, "experiment") != experiment {
            experiment = text(step, "experiment");
            let _ = writeln!(out, "{}", plain(experiment));
        }
        let mark = if step["passed"] == true { '✓' } else { '✗' };
        let (check, detail) = (plain(text(step, "check")), plain(text(step, "detail")));
        let _ = writeln!(out, "  {mark} {check:<8}  {detail}");
    }
    out
}

fn reason(answer: &Value) -> String {
    let (code, cause) = (text(answer, "reason"), text(answer, "cause"));
    let words = match (code, cause) {
        ("STATIC", _) => "no experiment runs on this prompt, so the deployed version is served",
        ("SPLIT", _) => "the unit is enrolled and drew this variant",
        ("TARGETING_MATCH", _) => "the unit is forced to this variant",
        ("DEFAULT", "audience") => "the context is not in the experiment's audience",
        ("DEFAULT", "traffic") => "the unit is not in the enrolled share of the audience",
        ("DEFAULT", "layer") => "the unit is in another part of the experiment's layer",
        ("DEFAULT", "holdout") => "the unit is held out of every experiment",
        ("DEFAULT", "no_unit") => "the context has no usable unit id",
        ("DEFAULT", "frozen") => "the experiment is frozen, so everyone gets control's version",
        ("DEFAULT", "not_started") => "the experiment has not started yet",
        _ => return [code, cause].join(" ").trim().to_owned(),
    };
    let separator = if cause.is_empty() { "" } else { " " };
    format!("{code}{separator}{cause}: {words}")
}

fn content_of(answer: &Value) -> String {
    let content = &answer["content"];
    content::settings(&content["config"]) + &content::prompt("prompt", &content["prompt"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_values_are_json_where_they_read_as_such() {
        let value = |written| attribute(written).unwrap().1;
        assert_eq!(value("n=42"), json!(42));
        assert_eq!(value("x=-0.5"), json!(-0.5));
        assert_eq!(value("on=true"), json!(true));
        assert_eq!(value("country=DE"), json!("DE"));
        assert_eq!(value("id=\"42\""), json!("42"));
        assert_eq!(
            value("id=123456789012345678901234"),
            json!("123456789012345678901234")
        );
        assert_eq!(value("q=a=b"), json!("a=b"));
        assert_eq!(value("empty="), json!(""));
        assert_eq!(value("list=[1]"), json!("[1]"));
        for bad in ["country", "=DE", ""] {
            assert!(attribute(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_trace_ends_in_the_decision() {
        let answer = json!({
            "prompt": "support_reply", "version": 2, "semver": "1.1.0", "variant": "friendly",
            "experiment": "tone", "state": "running", "reason": "SPLIT", "receipt": null, "revision": 17,
            "explain": [
                {"experiment": "other", "check": "audience", "passed": false, "detail": "plan == \"pro\""},
                {"experiment": "tone", "check": "unit", "passed": true, "detail": "attribute `user`"},
                {"experiment": "tone", "check": "variant", "passed": true, "detail": "drew `friendly`"}]});
        assert_eq!(
            shown(&answer, true, false),
            "other\n  ✗ audience  plan == \"pro\"\n\
             tone\n  ✓ unit      attribute `user`\n  ✓ variant   drew `friendly`\n\
             support_reply → 1.1.0 (version 2), variant friendly\n\
             \x20 reason      SPLIT: the unit is enrolled and drew this variant\n\
             \x20 experiment  tone (running)\n\
             \x20 revision    17\n"
        );
    }

    #[test]
    fn content_is_shown_as_it_was_written() {
        let answer = json!({"prompt": "p", "version": 1, "semver": null, "variant": "deployed", "reason": "STATIC",
            "revision": 3, "content": {"type": "chat", "config": {"model": "m"}, "prompt": [
                {"type": "chatmessage", "role": "system", "content": "one\ntwo"},
                {"type": "placeholder", "name": "ticket"}]}});
        let shown = shown(&answer, false, true);
        assert!(shown.starts_with("p → version 1, variant deployed\n"), "{shown}");
        assert!(
            shown.ends_with("config\n  model  \"m\"\n\nsystem\n  one\n  two\n\nplaceholder\n  ticket\n"),
            "{shown}"
        );
    }
}
