//! One decision in process: 3 variants and one audience clause, with 10 and with 10,000 experiments loaded.
//!
//! `cargo bench --bench assign` prints the median of many short rounds, in nanoseconds, and their ratio.
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
    control_plane::ControlPlane,
    domain::{
        audience::{Attributes, Value},
        command::{Command, Origin},
        id::{Environment, PromptName},
    },
    routing::{assign::assign, live::LiveTable, table::RoutingTable},
    store::memory::MemoryLog,
};
use std::{hint::black_box, sync::Arc, time::Instant};

const ROUNDS: usize = 301;
const DECISIONS: usize = 20_000;

fn loaded(experiments: usize) -> Arc<LiveTable> {
    let environment = Environment::new("production").unwrap();
    let table = Arc::new(LiveTable::new(RoutingTable::empty(environment.clone())));
    let log = Box::new(MemoryLog::default());
    let plane = ControlPlane::open(log, Arc::clone(&table), environment.clone(), Clock::System).unwrap();
    let mut commands = Vec::new();
    for n in 0..experiments {
        for version in 0..3 {
            let draft =
                serde_json::json!({"semver": format!("1.{version}.0"), "prompt": "text {{question}}"});
            let command = Command::RegisterPrompt {
                name: PromptName::new(&format!("prompt-{n}")).unwrap(),
                draft: Box::new(serde_json::from_value(draft).unwrap()),
                environments: vec![environment.clone()],
            };
            commands.push((Origin::new("bench", ""), command));
        }
        let spec = serde_json::json!({
            "id": format!("experiment-{n}"), "prompt": format!("prompt-{n}"), "environment": "production",
            "kind": "experiment", "status": "running", "unit": "user", "audience": "plan != \"enterprise\"", "traffic": 1.0,
            "variants": [{"name": "control", "version": 1, "weight": 50}, {"name": "warm", "version": 2, "weight": 30},
                         {"name": "terse", "version": 3, "weight": 20}],
        });
        let spec = serde_json::from_value(spec).unwrap();
        commands.push((Origin::new("bench", ""), Command::PutExperiment(Box::new(spec))));
    }
    plane.submit_all(&commands).unwrap();
    table
}

/// Nanoseconds of one decision: load the table, find the route, walk it.
fn round(table: &LiveTable, prompts: &[String], contexts: &[Attributes<'_>]) -> f64 {
    let began = Instant::now();
    for n in 0..DECISIONS {
        let table = table.load();
        let route = table.route(&prompts[n % prompts.len()], None).unwrap();
        black_box(assign(route, black_box(&contexts[n % contexts.len()])));
    }
    began.elapsed().as_nanos() as f64 / DECISIONS as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let users: Vec<String> = (0..1_024).map(|n| format!("user-{n:08}")).collect();
    let contexts: Vec<Attributes<'_>> = users
        .iter()
        .map(|user| {
            let pairs = [
                ("user", user.as_str()),
                ("tenant", "acme"),
                ("country", "DE"),
                ("plan", "pro"),
            ];
            Attributes::new(
                pairs
                    .iter()
                    .map(|(name, value)| ((*name).into(), Value::Text((*value).into())))
                    .collect(),
            )
        })
        .collect();
    let (few, many) = (loaded(10), loaded(10_000));
    let one = vec!["prompt-7".to_owned()];
    let spread: Vec<String> = (0..9_973).map(|n| format!("prompt-{}", n * 7 % 9_973)).collect();
    let (mut with_few, mut with_many, mut everywhere) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        with_few.push(round(&few, &one, &contexts));
        with_many.push(round(&many, &one, &contexts));
        everywhere.push(round(&many, &spread, &contexts));
    }
    let (few, many, everywhere) = (median(with_few), median(with_many), median(everywhere));
    println!("decision, 3 variants, 1 audience clause, 4 attributes ({ROUNDS} interleaved rounds, median)");
    println!("  10 experiments loaded                    {few:7.1} ns");
    println!(
        "  10,000 loaded, the same prompt asked     {many:7.1} ns   ratio {:.2}",
        many / few
    );
    println!(
        "  10,000 loaded, every prompt asked in turn{everywhere:7.1} ns   ratio {:.2} (cache misses)",
        everywhere / few
    );
}
