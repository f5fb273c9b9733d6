//! The two hidden halves of one arm as the guardrail's test sees them: bad units by restart block → evidence, now and at the
//! end of every block before. Remembers nothing; `aa` asks.

use crate::{
    collector::guard::GuardedCounts,
    domain::{
        Timestamp,
        experiment::{Experiment, RESTART_BLOCKS},
        guardrail::{ALPHA, LEAST_BAD_UNITS},
    },
    stats::evidence::{
        self, DEFAULT_POINTS, OddsGrid, RatioConfidence, RelativeStep, ratio_confidence, relative_log_e,
    },
};

/// The share of the half that stands for the candidate.
const SHARE: f64 = 0.5;

/// The bad units of control's halves, by restart block, for the test of one guardrail.
pub(super) struct Halves {
    /// The guardrail's place in the design.
    pub(super) index: usize,
    grid: OddsGrid,
    pub(super) log_threshold: f64,
    blocks: Vec<[RelativeStep; 1]>,
}

impl Halves {
    pub(super) fn of(
        experiment: &Experiment,
        index: usize,
        limit: f64,
        guarded: Option<&GuardedCounts>,
        now: Timestamp,
    ) -> Option<Self> {
        let spec = &experiment.spec;
        let control = experiment.arm(spec.control()?.name.as_str())?;
        let begun = experiment.evidence.as_ref()?.block(now.as_second()) + 1;
        let none = [RelativeStep {
            share: SHARE,
            candidate: 0,
            control: 0,
        }];
        let mut blocks = vec![none; begun];
        let steps = guarded.map_or(&[][..], |guarded| guarded.steps.as_slice());
        for step in steps.iter().filter(|step| step.arm == control) {
            // Epochs need not be kept apart, because the share of the halves is the same in all of them.
            if let Some([block]) = blocks.get_mut(step.block.min(begun - 1)) {
                let [first, second] = step.halves.map(u64::from);
                block.control += first;
                block.candidate += second;
            }
        }
        Some(Self {
            index,
            grid: OddsGrid::new(limit, DEFAULT_POINTS).ok()?,
            log_threshold: evidence::threshold(spec.guardrails.len(), ALPHA).ok()?,
            blocks,
        })
    }

    /// Restart blocks begun so far.
    pub(super) fn begun(&self) -> usize {
        self.blocks.len()
    }

    /// The evidence now, as a gauge.
    pub(super) fn gauge(&self) -> f64 {
        evidence::gauge(self.log_e(self.begun()), self.log_threshold)
    }

    /// Rate ratios, second half to first, that the evidence does not rule out.
    pub(super) fn ratio(&self) -> Option<RatioConfidence> {
        ratio_confidence(&self.grid, &self.blocks, RESTART_BLOCKS, ALPHA).ok()
    }

    /// Bad units of each half in the first `blocks`.
    pub(super) fn bad_units(&self, blocks: usize) -> [u64; 2] {
        let blocks = self.blocks.iter().take(blocks).flatten();
        blocks.fold([0, 0], |[first, second], block| {
            [first + block.control, second + block.candidate]
        })
    }

    /// The evidence as it was when only the first `blocks` had begun.
    pub(super) fn log_e(&self, blocks: usize) -> f64 {
        let begun = &self.blocks[..blocks.min(self.blocks.len())];
        relative_log_e(&self.grid, begun, RESTART_BLOCKS)
    }

    /// Whether the guardrail would have frozen then.
    pub(super) fn fires(&self, blocks: usize) -> bool {
        self.bad_units(blocks)[1] >= LEAST_BAD_UNITS
            && self.may_fire(blocks)
            && self.log_e(blocks) >= self.log_threshold
    }

    /// Whether the evidence could be enough then; costs a fortieth of the evidence itself, and is most often no. The evidence
    /// is an average over starts and ratios, so it stays below the threshold while the best ratio of the best start does.
    pub(super) fn may_fire(&self, blocks: usize) -> bool {
        let (mut first, mut second) = (0.0, 0.0);
        let since = self.blocks.iter().take(blocks).rev().flatten();
        since.into_iter().any(|block| {
            first += block.control as f64;
            second += block.candidate as f64;
            best_log_e(first, second) >= self.log_threshold
        })
    }

    /// Whether it would have at the end of any block; one without bad units changes nothing.
    pub(super) fn ever_fired(&self) -> bool {
        let filled = (1..).zip(&self.blocks).filter(|(_, [block])| block.candidate > 0);
        filled.into_iter().any(|(blocks, _)| self.fires(blocks))
    }
}

/// The logarithm of the likelihood of the ratio that fits these units best, against equality: n·KL(k/n ‖ ½), and 0 where
/// the second half is no worse.
fn best_log_e(first: f64, second: f64) -> f64 {
    if second <= first {
        return 0.0;
    }
    let against_half = |units: f64| {
        if units > 0.0 {
            units * (2.0 * units / (first + second)).ln()
        } else {
            0.0
        }
    };
    against_half(first) + against_half(second)
}
