//! The JSON shapes of experiments.

use crate::{
    control_plane::{View, decide::allowed_steps},
    domain::{
        Timestamp, duration_text,
        experiment::{
            ConclusionRecord, EpochRecord, Experiment, ExperimentKind, ExperimentSpec, FreezeRecord,
            HoldCause, PinnedVersion, State, Variant,
        },
        id::{
            AttributeName, Environment, Epoch, ExperimentId, PromptName, Revision, VariantName, VersionNumber,
        },
        prompt::VersionRef,
    },
    report::{ByVariant, served_shares},
};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// An arm, as it is listed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Variant)]
pub(super) struct VariantView {
    #[schema(value_type = String)]
    name: VariantName,
    /// The number of the version it serves, or would serve; null when that does not exist.
    #[schema(value_type = Option<u64>)]
    version: Option<VersionNumber>,
    #[schema(value_type = Option<String>)]
    semver: Option<semver::Version>,
    /// As written.
    weight: f64,
    /// The share of the enrolled units that gets it now.
    share: f64,
}

/// An experiment, as it is listed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExperimentSummary)]
pub(super) struct ExperimentView {
    #[schema(value_type = String)]
    id: ExperimentId,
    #[schema(value_type = String)]
    prompt: PromptName,
    #[schema(value_type = String)]
    environment: Environment,
    #[schema(value_type = String, example = "canary")]
    kind: ExperimentKind,
    #[schema(value_type = String, example = "running")]
    state: State,
    #[schema(value_type = u32)]
    epoch: Epoch,
    #[schema(value_type = String)]
    unit: AttributeName,
    owner: Option<String>,
    /// The enrolled share of the audience.
    traffic: f64,
    variants: Vec<VariantView>,
    /// Why it holds, in words.
    hold: Option<String>,
    #[schema(value_type = Option<String>)]
    hold_cause: Option<HoldCause>,
    hold_since: Option<Timestamp>,
    /// How far its rollout has come; null without stages, or before the start.
    stage: Option<StageView>,
    #[schema(value_type = Option<Object>)]
    freeze: Option<FreezeRecord>,
    unroutable: Option<String>,
    changed_at: Timestamp,
    #[schema(value_type = u64)]
    revision: Revision,
}

/// A stretch with one split and one state.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Epoch)]
struct EpochView {
    #[schema(value_type = u32)]
    epoch: Epoch,
    since: Timestamp,
    #[schema(value_type = String, example = "running")]
    state: State,
    #[schema(value_type = HashMap<String, f64>)]
    shares: ByVariant<f64>,
}

/// The stage of a rollout that is in force.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Stage)]
struct StageView {
    /// From 1.
    number: usize,
    of: usize,
    /// Of the candidate, or of the audience.
    share: f64,
    since: Timestamp,
    /// The least time it runs, in words.
    #[serde(rename = "for")]
    lasts: String,
    min_outcomes: u64,
    /// When it freezes if it has not passed by then.
    deadline: Option<Timestamp>,
}

/// An experiment by itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Experiment)]
pub(super) struct ExperimentDetail {
    #[serde(flatten)]
    listed: ExperimentView,
    /// The design, with the keys of the file: it can be sent back.
    #[schema(value_type = Object)]
    spec: Arc<ExperimentSpec>,
    /// The steps a person may take now.
    allowed: Vec<&'static str>,
    epochs: Vec<EpochView>,
    #[schema(value_type = Vec<Object>)]
    pinned: Vec<PinnedVersion>,
    /// How it ended, with the results as they were.
    #[schema(value_type = Option<Object>)]
    conclusion: Option<ConclusionRecord>,
}

impl ExperimentView {
    pub(super) fn of(view: &View, experiment: &Experiment) -> Self {
        let spec = &experiment.spec;
        let unroutable = view.unroutable.get(&spec.id).cloned();
        let shares = served_shares(experiment, unroutable.is_some());
        let variants = spec
            .variants
            .iter()
            .map(|variant| variant_view(view, experiment, variant, &shares))
            .collect();
        Self {
            id: spec.id.clone(),
            prompt: spec.prompt.clone(),
            environment: spec.environment.clone(),
            kind: spec.kind,
            state: experiment.state,
            epoch: experiment.epoch(),
            unit: spec.unit.clone(),
            owner: spec.owner.clone(),
            traffic: experiment.enrolled_share(),
            variants,
            hold: experiment.hold.as_ref().map(|hold| hold.reason.clone()),
            hold_cause: experiment.hold.as_ref().map(|hold| hold.cause),
            hold_since: experiment.hold.as_ref().map(|hold| hold.since),
            stage: stage_view(experiment),
            freeze: experiment.freeze.clone(),
            unroutable,
            changed_at: experiment.changed_at,
            revision: experiment.revision,
        }
    }
}

impl ExperimentDetail {
    pub(super) fn of(view: &View, experiment: &Experiment) -> Self {
        Self {
            listed: ExperimentView::of(view, experiment),
            spec: Arc::clone(&experiment.spec),
            allowed: allowed_steps(experiment),
            epochs: experiment
                .epochs
                .iter()
                .map(|record| epoch_view(experiment, record))
                .collect(),
            pinned: experiment.pinned.clone(),
            conclusion: experiment.conclusion.clone(),
        }
    }
}

fn variant_view(
    view: &View,
    experiment: &Experiment,
    variant: &Variant,
    shares: &ByVariant<f64>,
) -> VariantView {
    let pinned = experiment.pinned_version(&variant.name);
    let wanted = pinned.map_or_else(
        || variant.version.clone(),
        |pinned| VersionRef::Number(pinned.version),
    );
    let prompt = view.catalog.prompts.get(&experiment.spec.prompt);
    let version = prompt.and_then(|prompt| prompt.version(&wanted));
    VariantView {
        name: variant.name.clone(),
        version: version.map(|version| version.number),
        semver: version.and_then(|version| version.draft.semver.clone()),
        weight: variant.weight,
        share: shares.of(variant.name.as_str()).copied().unwrap_or(0.0),
    }
}

fn stage_view(experiment: &Experiment) -> Option<StageView> {
    let plan = experiment.spec.rollout.as_ref()?;
    let progress = experiment.progress.as_ref()?;
    let stage = plan.stage(progress.stage)?;
    Some(StageView {
        number: progress.stage + 1,
        of: plan.stages.len(),
        share: stage.share,
        since: progress.since,
        lasts: duration_text::format(stage.duration),
        min_outcomes: stage.min_outcomes,
        deadline: experiment.stage_deadline(),
    })
}

fn epoch_view(experiment: &Experiment, record: &EpochRecord) -> EpochView {
    let named = record
        .shares
        .iter()
        .filter_map(|share| Some((experiment.arm_name(share.arm)?.clone(), share.share)));
    EpochView {
        epoch: record.epoch,
        since: record.since,
        state: record.state,
        shares: ByVariant(named.collect()),
    }
}
