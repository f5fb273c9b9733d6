//! The time axis of the guardrails' evidence: when it began, and where its restarts are.

use crate::domain::{Timestamp, id::Epoch};
use std::time::Duration;

/// Restart blocks per evidence period, the first included.
pub const RESTART_BLOCKS: usize = 32;

/// When the evidence began, what it may cost, and the restart blocks of the stages since.
///
/// All stages of a rollout share the 32 blocks, so that a plan with many stages does not spend its error rate many times.
/// A stage's blocks begin when it does. That moment depends on the data, and may: what follows it does not, and an
/// average of processes that each start at such a moment and are worth 1 until then is still one that equal arms bring
/// to 1/α with a chance below α.
#[derive(Debug, Clone, PartialEq)]
pub struct EvidenceClock {
    /// Outcomes of this epoch and later ones count.
    pub since_epoch: Epoch,
    /// When that epoch began.
    pub since: Timestamp,
    /// The chance with which equal arms may freeze in this period.
    pub alpha: f64,
    stages: Vec<StageBlocks>,
}

/// The restart blocks of one stage.
#[derive(Debug, Clone, Copy, PartialEq)]
struct StageBlocks {
    /// Unix second of its begin.
    since: i64,
    /// Its first block.
    first: usize,
    /// How many it has; the last one lasts as long as the stage does.
    blocks: usize,
    /// The length of each of the others, in seconds, at least 1.
    block_s: i64,
}

impl EvidenceClock {
    /// Evidence that begins now, in the stage `place` of `planned`, which is to last for `span`.
    #[must_use]
    pub fn begun(
        (epoch, at): (Epoch, Timestamp),
        alpha: f64,
        (place, planned): (usize, usize),
        span: Duration,
    ) -> Self {
        let mut clock = Self {
            since_epoch: epoch,
            since: at,
            alpha,
            stages: Vec::new(),
        };
        clock.enter(at, (place, planned), span);
        clock
    }

    /// Notes that the stage `place` of `planned` has begun and is to last for `span`.
    ///
    /// Stages have equal numbers of blocks, since a short first one with a small share is where harm is looked for most.
    pub fn enter(&mut self, at: Timestamp, (place, planned): (usize, usize), span: Duration) {
        let left = self
            .stages
            .last()
            .map_or(RESTART_BLOCKS, |last| RESTART_BLOCKS - last.first - last.blocks);
        let stages_left = planned.saturating_sub(place).max(1);
        let first = RESTART_BLOCKS - left;
        if left == 0 {
            // More stages than blocks: the last one goes on.
            return;
        }
        let blocks = (left / stages_left).max(1);
        let parts = u64::try_from(blocks).unwrap_or(1);
        self.stages.push(StageBlocks {
            since: at.as_second(),
            first,
            blocks,
            block_s: i64::try_from(span.as_secs() / parts).unwrap_or(i64::MAX).max(1),
        });
    }

    /// The block of an assignment made at `second` (Unix time): 0 … 31; earlier ones count as 0.
    #[must_use]
    pub fn block(&self, second: i64) -> usize {
        let stage = self.stages.iter().rev().find(|stage| stage.since <= second);
        stage.map_or(0, |stage| {
            let block = (second - stage.since) / stage.block_s;
            stage.first + usize::try_from(block).unwrap_or(usize::MAX).min(stage.blocks - 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_share_the_blocks() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let span = Duration::from_secs(800);
        let mut clock = EvidenceClock::begun((Epoch(1), at(1_000)), 0.01, (0, 4), span);
        assert_eq!(
            [999, 1_000, 1_099, 1_100, 1_799, 9_999].map(|second| clock.block(second)),
            [0, 0, 0, 1, 7, 7]
        );
        clock.enter(at(5_000), (1, 4), span);
        assert_eq!(
            [4_999, 5_000, 5_799, 9_999].map(|second| clock.block(second)),
            [7, 8, 15, 15]
        );
        clock.enter(at(6_000), (2, 4), span);
        clock.enter(at(7_000), (3, 4), span);
        assert_eq!(clock.block(i64::MAX), RESTART_BLOCKS - 1);
        clock.enter(at(8_000), (4, 4), span);
        assert_eq!(
            clock.block(8_000),
            RESTART_BLOCKS - 1,
            "there is no block after the last"
        );
        let whole = EvidenceClock::begun((Epoch(1), at(0)), 0.01, (0, 1), Duration::from_secs(3_200));
        assert_eq!(
            [0, 99, 100, 3_199].map(|second| whole.block(second)),
            [0, 0, 1, 31]
        );
        let mut many = EvidenceClock::begun((Epoch(1), at(0)), 0.01, (0, 64), span);
        for place in 1..64 {
            let second = i64::try_from(place).unwrap() * 10;
            many.enter(at(second), (place, 64), span);
            assert_eq!(many.block(second), place.min(RESTART_BLOCKS - 1));
        }
    }
}
