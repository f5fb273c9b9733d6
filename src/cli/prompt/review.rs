//! `serin prompt review`: somebody says yes or no to a version.

use super::{
    named::{Named, OneVersion},
    refusal::Subject,
    words::gates,
};
use crate::{
    cli::{Global, figures::text, table::plain},
    domain::prompt::{ReviewKind, ReviewVerdict},
};
use anyhow::Result;
use clap::builder::PossibleValue;
use serde_json::{Value, json};

/// Approve or reject a version
///
/// Product reviews look at tone, policy and value, technical ones at determinism, schema and failures. The two are given by
/// different people, neither of them the author. With tokens the reviewer is whoever holds the token.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("verdict").required(true))]
pub(in crate::cli) struct Review {
    #[command(flatten)]
    of: Named,
    #[command(flatten)]
    version: OneVersion,
    /// What was looked at
    #[arg(long)]
    kind: ReviewKind,
    /// It may go out
    #[arg(long, group = "verdict")]
    approve: bool,
    /// It must not, until the same reviewer approves
    #[arg(long, group = "verdict", requires = "comment")]
    reject: bool,
    /// Why; what has to change, for a rejection
    #[arg(long)]
    comment: Option<String>,
    /// Who looked, where there are no tokens
    #[arg(long, value_name = "NAME")]
    reviewer: Option<String>,
}

impl clap::ValueEnum for ReviewKind {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Product, Self::Technical]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let word = Self::ALL.iter().find(|(_, kind)| kind == self)?;
        Some(PossibleValue::new(word.0))
    }
}

/// Sends the review and tells what the gates still wait for.
///
/// # Errors
/// The server's reason to refuse, or that there is none.
pub(super) fn run(asked: &Review, global: &Global) -> Result<()> {
    let version = asked.version.text();
    let subject = Subject::version(&asked.of.name, &version);
    let verdict = if asked.approve {
        ReviewVerdict::Approve
    } else {
        ReviewVerdict::Reject
    };
    let mut body = json!({"kind": asked.kind, "verdict": verdict});
    for (member, value) in [("comment", &asked.comment), ("reviewer", &asked.reviewer)] {
        if let Some(value) = value {
            body[member] = json!(value);
        }
    }
    let answer = asked
        .of
        .post(global, &subject, &asked.version.path("reviews"), &body)?;
    answer.print(global.json, |answer| shown(answer, subject))
}

fn shown(answer: &Value, subject: Subject<'_>) -> String {
    let verdict = match text(answer, "verdict") {
        "reject" => "rejected",
        _ => "approved",
    };
    format!(
        "{verdict} {} {} as {}, by {} (revision {})\n{}",
        plain(subject.name),
        plain(subject.version),
        plain(text(answer, "kind")),
        plain(text(answer, "reviewer")),
        answer["revision"],
        gates(&answer["gates"], subject),
    )
}
