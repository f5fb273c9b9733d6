//! The guardrails' evidence of one experiment since its evidence clock began.
//!
//! Owns the distinct bad units and the settled sums of every guarded measure and arm. Judges nothing: the guardrails
//! read [`GuardSnapshot`] and decide.

use super::{
    bad_units::{BadUnits, Changed, Moment},
    buckets::Buckets,
    codec::{FormatError, Reader, Writer},
    intake::{ExperimentIntake, Guarded},
    observation::Observation,
};
use crate::domain::{
    experiment::EvidenceClock,
    id::{ArmIndex, Epoch, MetricKey},
};

const WHAT: &str = "guard state";
const VERSION: u8 = 1;

/// What guardrails judge, as of one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardSnapshot {
    /// Only outcomes of this epoch and later ones are in it.
    pub since_epoch: Epoch,
    /// Every guarded measure of the design.
    pub measures: Vec<GuardedCounts>,
}

impl GuardSnapshot {
    /// The counts of a measure.
    #[must_use]
    pub fn measure(&self, key: MetricKey) -> Option<&GuardedCounts> {
        self.measures.iter().find(|measure| measure.measure == key)
    }
}

/// The evidence of one guarded measure.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardedCounts {
    /// The measure.
    pub measure: MetricKey,
    /// The arms that reported anything bad, or anything at all for a measure with an absolute limit.
    pub arms: Vec<GuardedArm>,
    /// Settled bad units by time and epoch, ascending; what the sequential test adds up.
    pub steps: Vec<Step>,
}

impl GuardedCounts {
    /// The counts of an arm.
    #[must_use]
    pub fn arm(&self, arm: ArmIndex) -> Option<&GuardedArm> {
        self.arms.iter().find(|counts| counts.arm == arm)
    }
}

/// The evidence of one guarded measure on one arm.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardedArm {
    /// The arm.
    pub arm: ArmIndex,
    /// Distinct units with a bad outcome whose assignment has settled.
    pub bad_units: u64,
    /// Distinct units with a bad outcome whose assignment is still too young.
    pub pending: u64,
    /// For a measure with an absolute limit: settled outcomes and bad ones among them, by bucket of units.
    pub absolute: Option<Buckets>,
}

/// Bad units that entered the test together: same restart block, same epoch, same arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// The restart block of the assignments, 0 … 31.
    pub block: usize,
    /// Their epoch, which has the shares.
    pub epoch: Epoch,
    /// Their arm.
    pub arm: ArmIndex,
    /// How many distinct units had their first bad outcome.
    pub bad_units: u32,
    /// How many of them are in each hidden half of the arm; those from before there were halves are in none.
    pub halves: [u32; 2],
}

/// The evidence of one experiment.
#[derive(Debug)]
pub(super) struct Guard {
    clock: EvidenceClock,
    measures: Vec<GuardedMeasure>,
    /// When the next young assignment settles; never later than that.
    next_due: Option<u32>,
}

#[derive(Debug)]
struct GuardedMeasure {
    key: MetricKey,
    /// None while no guardrail of the present design watches it.
    guarded: Option<Guarded>,
    arms: Vec<GuardArm>,
}

/// The evidence on one arm, and how much of it is stored.
#[derive(Debug)]
pub(super) struct GuardArm {
    arm: ArmIndex,
    units: BadUnits,
    /// The journal entry up to which it has everything; read from the store, for replay.
    through: u64,
    /// Whether it changed since it was stored.
    pub(super) dirty: bool,
}

impl Guard {
    /// Follows a change of the design: what is there starts afresh only when the evidence period is another one.
    /// None when nothing is guarded or the experiment never started.
    pub(super) fn follow(present: Option<Self>, design: &ExperimentIntake) -> Option<Self> {
        let clock = design.experiment().evidence.clone()?;
        let present = present.filter(|guard| guard.clock.since_epoch == clock.since_epoch);
        let mut guard = match present {
            Some(guard) => Self { clock, ..guard },
            None => {
                design.guarded().next()?;
                Self {
                    clock,
                    measures: Vec::new(),
                    next_due: None,
                }
            }
        };
        for measure in &mut guard.measures {
            measure.guarded = None;
        }
        for (key, guarded) in design.guarded() {
            match guard.measures.iter_mut().find(|measure| measure.key == key) {
                Some(measure) => measure.guarded = Some(guarded),
                None => guard.measures.push(GuardedMeasure {
                    key,
                    guarded: Some(guarded),
                    arms: Vec::new(),
                }),
            }
        }
        Some(guard)
    }

    /// Counts one value of a guarded measure, unless it is from before the evidence began or already in. `became`
    /// is told when the arm's evidence has to be stored again.
    pub(super) fn count(
        &mut self,
        key: MetricKey,
        observation: &Observation,
        bad: bool,
        (seq, now): (u64, u32),
        became_dirty: impl FnOnce(),
    ) -> Changed {
        if observation.epoch < self.clock.since_epoch {
            return Changed::default();
        }
        let Some(measure) = self.measures.iter_mut().find(|measure| measure.key == key) else {
            return Changed::default();
        };
        let Some(guarded) = measure.guarded else {
            return Changed::default();
        };
        if !bad && !guarded.absolute {
            return Changed::default();
        }
        let arm = arm_mut(&mut measure.arms, observation.arm);
        if seq <= arm.through {
            return Changed::default();
        }
        let block = self.clock.block(i64::from(observation.second));
        let moment = Moment {
            block: u8::try_from(block).unwrap_or(u8::MAX),
            epoch: observation.epoch,
        };
        let changed = arm.units.count(
            (observation.second, moment),
            observation.unit_hash,
            bad,
            guarded,
            now,
        );
        if changed.state && !std::mem::replace(&mut arm.dirty, true) {
            became_dirty();
        }
        if let Some(due) = changed.due {
            self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
        }
        changed
    }

    /// Counts what is old enough now, and says whether anything was.
    pub(super) fn settle(&mut self, now: u32) -> bool {
        if self.next_due.is_none_or(|due| due > now) {
            return false;
        }
        let mut settled = false;
        for arm in self.measures.iter_mut().flat_map(|measure| &mut measure.arms) {
            // Not dirty by this: the stored form settles by itself when it is read back.
            settled |= arm.units.settle(now);
        }
        let arms = self.measures.iter().flat_map(|measure| &measure.arms);
        self.next_due = arms.filter_map(|arm| arm.units.next_due()).min();
        settled
    }

    /// When the next assignment settles.
    pub(super) fn next_due(&self) -> Option<u32> {
        self.next_due
    }

    /// What guardrails judge.
    pub(super) fn snapshot(&self) -> GuardSnapshot {
        let measures = self.measures.iter().filter_map(|measure| {
            let guarded = measure.guarded?;
            let mut steps: Vec<Step> = Vec::new();
            let mut arms: Vec<GuardedArm> = Vec::new();
            for GuardArm { arm, units, .. } in &measure.arms {
                let mut bad_units = 0;
                for (moment, count) in units.counted() {
                    bad_units += u64::from(count.all);
                    steps.push(Step {
                        block: usize::from(moment.block),
                        epoch: moment.epoch,
                        arm: *arm,
                        bad_units: count.all,
                        halves: count.halves,
                    });
                }
                arms.push(GuardedArm {
                    arm: *arm,
                    bad_units,
                    pending: units.pending(),
                    absolute: guarded.absolute.then(|| units.absolute().clone()),
                });
            }
            steps.sort_unstable();
            arms.sort_unstable_by_key(|counts| counts.arm);
            Some(GuardedCounts {
                measure: measure.key,
                arms,
                steps,
            })
        });
        GuardSnapshot {
            since_epoch: self.clock.since_epoch,
            measures: measures.collect(),
        }
    }

    /// The arm's evidence, when there is any.
    pub(super) fn arm_mut(&mut self, key: MetricKey, arm: ArmIndex) -> Option<&mut GuardArm> {
        let measure = self.measures.iter_mut().find(|measure| measure.key == key)?;
        measure.arms.iter_mut().find(|counts| counts.arm == arm)
    }

    /// The bytes of one arm's evidence; none when it has started afresh without any.
    pub(super) fn encode(&self, key: MetricKey, arm: ArmIndex, out: &mut Vec<u8>) -> Option<()> {
        let measure = self.measures.iter().find(|measure| measure.key == key)?;
        let counts = measure.arms.iter().find(|counts| counts.arm == arm)?;
        let mut writer = Writer(out);
        writer.u8(VERSION);
        writer.u32(self.clock.since_epoch.0);
        counts.units.encode(out);
        Some(())
    }

    /// Takes stored evidence back, unless it is from another evidence period or nobody watches it any more.
    pub(super) fn restore(
        &mut self,
        key: MetricKey,
        arm: ArmIndex,
        through: u64,
        bytes: &[u8],
    ) -> Result<(), FormatError> {
        let mut reader = Reader::new(WHAT, bytes);
        reader.version(VERSION)?;
        if Epoch(reader.u32()?) != self.clock.since_epoch {
            return Ok(());
        }
        let Some(measure) = self.measures.iter_mut().find(|measure| measure.key == key) else {
            return Ok(());
        };
        let units = BadUnits::read(&mut reader)?;
        reader.end()?;
        self.next_due = self.next_due.into_iter().chain(units.next_due()).min();
        *arm_mut(&mut measure.arms, arm) = GuardArm {
            arm,
            units,
            through,
            dirty: false,
        };
        Ok(())
    }

    /// Every piece of evidence there is.
    pub(super) fn keys(&self) -> impl Iterator<Item = (MetricKey, ArmIndex)> + '_ {
        self.measures
            .iter()
            .flat_map(|measure| measure.arms.iter().map(|counts| (measure.key, counts.arm)))
    }
}

fn arm_mut(arms: &mut Vec<GuardArm>, arm: ArmIndex) -> &mut GuardArm {
    let place = arms
        .iter()
        .position(|counts| counts.arm == arm)
        .unwrap_or_else(|| {
            arms.push(GuardArm {
                arm,
                units: BadUnits::default(),
                through: 0,
                dirty: false,
            });
            arms.len() - 1
        });
    &mut arms[place]
}
