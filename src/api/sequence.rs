//! Numbers for receipts: unique in this process, taken without contention.

use std::{
    cell::Cell,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// Numbers a thread takes at a time, so that threads rarely meet at the shared counter.
const BLOCK: u64 = 4096;

static NEXT: AtomicU64 = AtomicU64::new(0);
static PROCESS: OnceLock<u32> = OnceLock::new();

thread_local! {
    static TAKEN: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// The process's random number and the next sequence number. When the 32 bits of the sequence are used up the
/// process number moves on, so the pair never repeats.
#[inline]
pub(super) fn next() -> (u32, u32) {
    let number = TAKEN.with(|taken| {
        let (mut next, mut end) = taken.get();
        if next == end {
            next = NEXT.fetch_add(BLOCK, Ordering::Relaxed);
            end = next + BLOCK;
        }
        taken.set((next + 1, end));
        next
    });
    let process = *PROCESS.get_or_init(|| getrandom::u32().unwrap_or_else(|_| std::process::id()));
    let [high, low] = [number >> 32, number & u64::from(u32::MAX)];
    let fit = |word: u64| u32::try_from(word).unwrap_or(0);
    (process.wrapping_add(fit(high)), fit(low))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn no_pair_repeats_across_threads() {
        let taken: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..10_000).map(|_| super::next()).collect::<Vec<_>>()))
                .collect();
            workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap())
                .collect()
        });
        assert_eq!(taken.iter().collect::<HashSet<_>>().len(), taken.len());
    }
}
