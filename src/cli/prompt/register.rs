//! `serin prompt register`: a new version from a file or a pipe.

use super::{
    named::Named,
    refusal::{self, Subject},
    words::{findings, joined, short, version},
};
use crate::{
    cli::{
        Global,
        client::{Answer, ClientError},
        figures::{list, text},
        output::{self, Told},
        table::plain,
    },
    definitions::{
        mistake::Mistakes,
        written::{Format, WrittenVersion},
    },
    domain::{problem::Problem, prompt::Bump},
};
use anyhow::Result;
use clap::builder::PossibleValue;
use serde_json::{Value, json};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Register a version of a prompt; the first one makes the prompt
///
/// The file has the form of those in `config/prompts` (TOML, or JSON with the same keys), or it is the text itself (.md,
/// .txt), which has no config. A file named after a version, such as 1.1.0.toml, has that semver. The same content again
/// changes nothing.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Register {
    #[command(flatten)]
    of: Named,
    /// The file; `-` reads standard input, where TOML and JSON are known by their key `prompt` and all else is text
    file: PathBuf,
    /// How it is written [default: what the ending says]
    #[arg(long)]
    format: Option<Format>,
    /// Its semver [default: that of the file's name; without one the version only has a number]
    #[arg(long, value_name = "VERSION", conflicts_with = "bump")]
    semver: Option<semver::Version>,
    /// Instead: the part to count up in the highest semver of the prompt
    #[arg(long, value_name = "PART")]
    bump: Option<Bump>,
    /// What changed and why [default: the file's commit_message]
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
    /// Who wrote it, and so does not review it [default: the file's]
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// A tag of the prompt, as often as needed; they replace the earlier ones [default: the file's, else those it has]
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// A label to move to it, as often as needed, besides the file's; an environment is deployed to, through its gate
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// What kind of prompt it is, for lists [default: the file's]
    #[arg(long)]
    category: Option<String>,
    /// Accept a warning where a label deploys it, as `serin prompt deploy` does
    #[arg(long, value_name = "CODE")]
    accept: Vec<String>,
    /// Why; it lands in the audit log
    #[arg(long)]
    reason: Option<String>,
}

impl clap::ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Text, Self::Toml, Self::Json]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let word = Self::ALL.iter().find(|(_, format)| format == self)?;
        Some(PossibleValue::new(word.0))
    }
}

impl clap::ValueEnum for Bump {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Major, Self::Minor, Self::Patch]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let word = Self::ALL.iter().find(|(_, bump)| bump == self)?;
        Some(PossibleValue::new(word.0))
    }
}

/// Registers it.
///
/// # Errors
/// [`Told`] when the file has mistakes or the server refuses it; otherwise that the server cannot be asked.
pub(super) fn run(asked: &Register, global: &Global) -> Result<()> {
    let written = if asked.file == Path::new("-") {
        WrittenVersion::piped(io::stdin().lock(), "standard input", asked.format)
    } else {
        WrittenVersion::open(&asked.file, asked.format)
    };
    let written = match written {
        Ok(written) => written,
        Err(mistakes) => return mistaken(&mistakes, global.json),
    };
    let body = asked.body(&written);
    let subject = Subject::prompt(&asked.of.name);
    let registered = asked.of.call(global, &subject, async |connection| {
        match connection.put(&asked.of.path(""), &body).await {
            Err(ClientError::Refused { code, .. }) if code == "PROMPT_NOT_FOUND" => {
                let mut first = body.clone();
                first["name"] = json!(asked.of.name);
                let made = connection.post("/api/v1/prompts", &first).await;
                Ok(made.map(|answer| (answer, true)))
            }
            other => Ok(other.map(|answer| (answer, false))),
        }
    })?;
    let (answer, first): (Answer, bool) = match registered {
        Ok(done) => done,
        Err(ClientError::Refused { problem, .. }) if !global.json && in_file(&problem) => {
            return mistaken(&located(&problem, &written), false);
        }
        Err(error) => return Err(refusal::told(error, global.json, &subject)),
    };
    answer.print(global.json, |answer| shown(answer, first))
}

impl Register {
    fn body(&self, written: &WrittenVersion) -> Value {
        let mut draft = written.draft.clone();
        if self.semver.is_some() {
            draft.semver.clone_from(&self.semver);
        } else if self.bump.is_some() {
            (draft.semver, draft.bump) = (None, self.bump);
        }
        for (member, flag) in [
            (&mut draft.commit_message, &self.message),
            (&mut draft.author, &self.author),
            (&mut draft.category, &self.category),
        ] {
            if flag.is_some() {
                member.clone_from(flag);
            }
        }
        if !self.tags.is_empty() {
            draft.tags.clone_from(&self.tags);
        }
        let mut body = json!(draft);
        body["type"] = json!(draft.prompt.prompt_type());
        let mut labels: Vec<&str> = written.labels.iter().map(|label| label.as_str()).collect();
        labels.extend(self.labels.iter().map(String::as_str));
        if !labels.is_empty() {
            body["labels"] = json!(labels);
        }
        if !self.accept.is_empty() {
            body["accept"] = json!(self.accept);
        }
        if let Some(reason) = &self.reason {
            body["reason"] = json!(reason);
        }
        // Tags that are given replace those of the name, so a file without any says nothing of them.
        if draft.tags.is_empty()
            && let Some(body) = body.as_object_mut()
        {
            body.remove("tags");
        }
        body
    }
}

fn mistaken(mistakes: &Mistakes, json: bool) -> Result<()> {
    if json {
        output::print_json(&json!(mistakes))?;
    } else {
        output::complain(&mistakes.to_string());
        output::complain("nothing was registered");
    }
    Err(Told.into())
}

fn in_file(problem: &Value) -> bool {
    !list(&problem["problems"]).is_empty()
}

/// The server's mistakes, with the lines they have in the file.
fn located(problem: &Value, written: &WrittenVersion) -> Mistakes {
    let mistake =
        |told: &Value| written.mistake(Problem::new(text(told, "field"), plain(text(told, "problem"))));
    Mistakes::sorted(list(&problem["problems"]).iter().map(mistake).collect())
}

fn shown(answer: &Value, first: bool) -> String {
    let name = plain(text(answer, "name"));
    let mut out = if answer["created"] == false {
        format!(
            "{name} {} has this content already: no version was registered\n",
            version(answer)
        )
    } else {
        let of = if first { "the new prompt " } else { "" };
        format!(
            "registered {of}{name} {} (revision {})\n",
            version(answer),
            answer["revision"]
        )
    };
    let labels = joined(&answer["labels"]);
    if !labels.is_empty() {
        out.push_str(&format!("  labels: {labels}\n"));
    }
    let found = list(&answer["findings"]);
    if !found.is_empty() {
        let short = short(answer);
        let found = findings(found, Subject::version(text(answer, "name"), &short));
        out.push_str(&format!("to see to before it is deployed:\n{found}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Arguments {
        #[command(flatten)]
        register: Register,
    }

    fn body(text: &str, flags: &[&str]) -> Value {
        let arguments = [&["register", "a", "-"], flags].concat();
        let asked = Arguments::parse_from(arguments).register;
        let written = WrittenVersion::piped(text.as_bytes(), "input", None).unwrap();
        asked.body(&written)
    }

    const FILE: &str = "prompt = \"Hi\"\nauthor = \"ann\"\ntags = [\"x\"]\nlabels = [\"staging\"]\n";

    #[test]
    fn flags_come_before_the_file() {
        assert_eq!(
            body(FILE, &[]),
            json!({"type": "text", "prompt": "Hi", "config": {}, "author": "ann", "tags": ["x"], "labels": ["staging"]})
        );
        let flags = [
            "--bump",
            "minor",
            "-m",
            "why",
            "--author",
            "bob",
            "--tag",
            "y",
            "--label",
            "friendly",
            "--category",
            "c",
            "--reason",
            "r",
        ];
        assert_eq!(
            body(FILE, &flags),
            json!({"type": "text", "prompt": "Hi", "config": {}, "author": "bob", "tags": ["y"],
                "labels": ["staging", "friendly"], "bump": "minor", "commit_message": "why", "category": "c",
                "reason": "r"})
        );
        assert_eq!(
            body("Hi", &["--semver", "1.0.0"]),
            json!({"type": "text", "prompt": "Hi", "config": {}, "semver": "1.0.0"})
        );
    }

    #[test]
    fn what_was_registered() {
        let mut answer = json!({"name": "a", "version": 2, "semver": "1.1.0", "created": true, "labels": ["friendly"],
            "findings": [], "revision": 7});
        assert_eq!(
            shown(&answer, false),
            "registered a 1.1.0 (version 2) (revision 7)\n  labels: friendly\n"
        );
        answer["created"] = json!(false);
        answer["labels"] = json!([]);
        assert_eq!(
            shown(&answer, false),
            "a 1.1.0 (version 2) has this content already: no version was registered\n"
        );
    }
}
