//! The embedded store: SQLite files with a write-ahead log and full synchronisation.

pub mod control_log;
pub mod journal;
