//! Kills the server in a loop while outcomes come in: nothing acknowledged is lost, nothing is counted twice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected has failed"
)]

#[path = "support/process.rs"]
mod process;

use process::{Client, House, TONE, figures};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

const ROUNDS: u64 = 10;
const WORKERS: u64 = 6;

/// Xorshift: the same instants in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// One outcome that was sent, and on which arm.
struct Sent {
    outcome: Value,
    variant: String,
    resolved: bool,
    acknowledged: bool,
}

/// Decides and reports until the connection breaks: singles by receipt, batches by receipt and by id.
fn report(address: SocketAddr, worker: u64, round: u64, killed: &AtomicBool) -> Vec<Sent> {
    let mut random = Random(0x9e37_79b9 * (worker + 1) + round);
    let mut sent: Vec<Sent> = Vec::new();
    let Ok(mut client) = Client::try_connect(address) else {
        return sent;
    };
    for turn in 0_u64.. {
        let size = if random.below(2) == 0 {
            1
        } else {
            1 + random.below(12)
        };
        let begin = sent.len();
        for item in 0..size {
            let resolved = random.below(3) == 0;
            let metrics = json!({"resolved": resolved, "latency_ms": 1});
            let id = format!("r{round}-w{worker}-t{turn}-i{item}");
            let unit = format!("u-{}", random.below(500));
            let (outcome, variant) = if random.below(4) == 0 {
                let variant = if random.below(2) == 0 { "control" } else { "warm" };
                let outcome = json!({"experiment": "tone", "variant": variant, "unit": unit, "id": id, "metrics": metrics});
                (outcome, variant.to_owned())
            } else {
                let asked = json!({"prompt": "greeting", "context": {"user": unit}});
                let asked = asked.to_string();
                let Ok(reply) =
                    client.try_request("POST", "/v1/decide", "application/json", asked.as_bytes())
                else {
                    sent.truncate(begin);
                    return sent;
                };
                let decision = reply.json();
                let mut outcome = json!({"receipt": decision["receipt"], "metrics": metrics});
                if random.below(2) == 0 {
                    outcome["id"] = json!(id);
                }
                (outcome, decision["variant"].as_str().unwrap().to_owned())
            };
            sent.push(Sent {
                outcome,
                variant,
                resolved,
                acknowledged: false,
            });
        }
        let batch: Value = sent[begin..].iter().map(|sent| sent.outcome.clone()).collect();
        match client.try_request(
            "POST",
            "/v1/outcomes",
            "application/json",
            batch.to_string().as_bytes(),
        ) {
            Ok(reply) => {
                assert_eq!(reply.status, 200, "{reply:?}");
                assert_eq!(
                    reply.json(),
                    json!({"accepted": size, "duplicates": 0, "rejected": []})
                );
                sent[begin..].iter_mut().for_each(|sent| sent.acknowledged = true);
            }
            Err(error) => {
                assert!(killed.load(Ordering::SeqCst), "{error} before the kill");
                return sent;
            }
        }
    }
    sent
}

/// Holds and resumes until the connection breaks; gives the reasons of the steps that were acknowledged.
fn step(address: SocketAddr, round: u64) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let Ok(mut client) = Client::try_connect(address) else {
        return acknowledged;
    };
    for turn in 0_u64.. {
        for step in ["hold", "resume"] {
            let reason = format!("{step} {round}-{turn}");
            let path = format!("/api/v1/experiments/tone/{step}");
            let body = json!({"reason": reason}).to_string();
            match client.try_request("POST", &path, "application/json", body.as_bytes()) {
                Ok(reply) if reply.status == 200 => acknowledged.push(reason),
                // The kill may have come between a hold and its resume in the round before.
                Ok(reply) => assert!(turn == 0 && reply.status == 409, "{reply:?}"),
                Err(_) => return acknowledged,
            }
            // Nothing waits for this: it keeps a round at tens of commands, where thousands would only be more epochs.
            thread::sleep(Duration::from_millis(15));
        }
    }
    acknowledged
}

/// Posts outcomes again and adds up the answers.
fn again(client: &mut Client, sent: &[&Sent]) -> (u64, u64) {
    let (mut accepted, mut duplicates) = (0, 0);
    for batch in sent.chunks(500) {
        let body: Value = batch.iter().map(|sent| sent.outcome.clone()).collect();
        let answer = client.outcomes(&body);
        assert_eq!(answer["rejected"], json!([]));
        accepted += answer["accepted"].as_u64().unwrap();
        duplicates += answer["duplicates"].as_u64().unwrap();
    }
    (accepted, duplicates)
}

#[test]
fn a_kill_loses_nothing_acknowledged_and_counts_nothing_twice() {
    // Checkpoints all the time, so that kills meet them too.
    let house = House::with("tone", TONE).set("outcomes", "checkpoint_every = \"100ms\"");
    let mut random = Random(20_261_121);
    let mut sent: Vec<Sent> = Vec::new();
    let mut steps: Vec<String> = Vec::new();
    for round in 0..ROUNDS {
        let mut server = house.start();
        let killed = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (address, killed) = (server.data, Arc::clone(&killed));
                thread::spawn(move || report(address, worker, round, &killed))
            })
            .collect();
        let control = server.control;
        let stepping = thread::spawn(move || step(control, round));
        // Nothing is waited for: the length is the point, a kill at an instant that nobody chose.
        thread::sleep(Duration::from_millis(100 + random.below(350)));
        killed.store(true, Ordering::SeqCst);
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        for worker in workers {
            sent.extend(worker.join().unwrap());
        }
        steps.extend(stepping.join().unwrap());
    }
    let server = house.start();
    // Steps that were acknowledged are in the log, in their order and once.
    let mut logged: Vec<String> = Vec::new();
    loop {
        let page = server
            .control()
            .get_json(&format!("/api/v1/audit?limit=1000&after={}", logged.len()));
        let entries = page["entries"].as_array().unwrap();
        logged.extend(
            entries
                .iter()
                .map(|entry| entry["reason"].as_str().unwrap().to_owned()),
        );
        if page["more"] == false {
            break;
        }
    }
    let kept: Vec<&String> = logged.iter().filter(|reason| steps.contains(reason)).collect();
    assert_eq!(kept, steps.iter().collect::<Vec<_>>());
    println!("{} steps acknowledged, all of them in the log", steps.len());
    let mut client = server.data();
    let (acknowledged, open): (Vec<&Sent>, Vec<&Sent>) = sent.iter().partition(|sent| sent.acknowledged);
    let (lost, found) = again(&mut client, &acknowledged);
    let (new, known) = again(&mut client, &open);
    println!(
        "{ROUNDS} kills: {} acknowledged, {lost} of them lost; {} under way, of which {known} had been written",
        acknowledged.len(),
        open.len()
    );
    assert!(
        acknowledged.len() > 500,
        "too little traffic to prove anything: {}",
        acknowledged.len()
    );
    assert_eq!((lost, found), (0, acknowledged.len() as u64));
    assert_eq!(new + known, open.len() as u64);
    assert_eq!(
        again(&mut client, &sent.iter().collect::<Vec<_>>()),
        (0, sent.len() as u64)
    );
    // Counted once each, on the right arm, with the right value.
    let mut expected: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for sent in &sent {
        let (n, resolved) = expected.entry(&sent.variant).or_default();
        *n += 1;
        *resolved += u64::from(sent.resolved);
    }
    let check = |results: &Value| {
        let mut counted = 0;
        for (variant, (n, resolved)) in &expected {
            assert_eq!(results["outcomes"][variant]["accepted"], *n, "{results}");
            let rate = figures(results, "resolved", variant);
            assert_eq!(rate["n"], *n);
            assert!(
                (rate["mean"].as_f64().unwrap() * *n as f64 - *resolved as f64).abs() < 1e-6,
                "{rate}"
            );
            assert_eq!(figures(results, "latency_ms", variant)["n"], *n);
            counted += n;
        }
        println!("{counted} distinct outcomes, {counted} counted");
    };
    check(&server.results("tone"));
    for metric in ["outcomes", "resolved", "latency_ms"] {
        let path = format!("/api/v1/experiments/tone/timeseries?metric={metric}&window=24h");
        let found = server.control().get_json(&path);
        for variant in found["variants"].as_array().unwrap() {
            let points = variant["points"].as_array().unwrap();
            let n: u64 = points.iter().map(|point| point["n"].as_u64().unwrap()).sum();
            let (expected, resolved) = expected[variant["variant"].as_str().unwrap()];
            assert_eq!(n, expected, "{found}");
            if metric == "resolved" {
                let sum: f64 = points.iter().map(|point| point["sum"].as_f64().unwrap()).sum();
                assert!((sum - resolved as f64).abs() < 1e-6, "{found}");
            }
        }
    }
    server.check_healthy();
    assert_eq!(server.stop(), Some(0));
    check(&house.start().results("tone"));
}
