//! The task that joins counts, judgement and the control plane: woken by every bad outcome, at most every 50 ms for
//! an experiment, and by a slow tick for what happens without outcomes.

use super::{assess::assess, propose::propose};
use crate::{
    clock::Clock,
    collector::{Collector, signals::EvidenceChanges},
    control_plane::ControlPlane,
    domain::{
        command::{Command, Origin},
        experiment::{Experiment, State},
        id::ExperimentKey,
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

/// What the watch works with.
#[derive(Debug)]
pub struct Watch {
    plane: Arc<ControlPlane>,
    collector: Collector,
    clock: Clock,
    time_to_freeze: Histogram,
    replica: String,
    judged: HashMap<ExperimentKey, Instant>,
    /// Judgements put off because the last one was too recent: since when the outcome waits.
    waiting: HashMap<ExperimentKey, Instant>,
}

impl Watch {
    /// `time_to_freeze` observes the seconds from the outcome that crossed to the swapped table; `replica` names this
    /// process in evidence.
    #[must_use]
    pub fn new(
        plane: Arc<ControlPlane>,
        collector: Collector,
        clock: Clock,
        time_to_freeze: Histogram,
        replica: String,
    ) -> Self {
        let (judged, waiting) = (HashMap::new(), HashMap::new());
        Self {
            plane,
            collector,
            clock,
            time_to_freeze,
            replica,
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
        let Some((origin, command)) = propose(experiment, &assessments, now, &self.replica) else {
            return;
        };
        let id = &experiment.spec.id;
        let evidence = match &command {
            Command::FreezeExperiment {
                cause: crate::domain::experiment::FreezeCause::Guardrail(breach),
                ..
            }
            | Command::HoldExperiment {
                breach: Some(breach), ..
            }
            | Command::RecordAlert { breach, .. } => serde_json::to_string(breach).unwrap_or_default(),
            _ => String::new(),
        };
        let freezes = matches!(command, Command::FreezeExperiment { .. });
        let Origin { actor, reason, .. } = origin.clone();
        match self.plane.submit(origin, command) {
            Ok(submitted) => {
                if freezes {
                    self.time_to_freeze.observe(since.elapsed().as_secs_f64());
                    tracing::error!(
                        experiment = %id, guardrail = actor, revision = %submitted.revision, evidence,
                        "frozen: every unit gets control's version again; {reason}"
                    );
                } else {
                    tracing::warn!(experiment = %id, guardrail = actor, evidence, "guardrail breached; {reason}");
                }
            }
            Err(error) => {
                tracing::error!(experiment = %id, guardrail = actor, %error, evidence, "a breach was not acted on")
            }
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
