//! `serin prompt evaluate`: runs any evaluation program over a version, and attaches what it found as evidence.
//!
//! Owns the contract with the program: one JSON object in, one bundle out. [`program`] runs it, [`progress`] reads how far
//! it is, [`bundle`] what it found. Nothing is attached unless all of it went well.

mod bundle;
mod program;
mod progress;

use super::{
    named::{Named, OneVersion},
    refusal::Subject,
    words::{gates, short, version},
};
use crate::{
    cli::{
        Global,
        client::{ClientError, Connection, segment},
        figures::{list, shortened, text},
        output,
        table::plain,
    },
    domain::duration_text,
};
use anyhow::{Context as _, Result, anyhow, bail};
use bundle::Bundle;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Evaluate a version with a program of yours, and attach what it finds
///
/// The program runs in a shell. It reads one line of JSON from standard input: `name`, `version`, `semver`, `digest`, `type`,
/// `prompt` (with what it includes put in), `config`, `variables`, `previous` (the same of the version that is deployed, or
/// null) and `examples`. It writes one JSON object to standard output: `score` and `threshold` from 0 to 1, and what else is
/// known: `segments` (name to `score` and `cases`), `compared_with`, `regressions` (`case`, `before`, `after`, `note`),
/// `latency_increase`, `cost_increase` (0.1 is 10 % more), `expected_changes`, `run` (an address).
///
/// Lines `progress 3/10`, `3/10` or `{"done": 3, "total": 10}` on standard error move a bar; other lines are passed on. When
/// it fails, takes too long or writes anything else, nothing is attached.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("evidence").required(true))]
pub(in crate::cli) struct Evaluate {
    #[command(flatten)]
    of: Named,
    #[command(flatten)]
    version: OneVersion,
    /// The program and its arguments, as in a shell
    #[arg(long = "cmd", value_name = "PROGRAM", group = "evidence")]
    program: Option<String>,
    /// Instead of running a program: a file with the bundle that a run has written
    #[arg(long, value_name = "FILE", group = "evidence", conflicts_with_all = ["examples", "timeout", "environment"])]
    bundle: Option<PathBuf>,
    /// Cases for the program, one JSON value a line
    #[arg(long, value_name = "FILE")]
    examples: Option<PathBuf>,
    /// The environment whose deployed version is `previous` [default: the server's own]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// How long the program may take, such as 90s or 2h
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = limit)]
    timeout: Duration,
    /// Print the bundle and attach nothing
    #[arg(long)]
    dry_run: bool,
}

fn limit(written: &str) -> Result<Duration, String> {
    match duration_text::parse(written)? {
        Duration::ZERO => Err("must be longer than 0s".to_owned()),
        limit => Ok(limit),
    }
}

/// Evaluates, and tells what the gates still wait for.
///
/// # Errors
/// [`Told`](crate::cli::output::Told) after a refusal; otherwise what is wrong with the program, its answer or the bundle.
pub(super) fn run(asked: &Evaluate, global: &Global) -> Result<()> {
    let examples = asked.examples.as_deref().map(examples).transpose()?;
    let version = asked.version.text();
    let subject = Subject::version(&asked.of.name, &version);
    let looked = asked
        .of
        .call(global, &subject, async |connection| asked.look(connection).await)?;
    let bundle = asked
        .evidence(&looked, examples)
        .context("nothing was attached")?;
    if asked.dry_run {
        return output::print_json(&bundle.0);
    }
    let path = asked.version.path("evaluation");
    let answer = asked.of.post(global, &subject, &path, &bundle.0)?;
    answer.print(global.json, |answer| shown(answer, &bundle.0, subject))
}

/// The version to evaluate and the one that is deployed, as the server tells them.
struct Looked {
    version: Value,
    previous: Option<Value>,
}

impl Evaluate {
    async fn look(&self, connection: &mut Connection) -> Result<Looked, ClientError> {
        let of = |version: &str| self.of.path(&format!("?version={}", segment(version)));
        let version = connection.get(&of(&self.version.text())).await?.json;
        let environment = self.environment.as_deref();
        let environment =
            environment.map_or_else(String::new, |name| format!("?environment={}", segment(name)));
        let deployments = connection
            .get(&self.of.path(&format!("/deployments{environment}")))
            .await?;
        let running = &deployments.json["running"]["version"];
        let previous = match running.as_u64() {
            // A version is not compared with itself.
            Some(number) if version["version"] != *running => {
                Some(connection.get(&of(&number.to_string())).await?.json)
            }
            _ => None,
        };
        Ok(Looked { version, previous })
    }

    fn evidence(&self, looked: &Looked, examples: Option<Vec<Value>>) -> Result<Bundle> {
        let mut subject = subject(&looked.version)?;
        let digest = text(&subject, "digest").to_owned();
        if let Some(file) = &self.bundle {
            let written = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            return bundle::read(&written, &digest).with_context(|| file.display().to_string());
        }
        subject["previous"] = looked
            .previous
            .as_ref()
            .map(self::subject)
            .transpose()?
            .unwrap_or_default();
        if let Some(examples) = examples {
            subject["examples"] = json!(examples);
        }
        let program = self.program.as_deref().unwrap_or_default();
        let written = program::run(program, &format!("{subject}\n"), self.timeout)?;
        bundle::read(&written, &digest).context("the program's answer")
    }
}

/// What the program is told of a version.
fn subject(version: &Value) -> Result<Value> {
    let resolved = &version["resolved"];
    if let Some(error) = resolved["error"].as_str() {
        bail!(
            "{} cannot be put together: {}",
            self::version(version),
            plain(error)
        );
    }
    let prompt = if resolved["prompt"].is_null() {
        &version["prompt"]
    } else {
        &resolved["prompt"]
    };
    Ok(json!({
        "name": version["name"],
        "version": version["version"],
        "semver": version["semver"],
        "digest": resolved["digest"],
        "type": version["type"],
        "prompt": prompt,
        "config": version["config"],
        "variables": version["variables"],
    }))
}

/// The cases of a file, one JSON value a line.
fn examples(file: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            serde_json::from_str(line)
                .map_err(|error| anyhow!("{}:{}: not valid JSON: {error}", file.display(), index + 1))
        })
        .collect()
}

fn shown(answer: &Value, bundle: &Value, subject: Subject<'_>) -> String {
    let score = |member: &str| {
        bundle[member]
            .as_f64()
            .map_or_else(|| "–".to_owned(), |score| shortened(score, 4))
    };
    let verdict = if answer["passed"] == true {
        "passed"
    } else {
        "failed"
    };
    let mut out = format!(
        "evaluated {} {}: {verdict} with {} of {} asked for (revision {})\n",
        plain(subject.name),
        plain(subject.version),
        score("score"),
        score("threshold"),
        answer["revision"],
    );
    let regressions = list(&bundle["regressions"]).len();
    if regressions > 0 {
        let than = match &bundle["compared_with"] {
            Value::Null => String::new(),
            compared => format!(
                " than with {}",
                compared.as_str().map_or_else(|| short(compared), plain)
            ),
        };
        out.push_str(&format!("  cases that went worse{than}: {regressions}\n"));
    }
    out + &gates(&answer["gates"], subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_gets_what_a_model_would_see() {
        let version = json!({"name": "a", "version": 2, "semver": "1.1.0", "type": "text", "prompt": "@@@…@@@",
            "digest": "as written", "resolved": {"digest": "as served", "prompt": "Hi {{q}}"}, "config": {"t": 1},
            "variables": ["q"], "author": "ann"});
        assert_eq!(
            subject(&version).unwrap(),
            json!({"name": "a", "version": 2, "semver": "1.1.0", "digest": "as served", "type": "text",
                "prompt": "Hi {{q}}", "config": {"t": 1}, "variables": ["q"]})
        );
        let broken =
            json!({"version": 2, "semver": null, "resolved": {"error": "prompt `b` does not exist"}});
        assert_eq!(
            subject(&broken).unwrap_err().to_string(),
            "version 2 cannot be put together: prompt `b` does not exist"
        );
    }

    #[test]
    fn cases_are_told_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cases.ndjson");
        fs::write(&file, "{\"q\": 1}\n\n\"text\"\n").unwrap();
        assert_eq!(examples(&file).unwrap(), [json!({"q": 1}), json!("text")]);
        fs::write(&file, "1\n{\n").unwrap();
        assert!(
            examples(&file)
                .unwrap_err()
                .to_string()
                .contains("cases.ndjson:2: not valid JSON")
        );
    }

    #[test]
    fn what_came_of_it() {
        let answer =
            json!({"passed": false, "revision": 9, "gates": {"production": {"passes": true, "missing": []}}});
        let bundle =
            json!({"score": 0.8, "threshold": 0.9, "regressions": [{"case": "a"}], "compared_with": 1});
        assert_eq!(
            shown(&answer, &bundle, Subject::version("a", "2")),
            "evaluated a 2: failed with 0.8 of 0.9 asked for (revision 9)\n  cases that went worse than with 1: 1\n\
             production: may be deployed\n"
        );
    }
}
