//! `serin prompt`: how the versions of a prompt do, what was remarkable about their answers, and those of a git history.

mod examples;
mod import_git;
mod performance;

use super::{
    Global,
    client::segment,
    experiment::{Address, view},
};
use anyhow::Result;

/// What can be asked about prompts.
#[derive(Debug, clap::Subcommand)]
pub(super) enum PromptCommand {
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
}
