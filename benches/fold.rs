//! What it costs to count one outcome, in process and without IO: entries are encoded first, then folded.
//!
//! `cargo bench --bench fold` prints the median of many short rounds, in nanoseconds of CPU time. Each outcome has one rate and
//! one mean metric; a metric more, of either kind, says what the two cost apart.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints"
)]
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark stops at the first surprise"
)]

use serin::{
    clock::Clock,
    collector::{intake::Intake, observation::Observation, offline::OfflineCollector},
    control_plane::ControlPlane,
    domain::{
        command::{Command, Origin},
        experiment::Experiment,
        id::{ArmIndex, Environment, Epoch, ExperimentId, MetricKey, PromptName},
    },
    routing::{hash, live::LiveTable, receipt::ReceiptKeys, table::RoutingTable},
    store::memory::MemoryLog,
};
use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

const ROUNDS: usize = 101;
const ENTRIES: usize = 40;
/// A group commit under load.
const OUTCOMES: usize = 1_000;
const UNITS: usize = 100_000;
const START: u32 = 1_795_000_000;

/// A running experiment of three variants with one rate and one mean metric besides the built-in ones.
fn experiment() -> Arc<Experiment> {
    let environment = Environment::new("production").unwrap();
    let table = Arc::new(LiveTable::new(RoutingTable::empty(environment.clone())));
    let log = Box::new(MemoryLog::default());
    let plane = ControlPlane::open(log, table, environment.clone(), Clock::System).unwrap();
    let origin = || Origin::new("bench", "");
    for version in 0..3 {
        let draft = serde_json::json!({"semver": format!("1.{version}.0"), "prompt": "text"});
        let command = Command::RegisterPrompt {
            name: PromptName::new("prompt").unwrap(),
            draft: Box::new(serde_json::from_value(draft).unwrap()),
            environments: vec![environment.clone()],
        };
        plane.submit(origin(), command).unwrap();
    }
    let spec = serde_json::json!({
        "id": "experiment", "prompt": "prompt", "environment": "production", "kind": "experiment",
        "status": "running", "unit": "user", "traffic": 1.0,
        "variants": [{"name": "control", "version": 1, "weight": 50}, {"name": "warm", "version": 2, "weight": 30},
                     {"name": "terse", "version": 3, "weight": 20}],
        "metrics": [{"name": "resolved", "kind": "rate", "goal": "increase"},
                    {"name": "seconds", "kind": "mean", "goal": "decrease", "cap": 5000.0}],
    });
    let spec = serde_json::from_value(spec).unwrap();
    plane
        .submit(origin(), Command::PutExperiment(Box::new(spec)))
        .unwrap();
    let id = ExperimentId::new("experiment").unwrap();
    Arc::clone(&plane.view().catalog.experiments[&id])
}

fn intake(experiment: &Arc<Experiment>) -> Intake {
    let lifetime = Duration::from_secs(86_400);
    Intake::compile(
        std::iter::once(experiment),
        std::iter::empty(),
        ReceiptKeys::default(),
        lifetime,
    )
}

/// Numbers between 0 and 1 that a generator of 64 bits draws, the same in each run.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (hash::mix(self.0) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn entries(experiment: &Experiment, names: &[&str]) -> Vec<Vec<u8>> {
    let keys: Vec<(MetricKey, bool)> = names
        .iter()
        .map(|name| {
            let measure = experiment.measures.iter().find(|measure| measure.name == *name);
            (measure.unwrap().key, matches!(*name, "seconds" | "latency_ms"))
        })
        .collect();
    let mut draws = Draws(20_261_121);
    let mut outcome = || {
        let unit = (draws.next() * UNITS as f64) as u64;
        let mut value = |mean: bool| {
            if mean {
                // Response times: log-normal about 800.
                let normal = (0..12).map(|_| draws.next()).sum::<f64>() - 6.0;
                800.0 * (0.6 * normal).exp()
            } else {
                f64::from(u8::from(draws.next() < 0.7))
            }
        };
        Observation {
            experiment: experiment.key,
            epoch: Epoch(1),
            arm: ArmIndex((unit % 3) as u8),
            unit_hash: hash::analysis_hash(&unit.to_le_bytes()),
            second: START,
            receipt: Some((1, 1)),
            id: None,
            values: keys.iter().map(|(key, mean)| (*key, value(*mean))).collect(),
            segments: Default::default(),
            covariates: Default::default(),
            again: false,
            tagging: None,
        }
    };
    (0..ENTRIES)
        .map(|n| {
            let outcomes: Vec<_> = (0..OUTCOMES).map(|_| outcome()).collect();
            OfflineCollector::entry(START + n as u32, &outcomes)
        })
        .collect()
}

/// CPU time of this thread, so that a machine with other work says the same; the time of day where the system does
/// not tell it.
fn cpu_ns() -> u64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let day = || BEGAN.elapsed().as_nanos() as u64;
    // Linux brings the figure up to date when the thread gives way.
    std::thread::yield_now();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ran = told.and_then(|told| told.split(' ').next()?.parse().ok());
    ran.unwrap_or_else(day)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let experiment = experiment();
    let cases = [
        ("one rate and one mean", &["resolved", "seconds"][..]),
        ("one rate", &["resolved"]),
        ("one mean", &["seconds"]),
        (
            "two rates and two means",
            &["resolved", "fallback", "seconds", "latency_ms"],
        ),
    ];
    let mut cases: Vec<_> = cases
        .into_iter()
        .map(|(what, names)| {
            let entries = entries(&experiment, names);
            (
                what,
                entries,
                OfflineCollector::new(intake(&experiment)),
                Vec::new(),
            )
        })
        .collect();
    for _ in 0..ROUNDS {
        for (_, entries, fold, took) in &mut cases {
            let began = cpu_ns();
            for entry in &*entries {
                fold.fold(entry).unwrap();
            }
            took.push((cpu_ns() - began) as f64 / (ENTRIES * OUTCOMES) as f64);
        }
    }
    println!("one outcome read from its entry and counted ({ROUNDS} interleaved rounds, median)");
    for (what, _, fold, took) in cases {
        let counted: u64 = fold
            .arm_counts(experiment.key)
            .iter()
            .map(|(_, arm)| arm.accepted)
            .sum();
        assert_eq!(counted, (ROUNDS * ENTRIES * OUTCOMES) as u64);
        let took = median(took);
        println!(
            "  {what:<24} {took:6.1} ns   ratio {:.2} of the 200 ns promised",
            took / 200.0
        );
    }
}
