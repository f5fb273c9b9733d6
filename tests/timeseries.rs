//! Counts by minute and by segment: through hours, restarts, odd clocks and old age.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod support;

use proptest::prelude::*;
use serde_json::json;
use serin::{
    clock::{Clock, ManualClock},
    collector::{
        Collector, CollectorMetrics, CollectorOptions,
        arm_counts::ArmCounts,
        exposures::DecisionRecord,
        intake::Intake,
        observation::Observation,
        offline::OfflineCollector,
        series::{MOST_STEPS, Series, SeriesError, SeriesRow, SeriesWindow, Window},
    },
    domain::{
        Timestamp,
        experiment::Experiment,
        id::{ArmIndex, Epoch, ExperimentKey, MetricKey, PromptKey},
        metric::Covariates,
        segment::SegmentCodes,
    },
    routing::{answer::Reason, hash, receipt::ReceiptKeys},
    store::sqlite::journal::Journal,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use support::World;

/// 10 hours after midnight of a day, in minutes since 1970.
const TEN: u32 = 1_795_089_600 / 60 + 600;
const HOUR: Duration = Duration::from_secs(3_600);

fn at(minute: u32) -> Timestamp {
    Timestamp::from_second(i64::from(minute) * 60).unwrap()
}

fn second(minute: u32) -> u32 {
    minute * 60
}

/// Two arms; a rate, a mean with a cap and a covariate; two attributes of segments.
fn experiment() -> Arc<Experiment> {
    let world = World::with(&[json!({
        "id": "e", "prompt": "p", "environment": "production", "kind": "experiment", "status": "running",
        "unit": "user", "traffic": 1.0,
        "variants": [{"name": "control", "version": 1, "weight": 1}, {"name": "new", "version": 2, "weight": 1}],
        "metrics": [{"name": "resolved", "kind": "rate", "goal": "increase"},
                    {"name": "seconds", "kind": "mean", "goal": "decrease", "cap": 100.0, "covariate": "before"}],
        "guardrails": [{"metric": "seconds", "above": 50.0, "max_ratio": 1.5}],
        "segments": {"plan": ["free", "pro"], "country": ["DE"]},
    })]);
    let view = world.plane.view();
    Arc::clone(&view.catalog.experiments[&support::id("e")])
}

fn metric(experiment: &Experiment, name: &str) -> MetricKey {
    let mut measures = experiment.measures.iter();
    measures.find(|measure| measure.name == name).unwrap().key
}

fn intake(experiment: &Arc<Experiment>) -> Intake {
    let day = Duration::from_secs(86_400);
    Intake::compile(
        std::iter::once(experiment),
        std::iter::empty(),
        ReceiptKeys::default(),
        day,
    )
}

/// A folder, a clock and a design that outlive a collector.
struct Bench {
    folder: tempfile::TempDir,
    clock: ManualClock,
    experiment: Arc<Experiment>,
}

impl Bench {
    fn at(minute: u32) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: ManualClock::at(at(minute)),
            experiment: experiment(),
        }
    }

    fn open(&self) -> Collector {
        self.open_with(CollectorOptions::default())
    }

    fn open_with(&self, options: CollectorOptions) -> Collector {
        let journal = Journal::open(&self.folder.path().join("serin.db")).unwrap();
        let clock = Clock::Manual(self.clock.clone());
        let histogram =
            || prometheus::Histogram::with_opts(prometheus::HistogramOpts::new("a", "b")).unwrap();
        let metrics = CollectorMetrics {
            decision_duration: histogram(),
            commit_duration: histogram(),
        };
        Collector::open(journal, clock, intake(&self.experiment), options, metrics).unwrap()
    }

    fn key(&self, name: &str) -> Series {
        Series::Metric(metric(&self.experiment, name))
    }

    /// An outcome of unit `n`, on the arm of its parity.
    fn outcome(&self, n: u32, seconds: f64) -> Observation {
        let values = [("resolved", f64::from(n % 3 / 2)), ("seconds", seconds)];
        Observation {
            experiment: self.experiment.key,
            epoch: Epoch(1),
            arm: ArmIndex(u8::from(n % 2 == 1)),
            unit_hash: hash::analysis_hash(&n.to_le_bytes()),
            second: second(TEN),
            receipt: Some((1, n)),
            id: None,
            values: values
                .iter()
                .map(|(name, value)| (metric(&self.experiment, name), *value))
                .collect(),
            segments: SegmentCodes::default()
                .with(0, Some(n as usize % 2))
                .with(1, n.is_multiple_of(5).then_some(0)),
            covariates: Covariates([n.is_multiple_of(4).then_some(1.5), None]),
            again: false,
            tagging: None,
        }
    }

    fn set_clock(&self, minute: u32) {
        self.clock.set(at(minute));
    }
}

fn window(from: u32, to: u32, step: u32) -> Window {
    Window { from, to, step }
}

async fn read(collector: &Collector, series: impl Into<Option<Series>>, window: Window) -> SeriesWindow {
    let key = experiment().key;
    collector.series(key, series.into(), window).await.unwrap()
}

/// Minute, n and sum of one arm.
fn points(found: &SeriesWindow, arm: u8) -> Vec<(u32, u64, f64)> {
    let rows = found.rows.iter().filter(|row| row.arm == ArmIndex(arm));
    rows.flat_map(|row| &row.points)
        .map(|point| (point.minute, point.n, point.sum))
        .collect()
}

fn total(found: &SeriesWindow) -> u64 {
    let rows = found.rows.iter().flat_map(|row| &row.points);
    rows.map(|point| point.n).sum()
}

/// Stores a piece with every commit, so that a stop at any time leaves a round half done.
fn always_storing() -> CollectorOptions {
    CollectorOptions {
        checkpoint_every: Duration::ZERO,
        checkpoint_bytes: 1,
        ..CollectorOptions::default()
    }
}

/// Waits until a window has no more than `n` in all, and then it must have as many.
async fn until_total(collector: &Collector, series: Option<Series>, all: Window, n: u64) -> SeriesWindow {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let found = read(collector, series, all).await;
        if total(&found) <= n {
            assert_eq!(total(&found), n);
            return found;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{} are left",
            total(&found)
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn minutes_hold_what_arrived_in_them_across_an_hour_and_a_restart() {
    let bench = Bench::at(TEN + 58);
    let collector = bench.open();
    collector.recorder().record(DecisionRecord {
        prompt: PromptKey(1),
        experiment: bench.experiment.key,
        epoch: Epoch(1),
        arm: ArmIndex(0),
        reason: Reason::Split,
        counted: true,
        unit_hash: 1,
        duration_ns: None,
    });
    let batch = vec![
        bench.outcome(0, 30.0),
        bench.outcome(2, 250.0),
        bench.outcome(3, 60.0),
    ];
    collector.submit(batch).await.unwrap();
    bench.set_clock(TEN + 59);
    collector.submit(vec![bench.outcome(4, 7.0)]).await.unwrap();
    bench.set_clock(TEN + 60);
    collector.submit(vec![bench.outcome(6, 8.0)]).await.unwrap();
    // The receipts have reported already.
    collector.submit(vec![bench.outcome(6, 8.0)]).await.unwrap();

    let all = window(TEN, TEN + 120, 1);
    let check = async |collector: &Collector| {
        let requests = read(collector, Series::Requests, all).await;
        assert_eq!(points(&requests, 0), [(TEN + 58, 1, 0.0)]);
        let outcomes = read(collector, Series::Outcomes, all).await;
        assert_eq!(
            points(&outcomes, 0),
            [(TEN + 58, 2, 0.0), (TEN + 59, 1, 0.0), (TEN + 60, 1, 0.0)]
        );
        let seconds = read(collector, bench.key("seconds"), all).await;
        // Clipped as the cells clip, while the sketch has the raw value.
        assert_eq!(
            points(&seconds, 0),
            [(TEN + 58, 2, 130.0), (TEN + 59, 1, 7.0), (TEN + 60, 1, 8.0)]
        );
        assert_eq!(points(&seconds, 1), [(TEN + 58, 1, 60.0)]);
        let sketch = seconds.rows[0].sketch.as_ref().unwrap();
        assert_eq!((sketch.count(), sketch.max()), (4, Some(250.0)));
        assert_eq!(seconds.partial_hours, [0; 0]);
        let derived = read(collector, bench.key("seconds>50"), all).await;
        assert_eq!(points(&derived, 0)[0], (TEN + 58, 2, 1.0));
        assert_eq!(derived.rows[0].sketch, None);
        // By the hour, and a part of one.
        let hourly = read(collector, bench.key("seconds"), window(TEN, TEN + 120, 60)).await;
        assert_eq!(points(&hourly, 0), [(TEN, 3, 137.0), (TEN + 60, 1, 8.0)]);
        let part = read(collector, bench.key("seconds"), window(TEN + 59, TEN + 60, 1)).await;
        assert_eq!(points(&part, 0), [(TEN + 59, 1, 7.0)]);
        assert_eq!(part.rows[0].sketch.as_ref().unwrap().count(), 3);
        assert_eq!(part.partial_hours, [TEN / 60]);
        // Everything at once is the same, and nothing is in an empty window.
        let everything = read(collector, None, all).await;
        let of = |series| everything.rows.iter().filter(move |row| row.series == series);
        assert!(of(bench.key("seconds")).eq(&seconds.rows));
        assert!(of(Series::Requests).eq(&requests.rows));
        assert_eq!(read(collector, None, window(TEN, TEN + 58, 1)).await.rows, []);
        assert_eq!(read(collector, None, window(TEN, TEN, 1)).await.rows, []);
    };
    check(&collector).await;
    let state = collector.encoded_counts();
    drop(collector);
    // From the journal, then from what is stored.
    let collector = bench.open();
    assert_eq!(collector.encoded_counts(), state);
    check(&collector).await;
    collector.shutdown().await.unwrap();
    let collector = bench.open();
    assert_eq!(collector.encoded_counts(), state);
    check(&collector).await;
    assert_eq!(
        collector
            .series(bench.experiment.key, None, window(TEN, TEN + MOST_STEPS + 1, 1))
            .await,
        Err(SeriesError::TooLong {
            found: MOST_STEPS + 1
        })
    );
}

/// What each minute should have, by arm.
type Expected = BTreeMap<(u8, u32), (u64, f64)>;

fn counted(found: &SeriesWindow) -> Expected {
    let mut counted = Expected::new();
    for row in &found.rows {
        for point in &row.points {
            let before = counted.insert((row.arm.0, point.minute), (point.n, point.sum));
            assert_eq!(before, None);
        }
    }
    counted
}

#[tokio::test]
async fn clocks_that_jump_and_processes_that_end_lose_and_double_nothing() {
    // Over borders of hours, far ahead, back again, and a flapping one.
    let jumps = [
        0, 1, 59, 60, 61, 130, 59, 60, 59, 60, 50_000, 62, 0, 63, 190, 191, 61, 2,
    ];
    for options in [CollectorOptions::default(), always_storing()] {
        for restarts in [1, 2, 5, 100] {
            let bench = Bench::at(TEN);
            let mut collector = bench.open_with(options.clone());
            let mut expected = Expected::new();
            let mut next = 0;
            for (turn, jump) in jumps.into_iter().enumerate() {
                let minute = TEN + jump;
                bench.set_clock(minute);
                for _ in 0..3 {
                    let batch = [40.0, 50.0].map(|seconds| {
                        next += 1;
                        let (n, sum) = expected.entry(((next % 2) as u8, minute)).or_default();
                        (*n, *sum) = (*n + 1, *sum + seconds);
                        bench.outcome(next, seconds)
                    });
                    collector.submit(batch.to_vec()).await.unwrap();
                }
                if turn % restarts == restarts - 1 {
                    let state = collector.encoded_counts();
                    if turn % 3 == 0 {
                        collector.shutdown().await.unwrap();
                    }
                    drop(collector);
                    collector = bench.open_with(options.clone());
                    assert_eq!(collector.encoded_counts(), state);
                }
            }
            let near = read(&collector, bench.key("seconds"), window(TEN, TEN + 240, 1)).await;
            let far = window(TEN + 49_980, TEN + 50_040, 1);
            let far = read(&collector, bench.key("seconds"), far).await;
            let mut found = counted(&near);
            found.extend(counted(&far));
            assert_eq!(found, expected, "a restart every {restarts} turns");
            let sketched: u64 = near
                .rows
                .iter()
                .map(|row| row.sketch.as_ref().unwrap().count())
                .sum();
            assert_eq!(sketched, total(&near));
        }
    }
}

#[tokio::test]
async fn many_stored_hours_come_in_pages_and_old_ones_go() {
    let bench = Bench::at(TEN);
    let options = CollectorOptions {
        checkpoint_every: Duration::ZERO,
        timeseries_days: 10,
        ..CollectorOptions::default()
    };
    let collector = bench.open_with(options.clone());
    let hours = 24 * 12;
    for n in 0..hours {
        collector.submit(vec![bench.outcome(2 * n, 5.0)]).await.unwrap();
        bench.clock.advance(HOUR);
    }
    let end = TEN + hours * 60;
    let all = window(TEN, end, 60);
    let kept = hours - 48;
    let found = until_total(&collector, Some(bench.key("seconds")), all, u64::from(kept)).await;
    let sketch = found.rows[0].sketch.as_ref().unwrap();
    assert_eq!((sketch.count(), found.rows.len()), (u64::from(kept), 1));
    let minutes: Vec<u32> = found.rows[0].points.iter().map(|point| point.minute).collect();
    assert_eq!(minutes, (48..hours).map(|n| TEN + n * 60).collect::<Vec<_>>());
    // Without traffic they go too, in time.
    bench.clock.advance(HOUR * 24 * 9);
    drop(collector);
    let collector = bench.open_with(options);
    // A day each of outcomes, of two metrics and of what a guardrail made of one; the counts themselves stay.
    until_total(&collector, None, all, 4 * 24).await;
    let arms = collector.arm_counts(bench.experiment.key);
    assert_eq!(arms[0].1.accepted, u64::from(hours));
}

#[tokio::test]
async fn journal_trimmed_in_the_middle_of_an_hour_is_not_missed() {
    let bench = Bench::at(TEN);
    let options = CollectorOptions {
        checkpoint_every: Duration::ZERO,
        ..CollectorOptions::default()
    };
    let collector = bench.open_with(options.clone());
    for n in 0..40 {
        collector.submit(vec![bench.outcome(n, 1.0)]).await.unwrap();
    }
    until("the journal is trimmed", || {
        collector.totals().journal_backlog <= 1
    })
    .await;
    drop(collector);
    bench.set_clock(TEN + 1);
    let collector = bench.open_with(options);
    collector.submit(vec![bench.outcome(100, 1.0)]).await.unwrap();
    let found = read(&collector, bench.key("seconds"), window(TEN, TEN + 60, 1)).await;
    assert_eq!(points(&found, 0), [(TEN, 20, 20.0), (TEN + 1, 1, 1.0)]);
    assert_eq!(points(&found, 1), [(TEN, 20, 20.0)]);
}

#[tokio::test]
async fn segments_add_up_to_the_whole_and_come_back() {
    let bench = Bench::at(TEN);
    let collector = bench.open_with(always_storing());
    let seconds = metric(&bench.experiment, "seconds");
    for batch in 0..8_u32 {
        let outcomes = (batch * 25..batch * 25 + 25).map(|n| bench.outcome(n, f64::from(n)));
        collector.submit(outcomes.collect()).await.unwrap();
    }
    let arms = collector.arm_counts(bench.experiment.key);
    assert_eq!(arms.len(), 2);
    for (_, counts) in &arms {
        adds_up(counts, &bench.experiment);
    }
    let control = &arms[0].1;
    let cell = control.cell(seconds).unwrap();
    // The sketch has what the cap of 100 cuts.
    let sketch = cell.sketch.as_ref().unwrap();
    assert_eq!(
        (sketch.count(), sketch.max(), cell.clipped),
        (100, Some(198.0), 49)
    );
    let rate = control.cell(metric(&bench.experiment, "resolved")).unwrap();
    assert_eq!((&rate.sketch, &rate.covariate), (&None, &None));
    let above = metric(&bench.experiment, "seconds>50");
    assert!(control.cell(above).is_some() && control.segment_cells.segments(above).next().is_none());
    let state = collector.encoded_counts();
    drop(collector);
    let collector = bench.open();
    assert_eq!(collector.encoded_counts(), state);
    collector.shutdown().await.unwrap();
    assert_eq!(bench.open().encoded_counts(), state);
}

/// For every reported metric the segments of each attribute have between them what the whole has.
fn adds_up(counts: &ArmCounts, experiment: &Experiment) {
    let reported = ["resolved", "seconds"].map(|name| metric(experiment, name));
    for key in reported {
        let whole = counts.cell(key).unwrap();
        for attribute in 0..experiment.segments.len() {
            let mut sum = serin::collector::cells::Cell::default();
            let segments = counts.segment_cells.segments(key);
            let of_attribute = segments.filter(|(segment, _)| segment.attribute() == attribute);
            of_attribute.for_each(|(_, cell)| sum.merge(cell));
            assert_eq!(
                (sum.n, sum.clipped, sum.sum()),
                (whole.n, whole.clipped, whole.sum())
            );
            assert_eq!(sum.buckets, whole.buckets);
            assert_eq!(sum.sum_sq_shifted, whole.sum_sq_shifted);
        }
    }
}

#[tokio::test]
async fn versions_without_an_experiment_are_counted_by_what_the_built_in_metrics_are() {
    let bench = Bench::at(TEN);
    let collector = bench.open();
    let key = ExperimentKey(1 << 31 | 7);
    let [fallback, latency, declared] = [0, 4, 9].map(MetricKey);
    let outcome = |n, values: &[(MetricKey, f64)]| Observation {
        experiment: key,
        epoch: Epoch(3),
        arm: ArmIndex(0),
        values: values.iter().copied().collect(),
        ..bench.outcome(n, 0.0)
    };
    let batch = vec![
        outcome(1, &[(fallback, 1.0), (latency, 900.0)]),
        outcome(2, &[(latency, 100.0), (declared, 2.0)]),
    ];
    collector.submit(batch).await.unwrap();
    let check = async |collector: &Collector| {
        let arms = collector.arm_counts(key);
        let ((epoch, _), counts) = &arms[0];
        assert_eq!((*epoch, counts.accepted, arms.len()), (Epoch(3), 2, 1));
        assert_eq!(counts.cell(latency).unwrap().sketch.as_ref().unwrap().count(), 2);
        assert_eq!(counts.cell(fallback).unwrap().sketch, None);
        assert_eq!(counts.cell(declared).unwrap().sketch, None);
        let found = collector
            .series(key, None, window(TEN, TEN + 1, 1))
            .await
            .unwrap();
        let row = |series| -> &SeriesRow { found.rows.iter().find(|row| row.series == series).unwrap() };
        let row_of = row(Series::Metric(latency));
        assert_eq!((row_of.points[0].n, row_of.points[0].sum), (2, 1000.0));
        assert_eq!(row_of.sketch.as_ref().unwrap().max(), Some(900.0));
        assert_eq!(row(Series::Metric(fallback)).sketch, None);
        assert_eq!(row(Series::Outcomes).points[0].n, 2);
    };
    check(&collector).await;
    collector.shutdown().await.unwrap();
    check(&bench.open()).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn arms_merge_in_any_order(
        outcomes in proptest::collection::vec((0..60_u32, 0..300_u32), 1..80),
        parts in 1..5_usize,
        turn in 0..5_usize,
    ) {
        let bench = Bench::at(TEN);
        let counted = |outcomes: &[(u32, u32)]| {
            let mut fold = OfflineCollector::new(intake(&bench.experiment));
            let outcomes: Vec<_> = outcomes
                .iter()
                .map(|(n, seconds)| bench.outcome(n * 2, f64::from(*seconds)))
                .collect();
            fold.fold(&OfflineCollector::entry(second(TEN), &outcomes)).unwrap();
            let arms = fold.arm_counts(bench.experiment.key);
            arms.first().map(|(_, counts)| ArmCounts::clone(counts)).unwrap_or_default()
        };
        let whole = counted(&outcomes);
        let mut pieces: Vec<_> = outcomes.chunks(outcomes.len().div_ceil(parts)).map(counted).collect();
        let places = pieces.len();
        pieces.rotate_left(turn % places);
        let mut merged = ArmCounts::default();
        pieces.iter().for_each(|piece| merged.merge(piece));
        prop_assert_eq!(&merged, &whole);
        adds_up(&merged, &bench.experiment);
    }
}
