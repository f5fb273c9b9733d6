//! A gateway that asks for decisions and reports outcomes over a few kept connections.
//!
//! Who asks next and how that user fares is drawn from a seed and the request's number alone, so one run looks like
//! the other. What the server answers is only counted here; nothing is told to the server but outcomes.

use super::script::{Arm, CALM_FALLBACK_RATE, CANARY, Play, TEST};
use crate::{
    cli::{
        client::{ClientError, Connection, Server},
        figures::text,
    },
    clock::Clock,
    domain::Timestamp,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

/// Decisions per second over all connections.
const RATE: u64 = 600;
/// Connections that are kept.
const CONNECTIONS: usize = 16;
/// Distinct users.
const USERS: u64 = 6_000;
/// Where all draws begin.
const SEED: u64 = 0x5e71_4e00_ca4a_4211;
/// So many failures without a success in between end the traffic.
const PATIENCE: u64 = 40;

/// What the gateway saw.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Answered decisions.
    pub(super) decisions: u64,
    /// Accepted outcomes.
    pub(super) outcomes: u64,
    /// Decisions per experiment and arm.
    pub(super) arms: BTreeMap<(&'static str, String), u64>,
    /// When the canary's candidate was first served.
    pub(super) first_candidate: Option<Timestamp>,
    /// Users who were served the canary's candidate.
    pub(super) exposed: HashSet<u64>,
    /// Decisions on the canary's prompt: per revision of the routing table, those of control and all others.
    pub(super) canary: BTreeMap<u64, (u64, u64)>,
    failures: u64,
    failed_in_a_row: u64,
    last_failure: Option<String>,
}

impl Tally {
    /// Decisions from tables of this revision or a later one: those that gave control, and those that did not.
    pub(super) fn canary_since(&self, revision: u64) -> (u64, u64) {
        let counts = self.canary.range(revision..).map(|(_, counts)| counts);
        counts.fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
    }

    /// Decisions of one arm.
    pub(super) fn arm(&self, play: &Play, arm: &Arm) -> u64 {
        let key = (play.experiment, arm.name.to_owned());
        self.arms.get(&key).copied().unwrap_or(0)
    }

    /// Why there is no traffic any more.
    pub(super) fn gave_up(&self) -> Option<&str> {
        (self.failed_in_a_row >= PATIENCE).then_some(self.last_failure.as_deref().unwrap_or("no answers"))
    }

    fn count(&mut self, play: &'static Play, user: u64, decision: &Value) {
        let variant = text(decision, "variant");
        self.decisions += 1;
        self.failed_in_a_row = 0;
        *self
            .arms
            .entry((play.experiment, variant.to_owned()))
            .or_default() += 1;
        if play.experiment != CANARY.experiment {
            return;
        }
        let revision = decision["revision"].as_u64().unwrap_or(0);
        let counts = self.canary.entry(revision).or_default();
        if variant == CANARY.control.name {
            counts.0 += 1;
        } else {
            counts.1 += 1;
        }
        if variant == CANARY.candidate.name {
            self.exposed.insert(user);
            self.first_candidate.get_or_insert_with(|| Clock::System.now());
        }
    }

    fn failed(&mut self, error: &ClientError) {
        self.failures += 1;
        self.failed_in_a_row += 1;
        self.last_failure = Some(error.to_string());
    }
}

/// The running traffic; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Gateway {
    tally: Arc<Mutex<Tally>>,
    /// Held for what its drop does.
    connections: JoinSet<()>,
}

impl Gateway {
    /// Begins; after `most_seconds` seconds' worth of requests there are no more.
    ///
    /// Must be called inside a tokio runtime.
    pub(super) fn open(server: &Server, most_seconds: u64) -> Self {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let next = Arc::new(AtomicU64::new(0));
        let begin = Instant::now();
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            connections.spawn(traffic(Traffic {
                server: server.clone(),
                tally: Arc::clone(&tally),
                next: Arc::clone(&next),
                most: RATE * most_seconds,
                begin,
            }));
        }
        Self { tally, connections }
    }

    /// What it saw so far.
    pub(super) fn tally(&self) -> parking_lot::MutexGuard<'_, Tally> {
        self.tally.lock()
    }

    /// Asks no more; answers on their way are not waited for.
    pub(super) async fn close(&mut self) {
        self.connections.shutdown().await;
    }
}

struct Traffic {
    server: Server,
    tally: Arc<Mutex<Tally>>,
    next: Arc<AtomicU64>,
    most: u64,
    begin: Instant,
}

async fn traffic(traffic: Traffic) {
    let mut connection = None;
    loop {
        let request = traffic.next.fetch_add(1, Ordering::Relaxed);
        if request >= traffic.most || traffic.tally.lock().gave_up().is_some() {
            return;
        }
        sleep_until(traffic.begin + Duration::from_micros(request * 1_000_000 / RATE)).await;
        if let Err(error) = ask(&traffic, &mut connection, request).await {
            traffic.tally.lock().failed(&error);
            // A refusal leaves the connection good, everything else does not.
            if !matches!(error, ClientError::Refused { .. }) {
                connection = None;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// One user's request: the decision, and the outcome where the decision counts.
async fn ask(traffic: &Traffic, kept: &mut Option<Connection>, request: u64) -> Result<(), ClientError> {
    let connection = match kept {
        Some(connection) => connection,
        None => kept.insert(traffic.server.connect().await?),
    };
    let play = if request.is_multiple_of(2) { &TEST } else { &CANARY };
    let user = draw(request, 0) % USERS;
    let question = json!({"prompt": play.prompt, "context": {"user": format!("user-{user:04}")}});
    let decision = connection.post("/v1/decide", &question).await?.json;
    traffic.tally.lock().count(play, user, &decision);
    let Some(receipt) = decision["receipt"].as_str() else {
        return Ok(());
    };
    let outcome = json!({
        "receipt": receipt,
        "id": format!("demo-{request}"),
        "metrics": metrics(play, text(&decision, "variant"), request),
    });
    let taken = connection.post("/v1/outcomes", &outcome).await?.json;
    traffic.tally.lock().outcomes += taken["accepted"].as_u64().unwrap_or(0);
    Ok(())
}

fn metrics(play: &Play, variant: &str, request: u64) -> Value {
    let arm = if variant == play.candidate.name {
        &play.candidate
    } else {
        &play.control
    };
    let happened = chance(request, 1) < arm.rate;
    if play.metric == CANARY.metric {
        json!({CANARY.metric: happened})
    } else {
        json!({play.metric: happened, CANARY.metric: chance(request, 2) < CALM_FALLBACK_RATE})
    }
}

/// A draw from 0 to less than 1.
fn chance(request: u64, stream: u64) -> f64 {
    (draw(request, stream) >> 11) as f64 / (1u64 << 53) as f64
}

/// SplitMix64 at a place of its own for every request and stream.
fn draw(request: u64, stream: u64) -> u64 {
    let place = request.wrapping_mul(4).wrapping_add(stream).wrapping_add(1);
    let mut z = SEED.wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_fare_as_the_script_says() {
        let share = |play: &Play, variant, metric: &str| {
            let bad = (0..20_000).filter(|request| metrics(play, variant, *request)[metric] == true);
            bad.count() as f64 / 20_000.0
        };
        for (play, arm) in [
            (&TEST, &TEST.control),
            (&TEST, &TEST.candidate),
            (&CANARY, &CANARY.control),
            (&CANARY, &CANARY.candidate),
        ] {
            let found = share(play, arm.name, play.metric);
            assert!((found - arm.rate).abs() < 0.01, "{}: {found}", arm.name);
        }
        assert!((share(&TEST, "friendly", "fallback") - CALM_FALLBACK_RATE).abs() < 0.01);
    }

    #[test]
    fn decisions_after_a_revision_are_told_apart() {
        let mut tally = Tally::default();
        let mut count = |variant, revision, user| {
            tally.count(&CANARY, user, &json!({"variant": variant, "revision": revision}));
        };
        count("candidate", 7, 1);
        count("candidate", 7, 1);
        count("current", 7, 2);
        count("current", 8, 1);
        assert_eq!(tally.canary_since(8), (1, 0));
        assert_eq!(tally.canary_since(0), (2, 2));
        assert_eq!(tally.arm(&CANARY, &CANARY.candidate), 2);
        assert_eq!(tally.exposed.len(), 1);
        assert!(tally.first_candidate.is_some() && tally.gave_up().is_none());
    }
}
