//! The control plane's API over a real socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected has failed"
)]

mod support;

use serde_json::{Value as Json, json};
use serin::routing::answer::Reason;
use serin::{
    api::{
        control_plane::{ControlState, router, serve},
        metrics::{Assessed, Metrics, ReloadResult, Snapshot},
        server::{DrainReport, ServerStats},
    },
    clock::{Clock, ManualClock},
    collector::{
        Collector, CollectorOptions,
        intake::Intake,
        observation::Observation,
        totals::{DecisionKey, MetricTotal, OutcomeKey, OutcomeResult, Totals},
    },
    control_plane::ControlPlane,
    domain::{
        allocation::Holdout,
        command::{Command, Origin},
        event::Recorded,
        experiment::Experiment,
        guardrail::{Limit, OnBreach, Verdict},
        id::{ArmIndex, Epoch, ExperimentKey, LayerName, MetricKey, PromptName, Revision, VariantName},
    },
    report::{
        AaStatus, ArmReportingStatus, ByVariant, CandidateStatus, ControlStatus, Figure, GuardrailStatus,
        ReportingStatus, SilenceStatus,
    },
    routing::{
        live::LiveTable,
        receipt::{Receipt, ReceiptKeys},
        table::RoutingTable,
    },
    store::{ControlLog, error::StoreError, memory::MemoryLog, sqlite::journal::Journal},
};
use std::{
    collections::{HashMap, HashSet},
    io::Write as _,
    net::SocketAddr,
    process::{Command as Process, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use support::{draft, environment, now};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

/// A log that fails when told to.
#[derive(Clone, Default)]
struct Switchable(Arc<Mutex<MemoryLog>>);

impl Switchable {
    fn fail(&self, failure: Option<StoreError>) {
        self.0.lock().unwrap().failure = failure;
    }
}

impl ControlLog for Switchable {
    fn append(&mut self, expected: Revision, entries: &[Recorded]) -> Result<(), StoreError> {
        self.0.lock().unwrap().append(expected, entries)
    }

    fn read(&self, after: Revision, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        self.0.lock().unwrap().read(after, limit)
    }
}

/// A control plane that listens.
struct Running {
    address: SocketAddr,
    plane: Arc<ControlPlane>,
    metrics: Arc<Metrics>,
    clock: ManualClock,
    collector: Collector,
    stop: oneshot::Sender<()>,
    task: JoinHandle<DrainReport>,
    _folder: tempfile::TempDir,
}

/// An answer as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value)
    }

    fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A refusal with this status and code, in the one shape of errors.
    fn refused(&self, status: u16, code: &str) -> Json {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let json = self.json();
        assert_eq!(
            (&json["status"], &json["code"]),
            (&json!(status), &json!(code)),
            "{json}"
        );
        assert!(json["detail"].is_string() && json["title"].is_string() && json["type"].is_string());
        json
    }
}

fn aa_status() -> AaStatus {
    AaStatus {
        guardrail: "fallback".to_owned(),
        evidence: 0.5,
        would_have_frozen: true,
        bad_units: [20, 40],
        ratio_ci: Figure::Known((1.1, 4.0)),
    }
}

fn reporting_status() -> ReportingStatus {
    let name = |name| VariantName::new(name).unwrap();
    let control = ArmReportingStatus {
        requests: 200,
        missing: 1,
        missing_share: Figure::Known(0.005),
        delay_p99_s: Figure::Known(4),
    };
    let friendly = ArmReportingStatus {
        requests: 0,
        missing: 0,
        missing_share: Figure::undefined("no request is old enough to have been reported"),
        delay_p99_s: Figure::undefined("fewer than 100 receipts were reported"),
    };
    ReportingStatus {
        variants: ByVariant(vec![(name("control"), control), (name("friendly"), friendly)]),
        outcome_missing: vec![SilenceStatus {
            variant: name("friendly"),
            limit: Limit::MaxExcess(0.05),
            state: Verdict::NoData,
            evidence: 0.0,
            declared: false,
        }],
    }
}

fn assess(experiment: &Experiment) -> Vec<GuardrailStatus> {
    let candidates = experiment.spec.variants.iter().skip(1);
    let guardrails = experiment.spec.guardrails.iter();
    let of = |candidate: &serin::domain::experiment::Variant| {
        let candidate = candidate.name.clone();
        guardrails.clone().map(move |guardrail| GuardrailStatus {
            metric: guardrail.metric.clone(),
            limit: guardrail.limit,
            above: guardrail.above,
            state: Verdict::Pass,
            evidence: Figure::Known(0.25),
            control: ControlStatus {
                bad_units: 3,
                rate: Figure::Known(0.02),
            },
            candidate: CandidateStatus {
                variant: candidate.clone(),
                bad_units: 4,
                rate: Figure::undefined("no data yet"),
            },
            name: guardrail.measure_name(),
            on_breach: OnBreach::Freeze,
            ratio_ci: None,
        })
    };
    candidates.flat_map(of).collect()
}

impl Running {
    async fn start() -> Self {
        Self::on(Switchable::default()).await
    }

    async fn on(log: Switchable) -> Self {
        let clock = ManualClock::at(now());
        let metrics = Arc::new(Metrics::new().unwrap());
        let table = Arc::new(LiveTable::new(RoutingTable::empty(environment())));
        let plane = ControlPlane::open(
            Box::new(log),
            Arc::clone(&table),
            environment(),
            Clock::Manual(clock.clone()),
        );
        let plane = Arc::new(plane.unwrap());
        plane.subscribe(metrics.subscriber());
        for (name, semver) in [
            ("p", "1.0.0"),
            ("p", "1.1.0"),
            ("folder/a b", "1.0.0"),
            ("folder/a b", "1.1.0"),
        ] {
            let command = Command::RegisterPrompt {
                name: PromptName::new(name).unwrap(),
                draft: Box::new(draft(semver, &format!("{name} {semver}"))),
                environments: vec![environment()],
            };
            plane.submit(Origin::new("test", "setup"), command).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let none = || std::iter::empty();
        let collector = Collector::open(
            Journal::open(&folder.path().join("serin.db")).unwrap(),
            Clock::Manual(clock.clone()),
            Intake::compile(
                std::iter::empty(),
                none(),
                ReceiptKeys::default(),
                Duration::from_secs(3600),
            ),
            CollectorOptions::default(),
            metrics.collector(),
        )
        .unwrap();
        let state = ControlState {
            plane: Arc::clone(&plane),
            table,
            collector: collector.clone(),
            environment: environment(),
            clock: Clock::Manual(clock.clone()),
            metrics: Arc::clone(&metrics),
            assess: Arc::new(|experiment, _| assess(experiment)),
            assess_aa: Arc::new(|_, _| vec![aa_status()]),
            access: Arc::default(),
            assess_reporting: Arc::new(|_| reporting_status()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move { drop(stopped.await) };
        let task = tokio::spawn(serve(listener, router(state), stopped));
        Self {
            address,
            plane,
            metrics,
            clock,
            collector,
            stop,
            task,
            _folder: folder,
        }
    }

    async fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{answer:?}"));
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}",
            self.address
        ))
        .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", "").await
    }

    async fn post(&self, path: &str, body: &Json) -> Answer {
        let body = body.to_string();
        self.send("POST", path, "Content-Type: application/json\r\n", &body)
            .await
    }

    async fn put(&self, path: &str, body: &Json) -> Answer {
        let body = body.to_string();
        self.send(
            "PUT",
            path,
            "Content-Type: application/json; charset=utf-8\r\n",
            &body,
        )
        .await
    }

    async fn step(&self, id: &str, step: &str, reason: &str) -> Answer {
        self.post(
            &format!("/api/v1/experiments/{id}/{step}"),
            &json!({"reason": reason}),
        )
        .await
    }

    async fn stop(self) -> DrainReport {
        self.stop.send(()).unwrap();
        self.task.await.unwrap()
    }
}

fn design(id: &str) -> Json {
    json!({
        "id": id, "prompt": "p", "unit": "user",
        "variants": [
            {"name": "control", "version": "1.0.0", "weight": 50},
            {"name": "friendly", "version": "1.1.0", "weight": 50},
        ],
        "metrics": [{"name": "resolved", "kind": "rate", "goal": "increase", "primary": true}],
        "guardrails": [{"metric": "fallback", "max_ratio": 1.25}, {"metric": "escalation", "max_rate": 0.05}],
    })
}

#[tokio::test]
async fn a_stream_that_falls_behind_is_served_from_the_log() {
    let api = Running::start().await;
    let mut stream = BufReader::new(TcpStream::connect(api.address).await.unwrap());
    let request = "GET /api/v1/events HTTP/1.0\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = String::new();
    while !line.starts_with(": ") {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
    }
    // Without a pause in which the stream could go on: many more than are kept for those who listen.
    let first = api.plane.view().catalog.revision.0 + 1;
    for number in 0..2_000 {
        let holdout = Holdout {
            name: LayerName::new("h").unwrap(),
            share: f64::from(number) / 10_000.0,
        };
        let command = Command::SetHoldout(Some(holdout));
        api.plane.submit(Origin::new("test", "again"), command).unwrap();
    }
    let last = api.plane.view().catalog.revision.0;
    assert_eq!(last - first, 1_999);
    for expected in first..=last {
        while !line.starts_with("id: ") {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
        }
        assert_eq!(line, format!("id: {expected}\n"));
        line.clear();
    }
    drop(stream);
    api.stop().await;
}

#[tokio::test]
async fn an_experiment_lives_and_dies() {
    let api = Running::start().await;
    let created = api.post("/api/v1/experiments", &design("tone")).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.header("location"), Some("/api/v1/experiments/tone"));
    let json = created.json();
    assert_eq!((&json["state"], &json["epoch"]), (&json!("draft"), &json!(0)));
    assert_eq!(json["allowed"], json!(["start", "stop"]));
    assert_eq!(json["variants"][1]["version"], 2);
    assert_eq!(json["variants"][1]["semver"], "1.1.0");
    assert_eq!(json["variants"][1]["share"], 0.0);

    api.post("/api/v1/experiments", &design("tone"))
        .await
        .refused(409, "EXPERIMENT_EXISTS");

    // A body is not needed where no reason is.
    let started = api.send("POST", "/api/v1/experiments/tone/start", "", "").await;
    assert_eq!(started.status, 200, "{started:?}");
    let json = started.json();
    assert_eq!(
        (&json["experiment"], &json["state"]),
        (&json!("tone"), &json!("running"))
    );
    assert_eq!(json["events"][0]["event"]["type"], "experiment_started");
    assert_eq!(json["events"][0]["actor"], "api");
    assert_eq!(json["revision"], json["events"][0]["revision"]);

    let wrong = api
        .step("tone", "start", "again")
        .await
        .refused(409, "WRONG_STATE");
    assert_eq!(wrong["state"], "running");
    assert_eq!(wrong["allowed"], json!(["hold", "freeze", "promote", "stop"]));

    let mut heavier = design("tone");
    heavier["variants"][1]["weight"] = json!(150);
    let changed = api.put("/api/v1/experiments/tone", &heavier).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let json = changed.json();
    assert_eq!(
        (&json["epoch"], &json["variants"][1]["share"]),
        (&json!(2), &json!(0.75))
    );
    assert_eq!(
        json["epochs"][1]["shares"],
        json!({"control": 0.25, "friendly": 0.75})
    );
    assert_eq!(json["pinned"][0]["variant"], "control");

    assert_eq!(api.step("tone", "hold", "").await.json()["state"], "holding");
    for step in ["resume", "freeze", "promote"] {
        let path = format!("/api/v1/experiments/tone/{step}");
        api.post(&path, &json!({"reason": "  "}))
            .await
            .refused(422, "REASON_REQUIRED");
        api.send("POST", &path, "", "")
            .await
            .refused(422, "REASON_REQUIRED");
    }
    assert_eq!(
        api.step("tone", "resume", "it was nothing").await.json()["state"],
        "running"
    );
    let frozen = api.step("tone", "freeze", "complaints").await;
    assert_eq!((frozen.status, &frozen.json()["state"]), (200, &json!("frozen")));

    let json = api.get("/api/v1/experiments").await.json();
    let listed = &json["experiments"][0];
    assert_eq!(json["revision"], listed["revision"]);
    assert_eq!(listed["freeze"]["cause"], "manual");
    assert_eq!(listed["freeze"]["reason"], "complaints");
    assert_eq!(listed["freeze"]["actor"], "api");
    assert_eq!(listed["variants"][0]["share"], 1.0);
    for key in [
        "id",
        "prompt",
        "kind",
        "unit",
        "owner",
        "traffic",
        "hold",
        "unroutable",
        "changed_at",
    ] {
        assert!(listed.get(key).is_some(), "{key}");
    }
    assert_eq!(listed.get("spec"), None);

    let results = api.get("/api/v1/experiments/tone/results").await.json();
    assert_eq!(results["experiment"], "tone");
    assert_eq!(
        results["metrics"][0]["variants"][1]["vs_control"]["verdict"],
        "not_yet"
    );
    assert_eq!(results["guardrails"][0]["metric"], "fallback");

    assert_eq!(
        api.step("tone", "stop", "enough").await.json()["state"],
        "stopped"
    );
    let drained = api.stop().await;
    assert_eq!(drained.cut, 0);
}

/// Outcomes of an experiment as they come after their receipts were checked.
async fn report(api: &Running, id: &str, outcomes: &[(u8, &str, f64)]) {
    let view = api.plane.view();
    let experiment = &view.catalog.experiments[&support::id(id)];
    let outcome = |(arm, name, value): &(u8, &str, f64)| {
        let mut measures = experiment.measures.iter();
        let key: MetricKey = measures.find(|measure| measure.name == *name).unwrap().key;
        Observation {
            experiment: experiment.key,
            epoch: Epoch(1),
            arm: ArmIndex(*arm),
            unit_hash: 7,
            second: 0,
            receipt: None,
            id: None,
            values: std::iter::once((key, *value)).collect(),
            segments: Default::default(),
            covariates: Default::default(),
            again: false,
            tagging: None,
        }
    };
    let outcomes = outcomes.iter().map(outcome).collect();
    api.collector.submit(outcomes).await.unwrap();
}

#[tokio::test]
async fn counts_over_time_are_shown() {
    let api = Running::start().await;
    api.post("/api/v1/experiments", &design("tone")).await;
    api.send("POST", "/api/v1/experiments/tone/start", "", "").await;
    report(
        &api,
        "tone",
        &[
            (0, "resolved", 1.0),
            (0, "resolved", 0.0),
            (1, "latency_ms", 250.5),
        ],
    )
    .await;
    api.clock.advance(Duration::from_secs(3_700));
    report(&api, "tone", &[(0, "resolved", 1.0), (1, "resolved", 1.0)]).await;

    let read = async |query: &str| {
        let answer = api
            .get(&format!("/api/v1/experiments/tone/timeseries?{query}"))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let point = |t: &str, n: u64, sum: f64, mean: f64| json!({"t": t, "n": n, "sum": sum, "mean": mean});
    // The clock stands at midnight, and then at 01:01:40.
    assert_eq!(
        read("metric=resolved&window=2h").await,
        json!({
            "experiment": "tone", "metric": "resolved", "window": "2h", "step": "1m",
            "from": "2026-11-30T23:02:00Z", "to": "2026-12-01T01:02:00Z",
            "variants": [
                {"variant": "control", "points": [
                    point("2026-12-01T00:00:00Z", 2, 1.0, 0.5),
                    point("2026-12-01T01:01:00Z", 1, 1.0, 1.0),
                ]},
                {"variant": "friendly", "points": [point("2026-12-01T01:01:00Z", 1, 1.0, 1.0)]},
            ],
        })
    );
    let hourly = read("metric=resolved&step=1h").await;
    assert_eq!(
        (&hourly["window"], &hourly["step"], &hourly["from"]),
        (&json!("24h"), &json!("1h"), &json!("2026-11-30T01:00:00Z"))
    );
    assert_eq!(
        hourly["variants"][0]["points"],
        json!([
            point("2026-12-01T00:00:00Z", 2, 1.0, 0.5),
            point("2026-12-01T01:00:00Z", 1, 1.0, 1.0)
        ])
    );
    let latency = read("metric=latency_ms&window=7d").await;
    assert_eq!(latency["step"], "1h");
    assert_eq!(
        latency["variants"][1]["points"],
        json!([point("2026-12-01T00:00:00Z", 1, 250.5, 250.5)])
    );
    let outcomes = read("metric=outcomes&window=90d&step=1d").await;
    assert_eq!(
        outcomes["variants"][0]["points"],
        json!([{"t": "2026-12-01T00:00:00Z", "n": 3}])
    );
    let one = read("metric=resolved&window=1m").await;
    assert_eq!(one["variants"][0]["points"].as_array().unwrap().len(), 1);
    assert_eq!(read("metric=requests").await["variants"][0]["points"], json!([]));
}

#[tokio::test]
async fn counts_over_time_are_asked_for_within_bounds() {
    let api = Running::start().await;
    api.post("/api/v1/experiments", &design("tone")).await;
    let path = "/api/v1/experiments/tone/timeseries";
    for (query, code, field, words) in [
        (
            "",
            "BAD_QUERY",
            "metric",
            "is required; there are resolved, fallback,",
        ),
        (
            "?metric=nope",
            "UNKNOWN_METRIC",
            "metric",
            "has no `nope`; it has resolved, fallback,",
        ),
        ("?metric=nope", "UNKNOWN_METRIC", "metric", "requests, outcomes"),
        (
            "?metric=resolved&window=0s",
            "BAD_QUERY",
            "window",
            "from 1m to 90d in whole minutes, found 0s",
        ),
        (
            "?metric=resolved&window=30s",
            "BAD_QUERY",
            "window",
            "from 1m to 90d",
        ),
        (
            "?metric=resolved&window=90s",
            "BAD_QUERY",
            "window",
            "whole minutes",
        ),
        ("?metric=resolved&window=91d", "BAD_QUERY", "window", "found 91d"),
        (
            "?metric=resolved&window=24",
            "BAD_QUERY",
            "window",
            "write a number and a unit",
        ),
        (
            "?metric=resolved&window=7d&step=1m",
            "BAD_QUERY",
            "step",
            "at least 3m for a window of 7d",
        ),
        ("?metric=resolved&step=0m", "BAD_QUERY", "step", "from 1m to 24h"),
        ("?metric=resolved&step=2d", "BAD_QUERY", "step", "from 1m to 24h"),
        ("?metric=resolved&minutes=5", "BAD_QUERY", "", "minutes"),
    ] {
        let refused = api.get(&format!("{path}{query}")).await.refused(400, code);
        assert_eq!(refused["problems"][0]["field"], field, "{query}");
        let problem = refused["problems"][0]["problem"].as_str().unwrap();
        assert!(problem.contains(words), "{query}: {problem}");
    }
    let both = api.get(&format!("{path}?metric=resolved&window=x&step=y")).await;
    let both = both.refused(400, "BAD_QUERY");
    assert_eq!(both["problems"].as_array().unwrap().len(), 2);
    api.get("/api/v1/experiments/none/timeseries?metric=resolved")
        .await
        .refused(404, "EXPERIMENT_NOT_FOUND");
    api.send("POST", path, "", "")
        .await
        .refused(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn what_is_read_can_be_sent_back() {
    let api = Running::start().await;
    let mut full = design("full");
    for (key, value) in [
        ("kind", json!("canary")),
        ("owner", json!("support")),
        ("hypothesis", json!("shorter is better")),
        ("audience", json!("country in [\"DE\"]")),
        ("traffic", json!(0.5)),
        ("salt", json!("pepper")),
        ("start", json!("2027-01-01T00:00:00Z")),
        ("end", json!("2027-02-01T00:00:00Z")),
        ("layer", json!({"name": "support", "slots": [0, 30]})),
        ("overrides", json!({"friendly": ["qa-1"]})),
        (
            "rollout",
            json!({"stages": [{"share": 0.01, "for": "15m", "min_outcomes": 500}, {"share": 0.1, "for": "1h 30m"}],
                "on_complete": "promote"}),
        ),
        (
            "guardrails",
            json!([{"metric": "latency_ms", "above": 4000.5, "max_ratio": 1.5, "on_breach": "hold", "settle": "5s"}]),
        ),
        (
            "metrics",
            json!([{"name": "latency_ms", "kind": "mean", "goal": "decrease", "cap": 60000, "primary": true}]),
        ),
    ] {
        full[key] = value;
    }
    let created = api.post("/api/v1/experiments", &full).await;
    assert_eq!(created.status, 201, "{created:?}");
    let read = api.get("/api/v1/experiments/full").await.json();
    let revision = read["revision"].clone();
    let again = api.put("/api/v1/experiments/full", &read["spec"]).await;
    assert_eq!(again.status, 200, "{again:?}");
    assert_eq!(again.json()["revision"], revision, "nothing changed");

    let other = api.put("/api/v1/experiments/full", &design("tone")).await;
    other.refused(400, "ID_MISMATCH");
    let id_less = api
        .put("/api/v1/experiments/full", &json!({"unit": "user"}))
        .await;
    let problems = id_less.refused(422, "INVALID_EXPERIMENT")["problems"].clone();
    assert!(
        problems[0]["field"].is_string() && problems[0]["problem"].is_string(),
        "{problems}"
    );
}

#[tokio::test]
async fn prompts_are_named_in_the_address() {
    let api = Running::start().await;
    let mut design = design("nested");
    design.as_object_mut().unwrap().remove("prompt");
    let path = "/api/v1/prompts/folder%2Fa%20b/experiments";
    let created = api.post(path, &design).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.json()["prompt"], "folder/a b");
    design["prompt"] = json!("p");
    api.post(path, &design).await.refused(400, "PROMPT_MISMATCH");
    api.post("/api/v1/prompts/nobody/experiments", &design)
        .await
        .refused(404, "PROMPT_NOT_FOUND");
    api.post("/api/v1/prompts/%ff/experiments", &design)
        .await
        .refused(400, "BAD_ADDRESS");
}

#[tokio::test]
async fn every_mistake_has_its_field() {
    let api = Running::start().await;
    let mut bad = design("bad");
    bad["variants"][0]["weight"] = json!(0);
    bad["variants"][1]["version"] = json!("9.9.9");
    bad["wight"] = json!(1);
    let refused = api
        .post("/api/v1/experiments", &bad)
        .await
        .refused(422, "INVALID_EXPERIMENT");
    let fields: Vec<&str> = refused["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["field"].as_str().unwrap())
        .collect();
    assert!(
        fields.contains(&"variants[0].weight") && fields.contains(&"wight"),
        "{fields:?}"
    );
    bad = design("bad");
    bad["variants"][1]["version"] = json!("9.9.9");
    let refused = api
        .post("/api/v1/experiments", &bad)
        .await
        .refused(422, "INVALID_EXPERIMENT");
    assert_eq!(refused["problems"][0]["field"], "variants[1].version");
}

#[tokio::test]
async fn bodies_are_held_to_their_form() {
    let api = Running::start().await;
    let path = "/api/v1/experiments";
    let typed = "Content-Type: application/json\r\n";
    let broken = api
        .send("POST", path, typed, "{\"id\":\n  nope}")
        .await
        .refused(400, "BAD_JSON");
    assert_eq!(
        (&broken["line"], broken["column"].as_u64() > Some(2)),
        (&json!(2), true)
    );
    api.send("POST", path, typed, "{\"id\": \"\u{fffd}")
        .await
        .refused(400, "BAD_JSON");
    api.send("POST", path, typed, "").await.refused(400, "BAD_JSON");
    api.send("POST", path, typed, "[1]")
        .await
        .refused(422, "INVALID_BODY");
    // Nothing said, and what curl says by itself, are read as JSON; another type is not guessed at.
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    for accepted in ["", form] {
        api.send("POST", path, accepted, "{}")
            .await
            .refused(422, "INVALID_EXPERIMENT");
    }
    api.send("POST", path, "Content-Type: text/plain\r\n", "{}")
        .await
        .refused(415, "UNSUPPORTED_MEDIA_TYPE");
    let large = format!("{{\"id\":\"{}\"}}", "x".repeat(1 << 20));
    api.send("POST", path, typed, &large)
        .await
        .refused(413, "BODY_TOO_LARGE");
    let chunk = format!("40000\r\n{}\r\n", "x".repeat(0x40000)).repeat(5);
    let chunked = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{typed}Transfer-Encoding: chunked\r\n\r\n{chunk}"
    );
    api.raw(&chunked).await.refused(413, "BODY_TOO_LARGE");

    api.post(path, &design("e")).await;
    let start = "/api/v1/experiments/e/start";
    for body in [
        json!({"reasn": "x"}),
        json!({"reason": 1}),
        json!({"reason": "x".repeat(1001)}),
    ] {
        let refused = api.post(start, &body).await.refused(422, "INVALID_BODY");
        assert_eq!(refused["problems"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn unknown_things_are_not_found() {
    let api = Running::start().await;
    for path in [
        "/api/v1/experiments/none",
        "/api/v1/experiments/none/results",
        "/api/v1/experiments/a%20b",
    ] {
        api.get(path).await.refused(404, "EXPERIMENT_NOT_FOUND");
    }
    api.step("none", "start", "")
        .await
        .refused(404, "EXPERIMENT_NOT_FOUND");
    api.put("/api/v1/experiments/none", &design("none"))
        .await
        .refused(404, "EXPERIMENT_NOT_FOUND");
    for path in [
        "/",
        "/api/v2",
        "/api/v1/experiments/x/explode",
        "/api/v1/experiments/",
    ] {
        api.get(path).await.refused(404, "NOT_FOUND");
    }
    let refused = api.send("DELETE", "/api/v1/experiments", "", "").await;
    refused.refused(405, "METHOD_NOT_ALLOWED");
    assert_eq!(refused.header("allow"), Some("GET,HEAD,POST"));
    let refused = api.get("/api/v1/experiments/x/start").await;
    refused.refused(405, "METHOD_NOT_ALLOWED");
    assert_eq!(refused.header("allow"), Some("POST"));
}

#[tokio::test]
async fn browsers_are_kept_out() {
    let api = Running::start().await;
    let request = |headers: &str, method: &str| {
        format!("{method} /api/v1/experiments/x/stop HTTP/1.1\r\nConnection: close\r\n{headers}\r\n\r\n")
    };
    api.raw(&request("Host: evil.example", "GET"))
        .await
        .refused(403, "BAD_HOST");
    api.raw(&request("Host: evil.example:8788", "POST"))
        .await
        .refused(403, "BAD_HOST");
    let cross = "Host: localhost:8788\r\nOrigin: http://evil.example";
    api.raw(&request(cross, "POST")).await.refused(403, "BAD_ORIGIN");
    let own = "Host: localhost:8788\r\nOrigin: http://localhost:8788";
    api.raw(&request(own, "POST"))
        .await
        .refused(404, "EXPERIMENT_NOT_FOUND");
    let absolute = "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    api.raw(absolute).await.refused(403, "BAD_HOST");
    let old = "GET /healthz HTTP/1.0\r\n\r\n";
    assert_eq!(api.raw(old).await.status, 200);
}

#[tokio::test]
async fn a_new_receipt_key_signs_and_old_receipts_stay_good() {
    let api = Running::start().await;
    let keys = |api: &Running| api.plane.view().catalog.receipt_keys.clone();
    let receipt = Receipt {
        experiment: ExperimentKey(0),
        epoch: Epoch(1),
        arm: ArmIndex(0),
        unit_hash: 7,
        second: 1_800_000_000,
        process: 1,
        sequence: 1,
        profile: None,
    };
    let sign = |keys: &[(u8, [u8; 16])]| {
        let text = ReceiptKeys::new(keys.iter().copied()).sign(&receipt).unwrap();
        String::from_utf8(text.to_vec()).unwrap()
    };
    let path = "/api/v1/receipt-keys";
    api.post(path, &json!({})).await.refused(422, "REASON_REQUIRED");
    assert_eq!(api.post(path, &json!({"reason": "the first"})).await.status, 201);
    let before = keys(&api);
    let old = sign(&before);
    let rotated = api.post(path, &json!({"reason": "a laptop was lost"})).await;
    assert_eq!(rotated.status, 201, "{rotated:?}");
    assert_eq!(rotated.json()["events"][0]["reason"], "a laptop was lost");
    assert!(!rotated.body.contains("secret"));
    let after = keys(&api);
    assert_eq!(after.len(), before.len() + 1);
    assert_ne!(sign(&after), old);
    assert_eq!(ReceiptKeys::new(after).verify(&old), Ok(receipt));
}

#[tokio::test]
async fn the_audit_log_keeps_its_secrets() {
    let api = Running::start().await;
    let command = Command::RotateReceiptKey { secret: [0xab; 16] };
    api.plane
        .submit(Origin::new("system", "first key"), command)
        .unwrap();
    let all = api.get("/api/v1/audit").await;
    assert!(
        !all.body.contains("abab") && !all.body.contains("secret"),
        "{}",
        all.body
    );
    let json = all.json();
    let entries = json["entries"].as_array().unwrap();
    let last = entries.last().unwrap();
    assert_eq!(last["event"], json!({"type": "receipt_key_added", "key_id": 1}));
    assert_eq!(
        (&last["actor"], &last["reason"]),
        (&json!("system"), &json!("first key"))
    );
    assert_eq!(last["at"], "2026-12-01T00:00:00Z");
    assert_eq!(
        (&json["revision"], &json["more"]),
        (&last["revision"], &json!(false))
    );
    let page = api.get("/api/v1/audit?after=1&limit=2").await.json();
    assert_eq!(page["entries"][0]["revision"], 2);
    assert_eq!(
        (page["entries"].as_array().unwrap().len(), &page["more"]),
        (2, &json!(true))
    );
    for query in ["after=x", "limit=0", "limit=1001", "befor=1", "after=-1"] {
        api.get(&format!("/api/v1/audit?{query}"))
            .await
            .refused(400, "BAD_QUERY");
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_said_so() {
    let log = Switchable::default();
    let api = Running::on(log.clone()).await;
    for id in ["e", "f"] {
        assert_eq!(api.post("/api/v1/experiments", &design(id)).await.status, 201);
    }
    assert_eq!(api.step("f", "start", "").await.status, 200);
    log.fail(Some(StoreError::Full));
    api.step("e", "start", "").await.refused(507, "STORAGE_FULL");
    api.post("/api/v1/experiments", &design("g"))
        .await
        .refused(507, "STORAGE_FULL");
    log.fail(Some(StoreError::Unavailable("locked".into())));
    api.step("e", "start", "").await.refused(503, "STORE_UNAVAILABLE");
    // A freeze holds all the same, and says that it is not written.
    let frozen = api.step("f", "freeze", "now").await;
    assert_eq!(frozen.status, 202);
    assert_eq!(
        (&frozen.json()["state"], &frozen.json()["events"]),
        (&json!("frozen"), &json!([]))
    );
    assert!(
        api.get("/metrics")
            .await
            .body
            .contains("serin_freezes_unrecorded 1")
    );
    log.fail(None);
    assert_eq!(api.step("e", "start", "").await.status, 200);
    let text = api.get("/metrics").await.body;
    assert!(text.contains("serin_freezes_unrecorded 0"));
    assert!(
        text.contains("serin_freezes_total{experiment=\"f\",reason=\"manual\"} 1"),
        "counted once"
    );
}

#[tokio::test]
async fn a_rollback_holds_while_the_store_is_down() {
    let log = Switchable::default();
    let api = Running::on(log.clone()).await;
    let deployed = api
        .post("/api/v1/prompts/p/deploy", &json!({"version": "1.1.0"}))
        .await;
    assert_eq!(deployed.status, 200, "{deployed:?}");
    assert_eq!(api.post("/api/v1/experiments", &design("e")).await.status, 201);
    assert_eq!(api.step("e", "start", "").await.status, 200);
    let revision = api.plane.view().catalog.revision.0;
    log.fail(Some(StoreError::Unavailable("locked".into())));
    let back = json!({"reason": "complaints"});
    api.post("/api/v1/prompts/p/deploy", &json!({"version": 1}))
        .await
        .refused(503, "STORE_UNAVAILABLE");
    let held = api.post("/api/v1/prompts/p/rollback", &back).await;
    assert_eq!(held.status, 202, "{held:?}");
    let held = held.json();
    assert_eq!(
        (
            &held["semver"],
            &held["previous"],
            &held["frozen"],
            &held["revision"]
        ),
        (&json!("1.0.0"), &json!(2), &json!(["e"]), &json!(revision))
    );
    let running = api.get("/api/v1/prompts/p/deployments").await.json();
    assert_eq!(running["running"]["rollback"], true);
    log.fail(None);
    api.plane.retry_unrecorded();
    assert_eq!(api.plane.view().unrecorded, 0);
    api.post("/api/v1/prompts/p/rollback", &back)
        .await
        .refused(409, "NO_PREVIOUS_VERSION");
    // What it is back to is there already, so that going there again is nothing to wait for.
    let there = json!({"reason": "again", "target_version": "1.0.0"});
    let there = api.post("/api/v1/prompts/p/rollback", &there).await;
    assert_eq!((there.status, &there.json()["frozen"]), (200, &json!([])));
}

#[tokio::test]
async fn it_is_alive_and_ready() {
    let api = Running::start().await;
    assert_eq!(api.get("/healthz").await.json(), json!({"status": "ok"}));
    let ready = api.get("/readyz").await.json();
    assert_eq!(ready["status"], "ready");
    assert_eq!(ready["revision"], json!(api.plane.view().catalog.revision));
    assert_eq!(api.plane.view().catalog.revision, Revision(6));
    let answer = api.get("/api/v1/experiments").await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let head = api.send("HEAD", "/healthz", "", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

/// Names that the contract fixes although the linter would have others.
const FIXED_NAMES: [&str; 1] = ["serin_metric_sum"];

#[tokio::test]
async fn metrics_say_what_is_and_pass_the_linter() {
    let api = Running::start().await;
    let before = api.get("/metrics").await;
    assert_eq!(
        before.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert!(
        !before.body.contains("serin_experiment_state{"),
        "there is no experiment yet"
    );
    api.post("/api/v1/experiments", &design("tone")).await;
    api.step("tone", "start", "").await;
    api.clock.advance(Duration::from_secs(5));
    api.metrics.reloads().record(ReloadResult::Rejected);
    api.metrics.responses().count(hyper::StatusCode::OK);
    api.metrics.show_server(Arc::new(ServerStats::default()), 10_000);
    api.metrics.collector().decision_duration.observe(0.000_02);
    api.metrics.time_to_freeze().observe(0.01);
    let text = api.get("/metrics").await.body;
    for line in [
        "serin_experiment_state{experiment=\"tone\",state=\"running\"} 1",
        "serin_experiment_state{experiment=\"tone\",state=\"frozen\"} 0",
        "serin_experiment_share{experiment=\"tone\",variant=\"friendly\"} 0.5",
        "serin_experiment_epoch{experiment=\"tone\"} 1",
        "serin_experiment_unroutable{experiment=\"tone\"} 0",
        "serin_guardrail_evidence_ratio{experiment=\"tone\",guardrail=\"fallback\"} 0.25",
        "serin_guardrail_observed_rate{experiment=\"tone\",guardrail=\"fallback\",variant=\"control\"} 0.02",
        "serin_guardrail_limit{experiment=\"tone\",guardrail=\"fallback\",kind=\"max_ratio\"} 1.25",
        "serin_guardrail_limit{experiment=\"tone\",guardrail=\"escalation\",kind=\"max_rate\"} 0.05",
        "serin_freezes_total{experiment=\"tone\",reason=\"manual\"} 0",
        "serin_freezes_total{experiment=\"tone\",reason=\"fallback\"} 0",
        "serin_routing_table_revision 8",
        "serin_routing_table_age_seconds 5",
        "serin_config_reloads_total{result=\"rejected\"} 1",
        "serin_config_reloads_total{result=\"applied\"} 0",
        "serin_config_last_reload_successful 0",
        "serin_store_up 1",
        "serin_http_requests_total{code=\"200\"} 1",
        "serin_connections_limit 10000",
        "serin_decision_duration_seconds_count 1",
        "serin_store_commit_duration_seconds_count 0",
        "serin_time_to_freeze_seconds_count 1",
        "serin_exposures_dropped_total 0",
        "serin_journal_backlog_entries 0",
        "serin_audience_errors_total{experiment=\"tone\"} 0",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    assert!(text.contains("serin_build_info{version=\""));
    lint(&text);

    api.step("tone", "freeze", "enough").await;
    let text = api.get("/metrics").await.body;
    assert!(text.contains("serin_experiment_state{experiment=\"tone\",state=\"frozen\"} 1"));
    assert!(text.contains("serin_freezes_total{experiment=\"tone\",reason=\"manual\"} 1"));
    assert!(text.contains("serin_experiment_share{experiment=\"tone\",variant=\"control\"} 1"));
    api.step("tone", "resume", "again").await;
    api.step("tone", "freeze", "enough").await;
    let text = api.get("/metrics").await.body;
    assert!(text.contains("serin_freezes_total{experiment=\"tone\",reason=\"manual\"} 2"));
    api.step("tone", "stop", "").await;
    let text = api.get("/metrics").await.body;
    assert!(
        !text.contains("serin_guardrail_evidence_ratio{"),
        "what ended leaves nothing stale behind"
    );
}

#[tokio::test]
async fn metrics_tell_the_stage_and_the_cause_of_a_hold_while_there_is_one() {
    let api = Running::start().await;
    let mut canary = design("step");
    canary["kind"] = json!("canary");
    canary["rollout"] = json!({"deadline": "2h", "on_complete": "promote",
        "stages": [{"share": 0.05, "for": "15m"}, {"share": 0.5, "for": "1h"}]});
    assert_eq!(api.post("/api/v1/experiments", &canary).await.status, 201);
    api.post("/api/v1/experiments", &design("tone")).await;
    let text = api.get("/metrics").await.body;
    assert!(
        !text.contains("serin_experiment_stage{") && !text.contains("serin_experiment_hold{"),
        "before the start there is neither"
    );
    for id in ["step", "tone"] {
        assert_eq!(api.step(id, "start", "").await.status, 200);
    }
    let begun = now().as_second();
    let check = |text: &str, lines: &[String]| {
        for line in lines {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
        let holding: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("serin_experiment_hold{") && line.ends_with(" 1"))
            .collect();
        assert!(holding.len() <= 1, "one cause at a time: {holding:?}");
        lint(text);
    };
    let text = api.get("/metrics").await.body;
    check(
        &text,
        &[
            "serin_experiment_stage{experiment=\"step\"} 1".to_owned(),
            "serin_experiment_stages{experiment=\"step\"} 2".to_owned(),
            format!("serin_experiment_stage_since_timestamp_seconds{{experiment=\"step\"}} {begun}"),
            format!(
                "serin_experiment_stage_deadline_timestamp_seconds{{experiment=\"step\"}} {}",
                begun + 7_200
            ),
            "serin_experiment_hold{cause=\"manual\",experiment=\"step\"} 0".to_owned(),
            "serin_experiment_hold{cause=\"srm\",experiment=\"tone\"} 0".to_owned(),
            "serin_freezes_total{experiment=\"step\",reason=\"blind\"} 0".to_owned(),
            "serin_freezes_total{experiment=\"step\",reason=\"deadline\"} 0".to_owned(),
        ],
    );
    for absent in [
        "serin_experiment_stage{experiment=\"tone\"}",
        "serin_experiment_stages{experiment=\"tone\"}",
        "serin_experiment_stage_deadline_timestamp_seconds{experiment=\"tone\"}",
        "serin_experiment_hold_since_timestamp_seconds",
    ] {
        assert!(!text.contains(absent), "{absent} is in\n{text}");
    }
    api.clock.advance(Duration::from_secs(60));
    api.step("step", "hold", "looking").await;
    check(
        &api.get("/metrics").await.body,
        &[
            "serin_experiment_hold{cause=\"manual\",experiment=\"step\"} 1".to_owned(),
            "serin_experiment_hold{cause=\"no_data\",experiment=\"step\"} 0".to_owned(),
            format!(
                "serin_experiment_hold_since_timestamp_seconds{{experiment=\"step\"}} {}",
                begun + 60
            ),
        ],
    );
    api.step("step", "freeze", "enough").await;
    let text = api.get("/metrics").await.body;
    check(
        &text,
        &["serin_experiment_hold{cause=\"manual\",experiment=\"step\"} 0".to_owned()],
    );
    assert!(
        !text.contains("serin_experiment_stage_deadline_timestamp_seconds{"),
        "a frozen rollout has no deadline"
    );
    api.step("step", "stop", "").await;
    let text = api.get("/metrics").await.body;
    assert!(!text.contains("experiment_stage{experiment=\"step\"}"), "{text}");
}

#[tokio::test]
async fn totals_carry_names_and_no_series_is_doubled() {
    let api = Running::start().await;
    let mut three = design("tone");
    let third = json!({"name": "brief", "version": "1.1.0", "weight": 50});
    three["variants"].as_array_mut().unwrap().push(third);
    three["status"] = json!("running");
    assert_eq!(api.post("/api/v1/experiments", &three).await.status, 201);
    let view = api.plane.view();
    let experiment = &view.catalog.experiments["tone"];
    let (key, metric) = (experiment.key, experiment.measure("resolved").unwrap().key);
    let decided = |experiment, arm, reason| DecisionKey {
        prompt: view.catalog.prompts["p"].key,
        experiment,
        arm,
        reason,
    };
    let outcome = |experiment, arm, result| OutcomeKey {
        experiment,
        arm,
        result,
    };
    let totals = Totals {
        decisions: HashMap::from([
            (decided(Some(key), Some(ArmIndex(1)), Reason::Split), 7),
            (decided(Some(key), None, Reason::Default), 2),
            (decided(None, None, Reason::Static), 3),
            (decided(Some(ExperimentKey(99)), None, Reason::Static), 5),
        ]),
        outcomes: HashMap::from([
            (outcome(Some(key), Some(ArmIndex(2)), OutcomeResult::Late), 4),
            (outcome(None, None, OutcomeResult::Rejected), 6),
        ]),
        metrics: HashMap::from([((key, ArmIndex(0), metric), MetricTotal { n: 3, sum: 2.5 })]),
        exposures_dropped: 8,
        journal_backlog: 9,
    };
    let guardrails = assess(experiment);
    assert_eq!(guardrails.len(), 4, "two guardrails, each for two candidates");
    let snapshot = Snapshot {
        table: Arc::new(RoutingTable::empty(environment())),
        totals,
        store_up: false,
        assessed: vec![Assessed {
            id: experiment.spec.id.clone(),
            guardrails,
            aa: vec![aa_status()],
            reporting: reporting_status(),
            srm_evidence: Some(1.5),
        }],
        now: now(),
        view: Arc::clone(&view),
    };
    let text = api.metrics.render(&snapshot).unwrap();
    for line in [
        "serin_decisions_total{experiment=\"tone\",prompt=\"p\",reason=\"SPLIT\",variant=\"friendly\"} 7",
        "serin_decisions_total{experiment=\"tone\",prompt=\"p\",reason=\"DEFAULT\",variant=\"deployed\"} 2",
        "serin_decisions_total{experiment=\"\",prompt=\"p\",reason=\"STATIC\",variant=\"deployed\"} 3",
        "serin_outcomes_total{experiment=\"tone\",result=\"late\",variant=\"brief\"} 4",
        "serin_outcomes_total{experiment=\"\",result=\"rejected\",variant=\"\"} 6",
        "serin_metric_observations_total{experiment=\"tone\",metric=\"resolved\",variant=\"control\"} 3",
        "serin_metric_sum{experiment=\"tone\",metric=\"resolved\",variant=\"control\"} 2.5",
        "serin_aa_evidence_ratio{experiment=\"tone\",guardrail=\"fallback\"} 0.5",
        "serin_aa_false_freeze{experiment=\"tone\",guardrail=\"fallback\"} 1",
        "serin_srm_evidence_ratio{experiment=\"tone\"} 1.5",
        "serin_outcome_missing_share{experiment=\"tone\",variant=\"control\"} 0.005",
        "serin_outcome_delay_p99_seconds{experiment=\"tone\",variant=\"control\"} 4",
        "serin_outcome_missing_evidence_ratio{experiment=\"tone\",variant=\"friendly\"} 0",
        "serin_store_up 0",
        "serin_exposures_dropped_total 8",
        "serin_journal_backlog_entries 9",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    assert_eq!(text.matches("\nserin_decisions_total{").count(), 3);
    assert!(
        !text.contains("serin_outcome_missing_share{experiment=\"tone\",variant=\"friendly\"}"),
        "a share that cannot be had is no series"
    );
    let series: Vec<&str> = text
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, _)| name)
        .collect();
    let distinct: HashSet<&&str> = series.iter().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        distinct.len(),
        series.iter().filter(|line| !line.starts_with('#')).count()
    );
    lint(&text);
}

fn lint(text: &str) {
    let process = Process::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut process = process.expect("promtool is missing: install the Debian package `prometheus`");
    process.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let complaints: Vec<&str> = said
        .lines()
        .filter(|line| !FIXED_NAMES.iter().any(|name| line.starts_with(name)))
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}
