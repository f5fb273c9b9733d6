//! Outcomes, durable: batches of 100 and single posts, and the memory of many experiments.
//!
//! `cargo bench --bench ingest`
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints"
)]
#![allow(
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark stops at the first surprise"
)]

mod common;

use common::{ServerProcess, exchange, post};
use serin::{
    control_plane::catalog::Catalog,
    domain::id::{ArmIndex, Epoch, ExperimentKey, Revision},
    routing::{
        hash,
        receipt::{Receipt, ReceiptKeys},
    },
    store::{ControlLog as _, sqlite::control_log::SqliteLog},
};
use std::{
    net::TcpStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const BATCH: usize = 100;
const BATCHES: usize = 15_000;
const BATCH_CONNECTIONS: usize = 16;
const SINGLE_CONNECTIONS: usize = 64;
const SINGLES: usize = 60_000;

/// Receipts as decisions of the server would have signed them.
struct Signer {
    keys: ReceiptKeys,
    second: u32,
    next: u32,
}

impl Signer {
    fn of(folder: &Path) -> Self {
        let log = SqliteLog::open(&folder.join("data/serin.db")).unwrap();
        let catalog = Catalog::fold(&log.read(Revision(0), 1_000_000).unwrap());
        let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Self {
            keys: ReceiptKeys::new(catalog.receipt_keys),
            second: u32::try_from(second).unwrap(),
            next: 0,
        }
    }

    fn receipt(&mut self, experiment: u32, unit: usize, process: u32) -> String {
        self.next += 1;
        let unit_hash = hash::analysis_hash(format!("user-{unit}").as_bytes());
        let receipt = Receipt {
            experiment: ExperimentKey(experiment),
            epoch: Epoch(1),
            arm: ArmIndex(u8::try_from(unit % 3).unwrap()),
            unit_hash,
            second: self.second,
            process,
            sequence: self.next,
            profile: None,
        };
        String::from_utf8(self.keys.sign(&receipt).unwrap().to_vec()).unwrap()
    }
}

fn outcome(receipt: &str, n: usize) -> String {
    let (fallback, latency) = (n.is_multiple_of(50), 400.0 + (n % 997) as f64 / 2.0);
    format!(r#"{{"receipt":"{receipt}","metrics":{{"fallback":{fallback},"latency_ms":{latency}}}}}"#)
}

/// Sends `requests` over `connections`, each request once; seconds in all and every latency.
fn send(
    server: &ServerProcess,
    requests: Vec<Vec<u8>>,
    connections: usize,
    accepted: usize,
) -> (f64, Vec<Duration>) {
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let workers: Vec<_> = (0..connections)
        .map(|_| {
            let (requests, next, address) = (Arc::clone(&requests), Arc::clone(&next), server.address);
            std::thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.set_nodelay(true).unwrap();
                    let mut latencies = Vec::new();
                    let expected = format!("{{\"accepted\":{accepted},\"duplicates\":0,\"rejected\":[]}}");
                    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let sent = Instant::now();
                        let (_, body) = exchange(&mut stream, request);
                        latencies.push(sent.elapsed());
                        assert_eq!(body, expected.as_bytes(), "{}", String::from_utf8_lossy(&body));
                    }
                    latencies
                })
                .unwrap()
        })
        .collect();
    let latencies = workers
        .into_iter()
        .flat_map(|worker| worker.join().unwrap())
        .collect();
    (began.elapsed().as_secs_f64(), latencies)
}

fn percentile(latencies: &mut [Duration], share: f64) -> f64 {
    latencies.sort_unstable();
    latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3
}

fn throughput() {
    let folder = tempfile::tempdir().unwrap();
    common::write_config(folder.path(), 1);
    let server = ServerProcess::start("serin", folder.path());
    let mut signer = Signer::of(folder.path());
    let mut batches = |count: usize, process: u32| -> Vec<Vec<u8>> {
        let batch = |b: usize| {
            let items: Vec<String> = (0..BATCH)
                .map(|n| {
                    outcome(
                        &signer.receipt(0, (b * BATCH + n) % 200_000, process),
                        b * BATCH + n,
                    )
                })
                .collect();
            post("/v1/outcomes", &format!("[{}]", items.join(",")))
        };
        (0..count).map(batch).collect()
    };
    let (warm, counted) = (batches(500, 1), batches(BATCHES, 2));
    send(&server, warm, BATCH_CONNECTIONS, BATCH);
    let cpu = server.cpu_seconds();
    let (seconds, mut latencies) = send(&server, counted, BATCH_CONNECTIONS, BATCH);
    let cpu = server.cpu_seconds() - cpu;
    let outcomes = (BATCH * BATCHES) as f64;
    println!(
        "outcomes in batches of {BATCH}, {BATCH_CONNECTIONS} connections, 2 metrics each, durable before the answer"
    );
    println!(
        "  {:.0} per second ({:.2} of the 200,000 promised), server CPU {:.2} µs each, batch p50 {:.1} ms, p99 {:.1} ms",
        outcomes / seconds,
        outcomes / seconds / 200_000.0,
        cpu * 1e6 / outcomes,
        percentile(&mut latencies, 0.50),
        percentile(&mut latencies, 0.99)
    );
    let singles = (0..SINGLES)
        .map(|n| post("/v1/outcomes", &outcome(&signer.receipt(0, n, 3), n)))
        .collect();
    let (seconds, mut latencies) = send(&server, singles, SINGLE_CONNECTIONS, 1);
    let p99 = percentile(&mut latencies, 0.99);
    println!("single outcomes from {SINGLE_CONNECTIONS} connections");
    println!(
        "  {:.0} per second, acknowledged p50 {:.1} ms, p99 {p99:.1} ms ({:.2} of the 15 ms promised), largest {:.1} ms",
        SINGLES as f64 / seconds,
        percentile(&mut latencies, 0.50),
        p99 / 15.0,
        percentile(&mut latencies, 1.0)
    );
}

fn memory() {
    let folder = tempfile::tempdir().unwrap();
    common::write_config(folder.path(), 1_000);
    let server = ServerProcess::start("serin", folder.path());
    let empty = server.resident_mib();
    let mut signer = Signer::of(folder.path());
    let metrics = r#"{"resolved":true,"fallback":false,"error":false,"latency_ms":512.5,"cost_usd":0.004}"#;
    let requests = (0..1_000)
        .map(|experiment| {
            let items: Vec<String> = (0..200)
                .map(|unit| {
                    format!(
                        r#"{{"receipt":"{}","metrics":{metrics}}}"#,
                        signer.receipt(experiment, unit, 9)
                    )
                })
                .collect();
            post("/v1/outcomes", &format!("[{}]", items.join(",")))
        })
        .collect();
    send(&server, requests, 4, 200);
    println!("1,000 running experiments of 3 variants and 5 metrics that have each seen 200 units");
    println!(
        "  {:.0} MiB resident ({:.2} of the 300 MiB promised); {empty:.0} MiB before the first outcome",
        server.resident_mib(),
        server.resident_mib() / 300.0
    );
}

/// Everything an experiment can fill: exposures and outcomes of 300,000 units, every one of them bad once.
fn busy() {
    const UNITS: usize = 300_000;
    let folder = tempfile::tempdir().unwrap();
    common::write_config(folder.path(), 1);
    let server = ServerProcess::start("serin", folder.path());
    let mut signer = Signer::of(folder.path());
    let before = server.resident_mib();
    let decisions: Vec<Vec<u8>> = (0..UNITS)
        .map(|unit| {
            post(
                "/v1/decide",
                &format!(r#"{{"prompt":"prompt_0","context":{{"user":"user-{unit}","plan":"pro"}}}}"#),
            )
        })
        .collect();
    ask(&server, decisions);
    let metrics = r#"{"resolved":true,"fallback":true,"error":false,"latency_ms":512.5,"cost_usd":0.004}"#;
    let requests = (0..UNITS / BATCH)
        .map(|batch| {
            let items: Vec<String> = (0..BATCH)
                .map(|n| {
                    format!(
                        r#"{{"receipt":"{}","metrics":{metrics}}}"#,
                        signer.receipt(0, batch * BATCH + n, 9)
                    )
                })
                .collect();
            post("/v1/outcomes", &format!("[{}]", items.join(",")))
        })
        .collect();
    send(&server, requests, 4, BATCH);
    println!(
        "one busy experiment of 3 variants and 5 metrics: 300,000 units decided, reported, and bad once"
    );
    println!(
        "  {:.0} MiB resident more than before it",
        server.resident_mib() - before
    );
}

/// Sends requests over a few connections and looks at no answer.
fn ask(server: &ServerProcess, requests: Vec<Vec<u8>>) {
    std::thread::scope(|scope| {
        for chunk in requests.chunks(requests.len() / 4) {
            scope.spawn(move || {
                let mut stream = TcpStream::connect(server.address).unwrap();
                for request in chunk {
                    exchange(&mut stream, request);
                }
            });
        }
    });
}

fn main() {
    if let Some((_, folder)) = common::role() {
        common::serve_serin(&folder);
    }
    throughput();
    memory();
    busy();
}
