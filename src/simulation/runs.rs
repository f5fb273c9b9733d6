//! Many runs of one case, on all cores.
//!
//! Owns the threads. The results come back in the order of the runs' numbers, so that sums of them do not depend on which
//! thread was faster. Called by the studies.

use super::{SimulationError, random::Random, study::Study};
use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// How many runs are made of each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// As many as the case asks for: minutes for all studies.
    Full,
    /// A twentieth of that, to see that everything works.
    Quick,
    /// The same number for each case, at least one.
    Runs(u64),
}

/// What has been done of a case.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The study.
    pub study: Study,
    /// The case.
    pub case: &'a str,
    /// Runs that are done.
    pub done: u64,
    /// Runs there are.
    pub of: u64,
}

/// How a study is made.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// The same seed gives the same figures.
    pub seed: u64,
    /// How many runs.
    pub size: Size,
    /// Only cases with this text in their names; none: all.
    pub only: Option<&'a str>,
    /// How many at a time; changes no figure.
    pub threads: NonZeroUsize,
    /// Is told of every run that ends.
    pub progress: &'a (dyn Fn(Progress<'_>) + Sync),
}

impl std::fmt::Debug for Plan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("seed", &self.seed)
            .field("size", &self.size)
            .field("only", &self.only)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// The part of the runs that [`Size::Quick`] makes.
const QUICK: u64 = 20;
/// The least number of runs of a case that says anything.
const LEAST: u64 = 10;

impl Plan<'_> {
    /// Whether a case is to be made.
    pub(super) fn wants(&self, case: &str) -> bool {
        self.only.is_none_or(|text| case.contains(text))
    }

    /// Makes all runs of a case, `full` in a full study.
    ///
    /// # Errors
    /// The first one of a run; the others end early.
    pub(super) fn runs<T: Send>(
        &self,
        (study, case): (Study, &str),
        full: u64,
        run: impl Fn(&mut Random) -> Result<T, SimulationError> + Sync,
    ) -> Result<Vec<T>, SimulationError> {
        let of = match self.size {
            Size::Full => full,
            Size::Quick => (full / QUICK).max(LEAST),
            Size::Runs(runs) => runs.max(1),
        };
        let (next, done, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let work = || {
            let mut results = Vec::new();
            while !failed.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= of {
                    break;
                }
                let result = run(&mut Random::of_run(self.seed, study.name(), case, index));
                failed.fetch_or(result.is_err(), Ordering::Relaxed);
                results.push((index, result));
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                (self.progress)(Progress {
                    study,
                    case,
                    done,
                    of,
                });
            }
            results
        };
        let mut results = std::thread::scope(|scope| {
            let others: Vec<_> = (1..self.threads.get()).map(|_| scope.spawn(work)).collect();
            let mut results = work();
            for other in others {
                match other.join() {
                    Ok(more) => results.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            results
        });
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(threads: usize, size: Size) -> Plan<'static> {
        Plan {
            seed: 7,
            size,
            only: None,
            threads: NonZeroUsize::new(threads).unwrap(),
            progress: &|_| {},
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let results = |threads| {
            plan(threads, Size::Runs(50))
                .runs((Study::SameArms, "case"), 1, |random| Ok(random.bits()))
                .unwrap()
        };
        assert_eq!(results(1), results(5));
        assert_eq!(results(3).len(), 50);
    }

    #[test]
    fn a_failed_run_fails_the_case() {
        let failed = plan(2, Size::Full).runs((Study::SameArms, "case"), 100, |random| {
            if random.chance(0.5) {
                return Err(SimulationError::Missing("everything"));
            }
            Ok(())
        });
        assert!(failed.is_err());
    }
}
