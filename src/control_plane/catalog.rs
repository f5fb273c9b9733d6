//! The catalog: everything the control log says, folded. `apply` cannot fail and judges nothing.

mod drift;
mod prompts;

pub use drift::{Drift, MovedLabel};
pub use prompts::Touched;

use super::done::DoneRequests;
use crate::domain::{
    Timestamp,
    allocation::Holdout,
    command,
    event::{Event, Recorded},
    experiment::{
        ArmShare, Conclusion, ConclusionRecord, EpochRecord, EvidenceClock, Experiment, ExperimentSpec,
        FreezeCause, FreezeRecord, Hold, HoldCause, PinnedVersion, Progress, State,
    },
    guardrail::ALPHA,
    id::{ArmIndex, Environment, ExperimentId, ExperimentKey, MetricKey, PromptKey, PromptName, Revision},
    metric::built_in_keys,
    prompt::{Gate, Prompt},
    segment::SegmentAttribute,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The length of the restart blocks' span where neither stages nor a schedule give one.
const EVIDENCE_SPAN: Duration = Duration::from_secs(7 * 86_400);

/// Prompts, experiments and settings that travel in the log. Cheap to clone: the parts are shared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalog {
    /// The last applied entry.
    pub revision: Revision,
    /// By name.
    pub prompts: BTreeMap<PromptName, Arc<Prompt>>,
    /// By id; never removed, so that history stays.
    pub experiments: BTreeMap<ExperimentId, Arc<Experiment>>,
    /// The evidence that environments ask for; those that are not named are open.
    pub gates: Arc<BTreeMap<Environment, Gate>>,
    /// Units kept out of every experiment.
    pub holdout: Option<Holdout>,
    /// Key ids and secrets of receipts, oldest first.
    pub receipt_keys: Vec<(u8, [u8; 16])>,
    /// What was done under idempotency keys.
    pub done: Arc<DoneRequests>,
    metric_keys: BTreeMap<String, MetricKey>,
    includers: Arc<prompts::Includers>,
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

    /// Applies an entry of the log. An entry that does not fit (a log written by hand) changes nothing.
    pub fn apply(&mut self, entry: &Recorded) {
        self.revision = entry.revision;
        let at = entry.at;
        if let Some(idempotency) = &entry.idempotency {
            Arc::make_mut(&mut self.done).remember(entry, idempotency);
        }
        match &entry.event {
            Event::PromptRegistered { .. }
            | Event::PromptDeployed { .. }
            | Event::PromptLabelled { .. }
            | Event::PromptTagged { .. }
            | Event::PromptEvaluated { .. }
            | Event::PromptReviewed { .. } => self.apply_to_prompt(entry),
            Event::GatesChanged { gates } => self.gates = Arc::new(gates.clone()),
            Event::ExperimentCreated { key, spec } => self.create(entry, *key, spec),
            Event::ExperimentChanged { spec, pinned } => self.change_design(entry, spec, pinned),
            Event::ExperimentScheduled { id } => self.change(entry, id, |experiment| {
                experiment.state = State::Scheduled;
            }),
            Event::ExperimentStarted { id, pinned } => self.change(entry, id, |experiment| {
                experiment.started.get_or_insert(entry.revision);
                experiment.conclusion = None;
                go_on(experiment, pinned, entry, Begin::Stage(0));
            }),
            Event::ExperimentHeld {
                id, cause, breach, ..
            } => self.change(entry, id, |experiment| {
                let asked = if breach.is_some() {
                    HoldCause::Guardrail
                } else {
                    HoldCause::Manual
                };
                let cause = cause.unwrap_or(asked);
                experiment.state = State::Holding;
                experiment.hold = Some(Hold {
                    cause,
                    since: at,
                    reason: entry.reason.clone(),
                });
                if let Some(progress) = &mut experiment.progress {
                    progress.pause(at);
                }
                if !cause.clears_itself() {
                    begin_epoch(experiment, entry);
                }
            }),
            Event::ExperimentCleared { id, cause } => self.change(entry, id, |experiment| {
                experiment.state = State::Running;
                experiment.hold = None;
                if let Some(progress) = &mut experiment.progress {
                    progress.go_on(at, *cause);
                }
            }),
            Event::ExperimentAdvanced { id, stage, .. } => self.change(entry, id, |experiment| {
                experiment.state = State::Running;
                experiment.hold = None;
                experiment.progress = Some(Progress::begun(*stage, at));
                begin_epoch(experiment, entry);
                let (place, span) = (
                    staged(&experiment.spec, *stage),
                    span(&experiment.spec, *stage, at),
                );
                if let Some(clock) = &mut experiment.evidence {
                    clock.enter(at, place, span);
                }
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
                experiment.conclusion = None;
                let begin = match (experiment.freeze.take(), experiment.hold.as_ref()) {
                    (Some(freeze), _) => Begin::Afresh(freeze.cause),
                    (None, Some(hold)) => Begin::After(hold.cause),
                    (None, None) => Begin::Stage(0),
                };
                go_on(experiment, pinned, entry, begin);
            }),
            Event::ExperimentStopped {
                id,
                conclusion,
                results,
            } => self.change(entry, id, |experiment| {
                experiment.state = State::Stopped;
                conclude(
                    experiment,
                    entry,
                    conclusion.unwrap_or(Conclusion::Inconclusive),
                    results,
                );
            }),
            Event::ExperimentPromoted { id, results, .. } => self.change(entry, id, |experiment| {
                experiment.state = State::Promoted;
                conclude(experiment, entry, Conclusion::Ship, results);
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
            progress: None,
            conclusion: None,
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
        let rerouted = !experiment.spec.routes_like(spec, experiment.stage());
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

/// How an experiment goes on.
enum Begin {
    /// From a stage on.
    Stage(usize),
    /// After a freeze: from the first stage on, with new evidence.
    Afresh(FreezeCause),
    /// In the same stage, after a hold.
    After(HoldCause),
}

fn go_on(experiment: &mut Experiment, pinned: &[PinnedVersion], entry: &Recorded, begin: Begin) {
    let at = entry.at;
    experiment.state = State::Running;
    experiment.hold = None;
    match (&begin, &mut experiment.progress) {
        (Begin::After(cause), Some(progress)) => {
            progress.go_on(at, *cause);
            progress.budget_waived |= *cause == HoldCause::Budget;
        }
        (Begin::Stage(stage), progress) => *progress = Some(Progress::begun(*stage, at)),
        (_, progress) => *progress = Some(Progress::begun(0, at)),
    }
    let earlier = experiment.evidence.as_ref().map(|clock| clock.alpha);
    repin(experiment, pinned, entry);
    begin_epoch(experiment, entry);
    let alpha = match begin {
        // Once frozen by the test and let go on, the same candidate may freeze falsely once more: half as likely each
        // time, so that all times together stay below twice the budget.
        Begin::Afresh(FreezeCause::Guardrail(_)) => earlier.map_or(ALPHA, |alpha| alpha / 2.0),
        // What a guardrail did would be done again at once by the same evidence, so it starts afresh; a person's hold
        // leaves it as it was.
        Begin::Afresh(_) | Begin::After(HoldCause::Guardrail) => earlier.unwrap_or(ALPHA),
        _ if earlier.is_none() => ALPHA,
        Begin::Stage(stage) => {
            let (place, span) = (staged(&experiment.spec, stage), span(&experiment.spec, stage, at));
            if let Some(clock) = &mut experiment.evidence {
                clock.enter(at, place, span);
            }
            return;
        }
        Begin::After(_) => return,
    };
    // New content has begun its own evidence, with the whole budget, in this very epoch.
    let fresh = experiment.evidence.as_ref().map(|clock| clock.since_epoch);
    if fresh != Some(experiment.epoch()) {
        begin_evidence(experiment, at, alpha);
    }
}

fn conclude(
    experiment: &mut Experiment,
    entry: &Recorded,
    conclusion: Conclusion,
    results: &Option<serde_json::Value>,
) {
    experiment.hold = None;
    experiment.conclusion = Some(ConclusionRecord {
        conclusion,
        revision: entry.revision,
        at: entry.at,
        actor: entry.actor.clone(),
        reason: entry.reason.clone(),
        results: results.clone(),
    });
    begin_epoch(experiment, entry);
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
        begin_evidence(experiment, entry.at, ALPHA);
    }
}

fn begin_epoch(experiment: &mut Experiment, entry: &Recorded) {
    let spec = &experiment.spec;
    let weights = experiment.weights();
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
        stage: experiment.stage(),
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

fn begin_evidence(experiment: &mut Experiment, at: Timestamp, alpha: f64) {
    let (spec, stage) = (&experiment.spec, experiment.stage());
    let clock = EvidenceClock::begun(
        (experiment.epoch(), at),
        alpha,
        staged(spec, stage),
        span(spec, stage, at),
    );
    experiment.alerted.clear();
    experiment.evidence = Some(clock);
}

/// A stage's place among those of the plan.
fn staged(spec: &ExperimentSpec, stage: usize) -> (usize, usize) {
    (stage, spec.rollout.as_ref().map_or(1, |plan| plan.stages.len()))
}

/// How long a stage is to last: as planned, else until the schedule's end.
fn span(spec: &ExperimentSpec, stage: usize, at: Timestamp) -> Duration {
    let planned = spec.rollout.as_ref().and_then(|plan| plan.stage(stage));
    let scheduled = spec
        .end
        .and_then(|end| Duration::try_from(end.duration_since(spec.start.unwrap_or(at))).ok());
    planned
        .map(|stage| stage.duration)
        .or(scheduled)
        .unwrap_or(EVIDENCE_SPAN)
}

/// The file that speaks in an entry.
fn file_of(entry: &Recorded) -> Option<Arc<str>> {
    command::file_of(&entry.actor).map(Arc::from)
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
