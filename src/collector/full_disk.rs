//! A test from inside, where the disk can be filled: nothing half counted, and no restart needed.

use super::{
    Accepted, Collector, CollectorMetrics, CollectorOptions, SubmitError, intake::Intake,
    observation::Observation,
};
use crate::{
    clock::Clock,
    domain::id::{ArmIndex, Epoch, ExperimentKey, MetricKey},
    routing::receipt::ReceiptKeys,
    store::sqlite::journal::Journal,
};
use std::{
    path::Path,
    sync::Arc,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

const ONE: ExperimentKey = ExperimentKey(1);

fn open(folder: &Path, options: CollectorOptions) -> (Collector, Arc<AtomicU32>) {
    let journal = Journal::open(&folder.join("serin.db")).unwrap();
    let limit = journal.page_limit();
    let lifetime = Duration::from_secs(86_400);
    let keys = ReceiptKeys::default();
    let intake = Intake::compile(std::iter::empty(), std::iter::empty(), keys, lifetime);
    let histogram = || prometheus::Histogram::with_opts(prometheus::HistogramOpts::new("a", "b")).unwrap();
    let metrics = CollectorMetrics {
        decision_duration: histogram(),
        commit_duration: histogram(),
    };
    let collector = Collector::open(journal, Clock::System, intake, options, metrics).unwrap();
    (collector, limit)
}

fn batch(first: u32) -> Vec<Observation> {
    let outcome = |n: u32| Observation {
        experiment: ONE,
        epoch: Epoch(1),
        arm: ArmIndex(0),
        unit_hash: u64::from(n),
        second: 1_795_000_000,
        receipt: Some((1, n)),
        id: Some(u128::from(n)),
        values: std::iter::once((MetricKey(1), 1.0)).collect(),
        segments: Default::default(),
        covariates: Default::default(),
        again: false,
        tagging: None,
    };
    (first..first + 200).map(outcome).collect()
}

fn counted(collector: &Collector) -> u64 {
    let arms = collector.arm_counts(ONE);
    arms.iter().map(|(_, counts)| counts.accepted).sum()
}

async fn check(options: CollectorOptions) {
    let folder = tempfile::tempdir().unwrap();
    let (collector, limit) = open(folder.path(), options.clone());
    limit.store(40, Ordering::Relaxed);
    let mut fitted = 0;
    while collector.submit(batch(fitted)).await.is_ok() {
        fitted += 200;
        assert!(fitted < 1_000_000, "the disk never fills");
    }
    assert!(fitted > 0, "not even one batch fits");
    assert_eq!(
        collector.submit(batch(fitted)).await,
        Err(SubmitError::StorageFull)
    );
    assert!(!collector.store_up());
    assert_eq!(counted(&collector), u64::from(fitted));

    limit.store(0, Ordering::Relaxed);
    // What was refused is new; what was taken is not.
    let again = |accepted, duplicates| {
        let late = accepted;
        Ok(Accepted {
            accepted,
            duplicates,
            late,
        })
    };
    assert_eq!(collector.submit(batch(fitted)).await, again(200, 0));
    assert_eq!(collector.submit(batch(fitted)).await, again(0, 200));
    assert_eq!(collector.submit(batch(0)).await, again(0, 200));
    assert!(collector.store_up());
    assert_eq!(counted(&collector), u64::from(fitted) + 200);
    let state = collector.encoded_counts();
    drop(collector);
    let (collector, _) = open(folder.path(), options);
    assert_eq!(collector.encoded_counts(), state);
    assert_eq!(collector.submit(batch(fitted)).await, again(0, 200));
}

#[tokio::test]
async fn a_full_disk_refuses_and_heals() {
    check(CollectorOptions::default()).await;
}

#[tokio::test]
async fn a_full_disk_in_the_middle_of_a_checkpoint_refuses_and_heals() {
    check(CollectorOptions {
        checkpoint_every: Duration::from_millis(5),
        checkpoint_bytes: 3_000,
        ..CollectorOptions::default()
    })
    .await;
}
