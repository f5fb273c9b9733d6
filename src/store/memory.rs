//! A control log in memory, for tests and simulations.

use super::{ControlLog, error::StoreError};
use crate::domain::{event::Recorded, id::Revision};

/// Forgets everything when dropped.
#[derive(Debug, Default)]
pub struct MemoryLog {
    entries: Vec<Recorded>,
    /// When set, appending fails with it: a store that is down.
    pub failure: Option<StoreError>,
}

impl ControlLog for MemoryLog {
    fn append(&mut self, expected: Revision, entries: &[Recorded]) -> Result<(), StoreError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let found = Revision(self.entries.len() as u64);
        if found != expected {
            return Err(StoreError::Conflict { expected, found });
        }
        self.entries.extend_from_slice(entries);
        Ok(())
    }

    fn read(&self, after: Revision, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        let skip = usize::try_from(after.0).unwrap_or(usize::MAX);
        Ok(self.entries.iter().skip(skip).take(limit).cloned().collect())
    }
}
