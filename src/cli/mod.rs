//! What a person types: `serin` and its commands.
//!
//! Owns the arguments, the words a person reads and the exit codes; decides nothing about prompts or experiments.
//! `serve` and `demo` start the server in this process, `validate` reads files, `simulate` asks nobody, every other
//! command asks a running server over HTTP. Only this module and `main` write to standard output and standard error.
//! Called by `main`.
//!
//! Exit codes: 0 done, 1 refused or failed (why on standard error), 2 wrong usage.

mod analyze;
mod apply;
mod client;
mod content;
mod decide;
mod demo;
mod evidence;
mod experiment;
mod explain;
mod figures;
mod openapi;
mod options;
mod output;
mod paint;
mod plan;
mod plot;
mod preflight;
mod prompt;
mod results;
mod serve;
mod server;
mod simulate;
mod table;
mod token;
mod validate;

use crate::settings::{self, DEFAULT_FILE, Settings};
use anyhow::{Result, anyhow};
use clap::{Parser, Subcommand};
use client::Server;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The canary router for prompts: which version of this prompt does this user get, and was it better?
///
/// Without a command it runs the server, as `serin serve` does.
#[derive(Debug, Parser)]
#[command(name = "serin", version)]
pub struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What every command understands.
#[derive(Debug, clap::Args)]
struct Global {
    /// The settings file [default: config/serin.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON instead of text for people
    #[arg(long, global = true)]
    json: bool,
    /// A file with the token for the control plane [default: the environment variable SERIN_TOKEN]
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until it is told to stop (Ctrl-C or SIGTERM)
    Serve,
    Validate(validate::Validate),
    Decide(decide::Decide),
    /// Look at experiments and steer them
    Experiment {
        #[command(subcommand)]
        command: experiment::ExperimentCommand,
    },
    Apply(apply::Apply),
    Analyze(analyze::Analyze),
    Plan(plan::Plan),
    /// Register versions of prompts or import them from git, collect evidence for them, deploy them and take them back
    Prompt {
        #[command(subcommand)]
        command: prompt::PromptCommand,
    },
    Demo(demo::Demo),
    Simulate(simulate::Simulate),
    Token(token::Token),
    /// Print the OpenAPI 3.1 document of the control plane
    Openapi,
}

impl Arguments {
    /// What this process was started with. Wrong usage ends it with exit code 2, `--help` and `--version` with 0.
    #[must_use]
    pub fn from_command_line() -> Self {
        Self::parse()
    }
}

/// Runs a command to its end and says how it went.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    let global = &arguments.global;
    let done = match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(global.file()),
        Command::Validate(validate) => validate::run(&validate, global.file(), global.json),
        Command::Decide(decide) => decide::run(&decide, global),
        Command::Experiment { command } => experiment::run(&command, global),
        Command::Apply(apply) => apply::run(&apply, global),
        Command::Analyze(analyze) => analyze::run(&analyze, global.json),
        Command::Plan(plan) => plan::run(&plan, global.json),
        Command::Prompt { command } => prompt::run(&command, global),
        Command::Demo(demo) => demo::run(&demo, global.json),
        Command::Simulate(simulate) => simulate::run(&simulate, global.json),
        Command::Token(token) => token::run(&token, global.json),
        Command::Openapi => openapi::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<output::Closed>() => ExitCode::SUCCESS,
        Err(error) if error.is::<output::Told>() => ExitCode::FAILURE,
        Err(error) => {
            output::complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

impl Global {
    fn file(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE))
    }

    /// The control plane to ask, with the token there is.
    fn control_plane(&self, url: Option<&str>) -> Result<Server> {
        let server = self.server(url, |settings| settings.control_plane.listen)?;
        let token = match &self.token_file {
            Some(file) => Some(token::read(file)?),
            None => settings::token(),
        };
        Ok(match token {
            Some(token) => server.with_token(&token)?,
            None => server,
        })
    }

    /// The server to ask: the one of the URL, or the one whose address `listener` finds in the settings. Where
    /// nobody named a settings file and there is none, the default settings tell.
    fn server(&self, url: Option<&str>, listener: impl Fn(&Settings) -> SocketAddr) -> Result<Server> {
        if let Some(url) = url {
            return Ok(Server::at(url)?);
        }
        let file = self.file();
        let settings = if self.config.is_none() && !file.exists() {
            Settings::parse("", file)
        } else {
            Settings::load(file)
        };
        let address = listener(&settings?);
        if address.port() == 0 {
            return Err(anyhow!(
                "{} lets the server take a free port: name the server with --url",
                file.display()
            ));
        }
        Ok(Server::listening_on(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
