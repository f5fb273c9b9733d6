//! What can go wrong with what is kept, in the words of this crate: no client library's error leaves its file.

use crate::domain::id::Revision;

/// Why the store refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No space is left; nothing was written. The same call may succeed once there is space again.
    #[error("no space left for the store")]
    Full,
    /// The store cannot be reached or used now.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What is stored cannot be right; a person must look.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// Somebody else appended first; read on and decide anew.
    #[error("the log ends at revision {found}, not at {expected}")]
    Conflict {
        /// Where the caller thought the log ends.
        expected: Revision,
        /// Where it ends.
        found: Revision,
    },
    /// Written in a format that this version does not know.
    #[error("the store has another format: {0}")]
    Format(String),
}
