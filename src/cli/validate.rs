//! `serin validate`: every mistake in the files, before a server sees them.

use super::{
    figures::count,
    output::{self, Told},
};
use crate::{
    control_plane::catalog::Catalog,
    definitions::{
        load::{self, Definitions},
        mistake::Mistakes,
        reconcile::review,
    },
    domain::{Timestamp, experiment::WantedStatus},
    settings::Settings,
};
use anyhow::Result;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
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

/// Judges against an empty control log, before all time, so that the answer is the same on every day.
fn check(settings: &Settings) -> Result<Definitions, Mistakes> {
    let loaded = load::read(&settings.definitions, &settings.environment);
    let mistakes = review(
        &Catalog::default(),
        &loaded,
        &settings.environment,
        Timestamp::default(),
    );
    if mistakes.0.is_empty() {
        Ok(loaded.definitions)
    } else {
        Err(mistakes)
    }
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
