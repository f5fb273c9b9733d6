//! The collector from outside: what is acknowledged is counted once, whatever happens in between.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use proptest::prelude::*;
use serin::routing::answer::Reason;
use serin::{
    clock::{Clock, ManualClock},
    collector::{
        Accepted, Collector, CollectorMetrics, CollectorOptions, SubmitError,
        exposures::{DEPLOYED, DecisionRecord, NO_EXPERIMENT},
        intake::Intake,
        observation::{Observation, RawOutcome, RawValue},
        series::{Series, Window},
        totals::{DecisionKey, OutcomeKey, OutcomeResult},
    },
    domain::{
        Timestamp,
        audience::Value,
        experiment::{
            EpochRecord, EvidenceClock, Experiment, ExperimentKind, ExperimentSpec, State, Variant,
            WantedStatus,
        },
        guardrail::{GuardrailSpec, Limit},
        id::{
            ArmIndex, AttributeName, Environment, Epoch, ExperimentId, ExperimentKey, MetricKey, MetricName,
            PromptKey, PromptName, Revision, VariantName, VersionNumber,
        },
        metric::{Goal, MetricKind, MetricSpec, SUCCESS_KEY},
        prompt::{Prompt, PromptContent, PromptDraft, PromptVersion, VersionRef},
    },
    routing::{
        hash,
        receipt::{Receipt, ReceiptKeys},
    },
    store::sqlite::journal::{Journal, StateRow},
};
use std::{
    io::{BufRead as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

const START: i64 = 1_795_000_000;
const DAY: Duration = Duration::from_secs(86_400);

const RESOLVED: MetricKey = MetricKey(0);
const SCORE: MetricKey = MetricKey(1);
const FALLBACK: MetricKey = MetricKey(2);
const ESCALATION: MetricKey = MetricKey(3);
const ERROR: MetricKey = MetricKey(5);
const LATENCY: MetricKey = MetricKey(6);
const ABOVE: MetricKey = MetricKey(9);
const METRICS: [&str; 10] = [
    "resolved",
    "score",
    "fallback",
    "escalation",
    "manual_correction",
    "error",
    "latency_ms",
    "cost_usd",
    "quality",
    "latency_ms>4000",
];
const ONE: ExperimentKey = ExperimentKey(1);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

fn second(second: i64) -> u32 {
    u32::try_from(START + second).unwrap()
}

fn metric(name: &str, kind: MetricKind, cap: Option<f64>) -> MetricSpec {
    MetricSpec {
        name: MetricName::new(name).unwrap(),
        kind,
        goal: Goal::Decrease,
        primary: false,
        cap,
        covariate: None,
        mde: None,
        margin: None,
    }
}

fn guardrail(metric: &str, above: Option<f64>, limit: Limit, settle_s: u64) -> GuardrailSpec {
    GuardrailSpec {
        metric: MetricName::new(metric).unwrap(),
        above,
        limit,
        margin: None,
        on_breach: None,
        settle: Duration::from_secs(settle_s),
    }
}

/// Two arms, four guarded measures, as many epochs as wanted, evidence since one of them.
fn experiment(key: u32, state: State, epochs: u32, since_epoch: u32) -> Experiment {
    let variant = |name: &str| Variant {
        name: VariantName::new(name).unwrap(),
        version: VersionRef::Number(VersionNumber(1)),
        weight: 1.0,
    };
    let spec = ExperimentSpec {
        id: ExperimentId::new(&format!("exp-{key}")).unwrap(),
        prompt: PromptName::new("support").unwrap(),
        environment: Environment::new("production").unwrap(),
        kind: ExperimentKind::Experiment,
        status: WantedStatus::Running,
        owner: None,
        hypothesis: None,
        unit: AttributeName::new("user").unwrap(),
        audience: None,
        traffic: 1.0,
        salt: None,
        start: None,
        end: None,
        layer: None,
        variants: vec![variant("control"), variant("friendly")],
        metrics: vec![
            metric("resolved", MetricKind::Rate, None),
            metric("score", MetricKind::Mean, Some(100.0)),
        ],
        guardrails: vec![
            guardrail("fallback", None, Limit::MaxRatio(1.25), 0),
            guardrail("error", None, Limit::MaxRatio(1.25), 5),
            guardrail("error", None, Limit::MaxRatio(1.5), 2),
            guardrail("escalation", None, Limit::MaxRate(0.05), 10),
            guardrail("latency_ms", Some(4000.0), Limit::MaxRatio(1.5), 0),
        ],
        rollout: None,
        overrides: std::collections::BTreeMap::new(),
        segments: std::collections::BTreeMap::new(),
        min_units: None,
        revert: Default::default(),
        drain_for: None,
    };
    let key_of = |name: &str| {
        let place = METRICS.iter().position(|known| *known == name).unwrap();
        MetricKey(u16::try_from(place).unwrap())
    };
    let began = |epoch: u32| at(i64::from(epoch) * 100 - 100);
    Experiment {
        key: ExperimentKey(key),
        measures: spec.measures(&[], key_of),
        segments: Vec::new(),
        covariates: Vec::new(),
        arms: spec.variants.iter().map(|variant| variant.name.clone()).collect(),
        spec: Arc::new(spec),
        file: None,
        state,
        epochs: (1..=epochs)
            .map(|epoch| EpochRecord {
                epoch: Epoch(epoch),
                since: began(epoch),
                revision: Revision(u64::from(epoch)),
                state: State::Running,
                stage: 0,
                control: ArmIndex(0),
                shares: Vec::new(),
            })
            .collect(),
        pinned: Vec::new(),
        started: Some(Revision(1)),
        freeze: None,
        hold: None,
        progress: None,
        conclusion: None,
        alerted: Vec::new(),
        evidence: Some(EvidenceClock::begun(
            (Epoch(since_epoch), began(since_epoch)),
            0.01,
            (0, 1),
            Duration::from_secs(32 * 60),
        )),
        created_at: at(0),
        changed_at: at(0),
        revision: Revision(1),
    }
}

fn keys() -> ReceiptKeys {
    ReceiptKeys::new([(1, [7; 16])])
}

/// Two versions, the second with a semver.
fn prompt() -> Arc<Prompt> {
    let version = |number: u32, semver: Option<&str>| {
        Arc::new(PromptVersion {
            number: VersionNumber(number),
            draft: PromptDraft {
                semver: semver.map(|semver| semver.parse().unwrap()),
                ..PromptDraft::of(PromptContent::Text(String::new()))
            },
            digest: String::new(),
            created_at: at(0),
            includes: Vec::new(),
        })
    };
    let mut prompt = Prompt::new(PromptName::new("support").unwrap(), PromptKey(1));
    prompt.add(version(1, None), "test");
    prompt.add(version(2, Some("1.1.0")), "test");
    Arc::new(prompt)
}

fn intake_of(experiments: impl IntoIterator<Item = Experiment>) -> Intake {
    let experiments: Vec<_> = experiments.into_iter().map(Arc::new).collect();
    Intake::compile(experiments.iter(), [prompt()].iter(), keys(), DAY)
}

fn intake() -> Intake {
    intake_of((1..=3).map(|key| experiment(key, State::Running, 2, 1)))
}

fn metrics() -> CollectorMetrics {
    let histogram = || prometheus::Histogram::with_opts(prometheus::HistogramOpts::new("a", "b")).unwrap();
    CollectorMetrics {
        decision_duration: histogram(),
        commit_duration: histogram(),
    }
}

/// A folder and a clock that outlive a collector. The clock begins at second 150, in epoch 2.
struct Bench {
    folder: tempfile::TempDir,
    clock: ManualClock,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: ManualClock::at(at(150)),
        }
    }

    fn open(&self) -> Collector {
        self.open_with(intake(), CollectorOptions::default())
    }

    fn open_with(&self, intake: Intake, options: CollectorOptions) -> Collector {
        let clock = Clock::Manual(self.clock.clone());
        open(self.folder.path(), clock, intake, options)
    }
}

fn open(folder: &Path, clock: Clock, intake: Intake, options: CollectorOptions) -> Collector {
    let journal = Journal::open(&folder.join("serin.db")).unwrap();
    Collector::open(journal, clock, intake, options, metrics()).unwrap()
}

/// Stores a piece with every commit, so that a stop at any time leaves a round half done.
fn always_storing() -> CollectorOptions {
    CollectorOptions {
        checkpoint_every: Duration::ZERO,
        checkpoint_bytes: 1,
        ..CollectorOptions::default()
    }
}

fn unit(n: u64) -> u64 {
    hash::analysis_hash(&n.to_le_bytes())
}

/// An outcome of unit `n`, always on the same arm, made at second 120 of epoch 2.
fn outcome(n: u64, values: &[(MetricKey, f64)]) -> Observation {
    Observation {
        experiment: ONE,
        epoch: Epoch(2),
        arm: ArmIndex(u8::from(n % 2 == 1)),
        unit_hash: unit(n),
        second: second(120),
        receipt: None,
        id: None,
        values: values.iter().copied().collect(),
        segments: Default::default(),
        covariates: Default::default(),
        again: false,
        tagging: None,
    }
}

fn with_receipt(n: u64, sequence: u32, values: &[(MetricKey, f64)]) -> Observation {
    Observation {
        receipt: Some((1, sequence)),
        ..outcome(n, values)
    }
}

fn exposure(n: u64) -> DecisionRecord {
    DecisionRecord {
        prompt: PromptKey(1),
        experiment: ONE,
        epoch: Epoch(2),
        arm: ArmIndex(u8::from(n % 2 == 1)),
        reason: Reason::Split,
        counted: true,
        unit_hash: unit(n),
        duration_ns: Some(90),
    }
}

#[allow(clippy::unnecessary_wraps, reason = "compared with an answer")]
fn accepted(accepted: u32, duplicates: u32) -> Result<Accepted, SubmitError> {
    let late = 0;
    Ok(Accepted {
        accepted,
        duplicates,
        late,
    })
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn counts_what_is_new_and_answers_after_that() {
    let bench = Bench::new();
    let collector = bench.open();
    let first = with_receipt(1, 1, &[(FALLBACK, 1.0), (LATENCY, 5000.0)]);
    let batch = vec![first.clone(), first.clone(), outcome(3, &[(SCORE, 250.0)])];
    assert_eq!(collector.submit(batch).await, accepted(2, 1));
    // Partly new: only the new metric counts. The same id again: nothing does.
    let partly = with_receipt(1, 1, &[(FALLBACK, 0.0), (RESOLVED, 1.0)]);
    assert_eq!(collector.submit(vec![partly]).await, accepted(1, 0));
    let named = |n, id| Observation {
        id: Some(id),
        ..outcome(n, &[(SCORE, 7.0)])
    };
    let batch = vec![named(5, 9), named(7, 9), named(5, 8)];
    assert_eq!(collector.submit(batch).await, accepted(2, 1));

    let arms = collector.arm_counts(ONE);
    assert_eq!(arms.len(), 1);
    let ((epoch, arm), counts) = &arms[0];
    assert_eq!((*epoch, *arm, counts.accepted), (Epoch(2), ArmIndex(1), 5));
    let sums = |metric| counts.cell(metric).map(|cell| (cell.n, cell.sum(), cell.clipped));
    assert_eq!(sums(FALLBACK), Some((1, 1.0, 0)));
    assert_eq!(sums(RESOLVED), Some((1, 1.0, 0)));
    assert_eq!(sums(LATENCY), Some((1, 5000.0, 0)));
    assert_eq!(sums(ABOVE), Some((1, 1.0, 0)));
    assert_eq!(sums(SCORE), Some((3, 114.0, 1)));
    assert_eq!(sums(ERROR), None);

    collector.count_rejected(None);
    let totals = collector.totals();
    let key = |result| OutcomeKey {
        experiment: Some(ONE),
        arm: Some(ArmIndex(1)),
        result,
    };
    assert_eq!(totals.outcomes[&key(OutcomeResult::Accepted)], 5);
    assert_eq!(totals.outcomes[&key(OutcomeResult::Duplicate)], 2);
    assert_eq!(totals.outcomes.values().sum::<u64>(), 8);
    assert_eq!(totals.metrics[&(ONE, ArmIndex(1), SCORE)].sum, 264.0);
    collector.shutdown().await.unwrap();
    assert_eq!(
        collector.submit(vec![outcome(1, &[(SCORE, 1.0)])]).await,
        Err(SubmitError::ShuttingDown)
    );
}

#[tokio::test]
async fn late_ones_count_for_their_epoch() {
    let bench = Bench::new();
    let collector = bench.open();
    let late = Observation {
        epoch: Epoch(1),
        ..outcome(1, &[(FALLBACK, 1.0)])
    };
    let answer = collector.submit(vec![late, outcome(1, &[(FALLBACK, 0.0)])]).await;
    assert_eq!(answer.unwrap().accepted, 2);
    assert_eq!(answer_late(&collector), 1);
    let epochs: Vec<_> = collector
        .arm_counts(ONE)
        .into_iter()
        .map(|(key, _)| key.0)
        .collect();
    assert_eq!(epochs, [Epoch(1), Epoch(2)]);
}

fn answer_late(collector: &Collector) -> u64 {
    let outcomes = collector.totals().outcomes;
    let late = outcomes
        .iter()
        .filter(|(key, _)| key.result == OutcomeResult::Late);
    late.map(|(_, count)| count).sum()
}

#[tokio::test]
async fn a_full_queue_is_said_at_once() {
    let bench = Bench::new();
    let options = CollectorOptions {
        most_queued: 10,
        ..CollectorOptions::default()
    };
    let collector = bench.open_with(intake(), options);
    let batch = |n| vec![outcome(1, &[(SCORE, 1.0)]); n];
    assert_eq!(collector.submit(batch(11)).await, Err(SubmitError::Overloaded));
    assert_eq!(collector.submit(batch(9)).await, accepted(9, 0));
    assert_eq!(collector.submit(batch(9)).await, accepted(9, 0));
}

/// Everything a restart can bring back wrong: many units, bad ones, young ones, exposures, receipts and ids.
async fn feed(collector: &Collector, batch: u32) {
    let rate = |hit: bool| f64::from(u8::from(hit));
    let outcomes = (batch * 40..batch * 40 + 40).map(|n| Observation {
        experiment: ExperimentKey(1 + n % 3),
        epoch: Epoch(1 + n % 2),
        second: second(148) - n % 20,
        id: (n % 4 == 0).then_some(u128::from(n)),
        ..with_receipt(
            u64::from(n % 90),
            n,
            &[
                (FALLBACK, rate(n % 5 == 0)),
                (ERROR, rate(n % 7 == 0)),
                (ESCALATION, rate(n % 11 == 0)),
                (LATENCY, f64::from(n * 37 % 6000)),
                (SCORE, f64::from(n % 300) / 3.0),
            ],
        )
    });
    for n in 0..10 {
        collector.recorder().record(exposure(u64::from(batch * 10 + n)));
    }
    let answer = collector.submit(outcomes.collect()).await.unwrap();
    assert_eq!((answer.accepted, answer.duplicates, answer.late), (40, 0, 20));
}

#[tokio::test]
async fn a_stop_at_any_time_loses_nothing_and_counts_nothing_twice() {
    let straight = Bench::new();
    let reference = straight.open();
    let mut states: Vec<Vec<StateRow>> = Vec::new();
    for batch in 0..12 {
        feed(&reference, batch).await;
        states.push(reference.encoded_counts());
    }
    for options in [CollectorOptions::default(), always_storing()] {
        let bench = Bench::new();
        for batch in 0..12_u32 {
            let collector = bench.open_with(intake(), options.clone());
            if let Some(before) = batch.checked_sub(1) {
                assert_eq!(
                    collector.encoded_counts(),
                    states[before as usize],
                    "after {batch}"
                );
                // A receipt and an id of the batch before.
                let by_receipt = with_receipt(3, before * 40 + 3, &[(FALLBACK, 1.0)]);
                let by_id = Observation {
                    id: Some(u128::from(before * 40 + 4)),
                    ..outcome(1, &[(FALLBACK, 1.0)])
                };
                assert_eq!(collector.submit(vec![by_receipt, by_id]).await, accepted(0, 2));
            }
            feed(&collector, batch).await;
            if batch % 5 == 4 {
                collector.shutdown().await.unwrap();
                assert!(collector.totals().journal_backlog <= 1);
            }
        }
        let collector = bench.open_with(intake(), options);
        assert_eq!(&collector.encoded_counts(), states.last().unwrap());
    }
}

#[tokio::test]
async fn rounds_trim_the_journal_while_outcomes_come() {
    let bench = Bench::new();
    let options = CollectorOptions {
        checkpoint_every: Duration::ZERO,
        ..CollectorOptions::default()
    };
    let collector = bench.open_with(intake(), options);
    for batch in 0..30 {
        feed(&collector, batch).await;
    }
    until("the journal is trimmed", || {
        collector.totals().journal_backlog <= 1
    })
    .await;
    let counted = collector.encoded_counts();
    drop(collector);
    assert_eq!(bench.open().encoded_counts(), counted);
}

#[tokio::test]
async fn an_acknowledged_outcome_has_its_exposure_on_disk() {
    let bench = Bench::new();
    let collector = bench.open();
    collector.recorder().record(exposure(1));
    collector.recorder().record(exposure(1));
    collector.recorder().record(DecisionRecord {
        experiment: NO_EXPERIMENT,
        epoch: Epoch(0),
        arm: DEPLOYED,
        reason: Reason::Static,
        counted: false,
        ..exposure(1)
    });
    collector
        .submit(vec![outcome(1, &[(FALLBACK, 0.0)])])
        .await
        .unwrap();
    let decisions = collector.totals().decisions;
    let key = |experiment, arm, reason| DecisionKey {
        prompt: PromptKey(1),
        experiment,
        arm,
        reason,
    };
    assert_eq!(decisions[&key(Some(ONE), Some(ArmIndex(1)), Reason::Split)], 2);
    assert_eq!(decisions[&key(None, None, Reason::Static)], 1);
    drop(collector);

    let collector = bench.open();
    let exposures = || collector.arm_counts(ONE)[0].1.exposures.clone();
    assert_eq!((exposures().requests, exposures().units.estimate()), (2, 1.0));
    // Without any outcome they are counted too, a little later.
    collector.recorder().record(exposure(3));
    until("exposures are journalled by themselves", || {
        exposures().requests == 3
    })
    .await;
}

#[tokio::test]
async fn bad_units_settle_before_they_count_and_watchers_hear_of_it() {
    let bench = Bench::new();
    let collector = bench.open();
    let mut changes = collector.subscribe_bad();
    let bad_at = |n, made: i64, metric| Observation {
        second: second(made),
        ..outcome(n, &[(metric, 1.0)])
    };
    let measure = |metric| {
        let guard = collector.guard(ONE).unwrap();
        guard.measure(metric).unwrap().clone()
    };
    let bad = |metric| {
        let counts = measure(metric).arm(ArmIndex(1)).cloned();
        counts.map_or((0, 0), |counts| (counts.bad_units, counts.pending))
    };
    // No settling time: at once; two of one unit are one.
    let batch = vec![
        bad_at(1, 149, FALLBACK),
        bad_at(1, 148, FALLBACK),
        bad_at(3, 30, FALLBACK),
    ];
    collector.submit(batch).await.unwrap();
    assert_eq!(bad(FALLBACK), (2, 0));
    let halved = measure(FALLBACK).steps.clone();
    assert!(
        halved
            .iter()
            .all(|step| step.halves.iter().sum::<u32>() == step.bad_units)
    );
    let steps: Vec<_> = measure(FALLBACK)
        .steps
        .iter()
        .map(|step| (step.block, step.epoch, step.arm, step.bad_units))
        .collect();
    assert_eq!(
        steps,
        [(0, Epoch(2), ArmIndex(1), 1), (2, Epoch(2), ArmIndex(1), 1)]
    );
    assert_eq!(changes.next().await.unwrap()[0].experiment, ONE);
    // 5 s, the longer one of two guardrails, from the end of the second; one of the two outcomes is old enough already.
    let batch = vec![bad_at(1, 147, ERROR), bad_at(3, 100, ERROR)];
    collector.submit(batch).await.unwrap();
    assert_eq!(bad(ERROR), (1, 1));
    assert_eq!(changes.next().await.unwrap()[0].experiment, ONE);
    bench.clock.advance(Duration::from_secs(3));
    assert_eq!(changes.next().await.unwrap()[0].experiment, ONE);
    assert_eq!(bad(ERROR), (2, 0));
    // 10 s and an absolute limit, which counts all outcomes. The first bad unit and its outcome raise one signal
    // each, which may come together or one after the other.
    let good = Observation {
        second: second(141),
        ..outcome(5, &[(ESCALATION, 0.0)])
    };
    let batch = vec![bad_at(1, 140, ESCALATION), bad_at(3, 150, ESCALATION), good];
    collector.submit(batch).await.unwrap();
    let absolute = || {
        let counts = measure(ESCALATION).arm(ArmIndex(1)).cloned().unwrap();
        counts.absolute.unwrap().total()
    };
    assert_eq!(absolute(), (2.0, 1.0));
    assert_eq!(changes.next().await.unwrap()[0].experiment, ONE);
    bench.clock.advance(Duration::from_secs(8));
    until("the last one settles", || absolute() == (3.0, 2.0)).await;
    assert_eq!(bad(ESCALATION), (2, 0));
    assert_eq!(changes.next().await.unwrap()[0].experiment, ONE);
    collector.shutdown().await.unwrap();
    while let Some(changed) = changes.next().await {
        assert_eq!(changed[0].experiment, ONE);
    }
}

#[tokio::test]
async fn a_new_evidence_period_starts_afresh_also_after_a_restart() {
    let bench = Bench::new();
    let resumed = || intake_of([experiment(1, State::Running, 3, 3)]);
    let of_epoch = |n, epoch| Observation {
        epoch: Epoch(epoch),
        ..outcome(n, &[(FALLBACK, 1.0)])
    };
    let bad = |collector: &Collector| -> u64 {
        let guard = collector.guard(ONE).unwrap();
        let arms = &guard.measure(FALLBACK).unwrap().arms;
        arms.iter().map(|arm| arm.bad_units).sum()
    };
    let collector = bench.open_with(intake(), always_storing());
    let batch = (0..6).map(|n| of_epoch(n, 2)).collect();
    collector.submit(batch).await.unwrap();
    assert_eq!(bad(&collector), 6);
    collector.set_intake(resumed());
    // Old epochs never enter; units that were bad before count again.
    let batch = vec![of_epoch(7, 2), of_epoch(1, 3), of_epoch(2, 3)];
    collector.submit(batch).await.unwrap();
    assert_eq!(bad(&collector), 2);
    drop(collector);
    for _ in 0..2 {
        let collector = bench.open_with(resumed(), always_storing());
        assert_eq!(bad(&collector), 2);
        assert_eq!(collector.guard(ONE).unwrap().since_epoch, Epoch(3));
        collector.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn tagged_outcomes_can_be_read_back() {
    let bench = Bench::new();
    let collector = bench.open();
    let receipt = receipt_at(140, 2, 1);
    let raw = RawOutcome {
        receipt: Some(&receipt),
        metrics: vec![("fallback".into(), RawValue::Bool(true))],
        tags: vec!["odd_refusal".into(), "german".into()],
        note: Some("said no".into()),
        ..RawOutcome::default()
    };
    let outcome = collector.intake().resolve(&raw, at(150)).unwrap();
    collector.submit(vec![outcome.clone()]).await.unwrap();
    assert_eq!(collector.submit(vec![outcome]).await, accepted(0, 1));
    let all = collector.examples(ONE, None).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all, collector.examples(ONE, Some("german")).await.unwrap());
    let example: serde_json::Value = serde_json::from_str(&all[0]).unwrap();
    assert_eq!(example["receipt"], receipt.as_str());
    assert_eq!(example["variant"], "friendly");
    assert_eq!(example["metrics"]["fallback"], 1.0);
    assert_eq!(example["note"], "said no");
    assert!(collector.examples(ONE, Some("other")).await.unwrap().is_empty());
}

#[tokio::test]
async fn deployed_versions_are_counted_outside_any_experiment() {
    let bench = Bench::new();
    let deployed = ExperimentKey::of_deployed(PromptKey(1));
    let version = Value::Text("1.1.0".into());
    let raw = |id| RawOutcome {
        prompt: Some("support"),
        version: Some(&version),
        id: Some(id),
        metrics: vec![("success".into(), RawValue::Bool(true))],
        tags: vec!["odd".into()],
        ..RawOutcome::default()
    };
    for round in 0..3 {
        let collector = bench.open_with(intake(), always_storing());
        let mut signals = collector.subscribe_bad();
        let outcomes = ["a", "b"].map(|id| collector.intake().resolve(&raw(id), at(150)).unwrap());
        let new = if round == 0 { 2 } else { 0 };
        assert_eq!(
            collector.submit(outcomes.to_vec()).await,
            accepted(new, 2 - new),
            "{round}"
        );
        let arms = collector.arm_counts(deployed);
        let [(place, counts)] = &arms[..] else {
            unreachable!("one version was reported: {arms:?}");
        };
        assert_eq!(*place, (Epoch(2), ArmIndex(0)));
        assert_eq!((counts.accepted, counts.cells.len()), (2, 1));
        assert!(counts.cell(SUCCESS_KEY).is_some());
        assert!(collector.guard(deployed).is_none());
        assert!(signals.take().is_empty(), "no guardrail is woken");
        let key = |result| OutcomeKey {
            experiment: Some(deployed),
            arm: Some(ArmIndex(0)),
            result,
        };
        let totals = collector.totals().outcomes;
        assert_eq!(totals.get(&key(OutcomeResult::Late)), None);
        assert_eq!(
            totals.get(&key(OutcomeResult::Accepted)).copied().unwrap_or(0),
            u64::from(new)
        );
        let examples = collector.examples(deployed, Some("odd")).await.unwrap();
        let example: serde_json::Value = serde_json::from_str(&examples[0]).unwrap();
        assert_eq!(
            (&example["prompt"], &example["version"]),
            (&"support".into(), &2.into())
        );
        assert_eq!(example["metrics"]["success"], 1.0);
        if round == 1 {
            collector.shutdown().await.unwrap();
        }
    }
}

fn receipt_at(made: i64, epoch: u32, arm: u8) -> String {
    let receipt = Receipt {
        experiment: ONE,
        epoch: Epoch(epoch),
        arm: ArmIndex(arm),
        unit_hash: unit(1),
        second: second(made),
        process: 1,
        sequence: 1,
        profile: None,
    };
    String::from_utf8(keys().sign(&receipt).unwrap().to_vec()).unwrap()
}

fn refusals_intake() -> Intake {
    intake_of([
        experiment(1, State::Running, 2, 1),
        experiment(2, State::Stopped, 2, 1),
        experiment(3, State::Frozen, 2, 1),
        experiment(4, State::Running, 0, 1),
    ])
}

#[test]
fn receipts_and_values_are_checked() {
    let intake = refusals_intake();
    let good = receipt_at(140, 2, 0);
    let resolve = |receipt: &str, name: &str, value| {
        let outcome = RawOutcome {
            receipt: Some(receipt),
            metrics: vec![(name.to_owned().into(), value)],
            ..RawOutcome::default()
        };
        intake.resolve(&outcome, at(150))
    };
    let observation = resolve(&good, "score", RawValue::Number(-2.5)).unwrap();
    assert_eq!(
        (observation.receipt, observation.second),
        (Some((1, 1)), second(140))
    );
    assert_eq!(observation.values.iter().collect::<Vec<_>>(), [(SCORE, -2.5)]);
    let observation = resolve(&good, "error", RawValue::Number(1.0)).unwrap();
    assert_eq!(observation.values.iter().collect::<Vec<_>>(), [(ERROR, 1.0)]);

    let mut forged = good.clone();
    let other = if &good[20..21] == "A" { "B" } else { "A" };
    forged.replace_range(20..21, other);
    let yes = RawValue::Bool(true);
    let number = RawValue::Number;
    let old = receipt_at(149 - 86_400, 2, 0);
    for (code, receipt, name, value) in [
        ("BAD_RECEIPT", forged.as_str(), "error", yes),
        ("BAD_RECEIPT", "nonsense", "error", yes),
        ("BAD_RECEIPT", &receipt_at(140, 9, 0), "error", yes),
        ("BAD_RECEIPT", &receipt_at(140, 2, 5), "error", yes),
        ("EXPIRED_RECEIPT", &old, "error", yes),
        ("EXPIRED_RECEIPT", &receipt_at(211, 2, 0), "error", yes),
        ("UNKNOWN_METRIC", &good, "latency_ms>4000", yes),
        ("UNKNOWN_METRIC", &good, "latency", number(1.0)),
        ("WRONG_TYPE", &good, "error", number(0.5)),
        ("WRONG_TYPE", &good, "error", RawValue::Other("string")),
        ("WRONG_TYPE", &good, "score", yes),
        ("WRONG_TYPE", &good, "score", RawValue::Other("null")),
        ("OUT_OF_RANGE", &good, "score", number(2e15)),
        ("OUT_OF_RANGE", &good, "score", number(f64::NAN)),
        ("OUT_OF_RANGE", &good, "latency_ms", number(-1.0)),
    ] {
        assert_eq!(
            resolve(receipt, name, value).unwrap_err().code,
            code,
            "{receipt} {name} {value:?}"
        );
    }
    let known = resolve(&good, "x", yes).unwrap_err().detail;
    assert!(
        known.contains("`x`") && known.contains("resolved, score, fallback"),
        "{known}"
    );
}

#[test]
fn names_are_checked() {
    let intake = refusals_intake();
    let resolve = |experiment, variant, unit: Option<&'static [u8]>| {
        let outcome = RawOutcome {
            experiment,
            variant,
            unit,
            metrics: vec![("error".into(), RawValue::Bool(true))],
            ..RawOutcome::default()
        };
        intake.resolve(&outcome, at(150))
    };
    let observation = resolve(Some("exp-3"), Some("friendly"), Some(b"u-1")).unwrap();
    assert_eq!((observation.epoch, observation.arm), (Epoch(2), ArmIndex(1)));
    assert_eq!(
        (observation.second, observation.unit_hash),
        (second(150), hash::analysis_hash(b"u-1"))
    );
    for (code, experiment, variant, unit) in [
        ("UNKNOWN_EXPERIMENT", None, None, None),
        (
            "UNKNOWN_EXPERIMENT",
            Some("exp-9"),
            Some("control"),
            Some(&b"u"[..]),
        ),
        ("UNKNOWN_VARIANT", Some("exp-1"), Some("x"), Some(b"u")),
        ("UNKNOWN_VARIANT", Some("exp-1"), None, Some(b"u")),
        ("NO_UNIT", Some("exp-1"), Some("control"), None),
        ("NO_UNIT", Some("exp-1"), Some("control"), Some(b"")),
        ("EXPERIMENT_NOT_LIVE", Some("exp-2"), Some("control"), Some(b"u")),
        ("EXPERIMENT_NOT_LIVE", Some("exp-4"), Some("control"), Some(b"u")),
    ] {
        let refused = resolve(experiment, variant, unit).unwrap_err();
        assert_eq!(refused.code, code, "{experiment:?} {variant:?} {unit:?}");
    }
}

#[test]
fn the_rest_of_an_outcome_is_checked() {
    let intake = refusals_intake();
    let good = receipt_at(140, 2, 0);
    let refused = |change: fn(&mut RawOutcome<'_>)| {
        let mut outcome = RawOutcome {
            receipt: Some(&good),
            metrics: vec![("error".into(), RawValue::Bool(true))],
            ..RawOutcome::default()
        };
        change(&mut outcome);
        intake.resolve(&outcome, at(150)).unwrap_err().code
    };
    assert_eq!(refused(|outcome| outcome.metrics.clear()), "NO_METRICS");
    assert_eq!(
        refused(|outcome| outcome.metrics.push(outcome.metrics[0].clone())),
        "AMBIGUOUS"
    );
    assert_eq!(refused(|outcome| outcome.unit = Some(b"u")), "AMBIGUOUS");
    assert_eq!(refused(|outcome| outcome.id = Some("")), "BAD_ID");
    assert_eq!(
        refused(|outcome| outcome.tags = vec!["x".repeat(65).into()]),
        "BAD_TAG"
    );
    assert_eq!(refused(|outcome| outcome.tags = vec!["a b".into()]), "BAD_TAG");
    assert_eq!(refused(|outcome| outcome.tags = vec!["a".into(); 17]), "BAD_TAG");
}

/// Outcomes of a few units, each with a receipt or an id of its own; numbers are whole, so that sums do not depend
/// on their order, and each unit has one moment, so that its first bad outcome does not either.
fn any_outcomes() -> impl Strategy<Value = Vec<Observation>> {
    let values = proptest::collection::btree_map(0..8_u16, 0..2_u8, 1..5);
    proptest::collection::vec((0..40_u32, 0..3_u32, values), 1..60).prop_map(|outcomes| {
        let outcomes = (0..).zip(outcomes).map(|(n, (unit, kind, values))| {
            let values: Vec<_> = values
                .into_iter()
                .map(|(key, value)| match MetricKey(key) {
                    key @ (SCORE | LATENCY | MetricKey(7)) => (key, f64::from(value) * 4001.0 + f64::from(n)),
                    key => (key, f64::from(value)),
                })
                .collect();
            Observation {
                second: second(150) - unit % 30,
                epoch: Epoch(1 + unit % 2),
                receipt: (kind > 0).then_some((unit, n * 1_000)),
                id: (kind < 2).then_some(1 + u128::from(n)),
                ..outcome(u64::from(unit), &values)
            }
        });
        outcomes.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn order_repetition_and_grouping_change_nothing(
        outcomes in any_outcomes(),
        order in proptest::collection::vec(any::<proptest::sample::Index>(), 0..80),
        group in 1..20_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let counted = |batches: Vec<Vec<Observation>>| {
            runtime.block_on(async {
                let bench = Bench::new();
                let collector = bench.open();
                let mut accepted = 0;
                for batch in batches {
                    accepted += collector.submit(batch).await.unwrap().accepted;
                }
                bench.clock.advance(Duration::from_secs(60));
                (accepted, collector.encoded_counts())
            })
        };
        let mut mixed: Vec<_> = order.iter().map(|index| index.get(&outcomes).clone()).collect();
        mixed.extend(outcomes.iter().rev().cloned());
        mixed.extend(outcomes.iter().cloned());
        let straight = counted(vec![outcomes]);
        let mixed = counted(mixed.chunks(group).map(<[_]>::to_vec).collect());
        prop_assert_eq!(straight, mixed);
    }
}

const CHILD: &str = "SERIN_TEST_OUTCOMES_FOLDER";

/// The other process of the next test; by itself it does nothing.
#[test]
fn child_that_gets_killed() {
    #[allow(
        clippy::disallowed_methods,
        reason = "how the test tells its other process what to do"
    )]
    let Ok(folder) = std::env::var(CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        // Each life begins at the same time and goes through many hours, so clocks jump back as well.
        let manual = ManualClock::at(at(150));
        let clock = Clock::Manual(manual.clone());
        let options = CollectorOptions {
            checkpoint_every: Duration::from_millis(20),
            checkpoint_bytes: 2_000,
            ..CollectorOptions::default()
        };
        let collector = open(Path::new(&folder), clock, intake(), options);
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..8 {
            let (collector, clock) = (collector.clone(), manual.clone());
            tasks.spawn(async move { send_forever(&collector, &clock, task).await });
        }
        // They only end by failing.
        tasks.join_next().await.unwrap().unwrap();
    });
}

async fn send_forever(collector: &Collector, clock: &ManualClock, task: u32) {
    let mut next = count_seen(collector, task).await + 1;
    loop {
        collector.submit(vec![numbered(task, next)]).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {task} {next}").unwrap();
        out.flush().unwrap();
        clock.advance(Duration::from_secs(100));
        next += 1;
    }
}

fn numbered(task: u32, number: u32) -> Observation {
    let sequence = task * 1_000_000 + number;
    with_receipt(u64::from(sequence), sequence, &[(SCORE, 1.0)])
}

/// Sends a task's numbers from the start until one is new, as a client would that had no answer; each task sends
/// without gaps, so that is how many had been counted.
async fn count_seen(collector: &Collector, task: u32) -> u32 {
    let mut number = 0;
    while collector
        .submit(vec![numbered(task, number)])
        .await
        .unwrap()
        .accepted
        == 0
    {
        number += 1;
    }
    number
}

#[test]
fn kill_9_loses_nothing_acknowledged_and_counts_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = [0_u32; 8];
    for life in 0..6_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_that_gets_killed", "--exact", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed after some answers, at a moment that the process cannot foresee.
        let mut left = 40 + life * 53;
        for line in lines.map_while(Result::ok) {
            let Some((_, answer)) = line.rsplit_once("acknowledged ") else {
                continue;
            };
            let (task, number) = answer.split_once(' ').unwrap();
            let count = &mut acknowledged[task.parse::<usize>().unwrap()];
            *count = (*count).max(number.parse::<u32>().unwrap() + 1);
            left = left.saturating_sub(1);
            if left == 0 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert_eq!(left, 0, "the other process ended by itself");
    }
    let clock = Clock::Manual(ManualClock::at(at(150)));
    let collector = open(folder.path(), clock, intake(), CollectorOptions::default());
    let arms = collector.arm_counts(ONE);
    let counted: u64 = arms.iter().map(|(_, counts)| counts.accepted).sum();
    let values: u64 = arms.iter().map(|(_, counts)| counts.cell(SCORE).unwrap().n).sum();
    assert_eq!(counted, values);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // The minutes have the same as the cells, each of them once.
    let window = Window {
        from: second(0) / 60,
        to: second(86_400) / 60,
        step: 60,
    };
    let found = runtime.block_on(collector.series(ONE, None, window)).unwrap();
    assert!(found.rows[0].points.len() > 2, "no hour was ever finished");
    for series in [Series::Outcomes, Series::Metric(SCORE)] {
        let rows = found.rows.iter().filter(|row| row.series == series);
        let n: u64 = rows.flat_map(|row| &row.points).map(|point| point.n).sum();
        assert_eq!(n, counted, "{series:?}");
    }
    let sketched: u64 = found
        .rows
        .iter()
        .filter_map(|row| Some(row.sketch.as_ref()?.count()))
        .sum();
    assert_eq!(sketched, counted);
    let mut seen = 0;
    for (task, acknowledged) in (0..).zip(acknowledged) {
        let first_new = runtime.block_on(count_seen(&collector, task));
        assert!(
            first_new >= acknowledged,
            "task {task}: {first_new} of {acknowledged}"
        );
        seen += u64::from(first_new);
    }
    assert_eq!(seen, counted);
}
