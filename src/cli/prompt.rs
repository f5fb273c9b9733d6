//! `serin prompt`: the registry, git histories brought into it, and how the versions of a prompt do.
//!
//! One module for each subject. [`named`] has what they are asked with, [`words`] what they tell alike, and [`refusal`]
//! how a refusal is told with what to do next.

mod deploy;
mod diff;
mod evaluate;
mod examples;
mod history;
mod import_git;
mod labels;
mod list;
mod named;
mod performance;
mod refusal;
mod register;
mod render;
mod review;
mod show;
mod words;

use super::{
    Global,
    client::segment,
    experiment::{Address, view},
};
use anyhow::Result;

/// What can be asked about prompts.
#[derive(Debug, clap::Subcommand)]
pub(super) enum PromptCommand {
    List(list::List),
    Show(show::Show),
    Diff(diff::Diff),
    Register(register::Register),
    Evaluate(evaluate::Evaluate),
    Review(review::Review),
    Deploy(deploy::Deploy),
    Rollback(deploy::Rollback),
    History(history::History),
    Label(labels::Label),
    Tags(labels::Tags),
    Render(render::Render),
    /// What each version did in a window of time, whether it moved, and what follows
    Performance(Performance),
    ImportGit(import_git::ImportGit),
    /// Outcomes that were tagged, one JSON object a line, for a regression suite
    Examples(examples::Examples),
}

#[derive(Debug, clap::Args)]
pub(super) struct Performance {
    /// The prompt's name
    name: String,
    /// How far to look back, such as 15m, 24h or 7d
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    window: String,
    /// Only what experiments of this environment served [default: everything]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    #[command(flatten)]
    at: Address,
}

/// Runs one of the commands.
///
/// # Errors
/// The server's reason to refuse, or that there is none.
pub(super) fn run(command: &PromptCommand, global: &Global) -> Result<()> {
    match command {
        PromptCommand::List(asked) => list::run(asked, global),
        PromptCommand::Show(asked) => show::run(asked, global),
        PromptCommand::Diff(asked) => diff::run(asked, global),
        PromptCommand::Register(asked) => register::run(asked, global),
        PromptCommand::Evaluate(asked) => evaluate::run(asked, global),
        PromptCommand::Review(asked) => review::run(asked, global),
        PromptCommand::Deploy(asked) => deploy::deploy(asked, global),
        PromptCommand::Rollback(asked) => deploy::roll_back(asked, global),
        PromptCommand::History(asked) => history::run(asked, global),
        PromptCommand::Label(asked) => labels::label(asked, global),
        PromptCommand::Tags(asked) => labels::tag(asked, global),
        PromptCommand::Render(asked) => render::run(asked, global),
        PromptCommand::Performance(asked) => view(global, &asked.at, &asked.path(), performance::shown),
        PromptCommand::ImportGit(asked) => import_git::run(asked, global),
        PromptCommand::Examples(asked) => examples::run(asked, global),
    }
}

impl Performance {
    fn path(&self) -> String {
        let environment = self.environment.as_deref();
        format!(
            "/api/v1/prompts/{}/performance?window={}{}",
            segment(&self.name),
            segment(&self.window),
            environment.map_or_else(String::new, |name| format!("&environment={}", segment(name))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Arguments {
        #[command(subcommand)]
        command: PromptCommand,
    }

    #[test]
    fn the_address_takes_any_name() {
        let path = |arguments: &[&str]| {
            let arguments = ["prompt", "performance"].iter().chain(arguments);
            match Arguments::parse_from(arguments).command {
                PromptCommand::Performance(asked) => asked.path(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            path(&["support/first reply"]),
            "/api/v1/prompts/support%2Ffirst%20reply/performance?window=24h"
        );
        assert_eq!(
            path(&["a", "--window", "1h 30m", "--environment", "staging"]),
            "/api/v1/prompts/a/performance?window=1h%2030m&environment=staging"
        );
    }

    #[test]
    fn what_is_usage_and_what_is_not() {
        let taken = |line: &str| Arguments::try_parse_from(line.split(' ')).is_ok();
        for good in [
            "prompt deploy a 1.1.0",
            "prompt deploy a --version 2 --environment staging --reason r",
            "prompt diff a 1.0.0 2",
            "prompt diff a --from 1.0.0 --to 2 --resolved",
            "prompt review a 2 --kind product --approve",
            "prompt label a friendly 2",
            "prompt label a friendly --delete",
            "prompt show a",
            "prompt show a --label production",
            "prompt tags a x y",
            "prompt tags a --clear",
            "prompt rollback a --to 1 --reason odd",
            "prompt render a --var q=a=b",
            "prompt evaluate a 2 --cmd true",
            "prompt evaluate a 2 --bundle run.json",
            "prompt register a file.toml --bump minor",
        ] {
            assert!(taken(good), "{good}");
        }
        for bad in [
            "prompt deploy a",
            "prompt deploy a 1 --version 1",
            "prompt deploy a newest",
            "prompt deploy a 1 --accept secret",
            "prompt diff a 1",
            "prompt review a 2 --kind product",
            "prompt review a 2 --kind product --approve --reject",
            "prompt label a friendly",
            "prompt label a friendly 2 --delete",
            "prompt show a 1 --label production",
            "prompt tags a",
            "prompt rollback a",
            "prompt render a --var q",
            "prompt evaluate a 2",
            "prompt evaluate a 2 --cmd true --bundle run.json",
            "prompt register a file.toml --bump minor --semver 1.0.0",
            "prompt history a --at yesterday",
        ] {
            assert!(!taken(bad), "{bad}");
        }
    }
}
