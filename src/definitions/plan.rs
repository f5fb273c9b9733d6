//! What a set of definitions changes: the plan before, and the account after.
//!
//! Owns how a change is told: what is created, changed and stopped, every field with its old and new value, how much of
//! the traffic moves, and the steps in the log. Made from two catalogs and the entries between them, so that it says what
//! was decided and not what was hoped for; decides nothing itself. Called by the HTTP API for `serin apply`.

mod fields;
mod traffic;

pub use fields::FieldChange;
pub use traffic::{ArmShift, Shift};

use super::{
    exclusions::{self, Meeting},
    load::Definitions,
};
use crate::{
    control_plane::catalog::Catalog,
    domain::{
        command::APPLY_ACTOR,
        event::{Event, Recorded},
        experiment::{Experiment, State},
        id::{ExperimentId, PromptName, Revision, VersionNumber},
        prompt::VersionRef,
    },
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What happens to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is new.
    Create,
    /// It is there and becomes something else.
    Change,
    /// Its file is gone.
    Stop,
}

/// What kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A version of a prompt.
    PromptVersion,
    /// What an environment serves.
    Deployment,
    /// An experiment.
    Experiment,
}

/// One thing that changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// What happens.
    pub action: Action,
    /// To what.
    pub kind: Kind,
    /// Its name: an id, `prompt version`, or `prompt in environment`.
    pub name: String,
    /// Field by field; empty for what is new or stops.
    pub fields: Vec<FieldChange>,
    /// How traffic moves; null when it does not.
    pub traffic: Option<Shift>,
    /// More in words.
    pub notes: Vec<String>,
}

/// The whole plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The log entry it is made at.
    pub revision: Revision,
    /// Prompt versions, deployments, experiments.
    pub changes: Vec<Change>,
    /// Files that say what is there already.
    pub unchanged: usize,
    /// The steps, as they land in the log.
    pub steps: Vec<String>,
    /// The prompts whose experiments change, with who excludes whom afterwards.
    pub exclusions: Vec<Meeting>,
    /// What is probably not meant.
    pub warnings: Vec<String>,
}

impl Plan {
    /// What `entries` made of `before`, which is `after`.
    #[must_use]
    pub fn of(
        before: &Catalog,
        after: &Catalog,
        entries: &[Arc<Recorded>],
        definitions: &Definitions,
    ) -> Self {
        let mut plan = Self {
            revision: before.revision,
            changes: Vec::new(),
            unchanged: 0,
            steps: entries.iter().map(|entry| step(after, &entry.event)).collect(),
            exclusions: Vec::new(),
            warnings: Vec::new(),
        };
        plan.prompts(before, after, entries);
        plan.experiments(before, after, entries, definitions);
        let touched: BTreeSet<&str> = plan.changes.iter().map(|change| change.name.as_str()).collect();
        let is_same = |name: &str| !touched.contains(name);
        let versions = definitions.prompts.iter().filter(|file| {
            let semver = file
                .draft
                .semver
                .as_ref()
                .map_or_else(String::new, ToString::to_string);
            is_same(&format!("{} {semver}", file.name))
        });
        let experiments = definitions.experiments.iter();
        let experiments = experiments.filter(|file| is_same(file.spec.id.as_str()));
        plan.unchanged = versions.count() + experiments.count();
        plan
    }

    fn prompts(&mut self, before: &Catalog, after: &Catalog, entries: &[Arc<Recorded>]) {
        // The first version of a prompt goes everywhere: one line, and not one for each environment.
        let mut first: BTreeMap<&PromptName, Vec<String>> = BTreeMap::new();
        for entry in entries {
            if let Event::PromptDeployed {
                prompt,
                environment,
                previous: None,
                ..
            } = &entry.event
                && !before.prompts.contains_key(prompt)
            {
                first.entry(prompt).or_default().push(environment.to_string());
            }
        }
        for entry in entries {
            match &entry.event {
                Event::PromptRegistered { prompt, version, .. } => {
                    let deployed = first.get(prompt).filter(|_| version.number == VersionNumber(1));
                    let mut notes = vec![format!("version {}", version.number)];
                    notes.extend(deployed.map(|all| format!("deployed to {}", all.join(", "))));
                    self.changes.push(Change {
                        action: Action::Create,
                        kind: Kind::PromptVersion,
                        name: version_name(after, prompt, version.number),
                        fields: Vec::new(),
                        traffic: None,
                        notes,
                    });
                }
                Event::PromptDeployed {
                    prompt,
                    environment,
                    version,
                    previous,
                    ..
                } if previous.is_some() || before.prompts.contains_key(prompt) => {
                    let named = |number: VersionNumber| semver_of(after, prompt, number).into();
                    self.changes.push(Change {
                        action: Action::Change,
                        kind: Kind::Deployment,
                        name: format!("{prompt} in {environment}"),
                        fields: vec![FieldChange {
                            field: "version".to_owned(),
                            from: previous.map_or(serde_json::Value::Null, named),
                            to: named(*version),
                        }],
                        traffic: None,
                        notes: vec!["for every unit that no experiment has".to_owned()],
                    });
                }
                _ => {}
            }
        }
    }

    fn experiments(
        &mut self,
        before: &Catalog,
        after: &Catalog,
        entries: &[Arc<Recorded>],
        definitions: &Definitions,
    ) {
        let touched: BTreeSet<&ExperimentId> = entries
            .iter()
            .filter_map(|entry| entry.event.experiment())
            .collect();
        let files: BTreeSet<&ExperimentId> =
            definitions.experiments.iter().map(|file| &file.spec.id).collect();
        let mut prompts = BTreeSet::new();
        for id in touched {
            let Some(now) = after.experiments.get(id) else {
                continue;
            };
            let was = before.experiments.get(id);
            prompts.insert(&now.spec.prompt);
            let action = match was {
                None => Action::Create,
                Some(_) if !files.contains(id) => Action::Stop,
                Some(_) => Action::Change,
            };
            self.changes.push(Change {
                action,
                kind: Kind::Experiment,
                name: id.to_string(),
                fields: match (was, action) {
                    (Some(was), Action::Change) => fields::between(&was.spec, &now.spec),
                    _ => Vec::new(),
                },
                traffic: traffic::shift(was.map(Arc::as_ref), now),
                notes: notes(was.map(Arc::as_ref), now, action),
            });
            if let (Some(from), Some(to)) = (was.and_then(|was| was.file.as_ref()), now.file.as_ref())
                && from != to
            {
                let from = from.strip_prefix(APPLY_ACTOR).unwrap_or(from);
                self.warnings.push(format!(
                    "`{id}` was defined by {from} so far: two places that define one experiment undo each other"
                ));
            }
        }
        self.exclusions = exclusions::of_catalog(after, None);
        self.exclusions
            .retain(|meeting| prompts.contains(&meeting.prompt));
        let told = self
            .exclusions
            .iter()
            .flat_map(|meeting| meeting.warnings.clone());
        self.warnings.extend(told.collect::<Vec<_>>());
    }

    /// The experiments that are made or changed, and live afterwards or a draft: what a preflight is worth for.
    pub fn designs<'a>(&'a self, catalog: &'a Catalog) -> impl Iterator<Item = &'a Arc<Experiment>> {
        self.changes
            .iter()
            .filter(|change| change.kind == Kind::Experiment && change.action != Action::Stop)
            .filter_map(|change| ExperimentId::new(&change.name).ok())
            .filter_map(|id| catalog.experiments.get(&id))
            .filter(|experiment| !matches!(experiment.state, State::Stopped | State::Promoted))
    }
}

fn notes(was: Option<&Experiment>, now: &Experiment, action: Action) -> Vec<String> {
    let mut notes = Vec::new();
    let before = was.map(|was| was.state);
    match (action, before) {
        (Action::Create, _) => notes.push(format!(
            "{} of prompt {}, {}",
            match now.spec.kind {
                crate::domain::experiment::ExperimentKind::Canary => "canary",
                crate::domain::experiment::ExperimentKind::Experiment => "experiment",
            },
            now.spec.prompt,
            now.state
        )),
        (Action::Stop, _) => notes.push("its file is gone".to_owned()),
        (Action::Change, Some(before)) if before != now.state => {
            notes.push(format!("{before} → {}", now.state));
        }
        (Action::Change, _) => {}
    }
    if now.state == State::Frozen {
        notes.push("stays frozen: every unit has control's version until somebody resumes it".to_owned());
    } else if now.freeze.is_some() {
        notes.push("was frozen: it starts again only when somebody resumes it".to_owned());
    }
    notes
}

/// An event as a step.
fn step(after: &Catalog, event: &Event) -> String {
    match event {
        Event::PromptRegistered { prompt, version, .. } => {
            format!("register {}", version_name(after, prompt, version.number))
        }
        Event::PromptDeployed {
            prompt,
            environment,
            version,
            ..
        } => format!(
            "deploy {} to {environment}",
            version_name(after, prompt, *version)
        ),
        Event::ExperimentCreated { spec, .. } => format!("create experiment {}", spec.id),
        Event::ExperimentChanged { spec, .. } => format!("change experiment {}", spec.id),
        Event::ExperimentScheduled { id } => format!("schedule experiment {id}"),
        Event::ExperimentStarted { id, .. } => format!("start experiment {id}"),
        Event::ExperimentStopped { id, .. } => format!("stop experiment {id}"),
        other => match other.experiment() {
            Some(id) => format!("change experiment {id}"),
            None => "change the settings".to_owned(),
        },
    }
}

fn semver_of(catalog: &Catalog, prompt: &PromptName, number: VersionNumber) -> String {
    let prompt = catalog.prompts.get(prompt);
    let version = prompt.and_then(|prompt| prompt.version(&VersionRef::Number(number)));
    version
        .and_then(|version| version.draft.semver.as_ref())
        .map_or_else(|| number.to_string(), ToString::to_string)
}

fn version_name(catalog: &Catalog, prompt: &PromptName, number: VersionNumber) -> String {
    format!("{prompt} {}", semver_of(catalog, prompt, number))
}
