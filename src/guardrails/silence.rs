//! Whether one arm's requests go unreported more than the other's: a version that dies before it reports must not look
//! clean. Called by [`assess`](super::assess).

use super::reporting::merged;
use crate::{
    collector::{
        arm_counts::ArmCounts as Counted,
        reporting::{Reported, Reporting},
    },
    domain::{
        Timestamp,
        guardrail::{MISSING_LEAST_GROUPS, MISSING_LEAST_REQUESTS},
        id::{ArmIndex, Epoch},
    },
    stats::{
        Undefined,
        cluster::{ArmSummary, compare},
        sequential::log_evidence_greater,
    },
};
use std::sync::Arc;

/// The requests of one arm that are old enough to have been reported.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Silence {
    groups: Vec<Reported>,
    /// How many there are.
    pub(super) requests: u64,
    /// How many of them nothing was reported for.
    pub(super) missing: u64,
    /// Groups of units with such a request: at most 128.
    pub(super) groups_missing: u64,
}

impl Silence {
    /// Of an arm, over the epochs from `since` on.
    pub(super) fn of(
        counts: &[((Epoch, ArmIndex), Arc<Counted>)],
        arm: ArmIndex,
        since: Epoch,
        now: Timestamp,
    ) -> Self {
        Self::in_all(&merged(counts, arm, since), now)
    }

    /// In everything that is known of an arm.
    pub(super) fn in_all(all: &Reporting, now: Timestamp) -> Self {
        let groups = all.judged(u32::try_from(now.as_second()).unwrap_or(0));
        let missing = |group: &Reported| u64::from(group.requests.saturating_sub(group.reported));
        Self {
            requests: groups.iter().map(|group| u64::from(group.requests)).sum(),
            missing: groups.iter().map(missing).sum(),
            groups_missing: groups.iter().filter(|group| missing(group) > 0).count() as u64,
            groups,
        }
    }

    /// The share of requests that nothing was reported for, in [0, 1]; none before any was old enough.
    pub(super) fn rate(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.missing as f64 / self.requests as f64)
    }

    fn summary(&self) -> Result<ArmSummary, Undefined> {
        let clusters = self
            .groups
            .iter()
            .filter(|group| group.requests > 0)
            .map(|group| {
                let missing = group.requests.saturating_sub(group.reported);
                (f64::from(group.requests), f64::from(missing))
            });
        ArmSummary::from_clusters(clusters)
    }

    fn is_enough(&self, summary: &ArmSummary) -> bool {
        self.requests >= MISSING_LEAST_REQUESTS && summary.n_eff >= MISSING_LEAST_GROUPS
    }
}

/// ln E that more of the candidate's requests than of control's go unreported, valid at every look; 0 before there is
/// enough to say, and while the difference is smaller than `excess`.
///
/// The difference of the two shares with groups of units as clusters, and the one-sided mixture of
/// [`log_evidence_greater`] tuned for `excess`. Where neither arm varies (one reports everything, the other nothing) the
/// error is that of as many independent units as there are groups.
pub(super) fn log_e(control: &Silence, candidate: &Silence, excess: f64) -> f64 {
    let (Ok(base), Ok(other)) = (control.summary(), candidate.summary()) else {
        return 0.0;
    };
    let difference = other.mean - base.mean;
    if !control.is_enough(&base) || !candidate.is_enough(&other) || difference < excess {
        return 0.0;
    }
    let se = match compare(&base, &other, 0.05) {
        Ok(test) => test.se,
        Err(_) => {
            let (k, m) = (base.clusters as f64, other.clusters as f64);
            let pooled = (base.mean * k + other.mean * m) / (k + m);
            (pooled * (1.0 - pooled) * (1.0 / k + 1.0 / m)).sqrt()
        }
    };
    if se > 0.0 {
        log_evidence_greater(difference / se, (excess / se).powi(2)).unwrap_or(0.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spreads numbers over the groups.
    fn mix(n: u64) -> u64 {
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn silence(requests: u64, reported: impl Fn(u64) -> bool) -> Silence {
        let mut counts = Counted::default();
        for n in 0..requests {
            counts.reporting.request(1_000, mix(n));
            if reported(n) {
                counts.reporting.report(1_001, 1_000, mix(n), true);
            }
        }
        let counts = [((Epoch(1), ArmIndex(0)), Arc::new(counts))];
        Silence::of(
            &counts,
            ArmIndex(0),
            Epoch(1),
            Timestamp::from_second(2_000).unwrap(),
        )
    }

    #[test]
    fn a_candidate_that_reports_nothing_is_evidence_and_a_silent_gateway_is_none() {
        let all = silence(2_000, |_| true);
        let none = silence(200, |_| false);
        assert_eq!((none.rate(), none.requests, all.missing), (Some(1.0), 200, 0));
        assert!(log_e(&all, &none, 0.05) > 20.0, "{}", log_e(&all, &none, 0.05));
        assert_eq!(log_e(&none, &none, 0.05), 0.0);
        assert_eq!(
            log_e(&none, &all, 0.05),
            0.0,
            "control's silence is no harm of the candidate"
        );
    }

    #[test]
    fn a_tenth_more_is_found_and_the_same_share_is_not() {
        let some = silence(4_000, |n| n % 10 != 0);
        let more = silence(2_000, |n| n % 5 != 0);
        assert!(log_e(&some, &more, 0.05) > 6.9, "{}", log_e(&some, &more, 0.05));
        assert_eq!(log_e(&some, &silence(2_000, |n| n % 10 != 3), 0.05), 0.0);
        assert_eq!(log_e(&some, &silence(99, |_| false), 0.05), 0.0, "too few to say");
    }
}
