//! How soon a guardrail freezes a bad candidate.
//!
//! The guardrail asks of each first bad request of a unit whether the candidate or control sent it, so the bound is
//! Wald's for that question.

use crate::stats::power::progress::wald_bound;
use anyhow::{Context as _, Result};
use serde::Serialize;

/// The chance of freezing a candidate that is as good as control.
pub(super) const ALPHA: f64 = 0.01;
/// The guardrail needs on average so many times the bound: measured in simulations of 1.5- to 10-fold rates.
pub(super) const TIMES_BOUND: (f64, f64) = (1.2, 2.0);
/// So many bad units are needed in any case.
pub(super) const LEAST_BAD_UNITS: f64 = 5.0;

/// What is planned.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Guard {
    /// Control's bad rate.
    pub(super) rate: f64,
    #[serde(skip)]
    pub(super) ratios: Vec<f64>,
    /// The candidate's, of both arms.
    pub(super) share: f64,
    pub(super) alpha: f64,
    /// Which divide the error rate.
    pub(super) guardrails: u16,
    /// Of both arms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) requests_per_second: Option<f64>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Freezes {
    #[serde(flatten)]
    pub(super) guard: Guard,
    pub(super) freezes: Vec<Freeze>,
}

/// One ratio; requests are the candidate's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Freeze {
    pub(super) ratio: f64,
    /// The candidate's bad rate.
    pub(super) rate: f64,
    /// What no test can do with less of, on average.
    pub(super) bound: f64,
    /// What this one takes, on average: from and to.
    pub(super) expected: (f64, f64),
    /// The seconds that takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expected_s: Option<(f64, f64)>,
}

/// What each ratio takes.
pub(super) fn freezes(guard: &Guard) -> Result<Freezes> {
    let freezes: Result<Vec<Freeze>> = guard.ratios.iter().map(|ratio| freeze(guard, *ratio)).collect();
    Ok(Freezes {
        guard: guard.clone(),
        freezes: freezes?,
    })
}

/// A bad request is the candidate's with probability q = its share when the rates are equal, and θ = qr/(qr + 1 − q)
/// when its rate is r times control's: ln(m/α)/KL(θ‖q) bad requests of both arms, of which θ are the candidate's.
fn freeze(guard: &Guard, ratio: f64) -> Result<Freeze> {
    let q = guard.share;
    let theirs = q * ratio / (q * ratio + 1.0 - q);
    let alpha = guard.alpha / f64::from(guard.guardrails);
    let bad = wald_bound(theirs, q, alpha).with_context(|| format!("--ratio {ratio}"))?;
    let rate = guard.rate * ratio;
    let bound = bad * theirs / rate;
    let least = LEAST_BAD_UNITS / rate;
    let expected = (
        (bound * TIMES_BOUND.0).max(least),
        (bound * TIMES_BOUND.1).max(least),
    );
    let seconds = |requests: f64, per_second: f64| requests / (q * per_second);
    Ok(Freeze {
        ratio,
        rate,
        bound,
        expected,
        expected_s: guard
            .requests_per_second
            .map(|per_second| (seconds(expected.0, per_second), seconds(expected.1, per_second))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_the_guardrail_was_measured_against() {
        let guard = |rate, share| Guard {
            rate,
            ratios: vec![1.5, 2.0, 3.0, 5.0, 10.0],
            share,
            alpha: 0.01,
            guardrails: 1,
            requests_per_second: None,
        };
        // Mean requests to freeze over their multiple of the bound, from the simulations at a share of 5 %.
        let measured = [
            3050.0 / 1.35,
            794.0 / 1.25,
            232.0 / 1.21,
            80.0 / 1.28,
            27.0 / 1.42,
        ];
        for (freeze, measured) in freezes(&guard(0.02, 0.05)).unwrap().freezes.iter().zip(measured) {
            assert!(
                (freeze.bound / measured - 1.0).abs() < 0.02,
                "{freeze:?} {measured}"
            );
        }
        // Total failure is told by five bad units, not by less than one request.
        let total = freezes(&guard(0.1, 0.01)).unwrap().freezes[4];
        assert_eq!(total.rate, 1.0);
        assert!(total.bound < 5.0 && total.expected.0 == 5.0, "{total:?}");
    }
}
