//! The control log in SQLite.
