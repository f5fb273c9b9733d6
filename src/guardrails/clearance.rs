//! Whether a harm that would matter is ruled out: what a stage needs before it may pass. Not breached is not enough, since
//! with little data nothing is.
//!
//! For a limit relative to control this is the guardrail's own test with the arms exchanged, against the null "at least
//! `margin` times as bad". Where bad outcomes are so rare that no ratio can be had, it is enough that fewer than 1 % of
//! the candidate's units can have met one. For an absolute limit the limit itself is ruled out.

use super::assess::{Assessment, Counts, Judge};
use crate::{
    collector::guard::{GuardSnapshot, GuardedCounts},
    domain::{
        Timestamp,
        experiment::Experiment,
        guardrail::{GuardrailSpec, Limit, MARGIN, OnBreach, RARE, RULED_OUT_ALPHA},
        id::{ArmIndex, MetricKey, VariantName},
    },
    stats::{
        cluster::ArmSummary,
        evidence::{
            DEFAULT_POINTS, OddsGrid, RelativeStep, SMALLEST_RATIO, absolute_log_e, single_start_log_e,
        },
        sequential::log_evidence_greater,
    },
};

/// What is known of one guardrail and one candidate before a stage passes.
#[derive(Debug, Clone, PartialEq)]
pub struct Clearance {
    /// The guardrail's name.
    pub guardrail: String,
    /// The candidate.
    pub variant: VariantName,
    /// The harm that is ruled out, in words; or, as the error, what could not be ruled out yet.
    pub verdict: Result<String, String>,
}

/// Judges every guardrail that can stop something, for every candidate; in the order of `assessments`.
#[must_use]
pub fn clearances(
    experiment: &Experiment,
    guard: Option<&GuardSnapshot>,
    counts: &Counts,
    assessments: &[Assessment],
    now: Timestamp,
) -> Vec<Clearance> {
    let Some(judge) = Judge::of(experiment, guard, counts, now, false) else {
        return Vec::new();
    };
    let stops = |assessment: &&Assessment| {
        assessment.declared && assessment.guardrail.on_breach != Some(OnBreach::Alert)
    };
    let clear = |assessment: &Assessment| {
        let arm = experiment.arm(assessment.candidate.variant.as_str())?;
        let verdict = judge.clear(&assessment.guardrail, arm, assessment)?;
        Some(Clearance {
            guardrail: assessment.name.clone(),
            variant: assessment.candidate.variant.clone(),
            verdict,
        })
    };
    assessments.iter().filter(stops).filter_map(clear).collect()
}

impl Judge<'_> {
    /// None for a guardrail that has nothing to rule out.
    fn clear(
        &self,
        guardrail: &GuardrailSpec,
        candidate: ArmIndex,
        found: &Assessment,
    ) -> Option<Result<String, String>> {
        let name = &found.candidate.variant;
        match guardrail.limit {
            Limit::MaxRatio(limit) => {
                let margin = guardrail.margin.unwrap_or(MARGIN.max(limit));
                let measure = self.experiment.measure(&guardrail.measure_name())?.key;
                let ratio = self.ratio_ruled_out(margin, measure, candidate);
                Some(if ratio {
                    Ok(format!("{margin} times control's rate"))
                } else if self.rare(candidate, found) {
                    Ok(format!("a bad outcome for {} % of the units", 100.0 * RARE))
                } else {
                    Err(format!(
                        "a rate of {margin} times control's on `{name}`: {} and {} bad units so far",
                        found.candidate.bad_units, found.control.bad_units
                    ))
                })
            }
            Limit::MaxRate(limit) => {
                let measure = self.experiment.measure(&guardrail.measure_name())?.key;
                let below = self.below(limit, measure, candidate);
                let limit = format!("a rate of {} %", 100.0 * limit);
                Some(if below {
                    Ok(limit)
                } else {
                    Err(format!(
                        "{limit} on `{name}`: {} outcomes so far",
                        found.candidate.observations
                    ))
                })
            }
            // Silence hides everything else; that it is not in breach is all that can be asked.
            Limit::MaxExcess(_) => None,
        }
    }

    /// The null: the candidate's rate is at least `margin` times control's. Under it a bad unit is control's with a
    /// chance of at most (1 − q)/(mq + 1 − q).
    fn ratio_ruled_out(&self, margin: f64, measure: MetricKey, candidate: ArmIndex) -> bool {
        let Ok(grid) = OddsGrid::new(SMALLEST_RATIO, DEFAULT_POINTS) else {
            return false;
        };
        let exchanged = |step: RelativeStep| {
            let odds = margin * step.share;
            RelativeStep {
                share: (1.0 - step.share) / (odds + 1.0 - step.share),
                candidate: step.control,
                control: step.candidate,
            }
        };
        let steps: Vec<RelativeStep> = self
            .steps(self.guarded(measure), candidate)
            .into_iter()
            .flatten()
            .map(exchanged)
            .collect();
        single_start_log_e(&grid, &steps) >= -RULED_OUT_ALPHA.ln()
    }

    /// The null: at least [`RARE`] of the units meet a bad outcome.
    fn rare(&self, candidate: ArmIndex, found: &Assessment) -> bool {
        let units = self
            .since_evidence(candidate)
            .map(|counts| counts.exposures.units.estimate() as u64)
            .max()
            .unwrap_or(0);
        // Outcomes posted without a decision here have no exposures; of units without an outcome nothing is known.
        let units = if units == 0 {
            found.candidate.observations
        } else {
            units.min(found.candidate.observations)
        };
        below_bernoulli(RARE, found.candidate.bad_units, units)
    }

    /// The null: the candidate's rate per outcome is at least `limit`, with units as clusters.
    fn below(&self, limit: f64, measure: MetricKey, candidate: ArmIndex) -> bool {
        let mut buckets = crate::collector::buckets::Buckets::default();
        for counts in self.since_evidence(candidate) {
            if let Some(cell) = counts.cell(measure) {
                buckets.merge(&cell.buckets);
            }
        }
        let (outcomes, bad) = buckets.total();
        if bad == 0.0 {
            return below_bernoulli(limit, 0, buckets.count_filled() as u64);
        }
        let clusters: Vec<(f64, f64)> = buckets.filled().map(|(_, den, num)| (den, num)).collect();
        match ArmSummary::from_clusters(clusters) {
            Ok(arm) if arm.se > 0.0 && outcomes > 0.0 && arm.n_eff >= 30.0 => {
                let distance = limit - arm.mean;
                log_evidence_greater(distance / arm.se, (limit / 2.0 / arm.se).powi(2))
                    .is_ok_and(|log_e| distance > 0.0 && log_e >= -RULED_OUT_ALPHA.ln())
            }
            _ => false,
        }
    }
}

/// ln E against "at least `limit` of the units are bad" has reached ln(1/α): the test of an absolute limit, with good and
/// bad exchanged.
fn below_bernoulli(limit: f64, bad: u64, units: u64) -> bool {
    let Ok(grid) = OddsGrid::new(SMALLEST_RATIO, DEFAULT_POINTS) else {
        return false;
    };
    let good = units.saturating_sub(bad);
    absolute_log_e(&grid, 1.0 - limit, good, units).is_ok_and(|log_e| log_e >= -RULED_OUT_ALPHA.ln())
}

impl Judge<'_> {
    fn guarded(&self, measure: MetricKey) -> Option<&GuardedCounts> {
        self.evidence().and_then(|guard| guard.measure(measure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_below_one_percent_needs_some_hundred_units() {
        assert!(!below_bernoulli(RARE, 0, 200));
        assert!(below_bernoulli(RARE, 0, 600));
        assert!(!below_bernoulli(RARE, 6, 600), "that is 1 %");
        assert!(!below_bernoulli(RARE, 0, 0));
    }
}
