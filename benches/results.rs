//! The reports of 100 experiments with 5 metrics and 3 variants each, all of their buckets filled.
//!
//! `cargo bench --bench results` prints the median of several rounds in milliseconds, for all of them and for one.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints"
)]
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark may stop at the first surprise"
)]

use serin::{
    clock::Clock,
    collector::{arm_counts::ArmCounts, cells::Cell},
    control_plane::ControlPlane,
    domain::{
        Timestamp,
        command::{Command, Origin},
        experiment::Experiment,
        id::{ArmIndex, Environment, Epoch, PromptName, Revision},
    },
    report::report,
    routing::{hash::mix, live::LiveTable, table::RoutingTable},
    store::memory::MemoryLog,
};
use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

const EXPERIMENTS: usize = 100;
const METRICS: [&str; 5] = ["resolved", "reopened", "minutes", "tokens", "stars"];
const VARIANTS: u8 = 3;
const UNITS: u64 = 4_000;
const ROUNDS: usize = 9;

type Counted = Vec<((Epoch, ArmIndex), Arc<ArmCounts>)>;

fn experiments() -> Vec<Arc<Experiment>> {
    let environment = Environment::new("production").unwrap();
    let table = Arc::new(LiveTable::new(RoutingTable::empty(environment.clone())));
    let plane = ControlPlane::open(
        Box::new(MemoryLog::default()),
        table,
        environment.clone(),
        Clock::System,
    )
    .unwrap();
    let mut commands = Vec::new();
    for n in 0..EXPERIMENTS {
        for version in 0..VARIANTS {
            let draft =
                serde_json::json!({"semver": format!("1.{version}.0"), "prompt": format!("text {version}")});
            let command = Command::RegisterPrompt {
                name: PromptName::new(&format!("prompt-{n}")).unwrap(),
                draft: Box::new(serde_json::from_value(draft).unwrap()),
                environments: vec![environment.clone()],
            };
            commands.push((Origin::new("bench", ""), command));
        }
        let metrics = METRICS.iter().enumerate().map(|(place, name)| {
            let kind = if place < 2 { "rate" } else { "mean" };
            serde_json::json!({"name": name, "kind": kind, "goal": "increase", "primary": place == 0})
        });
        let spec = serde_json::json!({
            "id": format!("experiment-{n}"), "prompt": format!("prompt-{n}"), "environment": "production",
            "kind": "experiment", "status": "running", "unit": "user", "traffic": 1.0,
            "variants": [{"name": "control", "version": 1, "weight": 50}, {"name": "warm", "version": 2, "weight": 30},
                         {"name": "terse", "version": 3, "weight": 20}],
            "metrics": metrics.collect::<Vec<_>>(),
        });
        let spec = serde_json::from_value(spec).unwrap();
        commands.push((Origin::new("bench", ""), Command::PutExperiment(Box::new(spec))));
    }
    plane.submit_all(&commands).unwrap();
    plane.view().catalog.experiments.values().cloned().collect()
}

/// Everything one experiment counted: every unit of an arm with one value of each metric.
fn counted(experiment: &Experiment) -> Counted {
    let epoch = experiment.epoch();
    let arm = |arm: u8| {
        let mut counts = ArmCounts::default();
        for name in METRICS {
            counts
                .cells
                .push((experiment.measure(name).unwrap().key, Cell::default()));
        }
        for unit in 0..UNITS {
            let hash = mix(unit * u64::from(VARIANTS) + u64::from(arm) + 1);
            counts.exposures.add(hash);
            counts.accepted += 1;
            for (place, (_, cell)) in counts.cells.iter_mut().enumerate() {
                let draw = (mix(hash ^ place as u64) >> 11) as f64 / 2f64.powi(53);
                let value = if place < 2 {
                    f64::from(u8::from(draw < 0.2))
                } else {
                    100.0 * draw
                };
                cell.add(hash, value, None);
                if place >= 2 {
                    cell.add_to_sketch(value);
                }
            }
        }
        ((epoch, ArmIndex(arm)), Arc::new(counts))
    };
    (0..VARIANTS).map(arm).collect()
}

fn milliseconds(mut elapsed: Vec<Duration>) -> f64 {
    elapsed.sort();
    elapsed[elapsed.len() / 2].as_secs_f64() * 1_000.0
}

fn main() {
    let experiments = experiments();
    let counts: Vec<Counted> = experiments.iter().map(|experiment| counted(experiment)).collect();
    let now = Timestamp::now();
    let rounds = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        for (experiment, counts) in experiments.iter().zip(&counts) {
            black_box(report(experiment, counts, Vec::new(), Revision(1), now));
        }
        began.elapsed()
    });
    let all = milliseconds(rounds.collect());
    let one = report(&experiments[0], &counts[0], Vec::new(), Revision(1), now);
    let verdicts = one.metrics.iter().flat_map(|metric| &metric.variants);
    let compared = verdicts.filter(|arm| {
        arm.vs_control
            .as_ref()
            .is_some_and(|versus| versus.p.known().is_some())
    });
    println!("comparisons with a p-value in one report: {}", compared.count());
    println!(
        "{EXPERIMENTS} reports of {} metrics and {VARIANTS} variants: {all:.1} ms",
        METRICS.len()
    );
    println!("one report: {:.3} ms", all / EXPERIMENTS as f64);
}
