//! `serin prompt label` and `serin prompt tags`.

use super::{
    named::Named,
    refusal::Subject,
    words::{joined, version},
};
use crate::{
    cli::{Global, table::plain},
    domain::prompt::VersionRef,
};
use anyhow::Result;
use serde_json::{Value, json};

/// Move a label to a version, or take it away
///
/// `latest` always names the newest version, and environments are moved by `serin prompt deploy`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("change").required(true))]
pub(in crate::cli) struct Label {
    #[command(flatten)]
    of: Named,
    /// The label
    label: String,
    /// The version: its semver or its number
    #[arg(value_name = "VERSION", group = "change")]
    placed: Option<VersionRef>,
    /// The same
    #[arg(long = "version", value_name = "VERSION", group = "change")]
    flagged: Option<VersionRef>,
    /// Take the label away
    #[arg(long, group = "change")]
    delete: bool,
    /// Why; it lands in the audit log
    #[arg(long)]
    reason: Option<String>,
}

/// Replace the tags of a prompt
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("change").required(true))]
pub(in crate::cli) struct Tags {
    #[command(flatten)]
    of: Named,
    /// All the tags it has from now on
    #[arg(value_name = "TAG", group = "change")]
    tags: Vec<String>,
    /// Take all of them away
    #[arg(long, group = "change")]
    clear: bool,
}

/// Moves a label.
///
/// # Errors
/// The server's reason to refuse, or that there is none.
pub(super) fn label(asked: &Label, global: &Global) -> Result<()> {
    let to = asked.placed.as_ref().or(asked.flagged.as_ref());
    let body = json!({"label": asked.label, "version": to, "reason": asked.reason});
    let subject = Subject::prompt(&asked.of.name);
    let answer = asked.of.post(global, &subject, "/labels", &body)?;
    answer.print(global.json, |answer| {
        let (label, name) = (plain(&asked.label), plain(&asked.of.name));
        match to {
            None => format!("{name} has no label {label} (revision {})\n", answer["revision"]),
            Some(to) => {
                let known = if answer["version"].is_null() {
                    to.to_string()
                } else {
                    version(answer)
                };
                format!(
                    "label {label} of {name} names {known} (revision {})\n",
                    answer["revision"]
                )
            }
        }
    })
}

/// Replaces the tags.
///
/// # Errors
/// As [`label`].
pub(super) fn tag(asked: &Tags, global: &Global) -> Result<()> {
    let body = json!({"tags": asked.tags});
    let subject = Subject::prompt(&asked.of.name);
    let answer = asked.of.post(global, &subject, "/tags", &body)?;
    answer.print(global.json, |answer| {
        tagged(&asked.of.name, &body["tags"], answer)
    })
}

fn tagged(name: &str, tags: &Value, answer: &Value) -> String {
    let tags = joined(tags);
    let tags = if tags.is_empty() {
        "no tags".to_owned()
    } else {
        format!("the tags {tags}")
    };
    format!("{} has {tags} (revision {})\n", plain(name), answer["revision"])
}
