//! Each outcome counts once: by its receipt and metric, and by the sender's id.
//!
//! Exact and bounded. Marks are made before a commit, kept when it works and undone when it fails; they are stored
//! with the checkpoint, and the journal's entries bring back the rest.

use super::{
    id_marks::IdMarks,
    observation::{Observation, Values},
    receipt_marks::ReceiptMarks,
};
use crate::store::{error::StoreError, sqlite::journal::Journal};

/// What of an outcome is new.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Novelty {
    /// All of it.
    All,
    /// These values; the others were reported before.
    Some(Values),
    /// Nothing.
    None,
}

/// Everything seen lately.
#[derive(Debug)]
pub(super) struct Duplicates {
    pub(super) receipts: ReceiptMarks,
    pub(super) ids: IdMarks,
}

impl Duplicates {
    pub(super) fn new(receipt_memory_bytes: usize, most_ids: usize, lifetime_s: u32) -> Self {
        Self {
            receipts: ReceiptMarks::new(receipt_memory_bytes, lifetime_s),
            ids: IdMarks::new(most_ids, lifetime_s),
        }
    }

    /// Whether the receipt of an outcome has reported something before; false for one without a receipt.
    pub(super) fn reports_again(
        &mut self,
        outcome: &Observation,
        store: &Journal,
    ) -> Result<bool, StoreError> {
        let Some(receipt) = outcome.receipt else {
            return Ok(false);
        };
        let run = self.receipts.load(receipt, outcome.second, store)?;
        Ok(self.receipts.has_reported(run, receipt.1))
    }

    /// Says what of an outcome is new, and marks that.
    pub(super) fn admit(&mut self, outcome: &Observation, store: &Journal) -> Result<Novelty, StoreError> {
        if outcome.id.is_some_and(|id| self.ids.contains(id)) {
            return Ok(Novelty::None);
        }
        let mut novelty = Novelty::All;
        if let Some(receipt) = outcome.receipt {
            let run = self.receipts.load(receipt, outcome.second, store)?;
            for (place, (metric, value)) in outcome.values.iter().enumerate() {
                let new = self.receipts.mark(run, receipt.1, metric);
                match &mut novelty {
                    Novelty::All if !new => {
                        novelty = Novelty::Some(outcome.values.iter().take(place).collect());
                    }
                    Novelty::Some(values) if new => values.push(metric, value),
                    _ => {}
                }
            }
            if matches!(&novelty, Novelty::Some(values) if values.is_empty()) {
                return Ok(Novelty::None);
            }
        }
        if let Some(id) = outcome.id {
            self.ids.mark(id);
        }
        Ok(novelty)
    }

    /// Marks an outcome of the journal, whether or not its marks were stored already.
    pub(super) fn replay(&mut self, outcome: &Observation, store: &Journal) -> Result<(), StoreError> {
        if let Some(receipt) = outcome.receipt {
            let run = self.receipts.load(receipt, outcome.second, store)?;
            for (metric, _) in outcome.values.iter() {
                self.receipts.mark(run, receipt.1, metric);
            }
        }
        if let Some(id) = outcome.id {
            self.ids.mark(id);
        }
        Ok(())
    }

    /// The commit failed: nothing of it was seen.
    pub(super) fn undo(&mut self) {
        self.receipts.undo();
        self.ids.undo();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{ArmIndex, Epoch, ExperimentKey, MetricKey};

    fn outcome(receipt: Option<(u32, u32)>, id: Option<u128>, metrics: &[u16]) -> Observation {
        Observation {
            experiment: ExperimentKey(1),
            epoch: Epoch(1),
            arm: ArmIndex(0),
            unit_hash: 1,
            second: 1_000,
            receipt,
            id,
            values: metrics.iter().map(|metric| (MetricKey(*metric), 1.0)).collect(),
            segments: Default::default(),
            covariates: Default::default(),
            again: false,
            tagging: None,
        }
    }

    fn setup() -> (tempfile::TempDir, Journal, Duplicates) {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("serin.db")).unwrap();
        (folder, journal, Duplicates::new(1 << 20, 100, 3_600))
    }

    fn some(metrics: &[u16]) -> Novelty {
        Novelty::Some(outcome(None, None, metrics).values)
    }

    #[test]
    fn by_receipt_and_metric() {
        let (_folder, journal, mut seen) = setup();
        let mut admit = |receipt, metrics: &[u16]| {
            seen.admit(&outcome(Some(receipt), None, metrics), &journal)
                .unwrap()
        };
        assert_eq!(admit((7, 9), &[1, 2]), Novelty::All);
        assert_eq!(admit((7, 9), &[1, 2]), Novelty::None);
        assert_eq!(admit((7, 9), &[2, 3, 1, 4]), some(&[3, 4]));
        assert_eq!(admit((7, 9), &[5, 3]), some(&[5]));
        assert_eq!(admit((7, 9 + RUN), &[1]), Novelty::All);
        assert_eq!(admit((8, 9), &[1]), Novelty::All);
        let mut again = |receipt| {
            seen.reports_again(&outcome(Some(receipt), None, &[9]), &journal)
                .unwrap()
        };
        assert_eq!(
            [(7, 9), (8, 9), (7, 10), (8, 9 + RUN)].map(&mut again),
            [true, true, false, false]
        );
        assert!(!seen.reports_again(&outcome(None, None, &[1]), &journal).unwrap());
    }

    const RUN: u32 = 4_096;

    #[test]
    fn by_id_whatever_else_it_carries() {
        let (_folder, journal, mut seen) = setup();
        let first = outcome(None, Some(5), &[1]);
        assert_eq!(seen.admit(&first, &journal).unwrap(), Novelty::All);
        assert_eq!(
            seen.admit(&outcome(Some((1, 1)), Some(5), &[2]), &journal)
                .unwrap(),
            Novelty::None
        );
        assert_eq!(
            seen.admit(&outcome(Some((1, 1)), None, &[2]), &journal).unwrap(),
            Novelty::All
        );
    }

    #[test]
    fn what_failed_was_never_seen() {
        let (_folder, journal, mut seen) = setup();
        let kept = outcome(Some((1, 1)), Some(1), &[1]);
        seen.admit(&kept, &journal).unwrap();
        seen.receipts.keep(|_| {});
        seen.ids.keep(|| {});
        let failed = outcome(Some((1, 1)), Some(2), &[1, 2]);
        assert_eq!(seen.admit(&failed, &journal).unwrap(), some(&[2]));
        seen.undo();
        assert_eq!(seen.admit(&failed, &journal).unwrap(), some(&[2]));
        assert_eq!(seen.admit(&kept, &journal).unwrap(), Novelty::None);
    }

    #[test]
    fn ids_turn_over_and_come_back() {
        let mut ids = IdMarks::new(10, 100);
        let mut rows = Vec::new();
        let mut now = 1_000;
        for id in 0..35_u128 {
            ids.turn(now);
            assert!(ids.mark(id));
            ids.keep(|| {});
        }
        assert!(ids.contains(25) && ids.contains(34) && !ids.contains(19));
        while let Some(row) = ids.encode(0) {
            ids.stored();
            rows.push(row);
        }
        assert_eq!(rows.len(), 4);
        let mut back = IdMarks::new(10, 100);
        for row in &rows {
            back.restore(row).unwrap();
        }
        assert!(back.contains(25) && back.contains(34) && !back.contains(19));
        assert_eq!(back.oldest_generation(), ids.oldest_generation());
        for _ in 0..2 {
            now += 100;
            back.turn(now);
        }
        assert!(!back.contains(34));
    }

    #[test]
    fn runs_leave_memory_and_come_back_from_the_store() {
        let (_folder, mut journal, mut seen) = setup();
        seen.receipts = ReceiptMarks::new(10_000, 3_600);
        for run in 0..100 {
            let outcome = outcome(Some((3, run * RUN)), None, &[1]);
            assert_eq!(seen.admit(&outcome, &journal).unwrap(), Novelty::All);
            let mut dirty = Vec::new();
            seen.receipts.keep(|run| dirty.push(run));
            seen.receipts.tidy(1_000);
            let receipts = dirty
                .iter()
                .filter_map(|run| seen.receipts.encode(*run))
                .collect();
            journal
                .commit(&crate::store::sqlite::journal::Writes {
                    receipts,
                    ..Default::default()
                })
                .unwrap();
            dirty.into_iter().for_each(|run| seen.receipts.stored(run));
        }
        seen.receipts.tidy(1_000);
        assert!(!seen.receipts.is_full());
        for run in 0..100 {
            let outcome = outcome(Some((3, run * RUN)), None, &[1]);
            assert_eq!(seen.admit(&outcome, &journal).unwrap(), Novelty::None, "{run}");
        }
        seen.receipts.tidy(5_000);
        assert!(!seen.receipts.is_full());
    }
}
