//! `serin prompt deploy` and `serin prompt rollback`: which version an environment serves.

use super::{
    named::{Named, OneVersion},
    refusal::Subject,
    words::{joined, version},
};
use crate::{
    cli::{
        Global,
        figures::{list, text},
        table::plain,
    },
    domain::prompt::{FindingCode, Severity, VersionRef},
};
use anyhow::Result;
use hyper::StatusCode;
use serde_json::{Value, json};

/// Serve a version in an environment, through the environment's gate
///
/// Refused as long as evidence is missing, with everything that is; warnings can be accepted.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Deploy {
    #[command(flatten)]
    of: Named,
    #[command(flatten)]
    version: OneVersion,
    /// Where [default: the server's own environment]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Why; it lands in the audit log
    #[arg(long, default_value = "asked for on the command line")]
    reason: String,
    /// Accept a warning, as often as needed: variable_added, or variable_added:question for that one alone
    #[arg(long, value_name = "CODE", value_parser = warning)]
    accept: Vec<String>,
}

/// Serve again what an environment served before, at once and without a gate
///
/// Freezes the experiments on the prompt there. Takes effect even while the store is down, and is written later then.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Rollback {
    #[command(flatten)]
    of: Named,
    /// Where [default: the server's own environment]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Back to this version, which was deployed there before [default: the previous one]
    #[arg(
        long = "to",
        value_name = "VERSION",
        visible_alias = "version",
        alias = "target-version"
    )]
    target: Option<VersionRef>,
    /// Why; it lands in the audit log
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
}

/// A warning's code, with a place or without.
fn warning(written: &str) -> Result<String, String> {
    let code = written.split_once(':').map_or(written, |(code, _)| code);
    let warnings = FindingCode::ALL
        .iter()
        .filter(|code| code.severity() == Severity::Warning)
        .map(|code| code.as_str());
    if warnings.clone().any(|known| known == code) {
        return Ok(written.to_owned());
    }
    let known = warnings.collect::<Vec<_>>().join(", ");
    Err(format!("only warnings can be accepted: {known}"))
}

/// Deploys.
///
/// # Errors
/// The server's reason to refuse, or that there is none.
pub(super) fn deploy(asked: &Deploy, global: &Global) -> Result<()> {
    let version = asked.version.text();
    let subject = Subject::version(&asked.of.name, &version);
    let mut body = json!({"version": asked.version.json(), "reason": asked.reason});
    if let Some(environment) = &asked.environment {
        body["environment"] = json!(environment);
    }
    if !asked.accept.is_empty() {
        body["accept"] = json!(asked.accept);
    }
    let answer = asked.of.post(global, &subject, "/deploy", &body)?;
    answer.print(global.json, deployed)
}

/// Rolls back.
///
/// # Errors
/// As [`deploy`].
pub(super) fn roll_back(asked: &Rollback, global: &Global) -> Result<()> {
    let mut body = json!({"reason": asked.reason});
    if let Some(environment) = &asked.environment {
        body["environment"] = json!(environment);
    }
    if let Some(target) = &asked.target {
        body["target_version"] = json!(target);
    }
    let subject = Subject::prompt(&asked.of.name);
    let answer = asked.of.post(global, &subject, "/rollback", &body)?;
    let written = answer.status != StatusCode::ACCEPTED;
    answer.print(global.json, |answer| rolled_back(answer, written))
}

fn deployed(answer: &Value) -> String {
    let mut out = format!(
        "{} serves {} {} now{} (revision {})\n",
        plain(text(answer, "environment")),
        plain(text(answer, "name")),
        version(answer),
        before(answer),
        answer["revision"],
    );
    for accepted in list(&answer["accepted"]) {
        let (code, place) = (text(accepted, "code"), text(accepted, "place"));
        let told = match accepted.as_str() {
            Some(code) => plain(code),
            None => format!(
                "{} ({}): {}",
                plain(code),
                plain(place),
                plain(text(accepted, "problem"))
            ),
        };
        out.push_str(&format!("  accepted: {told}\n"));
    }
    out
}

fn rolled_back(answer: &Value, written: bool) -> String {
    let mut out = format!(
        "{} serves {} {} again{} (revision {})\n",
        plain(text(answer, "environment")),
        plain(text(answer, "name")),
        version(answer),
        before(answer),
        answer["revision"],
    );
    if !written {
        out.push_str("  the store is down: it holds in this process, and is written as soon as possible\n");
    }
    let frozen = joined(&answer["frozen"]);
    if !frozen.is_empty() {
        out.push_str(&format!(
            "  frozen: {frozen}; nothing but `serin experiment resume` lifts that\n"
        ));
    }
    out
}

fn before(answer: &Value) -> String {
    let previous = &answer["previous"];
    if previous.is_null() {
        String::new()
    } else {
        format!(", {} before", version(previous))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_warnings_can_be_accepted() {
        for good in ["variable_added", "variable_removed:order id"] {
            assert_eq!(warning(good).as_deref(), Ok(good));
        }
        for bad in ["secret", "stray_delimiter", "variable", ""] {
            assert!(warning(bad).unwrap_err().contains("variable_added"), "{bad}");
        }
    }

    #[test]
    fn what_is_served_and_what_was() {
        let answer = json!({"name": "a", "environment": "production", "version": 2, "semver": "1.1.0", "previous": 1,
            "accepted": [{"code": "large", "place": "prompt", "problem": "it is long"}], "revision": 9,
            "frozen": ["tone"]});
        assert_eq!(
            deployed(&answer),
            "production serves a 1.1.0 (version 2) now, version 1 before (revision 9)\n  accepted: large (prompt): it is long\n"
        );
        assert_eq!(
            rolled_back(&answer, true),
            "production serves a 1.1.0 (version 2) again, version 1 before (revision 9)\n  \
             frozen: tone; nothing but `serin experiment resume` lifts that\n"
        );
    }
}
