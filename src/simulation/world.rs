//! One experiment in memory: the real control plane, routing table, counting, report and guardrails, and a time that is
//! passed in.
//!
//! Owns the way between the parts, which in a server is the network and threads. Decides and computes nothing. Called by
//! the studies.

mod rollout;

use super::traffic::Metric;
use crate::{
    clock::{Clock, ManualClock},
    collector::{
        arm_counts::ArmCounts,
        bad_units::half,
        codec::FormatError,
        intake::Intake,
        observation::Observation,
        offline::{Exposure, OfflineCollector},
    },
    control_plane::{ControlPlane, SubmitError, View},
    domain::{
        Timestamp,
        audience::{Attributes, Value},
        command::{Command, Origin},
        event::EventFormatError,
        experiment::{Experiment, State},
        id::{ArmIndex, Environment, Epoch, MetricKey, NameError, PromptName},
    },
    guardrails::{aa::Aa, assess::assess, propose::propose},
    report::{Report, report},
    routing::{
        assign::assign,
        live::LiveTable,
        receipt::ReceiptKeys,
        table::{NoRoute, RoutingTable},
    },
    store::{error::StoreError, memory::MemoryLog},
};
use serde_json::{Value as Json, json};
use std::{sync::Arc, time::Duration};

const ID: &str = "simulated";
const PROMPT: &str = "prompt";
const ENVIRONMENT: &str = "production";
/// Requests counted at a time, where nothing depends on each single one.
const BATCH: usize = 1024;
/// The process in every receipt.
const PROCESS: u32 = 1;
/// When every experiment starts: 2026-01-01, in Unix seconds.
const START: i64 = 1_767_225_600;
/// How long one takes, and so long are 32 restart blocks of the guardrails' evidence.
pub const SPAN: Duration = Duration::from_secs(7 * 86_400);
/// The guardrail's bad outcome.
pub const BAD: &str = "fallback";

/// Why a simulation could not go on: the product refused what it should take.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The control plane refused a command.
    #[error("the control plane refused: {0}")]
    Refused(#[from] SubmitError),
    /// The control log failed.
    #[error("the control log failed: {0}")]
    Store(#[from] StoreError),
    /// The design has another shape than this module thinks.
    #[error("the design cannot be read: {0}")]
    Design(#[from] serde_json::Error),
    /// A name was refused.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The fold refused the bytes.
    #[error("outcomes could not be counted: {0}")]
    Counting(#[from] FormatError),
    /// An event cannot be stored or read back.
    #[error("the control log cannot be read back: {0}")]
    Event(#[from] EventFormatError),
    /// Something that was just made is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
}

impl From<NoRoute> for SimulationError {
    fn from(_: NoRoute) -> Self {
        Self::Missing("the route")
    }
}

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Design {
    /// The candidate's share, in (0, 1).
    pub share: f64,
    /// The metrics that are declared.
    pub metrics: &'static [Metric],
    /// Whether they are planned for [`Metric::planned_effect`]; otherwise for the product's default.
    pub planned: bool,
    /// Whether a guardrail watches [`BAD`].
    pub guarded: bool,
}

/// Where a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assigned {
    /// 0 is control, 1 the candidate.
    pub arm: ArmIndex,
    epoch: Epoch,
    unit_hash: u64,
    /// When, as a Unix second.
    second: u32,
}

impl Assigned {
    /// In which hidden half of its arm its unit is, 0 or 1.
    #[must_use]
    pub fn half(&self) -> usize {
        half(self.unit_hash)
    }

    /// Whether the request got the candidate.
    #[must_use]
    pub fn is_candidate(&self) -> bool {
        self.arm == CANDIDATE
    }
}

/// The control arm.
pub const CONTROL: ArmIndex = ArmIndex(0);
/// The other one.
pub const CANDIDATE: ArmIndex = ArmIndex(1);

/// Counts by epoch and arm, as the collector hands them out.
pub type Counts = Vec<((Epoch, ArmIndex), Arc<ArmCounts>)>;

/// A running experiment.
#[derive(Debug)]
pub struct World {
    plane: ControlPlane,
    live: Arc<LiveTable>,
    clock: ManualClock,
    collector: OfflineCollector,
    aa: Aa,
    table: Arc<RoutingTable>,
    view: Arc<View>,
    experiment: Arc<Experiment>,
    elapsed: Duration,
    /// Outcomes so far: the numbers of their receipts, since no simulated receipt reports twice.
    reported: u32,
    outcomes: Vec<Observation>,
    exposures: Vec<Exposure>,
}

impl World {
    /// Registers a prompt with two versions and starts the experiment.
    ///
    /// # Errors
    /// [`SimulationError`] when the product refuses that.
    pub fn new(design: Design) -> Result<Self, SimulationError> {
        Self::of(written(&design))
    }

    /// The same for a design in the form of the API, completed from [`identity`].
    ///
    /// # Errors
    /// [`SimulationError`] when the product refuses that.
    fn of(design: Json) -> Result<Self, SimulationError> {
        let clock = ManualClock::at(Timestamp::from_second(START).unwrap_or_default());
        let environment = Environment::new(ENVIRONMENT)?;
        let live = Arc::new(LiveTable::new(RoutingTable::empty(environment.clone())));
        let plane = ControlPlane::open(
            Box::new(MemoryLog::default()),
            Arc::clone(&live),
            environment.clone(),
            Clock::Manual(clock.clone()),
        )?;
        for (semver, text) in [("1.0.0", "old"), ("1.1.0", "new")] {
            let register = Command::RegisterPrompt {
                name: PromptName::new(PROMPT)?,
                draft: serde_json::from_value(json!({"semver": semver, "prompt": text}))?,
                environments: vec![environment.clone()],
            };
            plane.submit(origin(), register)?;
        }
        let put = Command::PutExperiment(serde_json::from_value(design)?);
        plane.submit(origin(), put)?;
        let view = plane.view();
        Ok(Self {
            collector: OfflineCollector::new(intake(&view)),
            aa: Aa::default(),
            table: Arc::clone(&live.load()),
            experiment: experiment(&view)?,
            view,
            plane,
            live,
            clock,
            elapsed: Duration::ZERO,
            reported: 0,
            outcomes: Vec::with_capacity(BATCH),
            exposures: Vec::with_capacity(BATCH),
        })
    }

    /// Moves time forward to this long after the start; never back.
    pub fn at(&mut self, elapsed: Duration) {
        if let Some(step) = elapsed.checked_sub(self.elapsed) {
            // The clock has whole milliseconds.
            let step = Duration::from_millis(u64::try_from(step.as_millis()).unwrap_or(u64::MAX));
            self.clock.advance(step);
            self.elapsed += step;
        }
    }

    /// Gives the candidate another share, as an edited file does: a new epoch.
    ///
    /// # Errors
    /// [`SimulationError`] when the product refuses that.
    pub fn reweight(&mut self, share: f64) -> Result<(), SimulationError> {
        self.flush()?;
        let mut spec = self.experiment.spec.as_ref().clone();
        let shares = [1.0 - share, share];
        for (variant, share) in spec.variants.iter_mut().zip(shares) {
            variant.weight = share;
        }
        self.submit(origin(), Command::PutExperiment(Box::new(spec)))
    }

    fn submit(&mut self, origin: Origin, command: Command) -> Result<(), SimulationError> {
        self.plane.submit(origin, command)?;
        self.view = self.plane.view();
        self.experiment = experiment(&self.view)?;
        self.collector.set_intake(intake(&self.view));
        self.table = Arc::clone(&self.live.load());
        Ok(())
    }

    /// The present moment as a Unix second.
    fn second(&self) -> u32 {
        u32::try_from(self.clock.now().as_second()).unwrap_or(u32::MAX)
    }

    /// Assigns one request of a unit; none when it is not split, as after a freeze.
    ///
    /// # Errors
    /// [`SimulationError::Missing`] when there is no route.
    pub fn assign(&self, unit: u64) -> Result<Option<Assigned>, SimulationError> {
        let route = self.table.route(PROMPT, None)?;
        let context = Attributes::new(vec![("user".into(), Value::UInt(unit))]);
        let assignment = assign(route, &context);
        Ok((|| {
            Some(Assigned {
                arm: assignment.answer.arm?,
                epoch: assignment.experiment?.epoch,
                unit_hash: assignment.unit_hash?,
                second: self.second(),
            })
        })())
    }

    /// Counts that a request used its arm, with the next group.
    ///
    /// # Errors
    /// Those of [`World::flush`].
    pub fn expose(&mut self, assigned: Assigned) -> Result<(), SimulationError> {
        self.exposures.push(Exposure {
            experiment: self.experiment.key,
            epoch: assigned.epoch,
            arm: assigned.arm,
            unit_hash: assigned.unit_hash,
        });
        if self.exposures.len() == BATCH {
            self.flush()?;
        }
        Ok(())
    }

    /// Counts an outcome with the next group, and says whether one was due and changed the guardrails' evidence.
    ///
    /// # Errors
    /// Those of [`World::flush`].
    pub fn report_back(
        &mut self,
        assigned: Assigned,
        values: impl IntoIterator<Item = (MetricKey, f64)>,
    ) -> Result<bool, SimulationError> {
        self.reported = self.reported.wrapping_add(1);
        self.outcomes.push(Observation {
            experiment: self.experiment.key,
            epoch: assigned.epoch,
            arm: assigned.arm,
            unit_hash: assigned.unit_hash,
            second: assigned.second,
            receipt: Some((PROCESS, self.reported)),
            id: None,
            segments: Default::default(),
            covariates: Default::default(),
            values: values.into_iter().collect(),
            again: false,
            tagging: None,
        });
        if self.outcomes.len() == BATCH {
            return self.flush();
        }
        Ok(false)
    }

    /// Counts what waits, and says whether it changed the guardrails' evidence.
    ///
    /// # Errors
    /// [`SimulationError::Counting`], for values that are not finite.
    pub fn flush(&mut self) -> Result<bool, SimulationError> {
        let changed = self
            .collector
            .record(&self.outcomes, &self.exposures, self.clock.now())?;
        self.outcomes.clear();
        self.exposures.clear();
        Ok(changed)
    }

    /// What stands for a measure in outcomes.
    ///
    /// # Errors
    /// [`SimulationError::Missing`] for a metric that the design does not have.
    pub fn measure(&self, name: &str) -> Result<MetricKey, SimulationError> {
        let measure = self.experiment.measure(name);
        measure
            .map(|measure| measure.key)
            .ok_or(SimulationError::Missing("a metric"))
    }

    /// Everything counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.collector.arm_counts(self.experiment.key)
    }

    /// The report as of now.
    #[must_use]
    pub fn report(&self) -> Report {
        let revision = self.view.catalog.revision;
        report(
            &self.experiment,
            &self.counts(),
            Vec::new(),
            revision,
            self.clock.now(),
        )
    }

    /// Lets the guardrails look and does what they ask for; says whether the experiment is frozen now.
    ///
    /// # Errors
    /// [`SimulationError::Refused`] when the control plane does not follow them.
    pub fn judge(&mut self) -> Result<bool, SimulationError> {
        self.judge_in(&["simulation"])?;
        Ok(self.experiment.state == State::Frozen)
    }

    /// What the guardrails ask for.
    fn judged(&self, replica: &str) -> Option<(Origin, Command)> {
        let (now, guard) = (self.clock.now(), self.collector.guard(self.experiment.key));
        let found = assess(&self.experiment, guard.as_ref(), &self.counts(), now, false);
        propose(&self.experiment, &found, now, replica)
    }

    /// Lets the continuous A/A test look; says whether it would have frozen a candidate that is control itself.
    #[must_use]
    pub fn judge_aa(&self) -> bool {
        let guard = self.collector.guard(self.experiment.key);
        self.aa.look(&self.experiment, guard.as_ref(), self.clock.now())
    }
}

fn origin() -> Origin {
    Origin::new("simulation", "a seeded run")
}

/// What every design has, to be completed with the rest of it.
fn identity() -> Json {
    json!({
        "id": ID, "prompt": PROMPT, "environment": ENVIRONMENT, "status": "running", "unit": "user", "traffic": 1.0,
    })
}

/// A design in the form of the API.
fn written(design: &Design) -> Json {
    let metrics: Vec<_> = (0..)
        .zip(design.metrics)
        .map(|(index, metric)| {
            let mut written = json!({
                "name": metric.name(), "kind": metric.kind(), "goal": metric.goal(), "primary": index == 0,
            });
            if design.planned {
                written["mde"] = json!(metric.planned_effect());
            }
            written
        })
        .collect();
    let mut spec = identity();
    spec["kind"] = json!("experiment");
    spec["metrics"] = json!(metrics);
    if design.guarded {
        spec["guardrails"] = json!([{"metric": BAD, "max_ratio": 1.25, "settle": "0s"}]);
    }
    spec["variants"] = json!([
        {"name": "control", "version": "1.0.0", "weight": 1.0 - design.share},
        {"name": "candidate", "version": "1.1.0", "weight": design.share},
    ]);
    spec
}

fn experiment(view: &View) -> Result<Arc<Experiment>, SimulationError> {
    let found = view.catalog.experiments.get(ID);
    found.cloned().ok_or(SimulationError::Missing("the experiment"))
}

fn intake(view: &View) -> Intake {
    let catalog = &view.catalog;
    Intake::compile(
        catalog.experiments.values(),
        catalog.prompts.values(),
        ReceiptKeys::new(catalog.receipt_keys.iter().copied()),
        SPAN,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESIGN: Design = Design {
        share: 0.5,
        metrics: &[Metric::Binary],
        planned: false,
        guarded: true,
    };

    #[test]
    fn requests_are_assigned_counted_and_reported() {
        let mut world = World::new(DESIGN).unwrap();
        let key = world.measure("binary").unwrap();
        for unit in 0..2_000 {
            world.at(Duration::from_secs(unit));
            let assigned = world.assign(unit).unwrap().unwrap();
            world.expose(assigned).unwrap();
            world.report_back(assigned, [(key, 1.0)]).unwrap();
        }
        world.flush().unwrap();
        let report = world.report();
        let units: u64 = report.exposures.0.iter().map(|(_, counts)| counts.units).sum();
        assert_eq!(units, 2_000);
        assert_eq!(report.metrics[0].variants[1].n, report.exposures.0[1].1.requests);
        assert_eq!(report.as_of.as_second(), START + 1_999);
        world.reweight(0.9).unwrap();
        let again = world.assign(1).unwrap().unwrap();
        assert_ne!(again.epoch, world.counts()[0].0.0);
    }

    #[test]
    fn looking_after_each_bad_outcome_is_looking_after_each_outcome() {
        let frozen_after = |every: bool| {
            let mut world = World::new(DESIGN).unwrap();
            let key = world.measure(BAD).unwrap();
            for unit in 0..10_000_u64 {
                let assigned = world.assign(unit).unwrap().unwrap();
                let bad = assigned.is_candidate() && unit % 10 == 0;
                let full = world
                    .report_back(assigned, [(key, f64::from(u8::from(bad)))])
                    .unwrap();
                if every || bad {
                    let changed = world.flush().unwrap();
                    assert_eq!(changed, bad);
                    if (every || changed) && world.judge().unwrap() {
                        assert!(world.assign(unit).unwrap().is_none(), "a freeze ends the split");
                        return unit;
                    }
                }
                assert!(!full, "good outcomes are no evidence");
            }
            panic!("a candidate that alone fails was not frozen");
        };
        assert_eq!(frozen_after(true), frozen_after(false));
    }

    #[test]
    fn a_false_alarm_between_halves_of_control_changes_nothing() {
        let mut world = World::new(DESIGN).unwrap();
        let key = world.measure(BAD).unwrap();
        let mut alarmed = false;
        for unit in 0..400_u64 {
            let assigned = world.assign(unit).unwrap().unwrap();
            // All of one half of control, and as many of the candidate.
            let bad = if assigned.is_candidate() {
                unit % 2 == 0
            } else {
                assigned.half() == 1
            };
            world
                .report_back(assigned, [(key, f64::from(u8::from(bad)))])
                .unwrap();
            world.flush().unwrap();
            alarmed |= world.judge_aa();
            assert!(!world.judge().unwrap());
        }
        assert!(alarmed);
        assert_eq!(
            world.view.catalog.revision,
            World::new(DESIGN).unwrap().view.catalog.revision
        );
    }
}
