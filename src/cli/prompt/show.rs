//! `serin prompt show`: one version with everything that is known of it, and the others in a table.

use super::{
    named::{Named, Selected},
    refusal::Subject,
    words::{deployed, drifted, findings, joined, short, version},
};
use crate::cli::{
    Global, content,
    figures::{list, moment_of, shortened, text},
    table::{Table, facts, indented, plain},
};
use anyhow::Result;
use serde_json::Value;
use std::fmt::Write as _;

/// The most of a digest that is shown.
const DIGEST: usize = 12;

/// One version: content, evidence, what stands against deploying it, and all versions
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Show {
    #[command(flatten)]
    of: Named,
    #[command(flatten)]
    selected: Selected,
}

/// Shows it.
///
/// # Errors
/// The server's reason to refuse, or that there is none.
pub(super) fn run(asked: &Show, global: &Global) -> Result<()> {
    let subject = Subject::prompt(&asked.of.name);
    let answer = asked.of.get(global, &subject, &asked.selected.query())?;
    answer.print(global.json, shown)
}

fn shown(answer: &Value) -> String {
    let name = plain(text(answer, "name"));
    let mut out = format!("{name} {} – {}\n", version(answer), plain(text(answer, "type")));
    out.push_str(&facts(&about(answer)));
    out.push_str(&content::settings(&answer["config"]));
    out.push_str(&content::prompt("prompt", &answer["prompt"]));
    out.push_str(&resolved(answer));
    let evidence = evaluations(answer) + &reviews(answer);
    if !evidence.is_empty() {
        let _ = write!(out, "\nevidence\n{evidence}");
    }
    let found = list(&answer["findings"]);
    if !found.is_empty() {
        let short = short(answer);
        let found = findings(found, Subject::version(text(answer, "name"), &short));
        let _ = write!(out, "\nto see to before it is deployed\n{found}");
    }
    let _ = write!(out, "\nversions\n{}", indented(&versions(answer).to_string()));
    out
}

fn about(answer: &Value) -> Vec<(&'static str, String)> {
    let digest: String = text(answer, "digest").chars().take(DIGEST).collect();
    let mut rows = vec![
        ("message", text(answer, "commit_message").to_owned()),
        ("author", text(answer, "author").to_owned()),
        ("registered", registered(answer)),
        ("source", source(&answer["source"])),
        ("category", text(answer, "category").to_owned()),
        ("tags", joined(&answer["tags"])),
        ("labels", joined(&answer["labels"])),
        ("deployed", deployed(&answer["deployed"])),
        ("drifted", drifted(&answer["drifted"])),
        ("variables", joined(&answer["variables"])),
        ("placeholders", joined(&answer["placeholders"])),
        ("limitations", limitations(&answer["limitations"])),
        ("digest", digest),
    ];
    rows.retain(|(_, value)| !value.is_empty());
    rows
}

fn registered(answer: &Value) -> String {
    let by = text(answer, "registered_by");
    let at = moment_of(&answer["created_at"]);
    if by.is_empty() {
        at
    } else {
        format!("{at} by {by}")
    }
}

fn source(source: &Value) -> String {
    let commit = source["commit"]
        .as_str()
        .or_else(|| source["git_commit"].as_str());
    let path = text(source, "path");
    match (text(source, "kind"), commit) {
        (_, Some(commit)) => {
            let commit: String = commit.chars().take(DIGEST).collect();
            format!("git {commit}{}{path}", if path.is_empty() { "" } else { ":" })
        }
        ("file", None) => path.to_owned(),
        (kind, None) => kind.to_owned(),
    }
}

fn limitations(limitations: &Value) -> String {
    match limitations {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(entries) if entries.is_empty() => String::new(),
        Value::Object(entries) => {
            let entry = |(name, value): (&String, &Value)| {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                format!("{name}: {value}")
            };
            entries.iter().map(entry).collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}

/// What it includes put in, where that is another text; or why that cannot be.
fn resolved(answer: &Value) -> String {
    let resolved = &answer["resolved"];
    if let Some(error) = resolved["error"].as_str() {
        return format!("\nit cannot be put together: {}\n", plain(error));
    }
    if resolved["prompt"].is_null() || resolved["prompt"] == answer["prompt"] {
        return String::new();
    }
    content::prompt("with what it includes", &resolved["prompt"])
}

fn evaluations(answer: &Value) -> String {
    let one = |evaluation: &Value| {
        let score = |member: &str| {
            let score = evaluation[member].as_f64();
            score.map_or_else(|| "–".to_owned(), |score| shortened(score, 4))
        };
        let mut line = format!(
            "  evaluated {}: {} of {} asked for, by {}",
            moment_of(&evaluation["at"]),
            score("score"),
            score("threshold"),
            plain(text(evaluation, "actor")),
        );
        let regressions = list(&evaluation["regressions"]).len();
        if regressions > 0 {
            let _ = write!(line, "; cases that went worse: {regressions}");
        }
        if let Some(run) = evaluation["run"].as_str() {
            let _ = write!(line, "; {}", plain(run));
        }
        line + outdated(evaluation)
    };
    list(&answer["evaluations"]).iter().map(one).collect()
}

fn reviews(answer: &Value) -> String {
    let one = |review: &Value| {
        let verdict = match text(review, "verdict") {
            "reject" => "rejected",
            _ => "approved",
        };
        let mut line = format!(
            "  {verdict} {} as {}, by {}",
            moment_of(&review["at"]),
            plain(text(review, "kind")),
            plain(text(review, "reviewer")),
        );
        if let Some(comment) = review["comment"].as_str() {
            let _ = write!(line, ": {}", plain(comment));
        }
        line + outdated(review)
    };
    list(&answer["reviews"]).iter().map(one).collect()
}

/// The end of a line of evidence. What a version includes may have changed since.
fn outdated(evidence: &Value) -> &'static str {
    if evidence["current"] == false {
        " (of what it included then)\n"
    } else {
        "\n"
    }
}

fn versions(answer: &Value) -> Table {
    let mut table = Table::new(&[">version", "semver", "labels", "author", "registered", "message"]);
    for version in list(&answer["versions"]).iter().rev() {
        table.row([
            version["version"].to_string(),
            text(version, "semver").to_owned(),
            joined(&version["labels"]),
            text(version, "author").to_owned(),
            moment_of(&version["created_at"]),
            text(version, "commit_message")
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_version_with_all_that_is_known_of_it() {
        let answer = json!({
            "name": "a", "type": "text", "version": 2, "semver": "1.1.0", "prompt": "Hi {{q}}", "config": {"t": 0.2},
            "limitations": {"tone": "untested"}, "category": "support", "tags": ["x"], "labels": ["latest"],
            "author": "ann", "commit_message": "softer", "created_at": "2026-12-01T10:00:00Z", "registered_by": "ci",
            "source": {"kind": "git", "git_commit": "0123456789abcdef", "path": "p/a.md"}, "digest": "d".repeat(64),
            "resolved": {"digest": "e".repeat(64), "prompt": "Hello {{q}}"}, "variables": ["q"], "placeholders": [],
            "evaluations": [{"at": "2026-12-01T11:00:00Z", "actor": "ci", "score": 0.93, "threshold": 0.9, "current": false}],
            "reviews": [{"at": "2026-12-01T12:00:00Z", "kind": "product", "verdict": "reject",
                "reviewer": "bob", "comment": "too soft", "current": true}],
            "findings": [{"code": "stray_delimiter", "severity": "note", "place": "prompt", "problem": "p", "remedy": "r"}],
            "deployed": {"production": {"version": 1, "semver": "1.0.0"}}, "drifted": [],
            "versions": [{"version": 1, "semver": "1.0.0", "labels": ["production"], "author": null,
                "created_at": "2026-11-01T10:00:00Z", "commit_message": null}]});
        assert_eq!(
            shown(&answer),
            "a 1.1.0 (version 2) – text\n\
             \x20 message      softer\n\
             \x20 author       ann\n\
             \x20 registered   2026-12-01 10:00:00 UTC by ci\n\
             \x20 source       git 0123456789ab:p/a.md\n\
             \x20 category     support\n\
             \x20 tags         x\n\
             \x20 labels       latest\n\
             \x20 deployed     production 1.0.0\n\
             \x20 variables    q\n\
             \x20 limitations  tone: untested\n\
             \x20 digest       dddddddddddd\n\
             \nconfig\n  t  0.2\n\
             \nprompt\n  Hi {{q}}\n\
             \nwith what it includes\n  Hello {{q}}\n\
             \nevidence\n  evaluated 2026-12-01 11:00:00 UTC: 0.93 of 0.9 asked for, by ci (of what it included then)\n\
             \x20 rejected 2026-12-01 12:00:00 UTC as product, by bob: too soft\n\
             \nto see to before it is deployed\n  stray_delimiter (prompt): p\n    → r\n\
             \nversions\n  version  semver  labels      author  registered               message\n\
             \x20       1  1.0.0   production          2026-11-01 10:00:00 UTC\n"
        );
    }

    #[test]
    fn what_cannot_be_put_together_says_why() {
        let answer = json!({"prompt": "a", "resolved": {"error": "prompt `b` does not exist"}});
        assert_eq!(
            resolved(&answer),
            "\nit cannot be put together: prompt `b` does not exist\n"
        );
        assert_eq!(resolved(&json!({"prompt": "a", "resolved": {"digest": "d"}})), "");
    }
}
