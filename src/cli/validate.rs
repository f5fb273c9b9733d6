//! `serin validate`: every mistake in the files, before a server sees them.

use super::{
    figures::count,
    output::{self, Told},
    preflight::{self as shown, Assumed},
};
use crate::{
    control_plane::catalog::Catalog,
    definitions::{
        exclusions::{self, Meeting},
        load::{self, Definitions},
        mistake::Mistakes,
        reconcile::review,
    },
    domain::{Timestamp, experiment::WantedStatus},
    preflight::{Preflight, preflight},
    settings::Settings,
};
use anyhow::Result;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Check the settings, prompt and experiment files: every mistake, and what the rollouts will be able to see
///
/// Without mistakes it tells for each rollout the smallest harm its stages find in their time, how long it takes, who
/// excludes whom, and warnings. Warnings are no mistakes: the exit code stays 0. `--json` prints the list of mistakes;
/// with `--preflight` an object with everything.
#[derive(Debug, clap::Args)]
pub(super) struct Validate {
    #[command(flatten)]
    assumed: Assumed,
    /// With --json: mistakes, preflight, exclusions and warnings as one object
    #[arg(long)]
    preflight: bool,
}

/// Reads the settings, the prompts and the experiments, and tells every mistake or how much there is.
///
/// # Errors
/// [`Told`] when there are mistakes; they are on standard error, or as a list on standard output.
pub(super) fn run(validate: &Validate, config: &Path, json: bool) -> Result<()> {
    let (mistakes, good) = match Settings::load(config) {
        Err(mistakes) => (mistakes, None),
        Ok(settings) => match check(&settings) {
            Ok(definitions) => (Mistakes(Vec::new()), Some(Some((settings, definitions)))),
            Err(mistakes) => (mistakes, Some(None)),
        },
    };
    let outlook = match &good {
        Some(Some((settings, definitions))) => Outlook::of(settings, definitions, &validate.assumed),
        _ => Outlook::default(),
    };
    if json && validate.preflight {
        output::print_json(&json!({
            "mistakes": mistakes,
            "preflight": outlook.preflight,
            "exclusions": outlook.exclusions,
            "warnings": outlook.warnings,
        }))?;
    } else if json {
        output::print_json(&json!(mistakes))?;
    } else if !mistakes.0.is_empty() {
        output::complain(&mistakes.to_string());
        if good.is_none() {
            output::complain("prompts and experiments are read when the settings are right");
        }
    } else if let Some(Some((_, definitions))) = &good {
        output::print(&format!("{}{outlook}", summary(config, definitions)))?;
    }
    if mistakes.0.is_empty() {
        Ok(())
    } else {
        Err(Told.into())
    }
}

/// What the files will do together.
#[derive(Default)]
struct Outlook {
    preflight: Vec<Preflight>,
    exclusions: Vec<Meeting>,
    warnings: Vec<String>,
}

impl Outlook {
    fn of(settings: &Settings, definitions: &Definitions, assumed: &Assumed) -> Self {
        let specs = || definitions.experiments.iter().map(|file| &file.spec);
        let exclusions = exclusions::of_files(specs(), settings.holdout.as_ref());
        let places = || exclusions.iter().flat_map(|meeting| &meeting.experiments);
        let preflight: Vec<Preflight> = specs()
            .filter(|spec| spec.rollout.is_some() && spec.status != WantedStatus::Stopped)
            .filter_map(|spec| {
                let place = places().find(|place| place.experiment == spec.id);
                let reach = place.map_or(1.0, |place| place.reach.at_most);
                preflight(spec, &assumed.assumptions(reach))
            })
            .collect();
        let of_rollouts = preflight.iter().flat_map(|found| {
            let named = |warning: &String| format!("{}: {warning}", found.experiment);
            found.warnings.iter().map(named)
        });
        let of_meetings = exclusions.iter().flat_map(|meeting| meeting.warnings.clone());
        let warnings = of_rollouts.chain(of_meetings).collect();
        Self {
            preflight,
            exclusions,
            warnings,
        }
    }
}

impl std::fmt::Display for Outlook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let forecasts = self.preflight.iter().map(|found| shown::forecast(&json!(found)));
        let parts = forecasts.chain([
            shown::exclusions(&json!(self.exclusions)),
            shown::warnings(&json!(self.warnings)),
        ]);
        for part in parts.filter(|part| !part.is_empty()) {
            write!(f, "\n{part}")?;
        }
        Ok(())
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
