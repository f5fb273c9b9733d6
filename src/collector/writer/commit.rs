//! One group commit: find what is new, make it durable, count it, answer.

use super::{FINAL_CHECKPOINT_BYTES, LINGER_PART, LONGEST_LINGER, Submission, Writer};
use crate::{
    collector::{
        Accepted, SubmitError,
        checkpoint::{Checkpoint, Dirty},
        duplicates::{Duplicates, Novelty},
        examples,
        intake::unix_second,
        minutes::Moment,
        observation::Values,
        totals::OutcomeResult,
    },
    store::{
        error::StoreError,
        sqlite::journal::{TaggedRow, Writes},
    },
};
use std::{collections::BTreeMap, sync::atomic::Ordering};
use tokio::time::Instant;

impl Writer {
    /// Everything that waits, in one transaction; answers the group.
    pub(super) fn commit(&mut self, group: Vec<Submission>) {
        let now = unix_second(self.clock.now());
        let result = self.admit(&group, now).and_then(|novelties| {
            let tagged = self.tagged(&group, &novelties);
            self.write(tagged, now, self.options.checkpoint_bytes)?;
            Ok(novelties)
        });
        self.written = Instant::now();
        let was_up = self.shared.store_up.swap(result.is_ok(), Ordering::Relaxed);
        match result {
            Ok(novelties) => {
                if !was_up {
                    tracing::info!("the outcome store works again");
                }
                self.fold(&group);
                self.answer(group, &novelties);
            }
            Err(error) => {
                if was_up {
                    tracing::error!(%error, "the outcome store failed; outcomes are refused until it works");
                }
                self.seen.undo();
                for submission in group {
                    self.release(&submission);
                    // The one who asked may have gone; here and below.
                    let _ = submission.answer.send(Err(SubmitError::from(error.clone())));
                }
            }
        }
    }

    /// Writes what waits, without outcomes and in large pieces.
    pub(super) fn store(&mut self, now: u32) -> Result<(), StoreError> {
        self.builder.begin(now, &self.exposures);
        self.write(Vec::new(), now, FINAL_CHECKPOINT_BYTES)
    }

    /// Counts the entry that was just written.
    pub(super) fn fold(&mut self, group: &[Submission]) {
        if self.builder.is_empty() {
            return;
        }
        self.exposures.clear();
        self.exposures_waiting = 0;
        let mut counts = self.shared.counts.write();
        let changes = counts.fold(self.journal.last(), self.builder.sealed(), &self.intake);
        self.checkpoint.push_changed(&mut counts);
        drop(counts);
        let changes = changes.unwrap_or_else(|error| {
            // These bytes were made a moment ago; the memory of this machine cannot be trusted.
            tracing::error!(%error, "a journal entry could not be counted");
            Default::default()
        });
        let since = group
            .iter()
            .map(|submission| submission.arrived)
            .min()
            .unwrap_or(self.written);
        let evidence: BTreeMap<_, _> = changes.evidence.into_iter().map(|key| (key, since)).collect();
        self.shared.signals.raise(&evidence);
        for experiment in changes.absolute {
            self.absolute.waiting.entry(experiment).or_insert(since);
        }
    }

    pub(super) fn release(&self, submission: &Submission) {
        self.shared
            .queued
            .fetch_sub(submission.weight(), Ordering::Relaxed);
    }

    /// Finds what is new and builds the entry with it.
    fn admit(&mut self, group: &[Submission], now: u32) -> Result<Vec<Novelty>, StoreError> {
        self.seen.ids.turn(now);
        self.builder.begin(now, &self.exposures);
        let mut novelties = Vec::with_capacity(group.iter().map(|batch| batch.outcomes.len()).sum());
        for outcome in group.iter().flat_map(|batch| &batch.outcomes) {
            let again = self.seen.reports_again(outcome, &self.journal)?;
            let novelty = self.seen.admit(outcome, &self.journal)?;
            match &novelty {
                Novelty::All => self.builder.push(outcome, &outcome.values, again),
                Novelty::Some(values) => self.builder.push(outcome, values, again),
                Novelty::None => {}
            }
            novelties.push(novelty);
        }
        Ok(novelties)
    }

    fn tagged(&self, group: &[Submission], novelties: &[Novelty]) -> Vec<TaggedRow> {
        let outcomes = group.iter().flat_map(|batch| &batch.outcomes);
        let new: Vec<_> = outcomes
            .zip(novelties)
            .filter(|(outcome, novelty)| outcome.tagging.is_some() && **novelty != Novelty::None)
            .map(|(outcome, _)| outcome)
            .collect();
        examples::rows(&new, &self.intake, self.clock.now())
    }

    /// Commits the entry that was built, if there is anything in it, and the next pieces of the checkpoint.
    fn write(&mut self, tagged: Vec<TaggedRow>, now: u32, budget: usize) -> Result<(), StoreError> {
        let new = !self.builder.is_empty();
        if new {
            self.open_hour(Moment::of(now).hour)?;
        }
        let mut writes = Writes {
            covered: self.checkpoint.covered(),
            minutes_before: self.minutes_before,
            tagged,
            ..Writes::default()
        };
        let mut planned = 0;
        if self.checkpoint.in_round() {
            let last = self.journal.last();
            let counts = self.shared.counts.read();
            planned = self
                .checkpoint
                .plan(budget, &counts, &self.seen, last, &mut writes);
            writes.receipts_before = self.seen.receipts.expired_before(now);
            writes.generations_before = self.seen.ids.oldest_generation();
        }
        let trimmed = self.journal.first() >= self.trim_end() && self.minutes_before == 0;
        if !new && planned == 0 && trimmed {
            return Ok(());
        }
        if new {
            self.builder.finish();
            self.backlog_bytes += self.builder.sealed().len();
            writes.entry = Some(self.builder.sealed());
        }
        let began = Instant::now();
        let mut result = self.journal.commit(&writes);
        if new && planned > 0 && result == Err(StoreError::Full) {
            // Without the checkpoint the outcomes may still fit.
            planned = 0;
            writes.states.clear();
            writes.minutes.clear();
            writes.receipts.clear();
            writes.ids.clear();
            result = self.journal.commit(&writes);
        }
        let took = began.elapsed();
        self.metrics.commit_duration.observe(took.as_secs_f64());
        self.linger = (took / LINGER_PART).min(LONGEST_LINGER);
        result?;
        self.keep_looking_for_old_minutes();
        if planned > 0 {
            let mut counts = self.shared.counts.write();
            self.checkpoint.stored(planned, &mut counts, &mut self.seen);
        }
        keep(&mut self.seen, &mut self.checkpoint);
        if self.seen.receipts.is_full() {
            self.seen.receipts.tidy(now);
        }
        self.shared
            .backlog
            .store(self.journal.entries(), Ordering::Relaxed);
        Ok(())
    }

    fn answer(&self, group: Vec<Submission>, novelties: &[Novelty]) {
        let mut novelties = novelties.iter();
        let mut tally = self.shared.tally.lock();
        let nothing = Values::default();
        for submission in group {
            self.release(&submission);
            let mut accepted = Accepted::default();
            for (outcome, novelty) in submission.outcomes.iter().zip(novelties.by_ref()) {
                let values = match novelty {
                    Novelty::All => &outcome.values,
                    Novelty::Some(values) => values,
                    Novelty::None => {
                        accepted.duplicates += 1;
                        tally.outcome(outcome, &nothing, OutcomeResult::Duplicate);
                        continue;
                    }
                };
                accepted.accepted += 1;
                let result = if self.intake.is_current(outcome.experiment, outcome.epoch) {
                    OutcomeResult::Accepted
                } else {
                    accepted.late += 1;
                    OutcomeResult::Late
                };
                tally.outcome(outcome, values, result);
            }
            let _ = submission.answer.send(Ok(accepted));
        }
    }
}

/// The marks of a commit that worked stay, and wait to be stored.
pub(super) fn keep(seen: &mut Duplicates, checkpoint: &mut Checkpoint) {
    seen.receipts.keep(|run| checkpoint.push(Dirty::Receipts(run)));
    seen.ids.keep(|| checkpoint.push(Dirty::Ids));
}
