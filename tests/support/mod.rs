//! A control plane over a log in memory, for tests that need a routing table.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use serde_json::{Value as Json, json};
use serin::{
    clock::{Clock, ManualClock},
    control_plane::{ControlPlane, SubmitError, Submitted},
    domain::{
        Timestamp,
        allocation::Holdout,
        command::{Command, Origin},
        experiment::{ExperimentSpec, FreezeCause},
        id::{Environment, ExperimentId, LayerName, PromptName},
        prompt::PromptDraft,
    },
    routing::{live::LiveTable, table::RoutingTable},
    store::memory::MemoryLog,
};
use std::sync::Arc;

/// The world of one test.
pub struct World {
    pub plane: ControlPlane,
    pub table: Arc<LiveTable>,
    pub clock: ManualClock,
}

pub fn environment() -> Environment {
    Environment::new("production").unwrap()
}

pub fn now() -> Timestamp {
    "2026-12-01T00:00:00Z".parse().unwrap()
}

pub fn id(id: &str) -> ExperimentId {
    ExperimentId::new(id).unwrap()
}

pub fn draft(semver: &str, text: &str) -> PromptDraft {
    serde_json::from_value(json!({"semver": semver, "prompt": text})).unwrap()
}

pub fn spec(json: &Json) -> ExperimentSpec {
    serde_json::from_value(json.clone()).unwrap()
}

impl World {
    /// An empty log at noon of nowhere.
    pub fn empty() -> Self {
        let clock = ManualClock::at(now());
        let table = Arc::new(LiveTable::new(RoutingTable::empty(environment())));
        let log = Box::new(MemoryLog::default());
        let plane = ControlPlane::open(
            log,
            Arc::clone(&table),
            environment(),
            Clock::Manual(clock.clone()),
        )
        .unwrap();
        Self { plane, table, clock }
    }

    /// The prompt `p` with versions 1.0.0 and 1.1.0, and these experiments.
    pub fn with(experiments: &[Json]) -> Self {
        let world = Self::empty();
        world.register("p", "1.0.0", "old {{question}}").unwrap();
        world.register("p", "1.1.0", "new {{question}}").unwrap();
        for experiment in experiments {
            world.put(experiment).unwrap();
        }
        world
    }

    pub fn submit(&self, command: Command) -> Result<Submitted, SubmitError> {
        self.plane.submit(Origin::new("test", "because"), command)
    }

    pub fn register(&self, name: &str, semver: &str, text: &str) -> Result<Submitted, SubmitError> {
        self.submit(Command::RegisterPrompt {
            name: PromptName::new(name).unwrap(),
            draft: Box::new(draft(semver, text)),
            environments: vec![environment()],
        })
    }

    pub fn put(&self, experiment: &Json) -> Result<Submitted, SubmitError> {
        self.submit(Command::PutExperiment(Box::new(spec(experiment))))
    }

    pub fn freeze(&self, experiment: &str) {
        self.submit(Command::FreezeExperiment {
            id: id(experiment),
            cause: FreezeCause::Manual,
        })
        .unwrap();
    }

    pub fn holdout(&self, name: &str, share: f64) {
        let holdout = Holdout {
            name: LayerName::new(name).unwrap(),
            share,
        };
        self.submit(Command::SetHoldout(Some(holdout))).unwrap();
    }
}
