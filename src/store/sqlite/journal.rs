//! The journal of outcomes in SQLite.
