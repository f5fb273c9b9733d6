//! The journal of outcomes in SQLite, with the checkpoint of everything counted.
//!
//! Owns one file beside the control log and uses it alone. Knows nothing of what it keeps: entries and states are
//! bytes, and what they mean is the collector's. Every commit is on disk when it returns; a commit that fails has
//! changed nothing. Only the collector's writer thread calls it.

mod minutes;
mod rows;

pub use rows::{IdRow, MinuteCursor, MinuteRow, ReceiptRow, STATE_KEY, StateRow, TaggedRow, Writes};

use crate::store::error::StoreError;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, TransactionBehavior, params};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
};

/// Tagged outcomes kept per experiment and tag: the newest.
pub const MOST_TAGGED: u32 = 200;
/// Tags kept per experiment: the first.
pub const MOST_TAGS: usize = 64;

/// Format 1 had no minutes.
const FORMAT: i64 = 2;
const PAGE: usize = 4096;
/// Old rows deleted per commit: more than one commit adds, few enough to go unnoticed.
const DELETED_PER_COMMIT: u32 = 16;
/// The same for a commit without an entry, which nobody waits for.
const DELETED_WHEN_IDLE: u32 = 128;
const SCHEMA: &str = "
    CREATE TABLE journal (seq INTEGER PRIMARY KEY, entry BLOB NOT NULL);
    CREATE TABLE state (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, through INTEGER NOT NULL, data BLOB NOT NULL);
    CREATE TABLE receipts (block INTEGER PRIMARY KEY, newest INTEGER NOT NULL, data BLOB NOT NULL);
    CREATE INDEX receipts_by_age ON receipts (newest);
    CREATE TABLE ids (generation INTEGER NOT NULL, part INTEGER NOT NULL, started INTEGER NOT NULL,
                      data BLOB NOT NULL, UNIQUE (generation, part));
    CREATE TABLE tagged (id INTEGER PRIMARY KEY AUTOINCREMENT, experiment INTEGER NOT NULL, tag TEXT NOT NULL,
                         item TEXT NOT NULL);
    CREATE INDEX tagged_by_tag ON tagged (experiment, tag, id);";

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    connection: Connection,
    /// Number of the oldest entry still there, or of the next one.
    first: u64,
    /// Number of the newest entry ever.
    last: u64,
    /// Pages in the write-ahead log that are not in the file yet, about.
    waiting_pages: usize,
    tags: HashMap<u32, HashSet<String>>,
    #[cfg(test)]
    page_limit: std::sync::Arc<std::sync::atomic::AtomicU32>,
}

impl Journal {
    /// Opens the journal that belongs to the control log at `control_log`: `data/serin.db` has
    /// `data/serin-outcomes.db`. It is created when there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be used or another process uses it,
    /// [`StoreError::Format`] when a newer version wrote it, [`StoreError::Corrupt`] when it is damaged.
    pub fn open(control_log: &Path) -> Result<Self, StoreError> {
        let path = Self::path_beside(control_log);
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        }
        let mut connection = Connection::open(&path).map_err(store_error)?;
        prepare(&connection).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StoreError::Unavailable(format!("{} is in use by another process", path.display()))
            }
            _ => store_error(error),
        })?;
        let format: i64 = connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(store_error)?;
        if !(0..=FORMAT).contains(&format) {
            let problem = format!(
                "{} has format {format}, this program knows {FORMAT}",
                path.display()
            );
            return Err(StoreError::Format(problem));
        }
        if format < FORMAT {
            update(&mut connection, format).map_err(store_error)?;
        }
        let mut journal = Self {
            connection,
            first: 0,
            last: 0,
            waiting_pages: 0,
            tags: HashMap::new(),
            #[cfg(test)]
            page_limit: std::sync::Arc::default(),
        };
        journal.read_ends().map_err(store_error)?;
        Ok(journal)
    }

    /// Where the journal of a control log is.
    #[must_use]
    pub fn path_beside(control_log: &Path) -> PathBuf {
        let mut name = control_log.file_stem().unwrap_or_default().to_owned();
        name.push("-outcomes.db");
        control_log.with_file_name(name)
    }

    /// The number of the newest entry ever written; 0 before the first.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The number of the oldest entry that is still there, or of the next one.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Entries that are still there.
    #[must_use]
    pub fn entries(&self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }

    /// Pages of 4 KiB, about, that wait in the write-ahead log for [`Journal::tidy`].
    #[must_use]
    pub fn waiting_pages(&self) -> usize {
        self.waiting_pages
    }

    /// Writes all of `writes` or nothing; it is on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Full`] when no space is left, or another one; nothing was written then.
    pub fn commit(&mut self, writes: &Writes<'_>) -> Result<(), StoreError> {
        #[cfg(test)]
        self.apply_page_limit().map_err(store_error)?;
        let tags = self.admitted_tags(&writes.tagged);
        let first = self.first.max(self.first_after(writes));
        let pages = self.write(writes, &tags, first).map_err(store_error)?;
        self.waiting_pages += pages;
        self.first = first;
        if writes.entry.is_some() {
            self.last += 1;
        }
        for (experiment, tag) in tags {
            self.tags.entry(experiment).or_default().insert(tag.to_owned());
        }
        Ok(())
    }

    /// Moves what waits in the write-ahead log into the file. Slow, and nothing depends on when it happens.
    ///
    /// # Errors
    /// [`StoreError`]; everything committed is still there.
    pub fn tidy(&mut self) -> Result<(), StoreError> {
        let (log, moved): (i64, i64) = self
            .connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                Ok((row.get(1)?, row.get(2)?))
            })
            .map_err(store_error)?;
        self.waiting_pages = usize::try_from(log - moved).unwrap_or(0);
        Ok(())
    }

    /// Visits every entry in order, with its number.
    ///
    /// # Errors
    /// [`StoreError`] of the store or of the visitor.
    pub fn replay(
        &self,
        mut visit: impl FnMut(u64, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT seq, entry FROM journal ORDER BY seq")
            .map_err(store_error)?;
        let mut rows = statement.query([]).map_err(store_error)?;
        while let Some(row) = rows.next().map_err(store_error)? {
            let seq: i64 = row.get(0).map_err(store_error)?;
            let entry = row.get_ref(1).map_err(store_error)?;
            visit(seq.unsigned_abs(), bytes(entry)?)?;
        }
        Ok(())
    }

    /// Visits every stored piece of the state, in no order.
    ///
    /// # Errors
    /// [`StoreError`] of the store or of the visitor.
    pub fn states(
        &self,
        mut visit: impl FnMut(StateRow) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT key, through, data FROM state")
            .map_err(store_error)?;
        let mut rows = statement.query([]).map_err(store_error)?;
        while let Some(row) = rows.next().map_err(store_error)? {
            let through: i64 = row.get(1).map_err(store_error)?;
            visit(StateRow {
                key: row.get(0).map_err(store_error)?,
                through: through.unsigned_abs(),
                data: row.get(2).map_err(store_error)?,
            })?;
        }
        Ok(())
    }

    /// The stored marks of a run of receipts.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn receipts(&self, block: u64) -> Result<Option<ReceiptRow>, StoreError> {
        self.connection
            .prepare_cached("SELECT newest, data FROM receipts WHERE block = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row([block.cast_signed()], |row| {
                        Ok(ReceiptRow {
                            block,
                            newest: row.get(0)?,
                            data: row.get(1)?,
                        })
                    })
                    .optional()
            })
            .map_err(store_error)
    }

    /// Visits all stored ids.
    ///
    /// # Errors
    /// [`StoreError`] of the store or of the visitor.
    pub fn ids(&self, mut visit: impl FnMut(IdRow) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT generation, part, started, data FROM ids ORDER BY generation, part")
            .map_err(store_error)?;
        let mut rows = statement.query([]).map_err(store_error)?;
        while let Some(row) = rows.next().map_err(store_error)? {
            let read = || {
                Ok(IdRow {
                    generation: row.get(0)?,
                    part: row.get(1)?,
                    started: row.get(2)?,
                    data: row.get(3)?,
                })
            };
            visit(read().map_err(store_error)?)?;
        }
        Ok(())
    }

    /// The tagged outcomes of an experiment, of one tag or of all, newest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn tagged(&self, experiment: u32, tag: Option<&str>) -> Result<Vec<TaggedRow>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(
                "SELECT tag, item FROM tagged WHERE experiment = ?1 AND (?2 IS NULL OR tag = ?2) ORDER BY id DESC",
            )?;
            let rows = statement.query_map(params![experiment, tag], |row| {
                Ok(TaggedRow {
                    experiment,
                    tag: row.get(0)?,
                    item: row.get(1)?,
                })
            })?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(store_error)
    }

    fn read_ends(&mut self) -> rusqlite::Result<()> {
        let (first, last, states): (Option<i64>, i64, i64) = self.connection.query_row(
            "SELECT min(seq), coalesce(max(seq), 0), (SELECT coalesce(max(through), 0) FROM state) FROM journal",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        self.last = last.max(states).unsigned_abs();
        self.first = first.map_or(self.last + 1, i64::unsigned_abs);
        let mut statement = self
            .connection
            .prepare("SELECT DISTINCT experiment, tag FROM tagged")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            self.tags.entry(row.get(0)?).or_default().insert(row.get(1)?);
        }
        Ok(())
    }

    /// The oldest entry that is left after one commit's deletions. The newest entry always stays: it keeps the
    /// numbering going when nothing else does.
    fn first_after(&self, writes: &Writes<'_>) -> u64 {
        let deleted = writes.entry.map_or(DELETED_WHEN_IDLE, |_| DELETED_PER_COMMIT);
        let end = self.first + u64::from(deleted);
        end.min(writes.covered + 1).min(self.last)
    }

    /// The tags that still have room, each once.
    fn admitted_tags<'a>(&self, tagged: &'a [TaggedRow]) -> BTreeSet<(u32, &'a str)> {
        let mut admitted = BTreeSet::new();
        let mut new: HashMap<u32, usize> = HashMap::new();
        for row in tagged {
            let known = self.tags.get(&row.experiment);
            let key = (row.experiment, row.tag.as_str());
            if known.is_some_and(|tags| tags.contains(&row.tag)) {
                admitted.insert(key);
            } else if !admitted.contains(&key) {
                let new = new.entry(row.experiment).or_default();
                if known.map_or(0, HashSet::len) + *new < MOST_TAGS {
                    *new += 1;
                    admitted.insert(key);
                }
            }
        }
        admitted
    }

    /// Says about how many pages it wrote.
    fn write(
        &mut self,
        writes: &Writes<'_>,
        tags: &BTreeSet<(u32, &str)>,
        first: u64,
    ) -> rusqlite::Result<usize> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut pages = 1;
        if let Some(entry) = writes.entry {
            transaction
                .prepare_cached("INSERT INTO journal (seq, entry) VALUES (?1, ?2)")?
                .execute(params![(self.last + 1).cast_signed(), entry])?;
            pages += 1 + entry.len() / PAGE;
        }
        for row in &writes.states {
            transaction
                .prepare_cached(
                    "INSERT INTO state (key, through, data) VALUES (?1, ?2, ?3)
                     ON CONFLICT (key) DO UPDATE SET through = excluded.through, data = excluded.data",
                )?
                .execute(params![row.key, row.through.cast_signed(), row.data])?;
            pages += 2 + row.data.len() / PAGE;
        }
        for row in &writes.receipts {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO receipts (block, newest, data) VALUES (?1, ?2, ?3)")?
                .execute(params![row.block.cast_signed(), row.newest, row.data])?;
            pages += 2 + row.data.len() / PAGE;
        }
        for row in &writes.ids {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO ids (generation, part, started, data) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![row.generation, row.part, row.started, row.data])?;
            pages += 2 + row.data.len() / PAGE;
        }
        pages += minutes::write(&transaction, &writes.minutes)?;
        for row in &writes.tagged {
            if tags.contains(&(row.experiment, row.tag.as_str())) {
                transaction
                    .prepare_cached("INSERT INTO tagged (experiment, tag, item) VALUES (?1, ?2, ?3)")?
                    .execute(params![row.experiment, row.tag, row.item])?;
                pages += 1;
            }
        }
        for (experiment, tag) in tags {
            transaction
                .prepare_cached(
                    "DELETE FROM tagged WHERE experiment = ?1 AND tag = ?2 AND id <=
                       (SELECT id FROM tagged WHERE experiment = ?1 AND tag = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)",
                )?
                .execute(params![experiment, tag, MOST_TAGGED])?;
        }
        if first > self.first {
            transaction
                .prepare_cached("DELETE FROM journal WHERE seq < ?1")?
                .execute([first.cast_signed()])?;
        }
        if writes.receipts_before > 0 {
            transaction
                .prepare_cached(
                    "DELETE FROM receipts WHERE block IN
                       (SELECT block FROM receipts WHERE newest < ?1 ORDER BY newest LIMIT ?2)",
                )?
                .execute(params![writes.receipts_before, DELETED_PER_COMMIT])?;
        }
        if writes.generations_before > 0 {
            transaction
                .prepare_cached(
                    "DELETE FROM ids WHERE rowid IN (SELECT rowid FROM ids WHERE generation < ?1 LIMIT ?2)",
                )?
                .execute(params![writes.generations_before, DELETED_PER_COMMIT])?;
        }
        if writes.minutes_before > 0 {
            let deleted = writes.entry.map_or(DELETED_WHEN_IDLE, |_| DELETED_PER_COMMIT);
            minutes::delete(&transaction, writes.minutes_before, deleted)?;
        }
        transaction.commit()?;
        Ok(pages)
    }
}

/// Creates what a file of an older format does not have, or everything in a new one.
fn update(connection: &mut Connection, format: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    if format < 1 {
        transaction.execute_batch(SCHEMA)?;
    }
    transaction.execute_batch(minutes::SCHEMA)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(32);
    // Nobody else should be here; a moment for a predecessor that is just going.
    connection.busy_timeout(std::time::Duration::from_millis(500))?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // The writer tidies when nobody waits; on its own SQLite would do it inside a commit that somebody waits for.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")
}

fn bytes(value: rusqlite::types::ValueRef<'_>) -> Result<&[u8], StoreError> {
    value
        .as_blob()
        .map_err(|_| StoreError::Corrupt("a journal entry is not a blob".to_owned()))
}

/// The client library's error in the crate's words.
pub(super) fn store_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt(error.to_string()),
        Some(_) => StoreError::Unavailable(error.to_string()),
        // Not from SQLite: a value of a type that this program never writes.
        None => StoreError::Corrupt(error.to_string()),
    }
}

#[cfg(test)]
impl Journal {
    /// A knob that fills the disk: the most pages the file may have, 0 for no limit.
    pub(crate) fn page_limit(&self) -> std::sync::Arc<std::sync::atomic::AtomicU32> {
        std::sync::Arc::clone(&self.page_limit)
    }

    fn apply_page_limit(&self) -> rusqlite::Result<()> {
        let limit = match self.page_limit.load(std::sync::atomic::Ordering::Relaxed) {
            0 => u32::MAX - 1,
            limit => limit,
        };
        self.connection
            .query_row(&format!("PRAGMA max_page_count = {limit}"), [], |_| Ok(()))
    }
}

#[cfg(test)]
mod tests;
