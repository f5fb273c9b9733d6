//! Catalog → `RoutingTable`. A broken experiment becomes unroutable and leaves its prompt on the deployed version;
//! the others go on.

use super::catalog::Catalog;
use crate::{
    domain::{
        Timestamp,
        experiment::{Experiment, State},
        id::{Environment, ExperimentId, PromptName},
        prompt::{Prompt, PromptVersion, ResolvedVersion, VersionRef},
    },
    routing::{
        answer::{Answer, content_of},
        archive::PromptArchive,
        audience::CompiledAudience,
        drain::Drain,
        hash::{self, ExperimentSeeds},
        profile::ProfileRule,
        receipt::ReceiptKeys,
        table::{Arms, PromptRoutes, Route, RoutedExperiment, RoutingTable, SlotRange},
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::AtomicU64},
};

/// Why live experiments take no part in decisions, by id.
pub type Unroutable = BTreeMap<ExperimentId, String>;

/// A table, and the experiments that could not be put into it.
#[derive(Debug)]
pub struct Compiled {
    /// What decisions are made from.
    pub table: RoutingTable,
    /// What was left out, and why.
    pub unroutable: Unroutable,
}

/// Compiles the catalog. With `previous` and the prompts touched since, only those are compiled anew; all others
/// are shared with the previous table.
#[must_use]
pub fn compile(
    catalog: &Catalog,
    environment: &Environment,
    now: Timestamp,
    previous: Option<(&RoutingTable, &Unroutable, &[PromptName])>,
) -> Compiled {
    let mut by_prompt: HashMap<&PromptName, Vec<&Arc<Experiment>>> = HashMap::new();
    for experiment in catalog
        .experiments
        .values()
        .filter(|experiment| experiment.state.is_live())
    {
        by_prompt
            .entry(&experiment.spec.prompt)
            .or_default()
            .push(experiment);
    }
    let mut unroutable = previous
        .map(|(_, unroutable, _)| unroutable.clone())
        .unwrap_or_default();
    let mut prompts = previous
        .map(|(table, ..)| table.prompts.clone())
        .unwrap_or_default();
    let known = Known::of(
        previous.map(|(table, ..)| table),
        previous.map(|(.., touched)| touched),
    );
    let touched: Vec<&Arc<Prompt>> = match previous {
        Some((.., touched)) => touched
            .iter()
            .filter_map(|name| catalog.prompts.get(name))
            .collect(),
        None => catalog.prompts.values().collect(),
    };
    for prompt in touched {
        unroutable.retain(|id, _| {
            catalog
                .experiments
                .get(id)
                .is_none_or(|e| e.spec.prompt != prompt.name)
        });
        let mut experiments = by_prompt.get(&prompt.name).cloned().unwrap_or_default();
        experiments
            .sort_by_key(|experiment| (experiment.started.is_none(), experiment.started, experiment.key));
        let routes = Prompts {
            catalog,
            prompt,
            known: &known,
        }
        .compile(&experiments, &mut unroutable);
        prompts.insert(prompt.name.as_str().into(), Arc::new(routes));
    }
    unroutable.retain(|id, _| {
        catalog
            .experiments
            .get(id)
            .is_some_and(|experiment| experiment.state.is_live())
    });
    let table = RoutingTable {
        revision: catalog.revision,
        published_at: now,
        environment: environment.clone(),
        receipt_keys: ReceiptKeys::new(catalog.receipt_keys.iter().copied()),
        revision_text: catalog.revision.to_string().into_bytes().into(),
        prompts,
    };
    Compiled { table, unroutable }
}

/// What a new table takes over from the previous one: compiled audiences and their error counters.
#[derive(Default)]
struct Known {
    audiences: HashMap<String, CompiledAudience>,
    errors: HashMap<ExperimentId, Arc<AtomicU64>>,
}

impl Known {
    fn of(previous: Option<&RoutingTable>, touched: Option<&[PromptName]>) -> Self {
        let mut known = Self::default();
        let (Some(table), Some(touched)) = (previous, touched) else {
            return known;
        };
        for routes in touched.iter().filter_map(|name| table.prompts.get(name.as_str())) {
            for experiment in routes
                .environments
                .iter()
                .flat_map(|(_, route)| &route.experiments)
            {
                if let Some(audience) = &experiment.audience {
                    known
                        .audiences
                        .insert(audience.source().to_owned(), audience.clone());
                }
                known
                    .errors
                    .insert(experiment.id.clone(), Arc::clone(&experiment.audience_errors));
            }
        }
        known
    }
}

struct Prompts<'a> {
    catalog: &'a Catalog,
    prompt: &'a Prompt,
    known: &'a Known,
}

impl Prompts<'_> {
    fn compile(&self, experiments: &[&Arc<Experiment>], unroutable: &mut Unroutable) -> PromptRoutes {
        let mut contents = Contents::default();
        let mut environments = Vec::new();
        let mut served = Vec::new();
        for environment in self.prompt.deployed.keys() {
            let deployment = self.prompt.deployment(environment);
            let Some(deployed) =
                deployment.and_then(|deployment| self.catalog.served(self.prompt, deployment))
            else {
                continue;
            };
            let mut routed = Vec::new();
            for experiment in experiments
                .iter()
                .filter(|experiment| experiment.spec.environment == *environment)
            {
                match self.route(experiment, &deployed, &mut contents) {
                    Ok(route) => routed.push(route),
                    Err(reason) => {
                        unroutable.insert(experiment.spec.id.clone(), reason);
                    }
                }
            }
            let content = contents.of(&deployed);
            let route = Route {
                prompt: self.prompt.key,
                overridden: routed.iter().any(|experiment| !experiment.overrides.is_empty()),
                experiments: routed.into(),
                deployed: Answer::new(
                    &self.prompt.name,
                    Arc::clone(&deployed.version),
                    content,
                    None,
                    None,
                ),
            };
            environments.push((environment.clone(), route));
            served.push((environment.clone(), deployed));
        }
        PromptRoutes {
            environments,
            archive: self.archive(served),
        }
    }

    fn archive(&self, served: Vec<(Environment, ResolvedVersion)>) -> PromptArchive {
        let resolve = |version: &Arc<PromptVersion>| self.catalog.resolve(&self.prompt.name, version);
        PromptArchive::new(self.prompt, served, resolve)
    }

    /// Whether a frozen experiment's prompt was rolled back with its freeze or since.
    fn rolled_back(&self, experiment: &Experiment) -> bool {
        let deployment = self.prompt.deployment(&experiment.spec.environment);
        let (Some(deployment), Some(freeze)) = (deployment, &experiment.freeze) else {
            return false;
        };
        deployment.is_rollback() && deployment.revision >= freeze.revision
    }

    fn route(
        &self,
        experiment: &Experiment,
        deployed: &ResolvedVersion,
        contents: &mut Contents,
    ) -> Result<RoutedExperiment, String> {
        let spec = &experiment.spec;
        let context = Some((&spec.id, experiment.state));
        let mut answers = Vec::with_capacity(spec.variants.len());
        for (variant, weight) in spec.variants.iter().zip(experiment.weights()) {
            let pinned = experiment.pinned_version(&variant.name);
            let reference = pinned.map_or_else(
                || variant.version.clone(),
                |pinned| VersionRef::Number(pinned.version),
            );
            let version = self
                .prompt
                .version(&reference)
                .ok_or_else(|| format!("version {reference} of variant `{}` does not exist", variant.name))?;
            let resolved = match pinned {
                Some(pinned) => self
                    .catalog
                    .resolve_as(&self.prompt.name, version, &pinned.chosen),
                None => self.catalog.resolve(&self.prompt.name, version),
            };
            let resolved = resolved.map_err(|error| format!("variant `{}`: {error}", variant.name))?;
            if pinned.is_some_and(|pinned| pinned.digest != resolved.digest()) {
                return Err(format!(
                    "version {reference} of variant `{}` has other content than at the start",
                    variant.name
                ));
            }
            let index = experiment
                .arm(variant.name.as_str())
                .ok_or_else(|| format!("variant `{}` is no arm", variant.name))?;
            let arm = Some((index, variant.name.as_str()));
            let content = contents.of(&resolved);
            let answer = Answer::new(&self.prompt.name, Arc::clone(version), content, arm, context);
            answers.push((variant, index, weight, answer));
        }
        let mut overrides = HashMap::default();
        for (variant, _, _, answer) in &answers {
            let units = spec
                .overrides
                .get(&variant.name)
                .map(Vec::as_slice)
                .unwrap_or_default();
            if !units.is_empty() {
                let forced = Arc::new(answer.clone());
                overrides.extend(
                    units
                        .iter()
                        .map(|unit| (unit.as_bytes().into(), Arc::clone(&forced))),
                );
            }
        }
        let rolled_back = self.rolled_back(experiment);
        let frozen = match experiment.state {
            // Control may be the very version that was rolled back.
            State::Frozen if rolled_back => {
                let control = spec.control().ok_or("there is no control")?;
                let arm = experiment
                    .arm(control.name.as_str())
                    .map(|arm| (arm, control.name.as_str()));
                let content = contents.of(deployed);
                let version = Arc::clone(&deployed.version);
                Some(Answer::new(&self.prompt.name, version, content, arm, context))
            }
            State::Frozen => {
                let control = answers.first().ok_or("there is no control")?;
                Some(control.3.clone())
            }
            _ => None,
        };
        let drain = match (experiment.state, spec.drains_for()) {
            (State::Frozen, Some(drained)) if !rolled_back => Some(Box::new(Drain {
                before: experiment.epoch(),
                for_s: i64::try_from(drained.as_secs()).unwrap_or(i64::MAX),
                answers: answers
                    .iter()
                    .map(|(_, arm, _, answer)| (*arm, answer.clone()))
                    .collect(),
            })),
            _ => None,
        };
        let audience = match &spec.audience {
            None => None,
            Some(source) => Some(match self.known.audiences.get(source) {
                Some(audience) => audience.clone(),
                None => CompiledAudience::compile(source).map_err(|error| format!("audience: {error}"))?,
            }),
        };
        let arms = Arms::new(
            answers
                .into_iter()
                .map(|(_, index, weight, answer)| (index, weight, answer)),
        )
        .map_err(|error| error.to_string())?;
        let not_decided = Answer::new(
            &self.prompt.name,
            Arc::clone(&deployed.version),
            contents.of(deployed),
            None,
            context,
        );
        Ok(RoutedExperiment {
            key: experiment.key,
            id: spec.id.clone(),
            state: experiment.state,
            epoch: experiment.epoch(),
            unit: spec.unit.as_str().into(),
            audience,
            layer: spec.layer.as_ref().map(|layer| SlotRange {
                seed: hash::layer_seed(layer.name.as_str()),
                low: layer.slots[0],
                high: layer.slots[1],
            }),
            holdout: self.catalog.holdout.as_ref().map(|holdout| SlotRange {
                seed: hash::holdout_seed(holdout.name.as_str()),
                low: 0.0,
                high: 100.0 * holdout.share,
            }),
            seeds: ExperimentSeeds::new(spec.salt()),
            traffic: experiment.enrolled_share(),
            arms,
            overrides,
            deployed: not_decided,
            frozen,
            drain,
            audience_errors: self
                .known
                .errors
                .get(&spec.id)
                .map(Arc::clone)
                .unwrap_or_default(),
            profile: ProfileRule::of(experiment).map(Box::new),
        })
    }
}

/// Contents as answers carry them, by digest: versions that are served in several places are written once.
#[derive(Default)]
struct Contents(HashMap<String, Arc<str>>);

impl Contents {
    fn of(&mut self, version: &ResolvedVersion) -> Arc<str> {
        if let Some(content) = self.0.get(version.digest()) {
            return Arc::clone(content);
        }
        let content = content_of(version);
        self.0.insert(version.digest().to_owned(), Arc::clone(&content));
        content
    }
}
