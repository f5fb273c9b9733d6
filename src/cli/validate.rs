//! `serin validate`: every mistake in the files, before a server sees them.

use super::{
    figures::count,
    output::{self, Told},
};
use crate::{
    control_plane::{RefusedCommand, catalog::Catalog, decide::decide},
    definitions::{
        load::{self, Definitions},
        mistake::Mistakes,
        reconcile::Reconciliation,
    },
    domain::{Timestamp, event::Recorded, experiment::WantedStatus, id::Revision},
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

fn check(settings: &Settings) -> Result<Definitions, Mistakes> {
    let definitions = load::load(&settings.definitions, &settings.environment)?;
    let mistakes = rehearse(settings, &definitions);
    if mistakes.0.is_empty() {
        Ok(definitions)
    } else {
        Err(mistakes)
    }
}

/// What an empty control log would refuse: versions that no file has, audiences that do not compile, taken slots.
fn rehearse(settings: &Settings, definitions: &Definitions) -> Mistakes {
    let mut catalog = Catalog::default();
    let reconciliation = Reconciliation::new(&catalog, definitions, &settings.environment);
    let mut refused = Vec::new();
    // Before all time every schedule lies ahead, so that the answer is the same on every day.
    let at = Timestamp::default();
    for (index, (origin, command)) in reconciliation.commands.iter().enumerate() {
        match decide(&catalog, command, at) {
            Ok(events) => {
                for event in events {
                    catalog.apply(&Recorded {
                        revision: Revision(catalog.revision.0 + 1),
                        at,
                        actor: origin.actor.clone(),
                        reason: origin.reason.clone(),
                        event,
                    });
                }
            }
            Err(rejection) => refused.push(RefusedCommand { index, rejection }),
        }
    }
    reconciliation.mistakes(&refused)
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
