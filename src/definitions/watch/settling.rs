//! When is a change at rest: decided from fingerprints and times alone, both passed in.

use std::time::Duration;
use tokio::time::Instant;

/// The definition files changed and are at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed;

/// Stands for the files' paths, lengths, times and identities; equal ones mean that nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// From a hash over all that counts.
    #[must_use]
    pub fn new(hash: u64) -> Self {
        Self(hash)
    }
}

/// Remembers what was told last and what is still moving.
#[derive(Debug)]
pub struct Settling {
    told: Fingerprint,
    /// Something else than what was told, and when it was first seen.
    pending: Option<(Fingerprint, Instant)>,
    quiet: Duration,
}

impl Settling {
    /// Starts from a state that needs no telling.
    #[must_use]
    pub fn new(told: Fingerprint, quiet: Duration) -> Self {
        Self {
            told,
            pending: None,
            quiet,
        }
    }

    /// Whether a change is waiting to come to rest.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Takes in one look; a change is told when two looks at least `quiet` apart, and all between, saw the same.
    pub fn observe(&mut self, seen: Fingerprint, now: Instant) -> Option<Changed> {
        if seen == self.told {
            self.pending = None;
            return None;
        }
        match self.pending {
            Some((pending, since)) if pending == seen => {
                if now.saturating_duration_since(since) < self.quiet {
                    return None;
                }
                self.told = seen;
                self.pending = None;
                Some(Changed)
            }
            _ => {
                self.pending = Some((seen, now));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [u64; 0] = [];

    /// Feeds (milliseconds, fingerprint) and gives the milliseconds at which a change was told; 0 is told already.
    fn told(looks: &[(u64, u64)]) -> Vec<u64> {
        let start = Instant::now();
        let mut settling = Settling::new(Fingerprint::new(0), Duration::from_millis(200));
        let mut told = Vec::new();
        for &(at, seen) in looks {
            let now = start + Duration::from_millis(at);
            if settling.observe(Fingerprint::new(seen), now).is_some() {
                told.push(at);
            }
        }
        told
    }

    #[test]
    fn nothing_changed_nothing_told() {
        assert_eq!(told(&[(0, 0), (400, 0), (800, 0)]), NONE);
    }

    #[test]
    fn a_change_is_told_once_when_it_is_at_rest() {
        assert_eq!(told(&[(0, 1), (100, 1), (199, 1), (200, 1), (600, 1)]), [200]);
    }

    #[test]
    fn every_step_of_a_write_begins_the_wait_anew() {
        assert_eq!(told(&[(0, 1), (150, 2), (300, 3), (450, 3), (500, 3)]), [500]);
    }

    #[test]
    fn a_change_taken_back_is_none() {
        assert_eq!(told(&[(0, 1), (100, 0), (300, 0), (900, 0)]), NONE);
        assert_eq!(told(&[(0, 1), (100, 0), (150, 1), (250, 1), (350, 1)]), [350]);
    }

    #[test]
    fn going_back_after_it_was_told_is_a_change() {
        assert_eq!(told(&[(0, 1), (200, 1), (300, 0), (500, 0)]), [200, 500]);
    }

    #[test]
    fn a_clock_that_stands_still_tells_nothing() {
        assert_eq!(told(&[(0, 1), (0, 1), (0, 1)]), NONE);
    }
}
