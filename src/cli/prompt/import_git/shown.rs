//! An import as text for people and as JSON for programs.

use super::Import;
use crate::{
    cli::table::{Table, plain},
    definitions::git::{
        history::short,
        plan::{Action, Step},
    },
};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The longest first line of a message that is shown, in characters.
const LONGEST_SUBJECT: usize = 60;

/// What was found and done, in words.
pub(super) fn text(import: &Import<'_>) -> String {
    let (asked, history, plan) = (import.asked, import.history, &import.plan);
    let mut out = format!(
        "{} of {} ({}), {} commits; server {}\n\n",
        plain(&asked.path),
        plain(&asked.reference),
        short(&history.tip),
        history.work.commits,
        import.server,
    );
    let mut table = Table::new(&[
        "", "prompt", "version", "commit", "date", "author", "message", "labels",
    ]);
    for step in &plan.steps {
        table.row(row(step));
    }
    if !table.is_empty() {
        out += &table.to_string();
    }
    if plan.known > 0 {
        let _ = writeln!(out, "= {} registered already", plan.known);
    }
    let told = history.notices.iter().chain(&plan.notices);
    let told: String = told
        .map(|notice| format!("notice: {}\n", plain(notice)))
        .collect();
    let left: String = history
        .mistakes
        .iter()
        .map(|mistake| format!("left out: {}\n", plain(&mistake.to_string())))
        .collect();
    for lines in [told, left] {
        if !lines.is_empty() {
            let _ = write!(out, "\n{lines}");
        }
    }
    let _ = write!(out, "\n{}\n", ending(import));
    out
}

fn ending(import: &Import<'_>) -> String {
    let (registered, labelled) = counts(import.plan.steps.iter());
    let told = |(registered, labelled): (usize, usize)| {
        format!("{registered} versions registered, {labelled} registered earlier got labels")
    };
    match &import.sent {
        _ if import.plan.steps.is_empty() => "nothing to do".to_owned(),
        None => format!(
            "{registered} versions to register, {labelled} registered earlier to label; nothing was changed: a dry run"
        ),
        Some(sent) if sent.stopped.is_some() => {
            format!(
                "stopped: {}",
                told(counts(import.plan.steps.iter().take(sent.answers.len())))
            )
        }
        Some(_) => format!("done: {}", told((registered, labelled))),
    }
}

fn counts<'s>(steps: impl Iterator<Item = &'s Step<'s>>) -> (usize, usize) {
    steps.fold((0, 0), |(registered, labelled), step| match step.action {
        Action::First | Action::Next => (registered + 1, labelled),
        Action::Label(_) => (registered, labelled + 1),
    })
}

fn row(step: &Step<'_>) -> [String; 8] {
    let version = step.version;
    let sign = match step.action {
        Action::First | Action::Next => "+",
        Action::Label(_) => "~",
    };
    let number = match (&step.semver, step.action) {
        (Some(semver), _) => semver.to_string(),
        (None, Action::Label(number)) => number.to_string(),
        (None, _) => "next".to_owned(),
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let message = text(&version.draft.commit_message);
    [
        sign.to_owned(),
        version.name.to_string(),
        number,
        short(&version.commit).to_owned(),
        version.at.strftime("%Y-%m-%d").to_string(),
        text(&version.draft.author),
        subject(&message),
        step.labels.join(", "),
    ]
}

fn subject(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    if line.chars().count() <= LONGEST_SUBJECT {
        return line.to_owned();
    }
    let short: String = line.chars().take(LONGEST_SUBJECT - 1).collect();
    format!("{short}…")
}

/// The same for programs: every step with what the server said to it.
pub(super) fn json(import: &Import<'_>) -> Value {
    let (asked, history, plan) = (import.asked, import.history, &import.plan);
    let answers = import
        .sent
        .as_ref()
        .map_or(&[][..], |sent| sent.answers.as_slice());
    let steps: Vec<Value> = plan
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| json_step(step, answers.get(index)))
        .collect();
    json!({
        "repository": asked.repository.display().to_string(),
        "ref": asked.reference,
        "path": asked.path,
        "commit": history.tip,
        "server": import.server,
        "dry_run": asked.dry_run,
        "steps": steps,
        "done": answers.len(),
        "registered_already": plan.known,
        "notices": history.notices.iter().chain(&plan.notices).collect::<Vec<_>>(),
        "mistakes": history.mistakes,
        "read": history.work,
        "stopped": import.stopped(),
    })
}

fn json_step(step: &Step<'_>, answer: Option<&Value>) -> Value {
    let version = step.version;
    json!({
        "action": match step.action {
            Action::First | Action::Next => "register",
            Action::Label(_) => "label",
        },
        "prompt": version.name,
        "semver": step.semver,
        "labels": step.labels,
        "commit": version.commit,
        "path": version.path,
        "at": version.at,
        "author": version.draft.author,
        "commit_message": version.draft.commit_message,
        "answer": answer,
    })
}
