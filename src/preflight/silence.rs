//! What a stage notices of a candidate whose requests go unreported.

use super::{POWER, stage::Flow};
use crate::{
    domain::{
        guardrail::{MISSING_AFTER_S, MISSING_LEAST_GROUPS, MISSING_LEAST_REQUESTS},
        rollout::{LEAST_UNREPORTED, Patience},
    },
    stats::{distribution::normal_quantile, sequential::log_evidence_greater},
};
use serde::Serialize;

/// How exactly an excess is told.
const PRECISION: f64 = 1e-4;

/// What is found of silence in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SilenceForecast {
    /// When a candidate that reports nothing at all freezes, from the beginning of the stage; null where it gets no
    /// requests. With the patience that is set unless somebody changes it.
    pub nothing_freezes_after_s: Option<f64>,
    /// The smallest share of the candidate's requests that is found in the stage's least time when nothing is reported of
    /// them, and everything of control's; null where not even all of them are enough.
    pub finds_missing: Option<f64>,
}

/// When the test of silence fires.
#[derive(Clone, Copy)]
pub(super) struct Firing {
    /// Where harm starts, in (0, 1).
    pub(super) excess: f64,
    pub(super) log_threshold: f64,
}

impl SilenceForecast {
    pub(super) fn of(flow: Flow, requests_per_unit: f64, for_s: f64, firing: Firing) -> Self {
        Self {
            nothing_freezes_after_s: nothing_freezes_after(flow.candidate),
            finds_missing: finds(flow, requests_per_unit, for_s, firing),
        }
    }
}

/// Silence is borne from the first request on, and means something once there were enough of them.
fn nothing_freezes_after(per_second: f64) -> Option<f64> {
    let patience = Patience::default().freeze_after.as_secs_f64();
    (per_second > 0.0).then(|| (1.0 / per_second + patience).max(f64::from(LEAST_UNREPORTED) / per_second))
}

/// The smallest excess: the guardrail's own one-sided mixture, at a difference that is z_power standard errors lower than
/// it is, with the larger of the two errors that it has (of each arm by itself, and of both together). Requests are
/// independent here.
fn finds(flow: Flow, requests_per_unit: f64, for_s: f64, firing: Firing) -> Option<f64> {
    // By the end of the stage those of the last two minutes are not judged.
    let judged_s = (for_s - 2.0 * f64::from(MISSING_AFTER_S)).max(0.0);
    let (candidate, control) = (flow.candidate * judged_s, flow.control * judged_s);
    let fewest = candidate.min(control);
    if fewest < MISSING_LEAST_REQUESTS as f64 || fewest / requests_per_unit < MISSING_LEAST_GROUPS {
        return None;
    }
    let z = normal_quantile(POWER).ok()?;
    let is_found = |excess: f64| {
        let apart = excess * (1.0 - excess) / candidate;
        let both = excess * candidate / (candidate + control);
        let pooled = both * (1.0 - both) * (1.0 / candidate + 1.0 / control);
        let se = apart.max(pooled).sqrt();
        let seen = excess - z * se;
        seen >= firing.excess
            && log_evidence_greater(seen / se, (firing.excess / se).powi(2))
                .is_ok_and(|log_e| log_e >= firing.log_threshold)
    };
    if !is_found(1.0) {
        return None;
    }
    let (mut fails, mut meets) = (firing.excess, 1.0);
    while meets - fails > PRECISION {
        let middle = 0.5 * (fails + meets);
        if is_found(middle) {
            meets = middle;
        } else {
            fails = middle;
        }
    }
    Some(meets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::guardrail::{MISSING_ALPHA, MISSING_EXCESS};

    fn check(candidate: f64, control: f64, for_s: f64) -> SilenceForecast {
        let firing = Firing {
            excess: MISSING_EXCESS,
            log_threshold: -MISSING_ALPHA.ln(),
        };
        SilenceForecast::of(Flow { candidate, control }, 1.0, for_s, firing)
    }

    #[test]
    fn more_traffic_finds_less_silence_and_sooner() {
        let busy = check(10.0, 90.0, 3_600.0);
        assert_eq!(busy.nothing_freezes_after_s, Some(600.1));
        let found = busy.finds_missing.unwrap();
        assert!((0.05..0.06).contains(&found), "{found}");
        let slow = check(0.1, 0.9, 3_600.0);
        assert!(slow.finds_missing.unwrap() > found, "{slow:?}");
        assert_eq!(slow.nothing_freezes_after_s, Some(610.0));
        // A request in five minutes: ten of them take longer than anybody's patience.
        assert_eq!(
            check(1.0 / 300.0, 1.0, 3_600.0).nothing_freezes_after_s,
            Some(3_000.0)
        );
        assert_eq!(check(0.0, 1.0, 3_600.0).nothing_freezes_after_s, None);
    }

    #[test]
    fn a_hundred_requests_that_are_old_enough_are_needed_of_each_arm() {
        assert_eq!(check(0.1, 10.0, 1_119.0).finds_missing, None);
        assert!(check(0.1, 10.0, 1_121.0).finds_missing.is_some());
        assert_eq!(check(10.0, 0.1, 1_119.0).finds_missing, None);
        assert_eq!(check(10.0, 10.0, 60.0).finds_missing, None);
    }
}
