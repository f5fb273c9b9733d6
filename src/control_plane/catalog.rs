//! The catalog: everything the control log says, folded. `apply` cannot fail and judges nothing.

use super::done::DoneRequests;
use crate::domain::{
    Timestamp,
    allocation::Holdout,
    command::FILE_ACTOR,
    event::{Event, Recorded},
    experiment::{
        ArmShare, EpochRecord, EvidenceClock, Experiment, ExperimentSpec, FreezeRecord, PinnedVersion,
        RESTART_BLOCKS, State,
    },
    id::{ArmIndex, ExperimentId, ExperimentKey, MetricKey, PromptKey, PromptName, Revision},
    metric::built_in_keys,
    prompt::{Prompt, PromptVersion},
    segment::SegmentAttribute,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The length of the restart blocks' span where neither stages nor a schedule give one.
const EVIDENCE_SPAN: Duration = Duration::from_secs(7 * 86_400);

/// Prompts, experiments and settings that travel in the log. Cheap to clone: the parts are shared.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// The last applied entry.
    pub revision: Revision,
    /// By name.
    pub prompts: BTreeMap<PromptName, Arc<Prompt>>,
    /// By id; never removed, so that history stays.
    pub experiments: BTreeMap<ExperimentId, Arc<Experiment>>,
    /// Units kept out of every experiment.
    pub holdout: Option<Holdout>,
    /// Key ids and secrets of receipts, oldest first.
    pub receipt_keys: Vec<(u8, [u8; 16])>,
    /// What was done under idempotency keys.
    pub done: Arc<DoneRequests>,
    metric_keys: BTreeMap<String, MetricKey>,
    /// Ids in the order of their keys.
    ids: Vec<ExperimentId>,
}

impl Catalog {
    /// Folds a whole log.
    #[must_use]
    pub fn fold<'a>(entries: impl IntoIterator<Item = &'a Recorded>) -> Self {
        let mut catalog = Self::default();
        for entry in entries {
            catalog.apply(entry);
        }
        catalog
    }

    /// The experiment a key stands for.
    #[must_use]
    pub fn experiment(&self, key: ExperimentKey) -> Option<&Arc<Experiment>> {
        self.ids
            .get(usize::try_from(key.0).ok()?)
            .and_then(|id| self.experiments.get(id))
    }

    /// The number for the next experiment.
    #[must_use]
    pub fn next_experiment_key(&self) -> ExperimentKey {
        ExperimentKey::after(self.ids.len())
    }

    /// The number for the next prompt.
    #[must_use]
    pub fn next_prompt_key(&self) -> PromptKey {
        PromptKey(u32::try_from(self.prompts.len()).unwrap_or(u32::MAX))
    }

    /// The prompt whose routes an entry changes; none: all of them or none at all.
    #[must_use]
    pub fn touched<'a>(&'a self, event: &'a Event) -> Option<&'a PromptName> {
        match event {
            Event::PromptRegistered { prompt, .. } | Event::PromptDeployed { prompt, .. } => Some(prompt),
            other => other
                .experiment()
                .and_then(|id| self.experiments.get(id))
                .map(|e| &e.spec.prompt),
        }
    }

    /// Applies an entry of the log. An entry that does not fit (a log written by hand) changes nothing.
    pub fn apply(&mut self, entry: &Recorded) {
        self.revision = entry.revision;
        let at = entry.at;
        if let Some(idempotency) = &entry.idempotency {
            Arc::make_mut(&mut self.done).remember(entry, idempotency);
        }
        match &entry.event {
            Event::PromptRegistered { prompt, key, version } => self.register(prompt, *key, version),
            Event::PromptDeployed {
                prompt,
                environment,
                version,
                wish,
                ..
            } => {
                if let Some(prompt) = self.prompts.get_mut(prompt) {
                    let prompt = Arc::make_mut(prompt);
                    prompt.deployed.insert(environment.clone(), *version);
                    if *wish {
                        prompt.wished.insert(environment.clone(), *version);
                    }
                }
            }
            Event::ExperimentCreated { key, spec } => self.create(entry, *key, spec),
            Event::ExperimentChanged { spec, pinned } => self.change_design(entry, spec, pinned),
            Event::ExperimentScheduled { id } => self.change(entry, id, |experiment| {
                experiment.state = State::Scheduled;
            }),
            Event::ExperimentStarted { id, pinned } => self.change(entry, id, |experiment| {
                experiment.started.get_or_insert(entry.revision);
                experiment.state = State::Running;
                experiment.hold = None;
                repin(experiment, pinned, entry);
                begin_epoch(experiment, entry);
                if experiment.evidence.is_none() {
                    begin_evidence(experiment, at);
                }
            }),
            Event::ExperimentHeld { id, breach } => self.change(entry, id, |experiment| {
                experiment.state = State::Holding;
                experiment.held_by_guardrail = breach.is_some();
                experiment.hold = Some(entry.reason.clone());
                begin_epoch(experiment, entry);
            }),
            Event::ExperimentFrozen { id, cause } => self.change(entry, id, |experiment| {
                experiment.state = State::Frozen;
                experiment.hold = None;
                experiment.freeze = Some(FreezeRecord {
                    revision: entry.revision,
                    at,
                    actor: entry.actor.clone(),
                    reason: entry.reason.clone(),
                    cause: cause.clone(),
                });
                begin_epoch(experiment, entry);
            }),
            Event::ExperimentResumed { id, pinned } => self.change(entry, id, |experiment| {
                // What a guardrail did would be done again at once by the same evidence, so it starts afresh; a
                // person's hold leaves it as it was.
                let thawed =
                    experiment.freeze.take().is_some() | std::mem::take(&mut experiment.held_by_guardrail);
                experiment.state = State::Running;
                experiment.hold = None;
                repin(experiment, pinned, entry);
                begin_epoch(experiment, entry);
                if thawed || experiment.evidence.is_none() {
                    begin_evidence(experiment, at);
                }
            }),
            Event::ExperimentStopped { id } => self.change(entry, id, |experiment| {
                experiment.state = State::Stopped;
                experiment.hold = None;
                begin_epoch(experiment, entry);
            }),
            Event::ExperimentPromoted { id, .. } => self.change(entry, id, |experiment| {
                experiment.state = State::Promoted;
                experiment.hold = None;
                begin_epoch(experiment, entry);
            }),
            Event::GuardrailAlerted { id, breach } => self.change(entry, id, |experiment| {
                experiment.alerted.push(breach.guardrail.clone());
            }),
            Event::HoldoutChanged { holdout } => self.holdout.clone_from(holdout),
            Event::ReceiptKeyAdded { key_id, secret } => {
                if let Some(secret) = from_hex(secret) {
                    self.receipt_keys.push((*key_id, secret));
                }
            }
        }
    }

    fn register(&mut self, name: &PromptName, key: PromptKey, version: &Arc<PromptVersion>) {
        let prompt = self.prompts.entry(name.clone()).or_insert_with(|| {
            Arc::new(Prompt {
                name: name.clone(),
                key,
                versions: Vec::new(),
                tags: Vec::new(),
                deployed: BTreeMap::new(),
                wished: BTreeMap::new(),
            })
        });
        let prompt = Arc::make_mut(prompt);
        prompt.tags.clone_from(&version.draft.tags);
        prompt.versions.push(Arc::clone(version));
    }

    fn create(&mut self, entry: &Recorded, key: ExperimentKey, spec: &Arc<ExperimentSpec>) {
        if key.deployed_prompt().is_some() {
            return;
        }
        let mut experiment = Experiment {
            key,
            spec: Arc::clone(spec),
            file: file_of(entry),
            state: State::Draft,
            arms: Vec::new(),
            measures: Vec::new(),
            segments: Vec::new(),
            covariates: Vec::new(),
            epochs: Vec::new(),
            pinned: Vec::new(),
            started: None,
            freeze: None,
            hold: None,
            held_by_guardrail: false,
            alerted: Vec::new(),
            evidence: None,
            created_at: entry.at,
            changed_at: entry.at,
            revision: entry.revision,
        };
        self.adopt(&mut experiment, spec);
        self.ids.push(spec.id.clone());
        self.experiments.insert(spec.id.clone(), Arc::new(experiment));
    }

    fn change_design(&mut self, entry: &Recorded, spec: &Arc<ExperimentSpec>, pinned: &[PinnedVersion]) {
        let Some(mut experiment) = self.experiments.get(&spec.id).map(|e| Experiment::clone(e)) else {
            return;
        };
        let rerouted = !experiment.spec.routes_like(spec);
        self.adopt(&mut experiment, spec);
        experiment.file = file_of(entry).or(experiment.file);
        experiment.changed_at = entry.at;
        experiment.revision = entry.revision;
        if experiment.state.is_live() {
            repin(&mut experiment, pinned, entry);
            if rerouted {
                begin_epoch(&mut experiment, entry);
            }
        }
        self.experiments.insert(spec.id.clone(), Arc::new(experiment));
    }

    /// Takes over a design: new arms, segments and covariates are appended, so that a place never changes its meaning.
    fn adopt(&mut self, experiment: &mut Experiment, spec: &Arc<ExperimentSpec>) {
        experiment.spec = Arc::clone(spec);
        for variant in &spec.variants {
            if !experiment.arms.contains(&variant.name) {
                experiment.arms.push(variant.name.clone());
            }
        }
        // Before the first start nothing was counted under any place.
        if experiment.started.is_none() {
            experiment.segments.clear();
            experiment.covariates.clear();
        }
        for (attribute, values) in &spec.segments {
            let known = &mut experiment.segments;
            let place = known.iter().position(|known| known.attribute == *attribute);
            let place = place.unwrap_or_else(|| {
                known.push(SegmentAttribute {
                    attribute: attribute.clone(),
                    values: Vec::new(),
                });
                known.len() - 1
            });
            for value in values {
                if !known[place].values.contains(value) {
                    known[place].values.push(value.clone());
                }
            }
        }
        for covariate in spec.metrics.iter().filter_map(|metric| metric.covariate.as_ref()) {
            if !experiment.covariates.contains(covariate) {
                experiment.covariates.push(covariate.clone());
            }
        }
        let keys = &mut self.metric_keys;
        if keys.is_empty() {
            keys.extend(built_in_keys().map(|(key, (name, ..))| (name.to_owned(), key)));
        }
        experiment.measures = spec.measures(&experiment.covariates, |name| {
            let next = MetricKey(u16::try_from(keys.len()).unwrap_or(u16::MAX));
            *keys.entry(name.to_owned()).or_insert(next)
        });
    }

    fn change(&mut self, entry: &Recorded, id: &ExperimentId, change: impl FnOnce(&mut Experiment)) {
        if let Some(experiment) = self.experiments.get_mut(id) {
            let experiment = Arc::make_mut(experiment);
            change(experiment);
            experiment.changed_at = entry.at;
            experiment.revision = entry.revision;
        }
    }
}

/// Pins versions; new content on an arm is a new candidate, whose evidence starts afresh.
fn repin(experiment: &mut Experiment, pinned: &[PinnedVersion], entry: &Recorded) {
    let replaced = pinned.iter().any(|new| {
        experiment
            .pinned
            .iter()
            .any(|old| old.variant == new.variant && old.digest != new.digest)
    });
    experiment.pinned = pinned.to_vec();
    if replaced {
        begin_epoch(experiment, entry);
        begin_evidence(experiment, entry.at);
    }
}

fn begin_epoch(experiment: &mut Experiment, entry: &Recorded) {
    let spec = &experiment.spec;
    let weights = spec.weights();
    let sum: f64 = weights.iter().sum();
    let control = spec
        .control()
        .and_then(|control| experiment.arm(control.name.as_str()))
        .unwrap_or(ArmIndex(0));
    let shares = if experiment.state.splits() {
        let shares = spec
            .variants
            .iter()
            .zip(&weights)
            .filter(|(_, weight)| **weight > 0.0);
        shares
            .filter_map(|(variant, weight)| {
                Some(ArmShare {
                    arm: experiment.arm(variant.name.as_str())?,
                    share: weight / sum,
                    version: experiment
                        .pinned_version(&variant.name)
                        .map(|pinned| pinned.version),
                })
            })
            .collect()
    } else {
        Vec::new()
    };
    let record = EpochRecord {
        epoch: experiment.epoch().next(),
        since: entry.at,
        revision: entry.revision,
        state: experiment.state,
        control,
        shares,
    };
    // Several changes of one entry are one epoch.
    match experiment.epochs.last_mut() {
        Some(last) if last.revision == entry.revision => {
            *last = EpochRecord {
                epoch: last.epoch,
                ..record
            }
        }
        _ => experiment.epochs.push(record),
    }
}

fn begin_evidence(experiment: &mut Experiment, at: Timestamp) {
    let spec = &experiment.spec;
    let staged = spec
        .rollout
        .as_ref()
        .and_then(|plan| plan.stages.first())
        .map(|stage| stage.duration);
    let scheduled = spec
        .end
        .and_then(|end| Duration::try_from(end.duration_since(spec.start.unwrap_or(at))).ok());
    let span = staged.or(scheduled).unwrap_or(EVIDENCE_SPAN);
    let blocks = u64::try_from(RESTART_BLOCKS).unwrap_or(1);
    experiment.alerted.clear();
    experiment.evidence = Some(EvidenceClock {
        since_epoch: experiment.epoch(),
        since: at,
        block_s: i64::try_from(span.as_secs() / blocks).unwrap_or(i64::MAX).max(1),
    });
}

/// The file that speaks in an entry.
fn file_of(entry: &Recorded) -> Option<Arc<str>> {
    entry.actor.strip_prefix(FILE_ACTOR).map(Arc::from)
}

fn from_hex(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    if text.len() != 32 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
