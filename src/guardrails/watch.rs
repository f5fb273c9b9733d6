//! The task that joins counts, judgement and the control plane: woken by every bad outcome, at most every 50 ms for
//! an experiment, and by a slow tick for what happens without outcomes: schedules, stages, silence.

use super::{
    aa::Aa,
    assess::assess,
    look::{Look, Source},
    propose::propose,
    step::{is_due, next_step},
};
use crate::{
    clock::Clock,
    collector::{Collector, signals::EvidenceChanges},
    control_plane::ControlPlane,
    domain::{
        command::{Command, Origin},
        experiment::{Experiment, FreezeCause, State},
        id::ExperimentKey,
        rollout::Patience,
    },
};
use prometheus::Histogram;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// The least time between two judgements of one experiment: half of what a freeze may take, the rest is for the commit.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
/// Schedules, unwritten freezes, and a second look at everything.
const TICK: Duration = Duration::from_secs(1);
/// Every so many ticks all live experiments are judged, whether or not something came in.
const FULL_LOOK_TICKS: u32 = 10;
/// Every so many ticks an experiment whose stage could pass is looked at as a whole, which costs a report's part.
const PASS_TICKS: u32 = 3;

/// What the watch works with.
#[derive(Debug)]
pub struct Watch {
    plane: Arc<ControlPlane>,
    collector: Collector,
    clock: Clock,
    aa: Arc<Aa>,
    time_to_freeze: Histogram,
    replica: String,
    patience: Patience,
    /// Since when the store fails.
    store_down_since: Option<Instant>,
    judged: HashMap<ExperimentKey, Instant>,
    /// Judgements put off because the last one was too recent: since when the outcome waits.
    waiting: HashMap<ExperimentKey, Instant>,
}

impl Watch {
    /// `aa` looks for false alarms whenever the guardrails look; `time_to_freeze` observes the seconds from the outcome
    /// that crossed to the swapped table; `replica` names this process in evidence; `patience` is how long silence is
    /// borne.
    #[must_use]
    pub fn new(
        plane: Arc<ControlPlane>,
        collector: Collector,
        clock: Clock,
        aa: Arc<Aa>,
        time_to_freeze: Histogram,
        replica: String,
        patience: Patience,
    ) -> Self {
        let (judged, waiting) = (HashMap::new(), HashMap::new());
        Self {
            plane,
            collector,
            clock,
            aa,
            time_to_freeze,
            replica,
            patience,
            store_down_since: None,
            judged,
            waiting,
        }
    }

    /// Watches until the collector ends. Blocks its thread while the store writes, so give it one of its own.
    pub async fn run(mut self, mut changes: EvidenceChanges) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks = 0_u32;
        loop {
            let due = self
                .waiting
                .keys()
                .filter_map(|key| self.judged.get(key))
                .min()
                .map(|at| *at + LEAST_PAUSE);
            let put_off = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = changes.next() => {
                    let Some(changed) = changed else { return };
                    for change in changed {
                        self.waiting.entry(change.experiment).or_insert(change.since);
                    }
                }
                () = put_off => {}
                _ = tick.tick() => {
                    self.schedules();
                    self.plane.retry_unrecorded();
                    if ticks.is_multiple_of(FULL_LOOK_TICKS) {
                        self.look_at_everything();
                    }
                    self.rollouts(ticks);
                    ticks = ticks.wrapping_add(1);
                }
            }
            self.judge_waiting();
        }
    }

    fn judge_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let now = Instant::now();
        let view = self.plane.view();
        let ready: Vec<_> = self
            .waiting
            .iter()
            .filter(|(key, _)| {
                self.judged
                    .get(key)
                    .is_none_or(|at| now.duration_since(*at) >= LEAST_PAUSE)
            })
            .map(|(key, since)| (*key, *since))
            .collect();
        for (key, since) in ready {
            self.waiting.remove(&key);
            self.judged.insert(key, now);
            if let Some(experiment) = view.catalog.experiment(key) {
                self.judge(experiment, since);
                self.look_for_false_alarms(experiment);
            }
        }
    }

    fn judge(&self, experiment: &Experiment, since: Instant) {
        if !experiment.state.splits() || experiment.spec.guardrails.is_empty() {
            return;
        }
        let now = self.clock.now();
        let counts = self.collector.arm_counts(experiment.key);
        let guard = self.collector.guard(experiment.key);
        let assessments = assess(experiment, guard.as_ref(), &counts, now, false);
        if let Some((origin, command)) = propose(experiment, &assessments, now, &self.replica) {
            self.act(experiment, (origin, command), since);
        }
    }

    /// What the rollouts do without being told: wait, go on, end, or freeze for want of data or time.
    fn rollouts(&mut self, ticks: u32) {
        let failing = !self.collector.store_up() || self.plane.view().unrecorded > 0;
        self.store_down_since = match self.store_down_since {
            Some(since) if failing => Some(since),
            _ => failing.then(Instant::now),
        };
        let now = self.clock.now();
        let view = self.plane.view();
        for experiment in view.catalog.experiments.values() {
            if !experiment.state.splits() || !experiment.depends_on_outcomes() {
                continue;
            }
            let counts = self.collector.arm_counts(experiment.key);
            let look = |whole: bool| -> Look {
                let guard = whole.then(|| self.collector.guard(experiment.key)).flatten();
                let source = Source {
                    experiment,
                    counts: &counts,
                    guard: guard.as_ref(),
                    store_down_for: self.store_down_since.map(|since| since.elapsed()),
                    patience: self.patience,
                };
                if whole { source.whole(now) } else { source.cheap() }
            };
            // Spread over the ticks by key, so that a thousand of them delay no freeze.
            let turn = ticks.wrapping_add(experiment.key.0);
            let may_pass = turn.is_multiple_of(PASS_TICKS) && is_due(experiment, now);
            let looks_whole = may_pass || turn.is_multiple_of(FULL_LOOK_TICKS);
            if let Some(next) = next_step(experiment, look, looks_whole, now, &self.replica) {
                self.act(experiment, next, Instant::now());
            }
        }
    }

    /// Hands a command over, and tells what became of it.
    fn act(&self, experiment: &Experiment, (origin, command): (Origin, Command), since: Instant) {
        let id = &experiment.spec.id;
        let evidence = match &command {
            Command::FreezeExperiment {
                cause: FreezeCause::Guardrail(breach),
                ..
            }
            | Command::HoldExperiment {
                breach: Some(breach), ..
            }
            | Command::RecordAlert { breach, .. } => serde_json::to_string(breach).unwrap_or_default(),
            Command::FreezeExperiment { cause, .. } => serde_json::to_string(cause).unwrap_or_default(),
            Command::AdvanceExperiment { evidence, .. } | Command::CompleteExperiment { evidence, .. } => {
                serde_json::to_string(evidence).unwrap_or_default()
            }
            _ => String::new(),
        };
        let freezes = matches!(command, Command::FreezeExperiment { .. });
        let breaches = freezes || !evidence.is_empty();
        let Origin { actor, reason, .. } = origin.clone();
        match self.plane.submit(origin, command) {
            Ok(submitted) if freezes => {
                self.time_to_freeze.observe(since.elapsed().as_secs_f64());
                tracing::error!(
                    experiment = %id, actor, revision = %submitted.revision, evidence,
                    "frozen: every unit gets control's version again; {reason}"
                );
            }
            // The experiment has changed since it was looked at: the next look decides.
            Ok(submitted) if submitted.events.is_empty() => {}
            Ok(submitted) => {
                let revision = submitted.revision;
                if breaches {
                    tracing::warn!(experiment = %id, actor, %revision, evidence, "{reason}");
                } else {
                    tracing::info!(experiment = %id, actor, %revision, "{reason}");
                }
            }
            Err(error) => {
                tracing::error!(experiment = %id, actor, %error, evidence, "not done although it should be: {reason}");
            }
        }
    }

    /// After the judgement, so that no freeze waits for it; of the design and state before that.
    fn look_for_false_alarms(&self, experiment: &Experiment) {
        if experiment.state.splits() {
            let guard = self.collector.guard(experiment.key);
            self.aa.look(experiment, guard.as_ref(), self.clock.now());
        }
    }

    /// Starts and ends what its schedule says.
    fn schedules(&self) {
        let now = self.clock.now();
        for experiment in self.plane.view().catalog.experiments.values() {
            let spec = &experiment.spec;
            let due = |at: Option<crate::domain::Timestamp>| at.is_some_and(|at| at <= now);
            let command = match experiment.state {
                State::Scheduled if spec.start.is_none() || due(spec.start) => {
                    Command::StartExperiment(spec.id.clone())
                }
                State::Scheduled | State::Running | State::Holding if due(spec.end) => {
                    Command::StopExperiment(spec.id.clone())
                }
                _ => continue,
            };
            let origin = Origin::new("schedule", "its time has come");
            if let Err(error) = self.plane.submit(origin, command) {
                tracing::error!(experiment = %spec.id, %error, "the schedule could not be followed");
            }
        }
    }

    fn look_at_everything(&mut self) {
        let now = Instant::now();
        for experiment in self.plane.view().catalog.experiments.values() {
            if experiment.state.splits() && !experiment.spec.guardrails.is_empty() {
                self.waiting.entry(experiment.key).or_insert(now);
            }
        }
        let view = self.plane.view();
        self.judged.retain(|key, _| {
            view.catalog
                .experiment(*key)
                .is_some_and(|experiment| experiment.state.splits())
        });
    }
}
