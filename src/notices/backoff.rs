//! How long to wait before the next attempt.

use std::time::Duration;

/// Pauses that double, and differ between endpoints that failed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backoff {
    /// The longest pause after the first failure.
    pub(super) least: Duration,
    /// The longest of all.
    pub(super) most: Duration,
}

impl Backoff {
    /// The pause after so many failures in a row, at least 1: between the half and the whole of what doubling gives,
    /// by `draw`. When the receiver named a time it is not asked earlier, unless that is beyond the longest pause.
    pub(super) fn pause(&self, failures: u32, draw: u32, asked: Option<Duration>) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole = self.least.saturating_mul(1 << doublings).min(self.most);
        let half = whole / 2;
        let pause = half + half.mul_f64(f64::from(draw) / f64::from(u32::MAX));
        pause.max(asked.unwrap_or_default().min(self.most))
    }
}

/// A draw for [`Backoff::pause`]; without the system's random bytes all endpoints wait the longest.
pub(super) fn draw() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_are_drawn() {
        let seconds = Duration::from_secs;
        let backoff = Backoff {
            least: seconds(1),
            most: seconds(60),
        };
        let longest: Vec<u64> = (1..9)
            .map(|n| backoff.pause(n, u32::MAX, None).as_secs())
            .collect();
        assert_eq!(longest, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.pause(u32::MAX, u32::MAX, None), seconds(60));
        assert_eq!(backoff.pause(3, 0, None), seconds(2));
        let middle = backoff.pause(3, u32::MAX / 2, None);
        assert!(middle > seconds(2) && middle < seconds(4), "{middle:?}");
    }

    #[test]
    fn a_receiver_may_ask_for_time_within_the_bound() {
        let seconds = Duration::from_secs;
        let backoff = Backoff {
            least: seconds(1),
            most: seconds(60),
        };
        assert_eq!(backoff.pause(1, 0, Some(seconds(7))), seconds(7));
        assert_eq!(backoff.pause(1, 0, Some(seconds(86_400))), seconds(60));
        assert_eq!(backoff.pause(6, u32::MAX, Some(seconds(7))), seconds(32));
    }
}
