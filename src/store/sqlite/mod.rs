//! The embedded store: SQLite files with a write-ahead log and full synchronisation.

pub mod control_log;
pub mod cursors;
pub mod journal;

use super::error::StoreError;
use rusqlite::ErrorCode;

/// SQLite's error as the store's.
pub(super) fn failure(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}
