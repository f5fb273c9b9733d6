//! The one thread that counts: journal first, then fold, then answer.
//!
//! Owns the journal and what was seen; shares the counts with readers. Everything that waits when it turns to the
//! disk goes into one commit, so the slower the disk, the larger the groups. A commit that fails changes nothing and
//! is answered as failed; the next one tries again.

mod commit;
mod hours;

use super::{
    Accepted, CollectorMetrics, CollectorOptions, SubmitError,
    checkpoint::Checkpoint,
    duplicates::Duplicates,
    entry::{Entry, EntryBuilder, ExposureLists},
    examples,
    exposures::DecisionRecorder,
    intake::{Intake, unix_second, whole_seconds},
    minutes::Moment,
    observation::Observation,
    series,
    shared::Shared,
};
use crate::{
    clock::Clock,
    domain::id::ExperimentKey,
    store::{
        error::StoreError,
        sqlite::journal::{Journal, MinuteCursor, MinuteRow},
    },
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};
use tokio::{sync::oneshot, time::Instant};

/// A group waits for the senders of the last one this part of a commit's time, and this long at most.
const LINGER_PART: u32 = 8;
const LONGEST_LINGER: Duration = Duration::from_millis(1);
/// The longest that decisions wait in their queues, and settled assignments for somebody to notice.
const TICK: Duration = Duration::from_millis(50);
/// Exposures without outcomes are journalled this often, and a failed write is tried again.
const PATIENCE: Duration = Duration::from_secs(1);
/// Signals of one experiment with an absolute limit are this far apart.
const ABSOLUTE_EVERY: Duration = Duration::from_millis(100);
/// The most outcomes in one commit.
const MOST_PER_COMMIT: usize = 16_384;
/// The most exposures that wait for a store that fails; more are dropped and counted.
const MOST_EXPOSURES: usize = 1_000_000;
/// The write-ahead log is moved into the file at this size when nobody waits, and at the second in any case. The
/// work is the same however it is cut; small cuts keep the slowest answers fast.
const TIDY_PAGES: usize = 512;
const TIDY_PAGES_AT_LAST: usize = 2_048;
/// Bytes of the checkpoint in one commit when nobody waits for it any more.
const FINAL_CHECKPOINT_BYTES: usize = 4 << 20;
/// A round begins early when this much waits to be replayed.
const MOST_BACKLOG_BYTES: usize = 64 << 20;

/// What the handle asks of the thread.
pub(super) enum Message {
    /// A batch.
    Submit(Submission),
    /// The tagged outcomes of an experiment.
    Examples {
        experiment: ExperimentKey,
        tag: Option<String>,
        answer: oneshot::Sender<Result<Vec<String>, SubmitError>>,
    },
    /// Stored hours of a series: experiment and series, behind a cursor, up to and with an hour.
    Minutes {
        series: (u32, u32),
        after: MinuteCursor,
        last: u32,
        answer: oneshot::Sender<Result<Vec<MinuteRow>, SubmitError>>,
    },
    /// Finish, with a full checkpoint.
    Shutdown(oneshot::Sender<Result<(), StoreError>>),
}

/// A batch that waits.
pub(super) struct Submission {
    pub(super) outcomes: Vec<Observation>,
    pub(super) arrived: Instant,
    pub(super) answer: oneshot::Sender<Result<Accepted, SubmitError>>,
}

impl Submission {
    /// What it takes of the queue's room.
    pub(super) fn weight(&self) -> usize {
        self.outcomes.len() + 1
    }
}

/// The thread's own.
pub(super) struct Writer {
    journal: Journal,
    clock: Clock,
    shared: Arc<Shared>,
    recorder: DecisionRecorder,
    options: CollectorOptions,
    metrics: CollectorMetrics,
    intake: Arc<Intake>,
    seen: Duplicates,
    checkpoint: Checkpoint,
    builder: EntryBuilder,
    exposures: ExposureLists,
    exposures_waiting: usize,
    backlog_bytes: usize,
    /// Minutes of hours before this one are too old; 0 when there are none.
    minutes_before: u32,
    /// When something was last journalled, or failed to be.
    written: Instant,
    absolute: AbsoluteSignals,
    /// Batches in the last group. Their senders have just been answered and may send again: a group waits a moment
    /// to become as large, or the first of them would go to the disk alone and the others would wait for two trips.
    last_group: usize,
    /// How long such a moment is: a small part of what a commit takes.
    linger: Duration,
}

/// Experiments whose absolute limits have to be looked at, held back to one signal per interval.
#[derive(Default)]
struct AbsoluteSignals {
    waiting: BTreeMap<ExperimentKey, Instant>,
    raised: BTreeMap<ExperimentKey, Instant>,
}

impl Writer {
    /// Reads back everything stored and replays the journal.
    pub(super) fn open(
        journal: Journal,
        clock: Clock,
        shared: Arc<Shared>,
        recorder: DecisionRecorder,
        options: CollectorOptions,
        metrics: CollectorMetrics,
    ) -> Result<Self, StoreError> {
        let intake = shared.intake.load_full();
        let lifetime_s = whole_seconds(intake.receipt_lifetime());
        let now = Instant::now();
        let mut writer = Self {
            seen: Duplicates::new(options.receipt_memory_bytes, options.most_ids, lifetime_s),
            checkpoint: Checkpoint::new(options.checkpoint_every, now),
            journal,
            clock,
            shared,
            recorder,
            options,
            metrics,
            intake,
            builder: EntryBuilder::default(),
            exposures: ExposureLists::new(),
            exposures_waiting: 0,
            backlog_bytes: 0,
            minutes_before: 0,
            written: now,
            absolute: AbsoluteSignals::default(),
            last_group: 0,
            linger: Duration::ZERO,
        };
        writer.read_back()?;
        Ok(writer)
    }

    fn read_back(&mut self) -> Result<(), StoreError> {
        let Self {
            journal,
            shared,
            intake,
            seen,
            checkpoint,
            backlog_bytes,
            ..
        } = self;
        let mut counts = shared.counts.write();
        counts.follow(intake, None);
        journal.states(|row| Ok(counts.restore(&row)?))?;
        journal.ids(|row| Ok(seen.ids.restore(&row)?))?;
        journal.replay(|seq, bytes| {
            *backlog_bytes += bytes.len();
            let mut entry = Entry::open(bytes)?;
            hours::read_back(Moment::of(entry.now).hour, &mut counts, journal)?;
            counts.fold(seq, bytes, intake)?;
            seen.ids.turn(entry.now);
            entry.exposures(|_, _, _, _| {})?;
            let mut failed = None;
            entry.outcomes(|outcome| {
                if failed.is_none() {
                    failed = seen.replay(&outcome, journal).err();
                }
            })?;
            commit::keep(seen, checkpoint);
            if seen.receipts.is_full() {
                seen.receipts.tidy(0);
            }
            failed.map_or(Ok(()), Err)
        })?;
        counts.settle(unix_second(self.clock.now()));
        checkpoint.push_changed(&mut counts);
        shared.backlog.store(journal.entries(), Ordering::Relaxed);
        Ok(())
    }

    /// Runs until shutdown, or until every handle is gone.
    pub(super) fn run(mut self, receiver: &Receiver<Message>) {
        loop {
            let wait = if self.has_work() { Duration::ZERO } else { TICK };
            let mut group = Vec::new();
            let mut shutdown = None;
            let mut ended = false;
            match receiver.recv_timeout(wait) {
                Ok(message) => self.take(message, &mut group, &mut shutdown),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => ended = true,
            }
            let mut outcomes: usize = group.iter().map(|submission| submission.outcomes.len()).sum();
            let linger_until = (!group.is_empty()).then(|| Instant::now() + self.linger);
            while outcomes < MOST_PER_COMMIT || shutdown.is_some() {
                let message = match receiver.try_recv() {
                    Ok(message) => message,
                    Err(_) if group.len() >= self.last_group || shutdown.is_some() => break,
                    Err(_) => {
                        let Some(until) = linger_until else { break };
                        let left = until.saturating_duration_since(Instant::now());
                        let Ok(message) = receiver.recv_timeout(left) else {
                            break;
                        };
                        message
                    }
                };
                let before = group.len();
                self.take(message, &mut group, &mut shutdown);
                outcomes += group[before..]
                    .iter()
                    .map(|submission| submission.outcomes.len())
                    .sum::<usize>();
            }
            if !group.is_empty() {
                self.last_group = group.len();
            }
            let idle = group.is_empty();
            self.turn(group);
            if let Some(answer) = shutdown {
                let result = self.finish();
                // Whoever asked may have gone.
                let _ = answer.send(result);
                return;
            }
            if ended {
                return;
            }
            self.tidy(idle);
        }
    }

    fn take(
        &self,
        message: Message,
        group: &mut Vec<Submission>,
        shutdown: &mut Option<oneshot::Sender<Result<(), StoreError>>>,
    ) {
        match message {
            Message::Submit(submission) => group.push(submission),
            Message::Shutdown(answer) => *shutdown = Some(answer),
            Message::Examples {
                experiment,
                tag,
                answer,
            } => {
                let found = self.journal.tagged(experiment.0, tag.as_deref());
                let _ = answer.send(found.map(examples::texts).map_err(SubmitError::from));
            }
            Message::Minutes {
                series,
                after,
                last,
                answer,
            } => {
                let found = self.journal.minutes(series, after, last, series::PAGE);
                let _ = answer.send(found.map_err(SubmitError::from));
            }
        }
    }

    /// Whether there is something to do when nobody asks.
    fn has_work(&self) -> bool {
        let storing =
            self.checkpoint.in_round() || self.journal.first() < self.trim_end() || self.minutes_before > 0;
        storing && (self.shared.store_up.load(Ordering::Relaxed) || self.written.elapsed() >= PATIENCE)
    }

    /// Where trimming would end; the newest entry stays.
    fn trim_end(&self) -> u64 {
        (self.checkpoint.covered() + 1).min(self.journal.last())
    }

    /// One round of the loop: decisions, outcomes, what settles, what has to be stored.
    fn turn(&mut self, group: Vec<Submission>) {
        self.drain_decisions();
        self.follow_intake();
        let now = Instant::now();
        if self.checkpoint.is_due(now) || self.backlog_bytes > MOST_BACKLOG_BYTES {
            self.seen.receipts.tidy(unix_second(self.clock.now()));
            self.checkpoint.begin(now, self.journal.last());
            self.backlog_bytes = 0;
            self.look_for_old_minutes();
        }
        let exposures_due =
            self.exposures_waiting > 0 && now.saturating_duration_since(self.written) >= PATIENCE;
        if !group.is_empty() || exposures_due || self.has_work() {
            self.commit(group);
        }
        self.settle();
        self.raise_absolute();
    }

    fn drain_decisions(&mut self) {
        let Self {
            recorder,
            shared,
            metrics,
            exposures,
            exposures_waiting,
            ..
        } = self;
        let durations = metrics.decision_duration.local();
        let mut tally = shared.tally.lock();
        recorder.drain(|record| {
            tally.decision(&record);
            if let Some(duration_ns) = record.duration_ns {
                durations.observe(f64::from(duration_ns) * 1e-9);
            }
            if record.counted {
                if *exposures_waiting == MOST_EXPOSURES {
                    tally.exposures_lost += 1;
                } else {
                    *exposures_waiting += 1;
                    exposures
                        .entry((record.experiment, record.epoch, record.arm))
                        .or_default()
                        .push(record.unit_hash);
                }
            }
        });
        drop(tally);
        durations.flush();
    }

    fn follow_intake(&mut self) {
        let newest = self.shared.intake.load();
        if !Arc::ptr_eq(&newest, &self.intake) {
            let previous = std::mem::replace(&mut self.intake, Arc::clone(&newest));
            self.shared.counts.write().follow(&self.intake, Some(&previous));
        }
    }

    fn settle(&mut self) {
        let now = unix_second(self.clock.now());
        if !self.shared.counts.read().has_due(now) {
            return;
        }
        let settled = self.shared.counts.write().settle(now);
        let since = Instant::now();
        self.shared.signals.raise(
            &settled
                .into_iter()
                .map(|experiment| (experiment, since))
                .collect(),
        );
    }

    fn raise_absolute(&mut self) {
        let now = Instant::now();
        let AbsoluteSignals { waiting, raised } = &mut self.absolute;
        raised.retain(|_, at| now.saturating_duration_since(*at) < ABSOLUTE_EVERY);
        let ready = waiting
            .extract_if(.., |experiment, _| !raised.contains_key(experiment))
            .collect::<BTreeMap<_, _>>();
        raised.extend(ready.keys().map(|experiment| (*experiment, now)));
        self.shared.signals.raise(&ready);
    }

    /// After the answers, so that only the next group can be held up.
    fn tidy(&mut self, idle: bool) {
        let pages = self.journal.waiting_pages();
        let due = pages >= TIDY_PAGES_AT_LAST || (idle && pages >= TIDY_PAGES && !self.has_work());
        if due && let Err(error) = self.journal.tidy() {
            tracing::warn!(%error, "the outcome store could not move its write-ahead log");
        }
    }

    /// The last checkpoint: everything, so that the next start has nothing to replay.
    fn finish(&mut self) -> Result<(), StoreError> {
        self.drain_decisions();
        let now = unix_second(self.clock.now());
        if self.exposures_waiting > 0 {
            self.store(now)?;
            self.fold(&[]);
        }
        // A round may be on its way; the second one has what it left out.
        for _ in 0..2 {
            self.checkpoint.begin(Instant::now(), self.journal.last());
            while self.checkpoint.in_round() {
                self.store(now)?;
                self.journal.tidy()?;
            }
        }
        while self.journal.first() < self.trim_end() {
            self.store(now)?;
        }
        self.journal.tidy()
    }
}
