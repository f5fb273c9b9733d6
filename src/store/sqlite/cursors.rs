//! How far each receiver of messages has come in the control log, in SQLite.
//!
//! Owns one file beside the control log, so that remembering what was told never makes a freeze wait for the disk.

use super::failure;
use crate::{domain::id::Revision, store::error::StoreError};
use rusqlite::{Connection, params};
use std::path::{Path, PathBuf};

/// The open file.
#[derive(Debug)]
pub struct Cursors {
    connection: Connection,
}

impl Cursors {
    /// Where the cursors of a control log are: `data/serin.db` has `data/serin-notices.db`.
    #[must_use]
    pub fn path_beside(control_log: &Path) -> PathBuf {
        let mut name = control_log.file_stem().unwrap_or_default().to_owned();
        name.push("-notices.db");
        control_log.with_file_name(name)
    }

    /// Opens or creates the file.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be used or is something else.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path).map_err(failure)?;
        connection
            .busy_timeout(std::time::Duration::from_secs(2))
            .map_err(failure)?;
        for (pragma, value) in [("journal_mode", "WAL"), ("synchronous", "FULL")] {
            connection.pragma_update(None, pragma, value).map_err(failure)?;
        }
        connection
            .execute_batch(
                "CREATE TABLE IF NOT EXISTS cursors (name TEXT PRIMARY KEY, through INTEGER NOT NULL) STRICT;",
            )
            .map_err(failure)?;
        Ok(Self { connection })
    }

    /// Where each of these receivers stands, in their order. A new one stands at `begin`; those that are not named
    /// are forgotten, so that one which comes back is a new one.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was changed.
    pub fn begin(&mut self, names: &[String], begin: Revision) -> Result<Vec<Revision>, StoreError> {
        let transaction = self.connection.transaction().map_err(failure)?;
        let known: Vec<String> = {
            let mut select = transaction.prepare("SELECT name FROM cursors").map_err(failure)?;
            let names = select.query_map([], |row| row.get(0)).map_err(failure)?;
            names.collect::<Result<_, _>>().map_err(failure)?
        };
        for gone in known.iter().filter(|name| !names.contains(name)) {
            transaction
                .execute("DELETE FROM cursors WHERE name = ?1", params![gone])
                .map_err(failure)?;
        }
        let mut positions = Vec::new();
        for name in names {
            let new = params![name, number(begin)];
            transaction
                .execute(
                    "INSERT OR IGNORE INTO cursors (name, through) VALUES (?1, ?2)",
                    new,
                )
                .map_err(failure)?;
            let through: i64 = transaction
                .query_row(
                    "SELECT through FROM cursors WHERE name = ?1",
                    params![name],
                    |row| row.get(0),
                )
                .map_err(failure)?;
            positions.push(Revision(u64::try_from(through).unwrap_or(0)));
        }
        transaction.commit().map_err(failure)?;
        Ok(positions)
    }

    /// Remembers that a receiver has everything through an entry.
    ///
    /// # Errors
    /// [`StoreError`]: it is not remembered.
    pub fn advance(&mut self, name: &str, through: Revision) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE cursors SET through = ?2 WHERE name = ?1")
            .and_then(|mut update| update.execute(params![name, number(through)]))
            .map_err(failure)?;
        Ok(())
    }
}

fn number(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_outlives_the_process_and_not_its_receiver() {
        let folder = tempfile::tempdir().unwrap();
        let path = Cursors::path_beside(&folder.path().join("serin.db"));
        assert!(path.ends_with("serin-notices.db"));
        let names = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let begin = |names: &[String], at| {
            let mut cursors = Cursors::open(&path).unwrap();
            (cursors.begin(names, Revision(at)).unwrap(), cursors)
        };
        let (at, mut cursors) = begin(&names(&["a", "b"]), 7);
        assert_eq!(at, [Revision(7), Revision(7)]);
        cursors.advance("b", Revision(9)).unwrap();
        drop(cursors);
        assert_eq!(
            begin(&names(&["c", "b", "a"]), 12).0,
            [Revision(12), Revision(9), Revision(7)]
        );
        assert_eq!(begin(&names(&["a"]), 20).0, [Revision(7)]);
        assert_eq!(begin(&names(&["a", "b"]), 30).0, [Revision(7), Revision(30)]);
    }
}
