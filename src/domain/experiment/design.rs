//! An experiment as designed: what a file or a caller asks for. What became of it is the rest of [`super`].

use crate::domain::{
    Timestamp,
    allocation::LayerSlots,
    duration_text,
    guardrail::GuardrailSpec,
    id::{AttributeName, Environment, ExperimentId, MetricKey, PromptName, VariantName},
    metric::{BUILT_IN, EFFECT_WORTH_FINDING, Goal, Measure, MeasureSource, MetricKind, MetricSpec},
    prompt::VersionRef,
    rollout::{DRAIN_FOR, Revert, RolloutPlan},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// Distinct units each arm needs before anything about it is judged, where the design does not say.
pub const MIN_UNITS: u32 = 100;

/// The most variants one experiment may have at a time.
pub const MOST_VARIANTS: usize = 32;

/// What kind of question an experiment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExperimentKind {
    /// A/B/n: the split is constant, the enrolled share may be ramped.
    Experiment,
    /// The last variant's share grows by stage.
    Canary,
}

/// What the file wants; the log may overrule it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WantedStatus {
    /// Not started yet.
    Draft,
    /// Live.
    Running,
    /// Over.
    Stopped,
}

/// One arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Its name.
    pub name: VariantName,
    /// The prompt version it serves.
    pub version: VersionRef,
    /// Its weight; shares are weight / sum. Finite and positive.
    pub weight: f64,
}

/// An experiment as designed; the JSON form has the keys of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentSpec {
    /// The id, from the file's name or the caller.
    pub id: ExperimentId,
    /// The prompt under test.
    pub prompt: PromptName,
    /// The environment whose decisions it takes part in.
    pub environment: Environment,
    /// A/B/n or canary.
    pub kind: ExperimentKind,
    /// What the file wants.
    pub status: WantedStatus,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What it is to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypothesis: Option<String>,
    /// The context attribute that is randomised.
    pub unit: AttributeName,
    /// Common Expression Language over the context; absent: everyone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The share of the audience that is enrolled, in [0, 1].
    pub traffic: f64,
    /// The salt of the assignment; absent: the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// Not before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// Not after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// Percent slots of a layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<LayerSlots>,
    /// The arms; the first is the control.
    pub variants: Vec<Variant>,
    /// What it is decided by.
    #[serde(default)]
    pub metrics: Vec<MetricSpec>,
    /// What must hold.
    #[serde(default)]
    pub guardrails: Vec<GuardrailSpec>,
    /// Stages of a growing share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutPlan>,
    /// What a freeze does to conversations that have begun.
    #[serde(default, skip_serializing_if = "Revert::is_kill")]
    pub revert: Revert,
    /// How young a receipt must be to keep its version after a freeze; only where the revert drains.
    #[serde(
        default,
        with = "duration_text::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub drain_for: Option<Duration>,
    /// Forced variants for named units, never counted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<VariantName, Vec<String>>,
    /// Attributes by whose values the results are broken down, with the values that are told apart by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub segments: BTreeMap<AttributeName, Vec<String>>,
    /// Distinct units each arm needs before anything about it is judged; absent: [`MIN_UNITS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_units: Option<u32>,
}

impl ExperimentSpec {
    /// The salt of the assignment.
    #[must_use]
    pub fn salt(&self) -> &str {
        self.salt.as_deref().unwrap_or(self.id.as_str())
    }

    /// The control's name: the first variant's.
    #[must_use]
    pub fn control(&self) -> Option<&Variant> {
        self.variants.first()
    }

    /// The enrolled share of the audience in a rollout stage (from 0), in [0, 1].
    #[must_use]
    pub fn enrolled_share(&self, stage: usize) -> f64 {
        match (self.kind, self.stage_share(stage)) {
            (ExperimentKind::Experiment, Some(share)) => self.traffic * share,
            _ => self.traffic,
        }
    }

    /// The weights in force in a rollout stage (from 0), in the order of the variants: as written, or for a canary with
    /// stages the last variant's share of that stage with the others in proportion to their weights.
    ///
    /// Weights 50 and 50 with a stage of share 0.01 give 0.99 and 0.01.
    #[must_use]
    pub fn weights(&self, stage: usize) -> Vec<f64> {
        let written: Vec<f64> = self.variants.iter().map(|variant| variant.weight).collect();
        let (ExperimentKind::Canary, Some(share), Some((_, others))) =
            (self.kind, self.stage_share(stage), written.split_last())
        else {
            return written;
        };
        let sum: f64 = others.iter().sum();
        others
            .iter()
            .map(|weight| (1.0 - share) * weight / sum)
            .chain([share])
            .collect()
    }

    fn stage_share(&self, stage: usize) -> Option<f64> {
        Some(self.rollout.as_ref()?.stage(stage)?.share)
    }

    /// How long a receipt keeps its version after a freeze; none where a freeze moves everyone at once.
    #[must_use]
    pub fn drains_for(&self) -> Option<Duration> {
        (self.revert == Revert::Drain).then(|| self.drain_for.unwrap_or(DRAIN_FOR))
    }

    /// Whether two designs route alike in a stage: the same split, traffic, audience, versions and unit. When they do
    /// not, a live experiment starts a new epoch.
    #[must_use]
    pub fn routes_like(&self, other: &Self, stage: usize) -> bool {
        self.prompt == other.prompt
            && self.environment == other.environment
            && self.unit == other.unit
            && self.audience == other.audience
            && self.enrolled_share(stage) == other.enrolled_share(stage)
            && self.salt() == other.salt()
            && self.layer == other.layer
            && self.weights(stage) == other.weights(stage)
            && self.overrides == other.overrides
            && self.variants.len() == other.variants.len()
            && self
                .variants
                .iter()
                .zip(&other.variants)
                .all(|(a, b)| a.name == b.name && a.version == b.version)
    }

    /// What the experiment counts, with keys from `intern` and the places of covariates in `covariates`: declared metrics first, then the built-in ones, then
    /// numbers that guardrails turn into rates.
    pub fn measures(
        &self,
        covariates: &[AttributeName],
        mut intern: impl FnMut(&str) -> MetricKey,
    ) -> Vec<Measure> {
        let covariate = |name: &AttributeName| covariates.iter().position(|known| known == name);
        let mut measures = Vec::with_capacity(self.metrics.len() + BUILT_IN.len() + self.guardrails.len());
        let guarded = |name: &str| {
            self.guardrails
                .iter()
                .any(|guardrail| guardrail.measure_name() == name)
        };
        for metric in &self.metrics {
            measures.push(Measure {
                key: intern(metric.name.as_str()),
                name: metric.name.to_string(),
                kind: metric.kind,
                goal: metric.goal,
                cap: metric.cap,
                covariate: metric.covariate.as_ref().and_then(&covariate),
                mde: metric.mde.unwrap_or(EFFECT_WORTH_FINDING),
                margin: metric.margin.or(metric.mde).unwrap_or(EFFECT_WORTH_FINDING),
                source: MeasureSource::Declared {
                    primary: metric.primary,
                },
                guarded: guarded(metric.name.as_str()),
            });
        }
        for (name, kind, goal) in BUILT_IN {
            if measures.iter().all(|measure| measure.name != name) {
                let key = intern(name);
                let source = MeasureSource::BuiltIn;
                measures.push(Measure {
                    key,
                    name: name.to_owned(),
                    kind,
                    goal,
                    cap: None,
                    covariate: None,
                    mde: EFFECT_WORTH_FINDING,
                    margin: EFFECT_WORTH_FINDING,
                    source,
                    guarded: guarded(name),
                });
            }
        }
        for guardrail in &self.guardrails {
            let name = guardrail.measure_name();
            if let Some(limit) = guardrail.above
                && measures.iter().all(|measure| measure.name != name)
            {
                measures.push(Measure {
                    key: intern(&name),
                    name,
                    kind: MetricKind::Rate,
                    goal: Goal::Decrease,
                    cap: None,
                    covariate: None,
                    mde: EFFECT_WORTH_FINDING,
                    margin: EFFECT_WORTH_FINDING,
                    source: MeasureSource::Above {
                        metric: guardrail.metric.clone(),
                        limit,
                    },
                    guarded: true,
                });
            }
        }
        measures
    }
}
