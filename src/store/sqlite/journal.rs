//! The journal of outcomes in SQLite.

use crate::store::error::StoreError;
use std::path::Path;

/// The journal.
#[derive(Debug)]
pub struct Journal {}

impl Journal {
    /// Opens the journal that belongs to the control log at `control_log`, and creates it when there is none.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn open(control_log: &Path) -> Result<Self, StoreError> {
        let _ = control_log;
        Ok(Self {})
    }
}
