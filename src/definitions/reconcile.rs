//! Definitions against the catalog: which commands make the log say what the files say.
//!
//! Judges nothing: the control plane decides the whole set, and what it refuses comes back here to be told by file
//! and line.

use super::{
    load::{Definitions, Loaded},
    mistake::{Mistake, Mistakes},
};
use crate::{
    control_plane::{RefusedCommand, catalog::Catalog, decide::Rejection, rehearse},
    domain::{
        Timestamp,
        command::{Command, Origin},
        experiment::{State, WantedStatus},
        id::Environment,
        problem::Problem,
        prompt::{self, ENVIRONMENTS, Finding, PromptDraft, VersionRef},
    },
};
use std::{collections::BTreeSet, path::Path};

/// Everything that is wrong with a set of files: the mistakes of those that could not be read, and what the control
/// plane would refuse of the others. What refers to an unreadable prompt is not judged.
#[must_use]
pub fn review(catalog: &Catalog, loaded: &Loaded, environment: &Environment, now: Timestamp) -> Mistakes {
    let mut definitions = loaded.definitions.clone();
    definitions
        .experiments
        .retain(|file| !loaded.unreadable.contains(&file.spec.prompt));
    let reconciliation = Reconciliation::new(catalog, &definitions, environment);
    let refused = rehearse(catalog, &reconciliation.commands, now)
        .err()
        .unwrap_or_default();
    let mut mistakes = loaded.mistakes.clone();
    for mistake in reconciliation.mistakes(&refused).0 {
        if !mistakes.contains(&mistake) {
            mistakes.push(mistake);
        }
    }
    Mistakes::sorted(mistakes)
}

/// The commands of a set of files, and where each comes from.
#[derive(Debug)]
pub struct Reconciliation<'a> {
    definitions: &'a Definitions,
    /// For [`crate::control_plane::ControlPlane::submit_all`].
    pub commands: Vec<(Origin, Command)>,
    sources: Vec<Source>,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Prompt(usize),
    Experiment(usize),
    Deleted,
}

impl<'a> Reconciliation<'a> {
    /// Compares files and catalog. What is the same already gives commands that change nothing.
    #[must_use]
    pub fn new(catalog: &Catalog, definitions: &'a Definitions, environment: &Environment) -> Self {
        let mut reconciliation = Self {
            definitions,
            commands: Vec::new(),
            sources: Vec::new(),
        };
        reconciliation.prompts(environment);
        reconciliation.deletions(catalog);
        for (index, file) in definitions.experiments.iter().enumerate() {
            let command = Command::PutExperiment(Box::new(file.spec.clone()));
            reconciliation.push(
                definitions.owner.origin(&file.path, "the file says so"),
                command,
                Source::Experiment(index),
            );
        }
        reconciliation
    }

    fn push(&mut self, origin: Origin, command: Command, source: Source) {
        self.commands.push((origin, command));
        self.sources.push(source);
    }

    fn prompts(&mut self, environment: &Environment) {
        let files = &self.definitions.prompts;
        let mut environments: BTreeSet<Environment> = files
            .iter()
            .flat_map(|file| file.labels.iter().cloned())
            .collect();
        environments.insert(environment.clone());
        // Those that have a gate are left out when it is decided.
        environments.extend(ENVIRONMENTS.iter().filter_map(|name| Environment::new(name).ok()));
        for (index, file) in files.iter().enumerate() {
            let reason = file.draft.commit_message.as_deref().unwrap_or("a new version");
            let command = Command::RegisterPrompt {
                name: file.name.clone(),
                draft: Box::new(PromptDraft {
                    source: Some(prompt::Source::File {
                        path: file.path.display().to_string(),
                    }),
                    ..file.draft.clone()
                }),
                environments: environments.iter().cloned().collect(),
            };
            let origin = self.definitions.owner.origin(&file.path, reason);
            self.push(origin, command, Source::Prompt(index));
        }
        // After all versions exist. Of several versions with one label the newest has it.
        for (index, file) in files.iter().enumerate() {
            let newer = || {
                files[index + 1..]
                    .iter()
                    .take_while(|other| other.name == file.name)
            };
            let labels = file
                .labels
                .iter()
                .filter(|label| !newer().any(|other| other.labels.contains(label)));
            for label in labels {
                let Some(semver) = &file.draft.semver else {
                    continue;
                };
                let command = Command::DeployPrompt {
                    name: file.name.clone(),
                    environment: label.clone(),
                    version: VersionRef::Semver(semver.clone()),
                    wish: true,
                    accept: Vec::new(),
                };
                let origin = self
                    .definitions
                    .owner
                    .origin(&file.path, &format!("label `{label}`"));
                self.push(origin, command, Source::Prompt(index));
            }
        }
    }

    /// A deleted file stops its experiment; a frozen one too, and its latch stays. What was made over the API, or by
    /// somebody else's files, is left alone.
    fn deletions(&mut self, catalog: &Catalog) {
        let owner = &self.definitions.owner;
        for experiment in catalog.experiments.values() {
            let Some(file) = experiment.file.as_deref().filter(|file| owner.owns(file)) else {
                continue;
            };
            let here = self
                .definitions
                .experiments
                .iter()
                .any(|file| file.spec.id == experiment.spec.id);
            if here || experiment.spec.status == WantedStatus::Stopped {
                continue;
            }
            let origin = owner.deleted(file);
            let mut spec = experiment.spec.as_ref().clone();
            spec.status = WantedStatus::Stopped;
            self.push(
                origin.clone(),
                Command::PutExperiment(Box::new(spec)),
                Source::Deleted,
            );
            if experiment.state == State::Frozen {
                self.push(
                    origin,
                    Command::StopExperiment(experiment.spec.id.clone()),
                    Source::Deleted,
                );
            }
        }
    }

    /// What the control plane refused, by file and line.
    #[must_use]
    pub fn mistakes(&self, refused: &[RefusedCommand]) -> Mistakes {
        let mut mistakes = Vec::new();
        for RefusedCommand { index, rejection } in refused {
            let problems = match rejection {
                Rejection::Invalid { problems, .. } | Rejection::InvalidPrompt { problems, .. } => {
                    problems.clone()
                }
                Rejection::Composition { .. } => vec![Problem::new("prompt", rejection.to_string())],
                // A label asks for it, or the first version of a prompt.
                Rejection::NotDeployable {
                    environment, missing, ..
                } => {
                    let problem = |finding: &Finding| {
                        let written =
                            finding.place.starts_with("prompt") || finding.place.starts_with("config");
                        let field = if written { finding.place.as_str() } else { "labels" };
                        Problem::new(field, format!("not for `{environment}` yet: {finding}"))
                    };
                    missing.iter().map(problem).collect()
                }
                Rejection::Immutable { .. } => vec![Problem::new("prompt", rejection.to_string())],
                Rejection::OtherType { .. } => vec![Problem::new("type", rejection.to_string())],
                other => vec![Problem::new("", other.to_string())],
            };
            for problem in &problems {
                let mistake = match self.sources.get(*index) {
                    Some(Source::Prompt(at)) => self.definitions.prompts[*at].mistake(problem),
                    Some(Source::Experiment(at)) => self.definitions.experiments[*at].mistake(problem),
                    Some(Source::Deleted) | None => {
                        Mistake::of_file(Path::new("(deleted)"), problem.to_string())
                    }
                };
                if !mistakes.contains(&mistake) {
                    mistakes.push(mistake);
                }
            }
        }
        Mistakes::sorted(mistakes)
    }
}
