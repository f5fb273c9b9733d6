//! When a guardrail has ruled harm out, for a candidate as good as control: the evidence of all stages so far, and how
//! much of the next one is missing.

use super::{POWER, stage::Flow};
use crate::{
    domain::guardrail::{GuardrailSpec, Limit, MARGIN, RARE, RULED_OUT_ALPHA},
    stats::{
        evidence::{DEFAULT_POINTS, OddsGrid, SMALLEST_RATIO},
        power::{
            harm::bad_unit_rate,
            ruling_out::{ExpectedEvidence, outcomes_below},
        },
    },
};

/// The evidence that has come together for one guardrail.
#[derive(Debug, Clone)]
pub(super) enum RulingOut {
    /// Against the margin; or against a rate of [`RARE`], below which no ratio is asked for.
    Ratio {
        margin: f64,
        against_margin: ExpectedEvidence,
        against_rare: ExpectedEvidence,
    },
    /// Against the limit itself: outcomes of the candidate.
    Rate { limit: f64, outcomes: f64 },
    /// Nothing is waited for.
    Nothing,
}

/// What a stage adds in a second.
pub(super) struct Growth {
    flow: Flow,
    base_rate: f64,
    requests_per_unit: f64,
}

impl Growth {
    pub(super) fn new(flow: Flow, base_rate: f64, requests_per_unit: f64) -> Self {
        Self {
            flow,
            base_rate,
            requests_per_unit,
        }
    }

    fn unit_rate(&self) -> f64 {
        bad_unit_rate(self.base_rate, self.requests_per_unit)
    }

    /// Bad units, of which those of control speak for a candidate whose rate is not `margin` times control's. None where
    /// one of the arms is not served.
    fn against_margin(&self, margin: f64) -> Option<ExpectedEvidence> {
        let share = self.flow.candidate / (self.flow.candidate + self.flow.control);
        let null_share = (1.0 - share) / (margin * share + 1.0 - share);
        let bad = |requests: f64| requests / self.requests_per_unit * self.unit_rate();
        let counts = (bad(self.flow.control), bad(self.flow.candidate));
        ExpectedEvidence::of_counts(&grid()?, null_share, counts).ok()
    }

    /// Units of the candidate, of which those without a bad outcome speak for it.
    fn against_rare(&self) -> Option<ExpectedEvidence> {
        let units = self.flow.candidate / self.requests_per_unit;
        ExpectedEvidence::of_trials(&grid()?, 1.0 - RARE, units, 1.0 - self.unit_rate()).ok()
    }
}

fn grid() -> Option<OddsGrid> {
    OddsGrid::new(SMALLEST_RATIO, DEFAULT_POINTS).ok()
}

impl RulingOut {
    pub(super) fn begun(guardrail: &GuardrailSpec) -> Self {
        match (guardrail.limit, grid()) {
            (Limit::MaxRatio(ratio), Some(grid)) => Self::Ratio {
                margin: guardrail.margin.unwrap_or_else(|| MARGIN.max(ratio)),
                against_margin: ExpectedEvidence::none(&grid),
                against_rare: ExpectedEvidence::none(&grid),
            },
            (Limit::MaxRate(limit), _) => Self::Rate { limit, outcomes: 0.0 },
            _ => Self::Nothing,
        }
    }

    /// The seconds of a stage after which harm is ruled out in [`POWER`] of all rollouts; infinite where it never is,
    /// none where there is nothing to rule out.
    pub(super) fn after(&self, growth: &Growth) -> Option<f64> {
        let enough = -RULED_OUT_ALPHA.ln();
        let time = |so_far: &ExpectedEvidence, more: Option<ExpectedEvidence>| {
            more.and_then(|more| so_far.time_to(&more, enough, POWER).ok().flatten())
                .unwrap_or(f64::INFINITY)
        };
        match self {
            Self::Ratio {
                margin,
                against_margin,
                against_rare,
            } => {
                let margin = time(against_margin, growth.against_margin(*margin));
                Some(margin.min(time(against_rare, growth.against_rare())))
            }
            Self::Rate { limit, outcomes } => {
                let needed = outcomes_below(*limit, growth.base_rate, RULED_OUT_ALPHA, POWER);
                // What control has already is never ruled out.
                let needed = needed.ok().flatten().unwrap_or(f64::INFINITY);
                Some(((needed - outcomes) / growth.flow.candidate).max(0.0))
            }
            Self::Nothing => None,
        }
    }

    /// Takes the evidence of a stage along into the next one.
    pub(super) fn carry(&mut self, growth: &Growth, seconds: f64) {
        let add = |so_far: &mut ExpectedEvidence, more: Option<ExpectedEvidence>| {
            if let Some(more) = more {
                *so_far = so_far.plus(&more, seconds);
            }
        };
        match self {
            Self::Ratio {
                margin,
                against_margin,
                against_rare,
            } => {
                add(against_margin, growth.against_margin(*margin));
                add(against_rare, growth.against_rare());
            }
            Self::Rate { outcomes, .. } => *outcomes += growth.flow.candidate * seconds,
            Self::Nothing => {}
        }
    }
}
