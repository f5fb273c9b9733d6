//! What is kept: the control log, and the journal of outcomes with the checkpoint of everything counted.
//!
//! Only the folder of a concrete store knows its client library. A store judges nothing: it appends and reads back.

pub mod error;
pub mod memory;
pub mod sqlite;

use crate::domain::{event::Recorded, id::Revision};
use error::StoreError;

/// The control log: append only, numbered from 1 without gaps.
pub trait ControlLog: Send {
    /// Appends entries in one transaction, numbered `expected + 1` and on.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the log is not at `expected`: nothing was written. Otherwise the store's failure.
    fn append(&mut self, expected: Revision, entries: &[Recorded]) -> Result<(), StoreError>;

    /// Up to `limit` entries after a revision, in order.
    ///
    /// # Errors
    /// The store's failure.
    fn read(&self, after: Revision, limit: usize) -> Result<Vec<Recorded>, StoreError>;
}
