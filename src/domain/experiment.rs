//! Experiments: as designed, and as they live.

mod design;
mod evidence_clock;
mod life;

pub use design::{ExperimentKind, ExperimentSpec, MIN_UNITS, MOST_VARIANTS, Variant, WantedStatus};

pub use evidence_clock::{EvidenceClock, RESTART_BLOCKS};
pub use life::{Conclusion, ConclusionRecord, FreezeCause, FreezeRecord, Hold, HoldCause, Progress, State};

use super::{
    Timestamp,
    id::{ArmIndex, AttributeName, Epoch, ExperimentKey, Revision, VariantName, VersionNumber},
    metric::Measure,
    prompt::LabelChoice,
    segment::SegmentAttribute,
};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// A variant's version as it was at the start: what a revert can rely on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedVersion {
    /// The arm.
    pub variant: VariantName,
    /// The version's number.
    pub version: VersionNumber,
    /// The digest of its content and config, with everything it includes.
    pub digest: String,
    /// What the labels inside meant, so that the same text is served however they move.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen: Vec<LabelChoice>,
}

/// One arm's share in an epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArmShare {
    /// The arm.
    pub arm: ArmIndex,
    /// Its share of the enrolled units, in (0, 1].
    pub share: f64,
    /// The version it served.
    pub version: Option<VersionNumber>,
}

/// A stretch with one allocation and one state.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochRecord {
    /// Its number.
    pub epoch: Epoch,
    /// When it began.
    pub since: Timestamp,
    /// The log entry that began it.
    pub revision: Revision,
    /// The state in it.
    pub state: State,
    /// The stage of the rollout, from 0.
    pub stage: usize,
    /// The control arm.
    pub control: ArmIndex,
    /// The arms and their shares; empty unless units are split.
    pub shares: Vec<ArmShare>,
}

impl EpochRecord {
    /// The share of `arm` among itself and control: the chance that a unit of the two is on `arm`.
    #[must_use]
    pub fn share_against_control(&self, arm: ArmIndex) -> Option<f64> {
        let share = |wanted| {
            self.shares
                .iter()
                .find(|share| share.arm == wanted)
                .map(|share| share.share)
        };
        let (candidate, control) = (share(arm)?, share(self.control)?);
        Some(candidate / (candidate + control))
    }
}

/// An experiment as it lives: its design, its state and everything the log says about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// What stands for it in receipts and cells.
    pub key: ExperimentKey,
    /// The design in force.
    pub spec: Arc<ExperimentSpec>,
    /// The file that defines it; none when it was made over the API.
    pub file: Option<Arc<str>>,
    /// Where it is in its life.
    pub state: State,
    /// Every arm it ever had; an [`ArmIndex`] points here.
    pub arms: Vec<VariantName>,
    /// What it counts.
    pub measures: Vec<Measure>,
    /// Every attribute its results were ever broken down by; a [`super::segment::Segment`] points here.
    pub segments: Vec<SegmentAttribute>,
    /// Every covariate its metrics ever had; [`Measure::covariate`] points here.
    pub covariates: Vec<AttributeName>,
    /// Every epoch, the present one last; empty before the first start.
    pub epochs: Vec<EpochRecord>,
    /// The versions the arms serve, pinned at start and at each change.
    pub pinned: Vec<PinnedVersion>,
    /// The log entry of its first start: the order of the walk.
    pub started: Option<Revision>,
    /// The freeze that holds until a person resumes.
    pub freeze: Option<FreezeRecord>,
    /// Why it is holding.
    pub hold: Option<Hold>,
    /// How far its rollout has come; none before the first start.
    pub progress: Option<Progress>,
    /// How it ended; none while it has not, or goes on again.
    pub conclusion: Option<ConclusionRecord>,
    /// Guardrails that alerted in this evidence period.
    pub alerted: Vec<String>,
    /// The time axis of the guardrails' evidence; none before the first start.
    pub evidence: Option<EvidenceClock>,
    /// When it was created.
    pub created_at: Timestamp,
    /// The last change.
    pub changed_at: Timestamp,
    /// The log entry of the last change.
    pub revision: Revision,
}

impl Experiment {
    /// The stage of the rollout, from 0.
    #[must_use]
    pub fn stage(&self) -> usize {
        self.progress.as_ref().map_or(0, |progress| progress.stage)
    }

    /// The share of the audience that is enrolled in the present stage, in [0, 1].
    #[must_use]
    pub fn enrolled_share(&self) -> f64 {
        self.spec.enrolled_share(self.stage())
    }

    /// The weights in force in the present stage, in the order of the variants.
    #[must_use]
    pub fn weights(&self) -> Vec<f64> {
        self.spec.weights(self.stage())
    }

    /// The time that the present stage has taken, its holds included.
    #[must_use]
    pub fn in_stage(&self, now: Timestamp) -> Duration {
        self.progress
            .as_ref()
            .map_or(Duration::ZERO, |progress| life::elapsed(progress.since, now))
    }

    /// When the present stage freezes unless it has passed by then; none without stages, and before the first start.
    #[must_use]
    pub fn stage_deadline(&self) -> Option<Timestamp> {
        let plan = self.spec.rollout.as_ref()?;
        let progress = self.progress.as_ref()?;
        let deadline = SignedDuration::try_from(plan.deadline(plan.stage(progress.stage)?)).ok()?;
        progress.since.checked_add(deadline).ok()
    }

    /// Whether its guardrails or stages depend on what is reported: whether silence means anything.
    #[must_use]
    pub fn depends_on_outcomes(&self) -> bool {
        !self.spec.guardrails.is_empty() || self.spec.rollout.is_some()
    }

    /// The present epoch; 0 before the first start.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epochs.last().map_or(Epoch(0), |record| record.epoch)
    }

    /// The last epoch in which units were split: where an outcome without a receipt belongs.
    #[must_use]
    pub fn counting_epoch(&self) -> Option<&EpochRecord> {
        self.epochs.iter().rev().find(|record| record.state.splits())
    }

    /// Whether units were split in an epoch and the arm served what it serves now: what was counted for other
    /// content says nothing about this one.
    #[must_use]
    pub fn counts_for(&self, epoch: Epoch, arm: ArmIndex) -> bool {
        let pinned = self
            .arm_name(arm)
            .and_then(|name| self.pinned_version(name))
            .map(|pinned| pinned.version);
        let shares = self
            .epoch_record(epoch)
            .map_or(&[][..], |record| record.shares.as_slice());
        shares
            .iter()
            .any(|share| share.arm == arm && share.version == pinned)
    }

    /// The record of an epoch.
    #[must_use]
    pub fn epoch_record(&self, epoch: Epoch) -> Option<&EpochRecord> {
        // Epochs are numbered from 1 without gaps.
        let index = usize::try_from(epoch.0).ok()?.checked_sub(1)?;
        self.epochs.get(index)
    }

    /// The arm with this name.
    #[must_use]
    pub fn arm(&self, name: &str) -> Option<ArmIndex> {
        let index = self.arms.iter().position(|arm| arm.as_str() == name)?;
        u8::try_from(index).ok().map(ArmIndex)
    }

    /// The name of an arm.
    #[must_use]
    pub fn arm_name(&self, arm: ArmIndex) -> Option<&VariantName> {
        self.arms.get(usize::from(arm.0))
    }

    /// The measure with this name.
    #[must_use]
    pub fn measure(&self, name: &str) -> Option<&Measure> {
        self.measures.iter().find(|measure| measure.name == name)
    }

    /// The version pinned for a variant.
    #[must_use]
    pub fn pinned_version(&self, variant: &VariantName) -> Option<&PinnedVersion> {
        self.pinned.iter().find(|pinned| pinned.variant == *variant)
    }
}
