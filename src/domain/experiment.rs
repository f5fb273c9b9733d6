//! Experiments: as designed, and as they live.

mod design;

pub use design::{ExperimentKind, ExperimentSpec, MIN_UNITS, MOST_VARIANTS, Variant, WantedStatus};

use super::{
    Timestamp,
    guardrail::Breach,
    id::{ArmIndex, AttributeName, Epoch, ExperimentKey, Revision, VariantName, VersionNumber},
    metric::Measure,
    segment::SegmentAttribute,
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Where an experiment is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Designed, not started.
    Draft,
    /// To start at its time.
    Scheduled,
    /// Live.
    Running,
    /// Live; the split stays, nothing advances.
    Holding,
    /// Every unit gets control's version; latched until a person resumes.
    Frozen,
    /// The candidate was deployed.
    Promoted,
    /// Over; everyone gets the deployed version.
    Stopped,
}

impl State {
    /// All of them, for one-hot metrics.
    pub const ALL: [Self; 7] = [
        Self::Draft,
        Self::Scheduled,
        Self::Running,
        Self::Holding,
        Self::Frozen,
        Self::Promoted,
        Self::Stopped,
    ];

    /// The name in JSON, metrics and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Holding => "holding",
            Self::Frozen => "frozen",
            Self::Promoted => "promoted",
            Self::Stopped => "stopped",
        }
    }

    /// Whether units are being split.
    #[must_use]
    pub fn splits(self) -> bool {
        matches!(self, Self::Running | Self::Holding)
    }

    /// Whether it takes part in decisions at all.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(
            self,
            Self::Scheduled | Self::Running | Self::Holding | Self::Frozen
        )
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A variant's version as it was at the start: what a revert can rely on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedVersion {
    /// The arm.
    pub variant: VariantName,
    /// The version's number.
    pub version: VersionNumber,
    /// The digest of its content and config.
    pub digest: String,
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

/// Why an experiment is frozen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FreezeCause {
    /// A guardrail was breached.
    Guardrail(Box<Breach>),
    /// A person asked for it.
    Manual,
}

impl FreezeCause {
    /// A short word for metrics: the guardrail's name, or `manual`.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Guardrail(breach) => &breach.guardrail,
            Self::Manual => "manual",
        }
    }
}

/// A freeze as it happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FreezeRecord {
    /// The log entry.
    pub revision: Revision,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// In words.
    pub reason: String,
    /// With the whole evidence.
    pub cause: FreezeCause,
}

/// The time axis of the guardrails' evidence: when it began, and how long each restart block is.
#[derive(Debug, Clone, PartialEq)]
pub struct EvidenceClock {
    /// Outcomes of this epoch and later ones count.
    pub since_epoch: Epoch,
    /// When that epoch began.
    pub since: Timestamp,
    /// The length of a restart block, in seconds, at least 1.
    pub block_s: i64,
}

/// Restart blocks per evidence period, the first included.
pub const RESTART_BLOCKS: usize = 32;

impl EvidenceClock {
    /// The block of an assignment made at `second` (Unix time): 0 … 31; earlier ones count as 0.
    #[must_use]
    pub fn block(&self, second: i64) -> usize {
        let block = (second - self.since.as_second()).max(0) / self.block_s.max(1);
        usize::try_from(block)
            .unwrap_or(usize::MAX)
            .min(RESTART_BLOCKS - 1)
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
    /// Why it is holding, in words.
    pub hold: Option<String>,
    /// Whether a guardrail asked for the hold.
    pub held_by_guardrail: bool,
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
