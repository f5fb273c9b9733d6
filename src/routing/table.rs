//! `RoutingTable`: immutable, indexed for one walk, valid by construction.

use super::{
    answer::Answer,
    archive::PromptArchive,
    audience::CompiledAudience,
    drain::Drain,
    hash::{self, ExperimentSeeds},
    profile::ProfileRule,
    receipt::ReceiptKeys,
};
use crate::domain::{
    Timestamp,
    experiment::State,
    id::{ArmIndex, Environment, Epoch, ExperimentId, ExperimentKey, PromptKey, Revision},
};
use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher},
    sync::{Arc, atomic::AtomicU64},
};

/// Everything a decision needs, swapped as one.
#[derive(Debug)]
pub struct RoutingTable {
    /// The log entry it was compiled from.
    pub revision: Revision,
    /// When it was published.
    pub published_at: Timestamp,
    /// The environment of requests that name none.
    pub environment: Environment,
    /// What receipts are signed with.
    pub receipt_keys: ReceiptKeys,
    /// The revision as text, appended to every answer.
    pub revision_text: Box<[u8]>,
    pub(crate) prompts: HashMap<Arc<str>, Arc<PromptRoutes>, NameHasher>,
}

/// Why there is no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoute {
    /// The prompt does not exist.
    UnknownPrompt,
    /// It exists, but no version is deployed to the environment.
    NotDeployed,
}

impl RoutingTable {
    /// An empty table for the time before the first one is compiled.
    #[must_use]
    pub fn empty(environment: Environment) -> Self {
        Self {
            revision: Revision(0),
            published_at: Timestamp::default(),
            environment,
            receipt_keys: ReceiptKeys::default(),
            revision_text: Box::from(*b"0"),
            prompts: HashMap::default(),
        }
    }

    /// The walk for a prompt in an environment (none: the default one).
    ///
    /// # Errors
    /// [`NoRoute`] for an unknown prompt or one without a deployed version there.
    #[inline]
    pub fn route(&self, prompt: &str, environment: Option<&str>) -> Result<&Route, NoRoute> {
        let routes = self.prompts.get(prompt).ok_or(NoRoute::UnknownPrompt)?;
        let environment = environment.unwrap_or(self.environment.as_str());
        let found = routes
            .environments
            .iter()
            .find(|(name, _)| name.as_str() == environment);
        found.map(|(_, route)| route).ok_or(NoRoute::NotDeployed)
    }

    /// Every version of a prompt; none for an unknown one.
    #[must_use]
    pub fn archive(&self, prompt: &str) -> Option<&PromptArchive> {
        self.prompts.get(prompt).map(|routes| &routes.archive)
    }

    /// The archives of all prompts, in no order.
    pub fn archives(&self) -> impl Iterator<Item = &PromptArchive> {
        self.prompts.values().map(|routes| &routes.archive)
    }

    /// How many prompts it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prompts.len()
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prompts.is_empty()
    }

    /// Every experiment that takes part in some decision.
    pub fn experiments(&self) -> impl Iterator<Item = &RoutedExperiment> {
        let routes = self.prompts.values().flat_map(|routes| &routes.environments);
        routes.flat_map(|(_, route)| &route.experiments)
    }
}

/// A prompt's walks, one per environment that serves it.
#[derive(Debug)]
pub struct PromptRoutes {
    pub(crate) environments: Vec<(Environment, Route)>,
    pub(crate) archive: PromptArchive,
}

/// One prompt in one environment.
#[derive(Debug)]
pub struct Route {
    /// The prompt.
    pub prompt: PromptKey,
    /// Live experiments in start order.
    pub experiments: Box<[RoutedExperiment]>,
    /// Whether any of them forces variants for named units.
    pub overridden: bool,
    /// The deployed version, answered when there is no experiment.
    pub deployed: Answer,
}

/// A live experiment, compiled.
#[derive(Debug)]
pub struct RoutedExperiment {
    /// What stands for it in receipts.
    pub key: ExperimentKey,
    /// Its id.
    pub id: ExperimentId,
    /// Scheduled, running, holding or frozen.
    pub state: State,
    /// The present epoch.
    pub epoch: Epoch,
    /// The attribute that is randomised.
    pub unit: Box<str>,
    /// Who may enter; none: everyone.
    pub audience: Option<CompiledAudience>,
    /// Slots of its layer.
    pub layer: Option<SlotRange>,
    /// Units kept out of every experiment.
    pub holdout: Option<SlotRange>,
    /// Seeds hashed ahead.
    pub seeds: ExperimentSeeds,
    /// The enrolled share.
    pub traffic: f64,
    /// The arms and their weights.
    pub arms: Arms,
    /// What named units are forced to get.
    pub overrides: HashMap<Box<[u8]>, Arc<Answer>, NameHasher>,
    /// The deployed version, for units it does not decide.
    pub deployed: Answer,
    /// Control's version, for everyone while frozen.
    pub frozen: Option<Answer>,
    /// What conversations may keep while frozen; none where a freeze moves everyone at once.
    pub drain: Option<Box<Drain>>,
    /// Audience expressions that failed at run time; survives recompilation.
    pub audience_errors: Arc<AtomicU64>,
    /// What of a request's context goes into its receipt; none for most experiments.
    pub profile: Option<Box<ProfileRule>>,
}

/// A range of percent slots under a seed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlotRange {
    /// The seed of the slots.
    pub seed: u64,
    /// Lower bound in percent, inclusive.
    pub low: f64,
    /// Upper bound in percent, exclusive.
    pub high: f64,
}

impl SlotRange {
    /// Whether a unit's slot lies in the range.
    #[inline]
    #[must_use]
    pub fn contains(&self, unit: &[u8]) -> bool {
        let slot = hash::slot(unit, self.seed);
        slot >= self.low && slot < self.high
    }
}

/// One arm of the draw.
#[derive(Debug)]
pub struct Arm {
    /// Its place in the experiment's list of arms.
    pub index: ArmIndex,
    seed: u64,
    weight: f64,
    /// What its units get.
    pub answer: Answer,
}

/// Weights that cannot be drawn from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadWeights {
    /// Nothing to draw.
    #[error("no variant has a positive weight")]
    None,
    /// Not a weight.
    #[error("the weight of `{0}` is not a finite positive number")]
    NotPositive(String),
}

/// The arms of an experiment: at least one, every weight finite and positive.
#[derive(Debug)]
pub struct Arms(Box<[Arm]>);

impl Arms {
    /// From indexes, weights and answers. A weight of 0 leaves its arm out of the draw.
    ///
    /// # Errors
    /// [`BadWeights`] when a weight is negative or not finite, or none is positive.
    pub fn new(arms: impl IntoIterator<Item = (ArmIndex, f64, Answer)>) -> Result<Self, BadWeights> {
        let mut built = Vec::new();
        for (index, weight, answer) in arms {
            if !weight.is_finite() || weight < 0.0 {
                return Err(BadWeights::NotPositive(answer.variant.to_string()));
            }
            if weight > 0.0 {
                built.push(Arm {
                    index,
                    seed: hash::variant_seed(&answer.variant),
                    weight,
                    answer,
                });
            }
        }
        if built.is_empty() {
            return Err(BadWeights::None);
        }
        // By name, so that not even a tie depends on the order in the file.
        built.sort_by(|a, b| a.answer.variant.cmp(&b.answer.variant));
        Ok(Self(built.into()))
    }

    /// The arm of a draw: the least score wins.
    #[inline]
    #[must_use]
    pub fn draw(&self, draw: u64) -> &Arm {
        let mut best = &self.0[0];
        if self.0.len() > 1 {
            let mut least = hash::score(draw, best.seed, best.weight);
            for arm in &self.0[1..] {
                let score = hash::score(draw, arm.seed, arm.weight);
                if score < least {
                    (best, least) = (arm, score);
                }
            }
        }
        best
    }

    /// The arms with a positive weight, ordered by name.
    #[must_use]
    pub fn as_slice(&self) -> &[Arm] {
        &self.0
    }

    /// Each arm's share of the enrolled units.
    pub fn shares(&self) -> impl Iterator<Item = (&Arm, f64)> {
        let sum: f64 = self.0.iter().map(|arm| arm.weight).sum();
        self.0.iter().map(move |arm| (arm, arm.weight / sum))
    }
}

/// Hashes names and unit ids with XXH3: the keys come from files and not from strangers, so no keyed hash is needed.
#[derive(Debug, Clone, Copy, Default)]
pub struct NameHasher;

impl BuildHasher for NameHasher {
    type Hasher = NameHash;
    fn build_hasher(&self) -> NameHash {
        NameHash(0)
    }
}

/// See [`NameHasher`].
#[derive(Debug)]
pub struct NameHash(u64);

impl Hasher for NameHash {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash::unit_hash(bytes, self.0);
    }
    #[inline]
    fn write_u8(&mut self, _: u8) {
        // `str` ends its bytes with a marker that only tuples of strings need.
    }
    #[inline]
    fn write_usize(&mut self, _: usize) {
        // The length prefix of a byte slice; the bytes tell slices apart well enough.
    }
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
