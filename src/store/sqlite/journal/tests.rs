//! The journal by itself.

use super::*;

fn journal(folder: &tempfile::TempDir) -> Journal {
    Journal::open(&folder.path().join("serin.db")).unwrap()
}

fn entry(entry: &[u8], covered: u64) -> Writes<'_> {
    Writes {
        entry: Some(entry),
        covered,
        ..Writes::default()
    }
}

fn seqs(journal: &Journal) -> Vec<u64> {
    let mut seqs = Vec::new();
    journal
        .replay(|seq, bytes| {
            assert_eq!(bytes, seq.to_le_bytes());
            seqs.push(seq);
            Ok(())
        })
        .unwrap();
    seqs
}

#[test]
fn entries_come_back_in_order_and_numbers_go_on_after_a_trim() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = journal(&folder);
    for seq in 1..=40_u64 {
        log.commit(&entry(&seq.to_le_bytes(), 0)).unwrap();
    }
    assert_eq!(seqs(&log), (1..=40).collect::<Vec<_>>());
    // Covered ones go, some with each commit; the newest stays whatever is covered.
    log.commit(&entry(&41_u64.to_le_bytes(), 39)).unwrap();
    assert_eq!((log.first(), log.entries()), (17, 25));
    for _ in 0..2 {
        log.commit(&Writes {
            covered: 90,
            ..Writes::default()
        })
        .unwrap();
        assert_eq!((log.first(), log.entries()), (41, 1));
    }
    drop(log);
    let mut log = journal(&folder);
    assert_eq!((log.last(), seqs(&log)), (41, vec![41]));
    log.commit(&entry(&42_u64.to_le_bytes(), 0)).unwrap();
    log.tidy().unwrap();
    assert_eq!(log.waiting_pages(), 0);
    assert_eq!(seqs(&log), [41, 42]);
}

#[test]
fn one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let _log = journal(&folder);
    let second = Journal::open(&folder.path().join("serin.db")).unwrap_err();
    assert!(second.to_string().contains("another process"), "{second}");
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = journal(&folder);
    log.connection.execute_batch("PRAGMA user_version = 3").unwrap();
    drop(log);
    let error = Journal::open(&folder.path().join("serin.db")).unwrap_err();
    assert!(matches!(error, StoreError::Format(_)), "{error}");
}

#[test]
fn a_full_disk_writes_nothing_and_heals() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = journal(&folder);
    log.page_limit().store(20, std::sync::atomic::Ordering::Relaxed);
    let big = vec![7; 1 << 17];
    assert_eq!(log.commit(&entry(&big, 0)), Err(StoreError::Full));
    assert_eq!((log.last(), log.entries()), (0, 0));
    log.page_limit().store(0, std::sync::atomic::Ordering::Relaxed);
    log.commit(&entry(&big, 0)).unwrap();
    assert_eq!((log.last(), log.entries()), (1, 1));
}

#[test]
fn tagged_outcomes_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = journal(&folder);
    let row = |tag: String, item: u32| TaggedRow {
        experiment: 1,
        tag,
        item: item.to_string(),
    };
    for batch in 0..3 {
        let tagged = (0..MOST_TAGGED).map(|n| row("a".to_owned(), batch * MOST_TAGGED + n));
        log.commit(&Writes {
            tagged: tagged.collect(),
            ..Writes::default()
        })
        .unwrap();
    }
    let tagged = (0..70).map(|n| row(format!("t{n}"), n));
    log.commit(&Writes {
        tagged: tagged.collect(),
        ..Writes::default()
    })
    .unwrap();
    let kept = log.tagged(1, Some("a")).unwrap();
    assert_eq!(kept.len(), MOST_TAGGED as usize);
    assert_eq!(kept[0].item, (3 * MOST_TAGGED - 1).to_string());
    assert_eq!(
        log.tagged(1, None).unwrap().len(),
        MOST_TAGGED as usize + MOST_TAGS - 1
    );
    drop(log);
    assert_eq!(journal(&folder).tags[&1].len(), MOST_TAGS);
}

fn minutes(series: u32, hour: u32, arm: u8, through: u64) -> MinuteRow {
    MinuteRow {
        experiment: 7,
        series,
        hour,
        epoch: 1,
        arm,
        through,
        data: vec![arm; 3],
    }
}

fn store(log: &mut Journal, minutes: Vec<MinuteRow>, minutes_before: u32) {
    log.commit(&Writes {
        minutes,
        minutes_before,
        ..Writes::default()
    })
    .unwrap();
}

#[test]
fn minutes_are_replaced_read_in_pages_and_deleted_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = journal(&folder);
    let rows: Vec<_> = (0..300)
        .map(|n| minutes(5, n / 2, u8::from(n % 2 == 1), 1))
        .collect();
    store(&mut log, rows.iter().rev().cloned().collect(), 0);
    store(&mut log, vec![minutes(6, 3, 0, 1), minutes(5, 9, 0, 2)], 0);
    let mut read = Vec::new();
    let mut after = MinuteCursor::from_hour(4);
    loop {
        let page = log.minutes((7, 5), after, 120, 100).unwrap();
        let Some(last) = page.last() else { break };
        after = MinuteCursor::behind(last);
        read.extend(page);
    }
    let mut expected: Vec<_> = rows
        .iter()
        .filter(|row| (4..=120).contains(&row.hour))
        .cloned()
        .collect();
    let replaced = expected.iter_mut().find(|row| (row.hour, row.arm) == (9, 0));
    replaced.unwrap().through = 2;
    assert_eq!(read, expected);
    let mut hour = Vec::new();
    log.minutes_of(3, |row| {
        hour.push((row.series, row.arm));
        Ok(())
    })
    .unwrap();
    hour.sort_unstable();
    assert_eq!(hour, [(5, 0), (5, 1), (6, 0)]);
    // Some with each commit, the oldest first.
    assert!(log.has_minutes_before(1).unwrap() && !log.has_minutes_before(0).unwrap());
    store(&mut log, Vec::new(), 100);
    let oldest = log.minutes((7, 5), MinuteCursor::from_hour(0), 200, 1).unwrap();
    assert_eq!(oldest[0].hour, DELETED_WHEN_IDLE / 2 - 1);
    assert!(log.has_minutes_before(100).unwrap());
    store(&mut log, Vec::new(), 100);
    assert!(!log.has_minutes_before(100).unwrap() && log.has_minutes_before(101).unwrap());
}

#[test]
fn a_file_of_format_1_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = journal(&folder);
    log.commit(&entry(&1_u64.to_le_bytes(), 0)).unwrap();
    log.connection
        .execute_batch("DROP TABLE minutes; PRAGMA user_version = 1")
        .unwrap();
    drop(log);
    for _ in 0..2 {
        let mut log = journal(&folder);
        assert_eq!(seqs(&log), [1]);
        store(&mut log, vec![minutes(1, 2, 3, 4)], 0);
        let read = log.minutes((7, 1), MinuteCursor::from_hour(0), 2, 9).unwrap();
        assert_eq!(read, [minutes(1, 2, 3, 4)]);
    }
}
