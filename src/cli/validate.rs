//! `serin validate`: every mistake in the files, before a server sees them.

use super::{
    figures::count,
    output::{self, Told},
};
use crate::{
    clock::Clock,
    control_plane::{ControlPlane, RefusedCommand, decide::Rejection},
    definitions::{
        load::{self, Definitions},
        mistake::{Mistake, Mistakes},
    },
    domain::{
        command::{Command, Origin},
        experiment::WantedStatus,
        id::Environment,
        problem::Problem,
    },
    routing::{live::LiveTable, table::RoutingTable},
    settings::Settings,
    store::memory::MemoryLog,
};
use anyhow::Result;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

/// Reads the settings, the prompts and the experiments, and tells every mistake or how much there is.
///
/// # Errors
/// [`Told`] when there are mistakes; they are on standard error, or as a list on standard output.
pub(super) fn run(config: &Path, json: bool) -> Result<()> {
    let (mistakes, summary) = match Settings::load(config) {
        Err(mistakes) => (mistakes, None),
        Ok(settings) => match check(&settings) {
            Ok(definitions) => (Mistakes(Vec::new()), Some(summary(config, &definitions))),
            Err(mistakes) => (mistakes, Some(String::new())),
        },
    };
    if json {
        output::print_json(&json!(mistakes))?;
    } else if !mistakes.0.is_empty() {
        output::complain(&mistakes.to_string());
        if summary.is_none() {
            output::complain("prompts and experiments are read when the settings are right");
        }
    } else if let Some(summary) = summary {
        output::print(&summary)?;
    }
    if mistakes.0.is_empty() {
        Ok(())
    } else {
        Err(Told.into())
    }
}

fn check(settings: &Settings) -> Result<Definitions, Mistakes> {
    let definitions = load::load(&settings.definitions, &settings.environment)?;
    let mistakes = rehearse(settings, &definitions);
    if mistakes.is_empty() {
        Ok(definitions)
    } else {
        Err(Mistakes::sorted(mistakes))
    }
}

/// What an empty control log would refuse: versions that no file has, audiences that do not compile, layers.
fn rehearse(settings: &Settings, definitions: &Definitions) -> Vec<Mistake> {
    let labels = definitions.prompts.iter().flat_map(|file| &file.labels);
    let named = definitions.experiments.iter().map(|file| &file.spec.environment);
    let environments: BTreeSet<&Environment> = labels.chain(named).chain([&settings.environment]).collect();
    let environments: Vec<Environment> = environments.into_iter().cloned().collect();

    let origin = Origin::new("system", "validation");
    let register = definitions.prompts.iter().map(|file| Command::RegisterPrompt {
        name: file.name.clone(),
        draft: Box::new(file.draft.clone()),
        environments: environments.clone(),
    });
    let put = definitions
        .experiments
        .iter()
        .map(|file| Command::PutExperiment(Box::new(file.spec.clone())));
    let commands: Vec<(Origin, Command)> = register
        .chain(put)
        .map(|command| (origin.clone(), command))
        .collect();

    let opened = ControlPlane::open(
        Box::new(MemoryLog::default()),
        Arc::new(LiveTable::new(RoutingTable::default())),
        settings.environment.clone(),
        Clock::System,
        Vec::new(),
    );
    // A log in memory is always there.
    let Ok(control_plane) = opened else {
        return Vec::new();
    };
    let refused = control_plane.rehearse(&commands).err().unwrap_or_default();
    refused
        .into_iter()
        .flat_map(|refused| located(refused, definitions))
        .collect()
}

/// Gives what was refused its file and lines: commands are in the order of the prompts, then of the experiments.
fn located(refused: RefusedCommand, definitions: &Definitions) -> Vec<Mistake> {
    let problems = match refused.rejection {
        Rejection::Invalid { problems, .. } => problems,
        other => vec![Problem::new("", other.to_string())],
    };
    let prompts = definitions.prompts.len();
    let locate = |problem: &Problem| match definitions.prompts.get(refused.index) {
        Some(file) => Some(file.mistake(problem)),
        None => definitions
            .experiments
            .get(refused.index - prompts)
            .map(|file| file.mistake(problem)),
    };
    problems.iter().filter_map(locate).collect()
}

fn summary(config: &Path, definitions: &Definitions) -> String {
    let mut states: BTreeMap<&str, u64> = BTreeMap::new();
    for file in &definitions.experiments {
        let state = match file.spec.status {
            WantedStatus::Draft => "draft",
            WantedStatus::Running => "running",
            WantedStatus::Stopped => "stopped",
        };
        *states.entry(state).or_default() += 1;
    }
    let names: BTreeSet<_> = definitions.prompts.iter().map(|file| &file.name).collect();
    let states: Vec<String> = states
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    let states = if states.is_empty() {
        String::new()
    } else {
        format!(" ({})", states.join(", "))
    };
    format!(
        "{}: no mistakes; {} with {}, {}{states}\n",
        config.display(),
        several(names.len(), "prompt"),
        several(definitions.prompts.len(), "version"),
        several(definitions.experiments.len(), "experiment"),
    )
}

fn several(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number as u64))
}
