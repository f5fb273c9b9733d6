//! A refusal, told with what to do next.
//!
//! The server says what is wrong; which command mends it is known here. With `--json` the problem document is printed as it
//! came, since scripts go by its `code`.

use super::words::findings;
use crate::cli::{
    client::ClientError,
    figures::{list, text},
    output::{self, Told},
    table::plain,
};
use serde_json::Value;

/// What a command was about, for the commands that are named as a next step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// The prompt's name.
    pub(super) name: &'a str,
    /// The version as it was written; empty where none was.
    pub(super) version: &'a str,
}

impl<'a> Subject<'a> {
    /// A prompt and no version of it.
    pub(super) fn prompt(name: &'a str) -> Self {
        Self { name, version: "" }
    }

    /// A version of a prompt.
    pub(super) fn version(name: &'a str, version: &'a str) -> Self {
        Self { name, version }
    }

    /// A command on it that can be pasted into a shell.
    pub(super) fn command(self, step: &str, rest: &str) -> String {
        let words = [
            "serin prompt",
            step,
            &shell(self.name),
            &shell(self.version),
            rest,
        ];
        let words = words.into_iter().filter(|word| !word.is_empty());
        format!("`{}`", words.collect::<Vec<_>>().join(" "))
    }
}

/// Tells a refusal; any other error is handed back.
pub(super) fn told(error: ClientError, json: bool, subject: &Subject<'_>) -> anyhow::Error {
    let ClientError::Refused {
        code,
        detail,
        problem,
        ..
    } = error
    else {
        return error.into();
    };
    if json {
        return match output::print_json(&problem) {
            Ok(()) => Told.into(),
            Err(error) => error,
        };
    }
    output::complain(words(&code, &detail, &problem, *subject).trim_end());
    Told.into()
}

/// A refusal in words.
fn words(code: &str, detail: &str, problem: &Value, subject: Subject<'_>) -> String {
    let mut out = if code == "NOT_DEPLOYABLE" {
        // The detail repeats what is listed below.
        let short = detail.split_once(": ").map_or(detail, |(short, _)| short);
        let missing = findings(list(&problem["missing"]), subject);
        format!("error: {short} ({code}); missing:\n{missing}nothing was changed\n")
    } else {
        match list(&problem["problems"]) {
            [] => format!("error: {detail} ({code})\n"),
            mistakes => {
                let line = |mistake: &Value| {
                    let field = plain(text(mistake, "field"));
                    let separator = if field.is_empty() { "" } else { ": " };
                    format!("  {field}{separator}{}\n", plain(text(mistake, "problem")))
                };
                let lines: String = mistakes.iter().map(line).collect();
                format!("error: refused ({code}):\n{lines}nothing was changed\n")
            }
        }
    };
    if let Some(next) = next(code, subject) {
        out.push_str(&format!("next: {next}\n"));
    }
    out
}

/// What to do about a refusal, where more can be said than the server did.
fn next(code: &str, subject: Subject<'_>) -> Option<String> {
    let of_prompt = Subject::prompt(subject.name);
    Some(match code {
        "PROMPT_NOT_FOUND" => format!(
            "`serin prompt list` shows what there is; {} makes it",
            of_prompt.command("register", "<file>")
        ),
        "VERSION_NOT_FOUND" | "LABEL_NOT_FOUND" => {
            format!("{} lists its versions and labels", of_prompt.command("show", ""))
        }
        "PROMPT_EXISTS" => format!(
            "run {} again: somebody else registered it in between",
            of_prompt.command("register", "<file>")
        ),
        "VERSION_IMMUTABLE" => "register it with --bump patch, or with a --semver of its own".to_owned(),
        "PROMPT_TYPE_FIXED" => "register it under another name".to_owned(),
        "COMPOSITION_REFUSED" => {
            "`serin prompt list` shows the prompts that can be included, with versions and labels".to_owned()
        }
        "LABEL_PROTECTED" => of_prompt.command("deploy", "<version> --environment <environment> --reason …"),
        "NOT_DEPLOYABLE" => "bring what is missing, then run the same command again".to_owned(),
        "OTHER_CONTENT" => subject.command("evaluate", "--cmd '<program>'"),
        "OWN_VERSION" | "SAME_REVIEWER" | "OTHER_REVIEWER" => {
            "have somebody else review it: with their own token, or without tokens by --reviewer <name>".to_owned()
        }
        "NO_PREVIOUS_VERSION" | "NEVER_DEPLOYED" => {
            format!("{} shows what was deployed where", of_prompt.command("history", ""))
        }
        "FORBIDDEN" => {
            "take a token with that role, by SERIN_TOKEN or --token-file; `serin token <name> --role <role>` makes one"
                .to_owned()
        }
        "REVISION_CONFLICT" => "look again at what is there now, then run the same command again".to_owned(),
        "STORE_UNAVAILABLE" | "OVERLOADED" | "SHUTTING_DOWN" => {
            "run the same command again in a moment; decisions go on meanwhile".to_owned()
        }
        _ => return None,
    })
}

/// A word as a shell takes it.
pub(super) fn shell(word: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "-._/".contains(c);
    if word.chars().all(bare) {
        word.to_owned()
    } else {
        format!("'{}'", plain(word).replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missing_has_a_line_each_and_its_remedy() {
        let missing = json!({"missing": [
            {"code": "not_evaluated", "severity": "error", "place": "evaluation", "problem": "there is none",
             "remedy": "evaluate it"},
            {"code": "variable_removed", "severity": "warning", "place": "order id", "problem": "it is gone",
             "remedy": "accept it"}]});
        let detail = "version 2 of prompt `a b` cannot be deployed to `production`: not_evaluated …";
        let told = words(
            "NOT_DEPLOYABLE",
            detail,
            &missing,
            Subject::version("a b", "1.1.0"),
        );
        assert_eq!(
            told,
            "error: version 2 of prompt `a b` cannot be deployed to `production` (NOT_DEPLOYABLE); missing:\n  \
               not_evaluated (evaluation): there is none\n    \
                 → evaluate it: `serin prompt evaluate 'a b' 1.1.0 --cmd '<program>'`\n  \
               variable_removed (order id): it is gone\n    \
                 → accept it: --accept 'variable_removed:order id'\n\
             nothing was changed\n\
             next: bring what is missing, then run the same command again\n"
        );
    }

    #[test]
    fn mistakes_have_a_line_each() {
        let problem = json!({"problems": [{"field": "prompt", "problem": "must not be empty"},
            {"field": "", "problem": "is odd\n"}]});
        assert_eq!(
            words("INVALID_PROMPT", "…", &problem, Subject::prompt("a")),
            "error: refused (INVALID_PROMPT):\n  prompt: must not be empty\n  is odd \nnothing was changed\n"
        );
    }

    #[test]
    fn every_refusal_says_what_is_next() {
        let told = words(
            "PROMPT_NOT_FOUND",
            "prompt `x` does not exist",
            &json!({}),
            Subject::version("x", "2"),
        );
        assert_eq!(
            told,
            "error: prompt `x` does not exist (PROMPT_NOT_FOUND)\n\
             next: `serin prompt list` shows what there is; `serin prompt register x <file>` makes it\n"
        );
    }
}
