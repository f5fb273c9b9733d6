//! What a rollout needs of the world besides counting: looks that drive it, and a process that ends and begins again.

use super::{BAD, ENVIRONMENT, SimulationError, World, experiment, identity, intake};
use crate::{
    clock::Clock,
    control_plane::{ControlPlane, SubmitError},
    domain::{
        command::{Command, Origin},
        event::{Event, Recorded},
        experiment::Experiment,
        id::{Environment, Revision},
        rollout::Patience,
    },
    guardrails::{
        look::Source,
        step::{is_due, next_step},
    },
    routing::{live::LiveTable, table::RoutingTable},
    store::{ControlLog, memory::MemoryLog},
};
use serde_json::{Value as Json, json};
use std::{sync::Arc, time::Duration};

/// More entries than any simulated log has.
const WHOLE_LOG: usize = 1 << 20;
/// Every so many looks one is whole, whether or not a cheap one finds something to do. A server takes more of them; they are
/// most of what a day costs.
const WHOLE_LOOKS: u64 = 90;
/// Every so many looks one is whole when the stage could pass.
const PASS_LOOKS: u64 = 3;

impl World {
    /// A canary with this plan, guarded against [`BAD`].
    ///
    /// # Errors
    /// [`SimulationError`] when the product refuses it.
    pub fn canary(rollout: &Json) -> Result<Self, SimulationError> {
        let mut design = identity();
        design["kind"] = json!("canary");
        design["rollout"] = rollout.clone();
        design["guardrails"] = json!([{"metric": BAD, "max_ratio": 1.25, "settle": "5s"}]);
        design["variants"] = json!([
            {"name": "control", "version": "1.0.0", "weight": 50},
            {"name": "candidate", "version": "1.1.0", "weight": 50},
        ]);
        Self::of(design)
    }

    /// The experiment as it is.
    #[must_use]
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// The whole control log.
    ///
    /// # Errors
    /// [`SimulationError::Store`].
    pub fn history(&self) -> Result<Vec<Recorded>, SimulationError> {
        Ok(self.plane.history(Revision(0), WHOLE_LOG)?)
    }

    /// Lets the rollout take its `turn`-th look and do what follows from it, as the watch does on a tick. Several
    /// `replicas` see the same before any of them acts, and act in their order. `store_down_for` is how long outcomes could
    /// not be stored.
    ///
    /// # Errors
    /// [`SimulationError::Refused`] when the control plane does not follow the first of them.
    pub fn roll(
        &mut self,
        turn: u64,
        store_down_for: Option<Duration>,
        replicas: &[&str],
    ) -> Result<(), SimulationError> {
        if !self.experiment.state.splits() {
            return Ok(());
        }
        let (now, counts) = (self.clock.now(), self.counts());
        let may_pass = turn.is_multiple_of(PASS_LOOKS) && is_due(&self.experiment, now);
        let wanted = may_pass || turn.is_multiple_of(WHOLE_LOOKS);
        let look = |whole: bool| {
            let guard = whole.then(|| self.collector.guard(self.experiment.key)).flatten();
            let source = Source {
                experiment: &self.experiment,
                counts: &counts,
                guard: guard.as_ref(),
                store_down_for,
                patience: Patience::default(),
            };
            if whole { source.whole(now) } else { source.cheap() }
        };
        let said = |replica: &&str| next_step(&self.experiment, look, wanted, now, replica);
        let commands: Vec<_> = replicas.iter().filter_map(said).collect();
        self.follow(commands)
    }

    /// Lets the guardrails of several replicas look as one, and act in their order; see [`World::judge`].
    ///
    /// # Errors
    /// [`SimulationError::Refused`] when the control plane does not follow the first of them.
    pub fn judge_in(&mut self, replicas: &[&str]) -> Result<(), SimulationError> {
        let said = |replica: &&str| self.judged(replica);
        let commands: Vec<_> = replicas.iter().filter_map(said).collect();
        self.follow(commands)
    }

    fn follow(&mut self, commands: Vec<(Origin, Command)>) -> Result<(), SimulationError> {
        for (place, (origin, command)) in commands.into_iter().enumerate() {
            match self.submit(origin, command) {
                // Another replica was faster, and what it did leaves nothing to do.
                Err(SimulationError::Refused(SubmitError::Rejected(_))) if place > 0 => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Keeps from now on what a restart needs; to be asked for before anything is counted.
    #[must_use]
    pub fn keeping(self) -> Self {
        let collector = self.collector.keeping();
        Self { collector, ..self }
    }

    /// Stores up to so many pieces of the counts that wait for it.
    pub fn checkpoint(&mut self, pieces: usize) {
        self.collector.checkpoint(pieces);
    }

    /// Ends the process and begins the next one from what it finds: the control log in its stored form, the stored
    /// pieces of the counts and the journal. What was not counted yet is counted first, since nobody was told so.
    ///
    /// # Errors
    /// [`SimulationError`] when something cannot be read back.
    pub fn restarted(mut self) -> Result<Self, SimulationError> {
        self.flush()?;
        let mut entries = self.history()?;
        for entry in &mut entries {
            entry.event = Event::from_stored(&entry.event.to_stored()?)?;
        }
        let mut log = MemoryLog::default();
        log.append(Revision(0), &entries)?;
        let environment = Environment::new(ENVIRONMENT)?;
        let live = Arc::new(LiveTable::new(RoutingTable::empty(environment.clone())));
        let clock = Clock::Manual(self.clock.clone());
        let plane = ControlPlane::open(Box::new(log), Arc::clone(&live), environment, clock)?;
        let view = plane.view();
        Ok(Self {
            collector: self.collector.restarted(intake(&view), self.clock.now())?,
            aa: Default::default(),
            table: Arc::clone(&live.load()),
            experiment: experiment(&view)?,
            view,
            plane,
            live,
            ..self
        })
    }
}
