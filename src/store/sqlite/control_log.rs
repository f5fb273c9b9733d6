//! The control log in SQLite: one row an entry, the number its primary key, so two writers cannot both win.

use super::failure;
use crate::{
    domain::{
        event::{Event, Recorded},
        id::Revision,
    },
    store::{ControlLog, error::StoreError},
};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, TransactionBehavior, params};
use std::path::Path;

/// The log in one file.
#[derive(Debug)]
pub struct SqliteLog {
    connection: Connection,
}

impl SqliteLog {
    /// Opens or creates the file; its folder is created when missing.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be opened or is not such a log.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|error| StoreError::Unavailable(format!("{}: {error}", folder.display())))?;
        }
        let connection = match connect(path, "NORMAL") {
            // Others may read along by an index beside the file, for which a full disk has no room. Alone the program
            // needs none: it can start, and decide, and write when there is space again.
            Err(error) if is_refused_by_disk(&error) => connect(path, "EXCLUSIVE").map_err(|_| error),
            connected => connected,
        };
        let connection = connection.map_err(failure)?;
        Ok(Self { connection })
    }
}

fn connect(path: &Path, locking: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(2))?;
    connection.pragma_update(None, "locking_mode", locking)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS control_log (
             revision INTEGER PRIMARY KEY,
             at TEXT NOT NULL,
             actor TEXT NOT NULL,
             reason TEXT NOT NULL,
             event TEXT NOT NULL
         ) STRICT;",
    )?;
    Ok(connection)
}

fn is_refused_by_disk(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(
        code,
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)
    )
}

impl ControlLog for SqliteLog {
    fn append(&mut self, expected: Revision, entries: &[Recorded]) -> Result<(), StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failure)?;
        let last: Option<i64> = transaction
            .query_row("SELECT max(revision) FROM control_log", [], |row| row.get(0))
            .optional()
            .map_err(failure)?
            .flatten();
        let found = Revision(u64::try_from(last.unwrap_or(0)).unwrap_or(0));
        if found != expected {
            return Err(StoreError::Conflict { expected, found });
        }
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO control_log (revision, at, actor, reason, event) VALUES (?1, ?2, ?3, ?4, ?5)")
                .map_err(failure)?;
            for entry in entries {
                let revision = i64::try_from(entry.revision.0).unwrap_or(i64::MAX);
                let event = entry
                    .event
                    .to_stored_once(entry.idempotency.as_ref())
                    .map_err(|error| StoreError::Format(error.to_string()))?;
                let row = params![revision, entry.at.to_string(), entry.actor, entry.reason, event];
                insert.execute(row).map_err(failure)?;
            }
        }
        transaction.commit().map_err(failure)
    }

    fn read(&self, after: Revision, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        let mut select = self
            .connection
            .prepare_cached(
                "SELECT revision, at, actor, reason, event FROM control_log WHERE revision > ?1 ORDER BY revision LIMIT ?2",
            )
            .map_err(failure)?;
        let after = i64::try_from(after.0).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = select.query(params![after, limit]).map_err(failure)?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next().map_err(failure)? {
            let revision: i64 = row.get(0).map_err(failure)?;
            let revision = Revision(u64::try_from(revision).unwrap_or(0));
            let unreadable =
                |what: &dyn std::fmt::Display| StoreError::Format(format!("revision {revision}: {what}"));
            let at: String = row.get(1).map_err(failure)?;
            let event: String = row.get(4).map_err(failure)?;
            let (event, idempotency) = Event::from_stored_once(&event).map_err(|error| unreadable(&error))?;
            entries.push(Recorded {
                revision,
                at: at.parse().map_err(|error| unreadable(&error))?,
                actor: row.get(2).map_err(failure)?,
                reason: row.get(3).map_err(failure)?,
                event,
                idempotency,
            });
        }
        Ok(entries)
    }
}
