//! Which receipts have reported which metric: exact, for as long as a receipt is taken.
//!
//! A process numbers its decisions, so its receipts are runs of bits: 512 bytes per 4,096 decisions and metric. Runs
//! used lately are in memory; the others are stored and read back when one of their receipts turns up.

use super::{
    codec::{FormatError, Reader, Writer, seal, unseal},
    keyed::KeyMap,
};
use crate::{
    domain::id::MetricKey,
    store::{
        error::StoreError,
        sqlite::journal::{Journal, ReceiptRow},
    },
};

const WHAT: &str = "receipt marks";
const VERSION: u8 = 1;
const RUN: u32 = 4_096;
const WORDS: usize = RUN as usize / 64;
/// What one metric of a run costs in memory, about.
const METRIC_BYTES: usize = WORDS * 8 + 32;
/// Receipts are checked a moment before they are marked, and replicas' clocks differ: forget later than refuse.
const SLACK_S: u32 = 300;

/// Marks by run of receipts.
#[derive(Debug)]
pub(super) struct ReceiptMarks {
    runs: KeyMap<u64, Run>,
    bytes: usize,
    most_bytes: usize,
    lifetime_s: u32,
    tick: u64,
    /// Marks that the present commit has to make durable.
    fresh: Vec<Mark>,
}

#[derive(Debug, Default)]
struct Run {
    newest: u32,
    /// When it was last used, for eviction.
    used: u64,
    dirty: bool,
    metrics: Vec<(MetricKey, Box<[u64; WORDS]>)>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    run: u64,
    metric: MetricKey,
    bit: u32,
}

impl ReceiptMarks {
    pub(super) fn new(most_bytes: usize, lifetime_s: u32) -> Self {
        Self {
            runs: KeyMap::default(),
            bytes: 0,
            most_bytes,
            lifetime_s,
            tick: 0,
            fresh: Vec::new(),
        }
    }

    /// The run of a receipt, which [`ReceiptMarks::mark`] wants; read back when it is not in memory.
    pub(super) fn load(
        &mut self,
        (process, sequence): (u32, u32),
        second: u32,
        store: &Journal,
    ) -> Result<u64, StoreError> {
        let key = u64::from(process) << 20 | u64::from(sequence / RUN);
        self.tick += 1;
        if !self.runs.contains_key(&key) {
            let run = match store.receipts(key)? {
                Some(row) => Run::decode(&row)?,
                None => Run::default(),
            };
            self.bytes += run.bytes();
            self.runs.insert(key, run);
        }
        if let Some(run) = self.runs.get_mut(&key) {
            run.used = self.tick;
            run.newest = run.newest.max(second);
        }
        Ok(key)
    }

    /// Marks a metric of a receipt whose run is loaded; false when it was marked before.
    pub(super) fn mark(&mut self, run: u64, sequence: u32, metric: MetricKey) -> bool {
        let Some(loaded) = self.runs.get_mut(&run) else {
            return false;
        };
        let bit = sequence % RUN;
        let (word, mask) = (bit as usize / 64, 1 << (bit % 64));
        let place = loaded
            .metrics
            .iter()
            .position(|(key, _)| *key == metric)
            .unwrap_or_else(|| {
                self.bytes += METRIC_BYTES;
                loaded.metrics.push((metric, Box::new([0; WORDS])));
                loaded.metrics.len() - 1
            });
        let word = &mut loaded.metrics[place].1[word];
        if *word & mask != 0 {
            return false;
        }
        *word |= mask;
        self.fresh.push(Mark { run, metric, bit });
        true
    }

    /// Whether a receipt whose run is loaded has reported anything.
    pub(super) fn has_reported(&self, run: u64, sequence: u32) -> bool {
        let bit = sequence % RUN;
        let (word, mask) = (bit as usize / 64, 1 << (bit % 64));
        let metrics = self.runs.get(&run).map_or(&[][..], |run| &run.metrics);
        metrics.iter().any(|(_, words)| words[word] & mask != 0)
    }

    /// The commit worked: the marks stay, and runs that have to be stored again are named.
    pub(super) fn keep(&mut self, mut became_dirty: impl FnMut(u64)) {
        for mark in self.fresh.drain(..) {
            if let Some(run) = self.runs.get_mut(&mark.run)
                && !std::mem::replace(&mut run.dirty, true)
            {
                became_dirty(mark.run);
            }
        }
    }

    /// The commit failed: the marks never happened.
    pub(super) fn undo(&mut self) {
        for mark in self.fresh.drain(..) {
            let run = self.runs.get_mut(&mark.run);
            let metric = run.and_then(|run| run.metrics.iter_mut().find(|(key, _)| *key == mark.metric));
            if let Some((_, words)) = metric {
                words[mark.bit as usize / 64] &= !(1 << (mark.bit % 64));
            }
        }
    }

    /// A run as it is stored; none when it has been forgotten meanwhile.
    pub(super) fn encode(&self, key: u64) -> Option<ReceiptRow> {
        let run = self.runs.get(&key)?;
        let mut data = Vec::with_capacity(run.bytes() + 16);
        let mut out = Writer(&mut data);
        out.u8(VERSION);
        out.u16(u16::try_from(run.metrics.len()).unwrap_or(u16::MAX));
        for (metric, words) in &run.metrics {
            out.u16(metric.0);
            for word in words.iter() {
                out.u64(*word);
            }
        }
        seal(&mut data);
        Some(ReceiptRow {
            block: key,
            newest: run.newest,
            data,
        })
    }

    /// Notes that a run was stored as it is now.
    pub(super) fn stored(&mut self, key: u64) {
        if let Some(run) = self.runs.get_mut(&key) {
            run.dirty = false;
        }
    }

    /// Forgets runs whose receipts are no longer taken, and moves runs out of memory when it is full.
    pub(super) fn tidy(&mut self, now: u32) {
        let before = self.expired_before(now);
        self.runs.retain(|_, run| run.newest >= before);
        if self.bytes > self.most_bytes {
            // Only what is stored may leave. Down to three quarters, so that this is rare.
            let mut stored: Vec<_> = self
                .runs
                .iter()
                .filter(|(_, run)| !run.dirty)
                .map(|(key, run)| (run.used, *key))
                .collect();
            stored.sort_unstable();
            let mut bytes = self.runs.values().map(Run::bytes).sum::<usize>();
            for (_, key) in stored {
                if bytes <= self.most_bytes / 4 * 3 {
                    break;
                }
                bytes -= self.runs.remove(&key).map_or(0, |run| run.bytes());
            }
        }
        self.bytes = self.runs.values().map(Run::bytes).sum();
    }

    /// Whether [`ReceiptMarks::tidy`] has memory to win.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > self.most_bytes
    }

    /// Runs with no newer receipt than this are of no use.
    pub(super) fn expired_before(&self, now: u32) -> u32 {
        now.saturating_sub(self.lifetime_s).saturating_sub(SLACK_S)
    }
}

impl Run {
    fn bytes(&self) -> usize {
        64 + self.metrics.len() * METRIC_BYTES
    }

    fn decode(row: &ReceiptRow) -> Result<Self, FormatError> {
        let mut reader = Reader::new(WHAT, unseal(WHAT, &row.data)?);
        reader.version(VERSION)?;
        let mut run = Self {
            newest: row.newest,
            ..Self::default()
        };
        for _ in 0..reader.u16()? {
            let metric = MetricKey(reader.u16()?);
            let mut words = Box::new([0; WORDS]);
            for word in words.iter_mut() {
                *word = reader.u64()?;
            }
            run.metrics.push((metric, words));
        }
        reader.end()?;
        Ok(run)
    }
}
