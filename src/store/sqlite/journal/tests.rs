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
