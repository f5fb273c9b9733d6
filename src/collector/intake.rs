//! The gate in front of counting: an immutable snapshot of what may be reported, and the checks of one outcome.
//!
//! Owns no counts, does no IO and reads no clock. The control plane compiles a new one after each change; requests
//! resolve outcomes against it, and the writer folds with it.

mod deployed;
mod resolve;
mod values;

pub use resolve::{LONGEST_ID, LONGEST_NOTE, LONGEST_TAG, MOST_TAGS};

use crate::{
    domain::{
        Timestamp,
        experiment::Experiment,
        guardrail::Limit,
        id::{Epoch, ExperimentId, ExperimentKey, MetricKey, PromptKey, PromptName},
        metric::{self, Measure, MeasureSource, MetricKind, NEVER_NEGATIVE},
        prompt::Prompt,
    },
    routing::{profile::ProfileRule, receipt::ReceiptKeys},
};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// What a guardrail needs to know about a measure whose bad units it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Guarded {
    /// Seconds after the second of an assignment at which it enters: for the longest of the measure's guardrails.
    pub(super) settle_s: u32,
    /// Whether one of them is an absolute limit, which needs the good outcomes as well.
    pub(super) absolute: bool,
}

/// A number that a guardrail turns into a rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Derived {
    pub(super) key: MetricKey,
    pub(super) limit: f64,
    pub(super) guarded: Option<Guarded>,
}

/// How the values of one reported metric are counted.
#[derive(Debug)]
pub(super) struct CountedMetric {
    pub(super) key: MetricKey,
    pub(super) cap: Option<f64>,
    /// Whether its raw values enter a sketch, from which quantiles are read.
    pub(super) quantiles: bool,
    /// The place of its covariate among those of an observation.
    pub(super) covariate: Option<usize>,
    pub(super) guarded: Option<Guarded>,
    pub(super) derived: Box<[Derived]>,
    name: String,
    kind: MetricKind,
    never_negative: bool,
}

impl CountedMetric {
    /// A metric that no design says anything about.
    fn plain(key: MetricKey, name: &str, kind: MetricKind) -> Self {
        Self {
            key,
            cap: None,
            quantiles: kind == MetricKind::Mean,
            covariate: None,
            guarded: None,
            derived: Box::default(),
            name: name.to_owned(),
            kind,
            never_negative: NEVER_NEGATIVE.contains(&name),
        }
    }
}

/// One experiment as outcomes see it.
#[derive(Debug)]
pub struct ExperimentIntake {
    experiment: Arc<Experiment>,
    counting_epoch: Option<Epoch>,
    metrics: Box<[CountedMetric]>,
    profile: Option<ProfileRule>,
}

impl ExperimentIntake {
    fn new(experiment: &Arc<Experiment>) -> Self {
        let guarded = |measure: &Measure| {
            let mut guardrails = experiment
                .spec
                .guardrails
                .iter()
                .filter(|guardrail| guardrail.measure_name() == measure.name)
                .peekable();
            (measure.guarded && guardrails.peek().is_some()).then(|| {
                guardrails.fold(
                    Guarded {
                        settle_s: 0,
                        absolute: false,
                    },
                    |all, guardrail| Guarded {
                        settle_s: all.settle_s.max(settling(guardrail.settle)),
                        absolute: all.absolute || matches!(guardrail.limit, Limit::MaxRate(_)),
                    },
                )
            })
        };
        let derived = |metric: &str| {
            experiment
                .measures
                .iter()
                .filter_map(|measure| match &measure.source {
                    MeasureSource::Above { metric: of, limit } if of.as_str() == metric => Some(Derived {
                        key: measure.key,
                        limit: *limit,
                        guarded: guarded(measure),
                    }),
                    _ => None,
                })
                .collect()
        };
        let metrics = experiment
            .measures
            .iter()
            .filter(|measure| !matches!(measure.source, MeasureSource::Above { .. }))
            .map(|measure| CountedMetric {
                key: measure.key,
                cap: measure.cap,
                quantiles: measure.kind == MetricKind::Mean,
                covariate: measure.covariate,
                guarded: guarded(measure),
                derived: derived(&measure.name),
                name: measure.name.clone(),
                kind: measure.kind,
                never_negative: NEVER_NEGATIVE.contains(&measure.name.as_str()),
            })
            .collect();
        Self {
            counting_epoch: experiment.counting_epoch().map(|record| record.epoch),
            profile: ProfileRule::of(experiment),
            experiment: Arc::clone(experiment),
            metrics,
        }
    }

    /// The experiment as it lives.
    #[must_use]
    pub fn experiment(&self) -> &Arc<Experiment> {
        &self.experiment
    }

    /// The last epoch in which units were split.
    #[must_use]
    pub fn counting_epoch(&self) -> Option<Epoch> {
        self.counting_epoch
    }

    /// How a metric is counted; none when the design no longer has it.
    #[inline]
    pub(super) fn metric(&self, key: MetricKey) -> Option<&CountedMetric> {
        self.metrics.iter().find(|metric| metric.key == key)
    }

    /// Every measure whose bad units are counted.
    pub(super) fn guarded(&self) -> impl Iterator<Item = (MetricKey, Guarded)> + '_ {
        self.metrics.iter().flat_map(|metric| {
            let own = metric.guarded.map(|guarded| (metric.key, guarded));
            let derived = metric
                .derived
                .iter()
                .filter_map(|derived| Some((derived.key, derived.guarded?)));
            own.into_iter().chain(derived)
        })
    }
}

/// Everything that may be reported at a moment.
#[derive(Debug)]
pub struct Intake {
    by_key: HashMap<ExperimentKey, ExperimentIntake>,
    by_id: HashMap<ExperimentId, ExperimentKey>,
    prompts: HashMap<PromptName, Arc<Prompt>>,
    prompt_names: HashMap<PromptKey, PromptName>,
    deployed: Box<[CountedMetric]>,
    keys: ReceiptKeys,
    receipt_lifetime: Duration,
}

impl Intake {
    /// Compiles the snapshot. All experiments belong in it, ended ones too, so that their outcomes are refused by
    /// name, and all prompts; a receipt older than `receipt_lifetime` is refused.
    ///
    /// A new epoch must be here before the first decision signs it: swap the intake first, then the routing table.
    pub fn compile<'a>(
        experiments: impl Iterator<Item = &'a Arc<Experiment>>,
        prompts: impl Iterator<Item = &'a Arc<Prompt>>,
        keys: ReceiptKeys,
        receipt_lifetime: Duration,
    ) -> Self {
        let by_key: HashMap<_, _> = experiments
            .map(|experiment| (experiment.key, ExperimentIntake::new(experiment)))
            .collect();
        let by_id = by_key
            .iter()
            .map(|(key, compiled)| (compiled.experiment.spec.id.clone(), *key))
            .collect();
        let prompts: HashMap<_, _> = prompts
            .map(|prompt| (prompt.name.clone(), Arc::clone(prompt)))
            .collect();
        let deployed = metric::of_deployed()
            .map(|(key, (name, kind, _))| CountedMetric::plain(key, name, kind))
            .collect();
        Self {
            by_key,
            by_id,
            prompt_names: prompts
                .values()
                .map(|prompt| (prompt.key, prompt.name.clone()))
                .collect(),
            prompts,
            deployed,
            keys,
            receipt_lifetime,
        }
    }

    /// The experiment with this key.
    #[must_use]
    pub fn experiment(&self, key: ExperimentKey) -> Option<&ExperimentIntake> {
        self.by_key.get(&key)
    }

    /// The experiment with this id.
    #[must_use]
    pub fn experiment_by_id(&self, id: &str) -> Option<&ExperimentIntake> {
        self.by_key.get(self.by_id.get(id)?)
    }

    /// All of them, in no order.
    pub fn experiments(&self) -> impl Iterator<Item = &ExperimentIntake> {
        self.by_key.values()
    }

    /// The name of a prompt.
    #[must_use]
    pub fn prompt_name(&self, key: PromptKey) -> Option<&PromptName> {
        self.prompt_names.get(&key)
    }

    /// Whether what belongs to this epoch is counted now, and is not late for an epoch that is over. Versions outside
    /// any experiment are never over.
    #[must_use]
    pub fn is_current(&self, experiment: ExperimentKey, epoch: Epoch) -> bool {
        if experiment.deployed_prompt().is_some() {
            return true;
        }
        let design = self.experiment(experiment);
        design.and_then(ExperimentIntake::counting_epoch) == Some(epoch)
    }

    /// How long a receipt is taken.
    #[must_use]
    pub fn receipt_lifetime(&self) -> Duration {
        self.receipt_lifetime
    }
}

/// The Unix second as receipts carry it.
pub(super) fn unix_second(now: Timestamp) -> u32 {
    u32::try_from(now.as_second().max(0)).unwrap_or(u32::MAX)
}

/// A receipt says in which second a decision was made and not when in it, so one that has to settle waits for the end
/// of that second as well: a little late rather than too early.
fn settling(settle: Duration) -> u32 {
    match whole_seconds(settle) {
        0 => 0,
        seconds => seconds.saturating_add(1),
    }
}

/// A duration in seconds, a begun one in full.
pub(super) fn whole_seconds(duration: Duration) -> u32 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
