//! Why a store did not do what it was asked.

use crate::domain::id::Revision;

/// A failure of a store; the caller's request may be tried again unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room on the disk.
    #[error("the disk is full")]
    Full,
    /// Not reachable, locked, or an IO error.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The content cannot be trusted.
    #[error("the store is corrupt: {0}")]
    Corrupt(String),
    /// Another writer was first: read again and decide again.
    #[error("the log is at revision {found}, not at {expected}")]
    Conflict {
        /// What the writer had seen.
        expected: Revision,
        /// What is there.
        found: Revision,
    },
    /// Written by a newer release, or not in the store's format.
    #[error("unreadable entry: {0}")]
    Format(String),
}
