//! One contract for every control log.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod support;

use serin::{
    domain::{
        command::Idempotency,
        event::{Event, Recorded},
        id::Revision,
    },
    store::{ControlLog, error::StoreError, memory::MemoryLog, sqlite::control_log::SqliteLog},
};
use support::{id, now};

fn entry(revision: u64) -> Recorded {
    Recorded {
        revision: Revision(revision),
        at: now(),
        actor: "tést".to_owned(),
        reason: "because \"quoted\"".to_owned(),
        event: Event::ExperimentStopped {
            id: id("e"),
            conclusion: None,
            results: None,
        },
        idempotency: (revision == 2).then(|| Idempotency {
            key: "ü \"1\"".to_owned(),
            request: "abc".to_owned(),
        }),
    }
}

fn check(log: &mut dyn ControlLog) {
    assert_eq!(log.read(Revision(0), 10).unwrap(), []);
    log.append(Revision(0), &[entry(1), entry(2)]).unwrap();
    log.append(Revision(2), &[entry(3)]).unwrap();
    for stale in [0, 1, 2, 4] {
        let refused = log.append(Revision(stale), &[entry(stale + 1)]);
        assert_eq!(
            refused,
            Err(StoreError::Conflict {
                expected: Revision(stale),
                found: Revision(3)
            })
        );
    }
    let revisions = |after, limit| -> Vec<u64> {
        log.read(Revision(after), limit)
            .unwrap()
            .iter()
            .map(|entry| entry.revision.0)
            .collect()
    };
    assert_eq!(revisions(0, 10), [1, 2, 3]);
    assert_eq!(revisions(1, 1), [2]);
    assert_eq!(revisions(3, 10), [0; 0]);
    assert_eq!(
        log.read(Revision(1), 1).unwrap(),
        [entry(2)],
        "what was written comes back as it was"
    );
}

#[test]
fn in_memory() {
    check(&mut MemoryLog::default());
}

#[test]
fn in_sqlite_and_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder/serin.db");
    check(&mut SqliteLog::open(&path).unwrap());
    let mut log = SqliteLog::open(&path).unwrap();
    assert_eq!(log.read(Revision(0), 10).unwrap().len(), 3);
    log.append(Revision(3), &[entry(4)]).unwrap();
}

#[test]
fn two_writers_cannot_both_win() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let won: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut log = SqliteLog::open(&path).unwrap();
                    (0..20)
                        .filter(|n| log.append(Revision(*n), &[entry(n + 1)]).is_ok())
                        .count()
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    let log = SqliteLog::open(&path).unwrap().read(Revision(0), 100).unwrap();
    assert_eq!(won, log.len(), "every append that said yes is there once");
    assert!(
        log.iter()
            .zip(1..)
            .all(|(entry, number)| entry.revision.0 == number)
    );
}

#[test]
fn a_file_that_is_no_log_is_told_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    std::fs::write(
        &path,
        "not a database, but long enough to be looked at as one".repeat(20),
    )
    .unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(SqliteLog::open(&path), Err(StoreError::Corrupt(_))));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
