//! `serin prompt import-git`: the prompt versions of a git history, to a running server.
//!
//! Reads the whole history here, so that every mistake in it is told before anything is sent, asks the server what it has, and
//! registers what is missing, oldest first. Interrupted or repeated, it goes on with what is not there yet.

mod registry;
mod shown;

use crate::{
    cli::{
        Global, client,
        experiment::{Address, control_plane},
        output::{self, Told},
    },
    definitions::git::{
        self, Source,
        history::{History, short},
        plan::{self, Inventory, Plan},
    },
};
use anyhow::Result;
use registry::{Registry, Sent};
use serde_json::json;
use std::path::PathBuf;

/// Register every commit that changes a prompt as a version, with its author, message, date and commit
///
/// Prompts are `<name>/<semver>.toml` as in Serin's own folder, or `<name>` with the ending .md, .txt or .prompt (the file is
/// the text), .toml or .json (the keys of Serin's files). Every local branch becomes a label `branch-<name>` on the versions
/// at its head; no environment is moved, whatever labels the files name. A second import does nothing, a later one brings
/// what is new. A renamed file is a new prompt, a deleted one changes nothing.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ImportGit {
    /// The repository: its work tree, or a bare one
    repository: PathBuf,
    /// The branch, tag or commit whose history comes first
    #[arg(long = "ref", value_name = "REF", default_value = "main")]
    reference: String,
    /// The folder with the prompts, from the root of the repository; `.` is the root
    #[arg(long, default_value = "config/prompts")]
    path: String,
    /// Leave the other branches alone
    #[arg(long)]
    only_ref: bool,
    /// Make `{{name}}` of `{name}`; braces that hold more than a name, as JSON's do, stay as they are
    #[arg(long)]
    convert_braces: bool,
    /// Import the rest of a history in which some files have mistakes
    #[arg(long)]
    skip_mistakes: bool,
    /// Only tell what would be registered
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    at: Address,
}

/// What was asked, found and done, for the words and for `--json`.
struct Import<'i> {
    asked: &'i ImportGit,
    server: String,
    history: &'i History,
    plan: Plan<'i>,
    /// None for a dry run.
    sent: Option<Sent>,
}

/// Imports, or tells what that would do.
///
/// # Errors
/// [`Told`] when files have mistakes or the server refuses a version, with how far the import came; otherwise why there is
/// nothing to import, or that the server cannot be asked.
pub(super) fn run(asked: &ImportGit, global: &Global) -> Result<()> {
    let history = git::read(&asked.source())?;
    if !history.mistakes.is_empty() && !asked.skip_mistakes {
        return refused(&history, global.json);
    }
    let server = control_plane(global, &asked.at)?;
    let url = server.url();
    let (plan, sent) = client::run(async {
        let mut registry = server.connect().await?;
        let plan = plan::plan(&history, &inventory(&history, &mut registry).await?);
        let sent = if asked.dry_run {
            None
        } else {
            Some(registry::send(&plan, &mut registry).await)
        };
        Ok((plan, sent))
    })?;
    let import = Import {
        asked,
        server: url,
        history: &history,
        plan,
        sent,
    };
    if global.json {
        output::print_json(&shown::json(&import))?;
    } else {
        output::print(&shown::text(&import))?;
    }
    let Some(problem) = import.stopped() else {
        return Ok(());
    };
    if !global.json {
        output::complain(&problem);
    }
    Err(Told.into())
}

impl ImportGit {
    fn source(&self) -> Source {
        Source {
            repository: self.repository.clone(),
            reference: self.reference.clone(),
            path: self.path.clone(),
            branches: !self.only_ref,
            convert_braces: self.convert_braces,
        }
    }
}

impl Import<'_> {
    /// Why the import ended before its end, and what to do.
    fn stopped(&self) -> Option<String> {
        let sent = self.sent.as_ref()?;
        let (problem, step) = (sent.stopped.as_ref()?, self.plan.steps.get(sent.answers.len())?);
        Some(format!(
            "error: {}:{} was not taken: {problem:#}\n{} of {} steps are done and stay; run the same command again to go on",
            short(&step.version.commit),
            step.version.path,
            sent.answers.len(),
            self.plan.steps.len(),
        ))
    }
}

async fn inventory(history: &History, registry: &mut impl Registry) -> Result<Inventory> {
    let mut inventory = Inventory::new();
    for version in &history.versions {
        if !inventory.contains_key(&version.name) {
            let registered = registry.versions(&version.name).await?;
            inventory.insert(version.name.clone(), registered);
        }
    }
    Ok(inventory)
}

fn refused(history: &History, json: bool) -> Result<()> {
    if json {
        output::print_json(&json!({"mistakes": history.mistakes, "done": 0}))?;
    } else {
        for mistake in &history.mistakes {
            output::complain(&mistake.to_string());
        }
        output::complain(
            "nothing was imported; as history cannot be edited, --skip-mistakes imports the rest: \
             `git show <commit>:<path>` shows the file",
        );
    }
    Err(Told.into())
}

#[cfg(test)]
mod tests;
